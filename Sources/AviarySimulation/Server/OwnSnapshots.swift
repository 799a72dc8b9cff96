internal import AviaryCore
internal import AviaryStorage
internal import ZooKeeperProtocol

/// The snapshots that a server writes of its own tree, and the purge behind them: what the loop does for them, and what
/// `AviaryServer` has a thread for.
struct OwnSnapshots: ~Copyable {
    struct Options {
        var compression = SnapshotCompression.none
        /// As much of the tree is encoded in one step.
        var chunkBytes: Int
        var writesLastProcessed = true
        /// Snapshots that a purge leaves.
        var retained = 3
        /// The longest record that a purge reads.
        var maximumRecordBytes: Int
    }

    /// What a step has come to.
    enum Step {
        case working
        /// A snapshot is complete.
        case written
        /// It was given up.
        case failed
        /// A purge has removed so many files.
        case purged(Int, isOver: Bool)
    }

    private enum Order {
        case begin(SnapshotHead)
        case append([UInt8])
        case finish(digest: UInt64?)
    }

    private let options: Options
    private var writer: SnapshotWriter<SimulatedDisk, NoGzip>
    private var purge: Purge<SimulatedDisk, NoGzip>
    private var orders: [Order] = []
    private var isWriting = false
    private var head: SnapshotHead?
    private var isEncoded = false
    var isPurging = false
    /// A step is planned.
    var isPlanned = false

    init(_ disk: SimulatedDisk, _ directories: DataDirectories, _ options: Options) {
        self.options = options
        writer = SnapshotWriter(
            disk: disk,
            directory: directories.snapshots,
            compression: options.compression,
            gzip: NoGzip()
        )
        purge = Purge(
            disk: disk,
            directories: directories,
            gzip: NoGzip(),
            retain: options.retained,
            maxBufferBytes: options.maximumRecordBytes
        )
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
        try writer.finish(digest: head.digest, lastProcessed: options.writesLastProcessed)
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

    /// Encodes the next nodes: the loop's part.
    mutating func encode(_ core: inout ServerCore) {
        guard let head, !isEncoded else { return }
        var nodes = JuteWriter()
        isEncoded = !core.continueSnapshot(maxBytes: options.chunkBytes, into: &nodes)
        orders.append(.append(nodes.copy()))
        if isEncoded { orders.append(.finish(digest: head.digest)) }
    }

    /// Writes the next piece, or purges a little: the thread's part. It survives every error but the loss of power.
    mutating func step(_ core: inout ServerCore) -> Step {
        guard !orders.isEmpty else { return stepPurge() }
        isPurging = false
        do throws(StorageError) {
            return try write(orders.removeFirst())
        } catch {
            abandon(&core)
            return .failed
        }
    }

    private mutating func write(_ order: Order) throws(StorageError) -> Step {
        switch order {
        case .begin(let head):
            isWriting = true
            try writer.begin(zxid: head.zxid, sessions: head.sessions, acls: head.acls)
        case .append(let nodes):
            try nodes.withUnsafeBufferPointer { (bytes) throws(StorageError) in
                try writer.append(nodes: UnsafeRawBufferPointer(bytes))
            }
        case .finish(let digest):
            try writer.finish(digest: digest, lastProcessed: options.writesLastProcessed)
            isWriting = false
            head = nil
            isPurging = true
            purge.restart()
            return .written
        }
        return .working
    }

    private mutating func stepPurge() -> Step {
        guard isPurging else { return .working }
        do throws(StorageError) {
            let before = purge.report.removed.count
            isPurging = try purge.step() == .more
            return .purged(max(purge.report.removed.count - before, 0), isOver: !isPurging)
        } catch {
            isPurging = false
            return .working
        }
    }
}
