internal import AviaryCore
internal import AviaryStorage
internal import ZooKeeperProtocol

/// The snapshots that a member writes of its own tree, and the purge behind them: what `AviaryServer` has a thread for.
struct OwnSnapshots: ~Copyable {
    private enum Order {
        case begin(SnapshotHead)
        case append([UInt8])
        case finish(digest: UInt64?)
    }

    private let settings: EnsembleSettings
    private var writer: SnapshotWriter<SimulatedDisk, NoGzip>
    private var purge: Purge<SimulatedDisk, NoGzip>
    private var orders: [Order] = []
    private var isWriting = false
    private var head: SnapshotHead?
    private var isEncoded = false
    var isPurging = false
    /// A step is planned.
    var isPlanned = false

    init(_ disk: SimulatedDisk, _ directories: DataDirectories, _ settings: EnsembleSettings) {
        self.settings = settings
        writer = SnapshotWriter(
            disk: disk,
            directory: directories.snapshots,
            compression: settings.compression ? .snappy : .none,
            gzip: NoGzip()
        )
        purge = Purge(disk: disk, directories: directories, gzip: NoGzip(), retain: 3, maxBufferBytes: 1 << 20)
    }

    var isUnderWay: Bool { head != nil }
    var hasWork: Bool { !orders.isEmpty || isPurging || (head != nil && !isEncoded) }

    /// A fresh directory needs a snapshot before its first log record.
    mutating func writeFirst(of core: inout ServerCore) throws(StorageError) {
        let head = core.beginSnapshot()
        var nodes = JuteWriter()
        while core.continueSnapshot(maxBytes: 1 << 16, into: &nodes) {}
        try writer.begin(zxid: head.zxid, sessions: head.sessions, acls: head.acls)
        try nodes.withBytes { (bytes) throws(StorageError) in try writer.append(nodes: bytes) }
        try writer.finish(digest: head.digest, lastProcessed: true)
    }

    mutating func begin(_ core: inout ServerCore) {
        guard head == nil else { return }
        let begun = core.beginSnapshot()
        head = begun
        isEncoded = false
        orders.append(.begin(begun))
    }

    mutating func abandon(_ core: inout ServerCore) {
        guard head != nil else { return }
        if isWriting { writer.abandon() }
        isWriting = false
        head = nil
        orders = []
        core.abandonSnapshot()
    }

    /// Encodes some of the tree, then writes the next piece, or purges a little. It survives every error but the loss of
    /// power.
    ///
    /// - Returns: whether a snapshot is complete now.
    mutating func step(_ core: inout ServerCore, _ counts: inout EnsembleCounts) -> Bool {
        if let head, !isEncoded {
            var nodes = JuteWriter()
            isEncoded = !core.continueSnapshot(maxBytes: 600, into: &nodes)
            orders.append(.append(nodes.copy()))
            if isEncoded { orders.append(.finish(digest: head.digest)) }
        }
        guard !orders.isEmpty else {
            stepPurge(&counts)
            return false
        }
        isPurging = false
        do throws(StorageError) {
            return try write(orders.removeFirst(), &counts)
        } catch {
            abandon(&core)
            return false
        }
    }

    private mutating func write(_ order: Order, _ counts: inout EnsembleCounts) throws(StorageError) -> Bool {
        switch order {
        case .begin(let head):
            isWriting = true
            try writer.begin(zxid: head.zxid, sessions: head.sessions, acls: head.acls)
        case .append(let nodes):
            try nodes.withUnsafeBufferPointer { (bytes) throws(StorageError) in
                try writer.append(nodes: UnsafeRawBufferPointer(bytes))
            }
        case .finish(let digest):
            try writer.finish(digest: digest, lastProcessed: true)
            isWriting = false
            head = nil
            counts[.snapshots] += 1
            isPurging = true
            purge.restart()
            return true
        }
        return false
    }

    private mutating func stepPurge(_ counts: inout EnsembleCounts) {
        guard isPurging else { return }
        do throws(StorageError) {
            let before = purge.report.removed.count
            isPurging = try purge.step() == .more
            counts[.filesPurged] += max(purge.report.removed.count - before, 0)
        } catch {
            isPurging = false
        }
    }
}
