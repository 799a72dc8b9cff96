import AviarySimulation
import AviaryStorage
import ZooKeeperProtocol

/// Makes transactions one after the other, each with the digest of the tree behind it.
struct History {
    struct Record: Hashable {
        var zxid: Zxid
        /// Header, body and digest.
        var payload: [UInt8]
    }

    private(set) var tree = NaiveTree()
    private(set) var records: [Record] = []
    private(set) var lastZxid: Zxid

    /// - Parameter lastZxid: what the first transaction comes after.
    init(after lastZxid: Zxid = .zero) {
        self.lastZxid = lastZxid
        tree.restoreFreshTree()
    }

    mutating func create(_ path: String, _ data: String = "") {
        let parent = tree.nodes[NaiveTree.parent(of: path)]?.stat.cversion ?? 0
        add(
            .create(
                TxnBody.CreateTxn(
                    kind: .create,
                    path: Array(path.utf8),
                    data: Array(data.utf8),
                    acl: ACL.open,
                    isEphemeral: false,
                    parentCVersion: parent + 1
                )
            )
        )
    }

    /// Creates `/n<k>` for the next `count` zxids.
    mutating func createMany(_ count: Int, data: String = "data") {
        for _ in 0..<count { create("/n\(lastZxid.next.hex)", data) }
    }

    mutating func delete(_ path: String) {
        add(.delete(path: Array(path.utf8), byContainerCheck: false))
    }

    mutating func set(_ path: String, _ data: String) {
        let version = tree.nodes[path]?.stat.version ?? 0
        add(.setData(path: Array(path.utf8), data: Array(data.utf8), version: version + 1, isReconfig: false))
    }

    mutating func createSession(_ id: Int64) {
        add(.createSession(timeoutMilliseconds: 4000), session: id)
    }

    mutating func add(_ body: TxnBody, session: Int64 = 1) {
        lastZxid = lastZxid.next
        let header = TxnHeader(session: SessionID(session), cxid: 1, zxid: lastZxid, time: lastZxid.rawValue * 10)
        var txn = Txn(header: header, body: body, digest: nil)
        do throws(RestoreError) { try tree.replay(txn) } catch { fatalError("a history that cannot be: \(error)") }
        txn.digest = TxnDigest(value: tree.digest)
        var writer = JuteWriter()
        txn.write(to: &writer)
        records.append(Record(zxid: lastZxid, payload: writer.copy()))
    }

    /// The next transaction is the first of another epoch.
    mutating func beginEpoch(_ epoch: Int64) {
        lastZxid = Zxid(epoch << 32)
    }

    /// The same up to a transaction, and nothing behind it.
    func cut(after zxid: Zxid) -> History {
        var history = self
        history.records.removeAll { $0.zxid > zxid }
        history.lastZxid = zxid
        history.tree = tree(at: zxid)
        return history
    }

    func records(_ range: ClosedRange<Int64>) -> [Record] {
        records.filter { range.contains($0.zxid.rawValue) }
    }

    /// The tree after the transaction `zxid`.
    func tree(at zxid: Zxid) -> NaiveTree {
        var tree = NaiveTree()
        tree.restoreFreshTree()
        for record in records where record.zxid <= zxid {
            record.payload.withUnsafeBytes { bytes in
                do { try tree.replay(Txn(payload: bytes)) } catch { fatalError("\(error)") }
            }
        }
        return tree
    }
}

/// Files as other servers write them: no durable mark.
enum FileBytes {
    static let logHeader: [UInt8] = [0x5a, 0x4b, 0x4c, 0x47, 0, 0, 0, 2] + [UInt8](repeating: 0, count: 8)

    static func record(_ payload: [UInt8]) -> [UInt8] {
        var writer = JuteWriter()
        payload.withUnsafeBytes { bytes in
            writer.int64(Int64(Adler32.update(Adler32.initial, bytes)))
            writer.buffer(bytes)
        }
        writer.byte(UInt8(ascii: "B"))
        return writer.copy()
    }

    static func log(_ records: [History.Record], padding: Int = 512) -> [UInt8] {
        logHeader + records.flatMap { record($0.payload) } + [UInt8](repeating: 0, count: padding)
    }

    /// Where the record with this zxid begins in a file of `records`.
    static func offset(of zxid: Int64, in records: [History.Record]) -> Int {
        var offset = logHeader.count
        for record in records {
            if record.zxid == Zxid(zxid) { return offset }
            offset += record.payload.count + 13
        }
        return offset
    }
}

extension SimulatedDisk {
    /// Writes a snapshot of `tree` as our server does.
    func writeSnapshot(
        _ tree: NaiveTree,
        zxid: Zxid,
        compression: SnapshotCompression = .none,
        digest: UInt64? = nil,
        lastProcessed: Bool = true
    ) throws(StorageError) {
        var writer = SnapshotWriter(
            disk: self,
            directory: "data/version-2",
            compression: compression,
            gzip: NoGzip()
        )
        let sessions = tree.sessions.sorted { $0.key < $1.key }.map { (SessionID($0.key), $0.value) }
        do throws(StorageError) {
            try writer.begin(zxid: zxid, sessions: sessions, acls: NaiveTree.aclTable)
            try tree.encodedNodes().withUnsafeBufferPointer { (bytes) throws(StorageError) in
                try writer.append(nodes: UnsafeRawBufferPointer(bytes))
            }
            try writer.finish(digest: digest ?? tree.digest, lastProcessed: lastProcessed)
        } catch {
            writer.abandon()
            throw error
        }
    }

    /// A disk with an empty data directory.
    static func empty(seed: UInt64 = 1) -> SimulatedDisk {
        let disk = SimulatedDisk(seed: seed)
        disk.makeStableDirectory("data/version-2")
        return disk
    }

    func installLog(_ name: String, _ records: [History.Record], padding: Int = 512) {
        setContents("data/version-2/" + name, FileBytes.log(records, padding: padding))
    }

    func logNames() -> [String] {
        files(in: "data/version-2").keys.filter { FileNames.logZxid($0) != nil }.sorted()
    }
}

extension TxnLogWriter {
    /// Appends and does not flush.
    mutating func append(_ records: [History.Record]) {
        for record in records { record.payload.withUnsafeBytes { append($0, zxid: record.zxid) } }
    }
}
