internal import AviaryCore
internal import AviaryEnsemble
internal import AviaryStorage
internal import Logging
internal import ZooKeeperProtocol

/// The data directory of one server, from opening it to the threads that write into it.
///
/// Generic over the disk and the compressor, and therefore not held by the loop, which knows only the threads.
struct DataStore<D: Disk, Gzip: StreamCodec>: Sendable {
    let disk: D
    let gzip: Gzip
    let configuration: ServerConfiguration
    let directories: DataDirectories

    /// - Parameter directories: absolute; opened by the caller.
    init(disk: D, gzip: Gzip, configuration: ServerConfiguration, directories: DataDirectories) {
        self.disk = disk
        self.gzip = gzip
        self.configuration = configuration
        self.directories = directories
    }

    /// Makes the directories usable and takes them for this process alone.
    ///
    /// - Parameter owner: what a second server is told about this one.
    /// - Returns: the store, and what keeps other servers out for as long as it lives.
    static func open(
        disk: D,
        gzip: Gzip,
        configuration: ServerConfiguration,
        owner: String
    ) throws(StorageError) -> (store: DataStore, lock: DirectoryLock<D>) {
        let storage = configuration.storage
        let base = ProcessFacts.workingDirectory()
        var directories = DataDirectories(
            data: absolute(storage.dataDirectory, in: base),
            log: absolute(storage.logDirectory, in: base)
        )
        let lock = try directories.open(on: disk, creates: storage.createsDirectories, owner: owner)
        return (DataStore(disk: disk, gzip: gzip, configuration: configuration, directories: directories), lock)
    }

    /// Messages and `conf` name places that do not depend on where the server was started.
    private static func absolute(_ path: String, in base: String) -> String {
        path.hasPrefix("/") ? path : FileNames.join(base, path)
    }

    private var maxBufferBytes: Int {
        configuration.limits.maximumPacketSize + configuration.limits.extraRecordSize
    }

    /// Loads what is there.
    func recover(
        into target: inout CoreRestorer,
        progress: @escaping (RecoveryProgress) -> Void
    ) throws(StorageError) -> RecoveryReport {
        let recovery = Recovery(
            disk: disk,
            directories: directories,
            gzip: gzip,
            options: recoveryOptions,
            progress: progress
        )
        return try recovery.run(into: &target)
    }

    /// The same for a member of an ensemble.
    func recovery(_ progress: @escaping (RecoveryProgress) -> Void) -> MemberRecovery<D, Gzip> {
        MemberRecovery(
            disk: disk,
            directories: directories,
            gzip: gzip,
            options: recoveryOptions,
            progress: progress
        )
    }

    /// Loads once more while a member runs, and nobody writes.
    func reload(into target: inout CoreRestorer) throws(StorageError) -> RecoveryReport {
        try recovery { _ in }.reload(into: &target)
    }

    /// What a leader's files have for learners.
    func history() -> HistorySource<D, Gzip> {
        HistorySource(disk: disk, directories: directories, gzip: gzip, limits: readingLimits)
    }

    private var recoveryOptions: RecoveryOptions {
        var options = RecoveryOptions()
        options.limits = readingLimits
        options.comparesDigests = configuration.storage.keepsDigest
        options.trustsMissingSnapshot = configuration.storage.trustsMissingSnapshot
        options.createsDatabase = configuration.storage.createsDatabase
        options.forcesSync = configuration.storage.forcesSync
        return options
    }

    /// The snapshot that a fresh directory needs before the first log record: without it Apache's servers would refuse
    /// the directory (docs/protocol/disk-format.md section 5). The tree has four nodes, so this takes no time.
    func writeFirstSnapshot(of core: inout ServerCore) throws(StorageError) {
        var files = StoredSnapshots(self, log: nil)
        let head = core.beginSnapshot()
        var nodes = JuteWriter()
        while core.continueSnapshot(maxBytes: 1 << 16, into: &nodes) {}
        try files.begin(head)
        try nodes.withBytes { (bytes) throws(StorageError) in try files.append(bytes) }
        _ = try files.finish(digest: head.digest)
        try directories.noteDatabase(on: disk, forcesSync: configuration.storage.forcesSync)
    }

    /// What stores transactions, with space reserved for the first of them as far as there is any.
    ///
    /// The reserve holds the group that meets a full disk, everything that was on its way behind it, one frame that the
    /// loop took last, and after that the end of some 70 000 sessions.
    ///
    /// - Parameters:
    ///   - limits: what the loop lets wait for the disk.
    ///   - hasLostMemory: of a member, whether its files do not say all that it ever promised.
    func openWorker(lastZxid: Zxid, limits: Limits, hasLostMemory: Bool = false) throws(StorageError) -> StorageWorker<
        D, Gzip
    > {
        let storage = configuration.storage
        let options = StorageWorkerOptions(
            log: TxnLogOptions(
                preallocationBytes: Int64(storage.preallocationSize),
                reserveBytes: Int64(2 * limits.unstoredBytes + maxBufferBytes + (4 << 20)),
                lastBytes: Int64(limits.lastLogBytes),
                forcesSync: storage.forcesSync
            ),
            flush: FlushPolicy(
                delayMicroseconds: storage.flushDelay.microseconds,
                pollMicroseconds: storage.maximumQueuePollTime.microseconds,
                maximumRecords: storage.maximumBatchSize ?? .max,
                maximumFileBytes: storage.logSizeLimit ?? .max,
                warningMicroseconds: storage.fsyncWarningThreshold.microseconds
            ),
            limits: readingLimits,
            compression: snapshotCompression,
            writesLastProcessed: storage.writesLastProcessedZxid
        )
        return try StorageWorker(
            disk: disk,
            directories: directories,
            gzip: gzip,
            lastZxid: lastZxid,
            options: options,
            hasLostMemory: hasLostMemory
        )
    }

    var readingLimits: ReadingLimits {
        ReadingLimits(maxBufferBytes: maxBufferBytes, extendedTypes: configuration.features.extendedTypes)
    }

    fileprivate var snapshotCompression: AviaryStorage.SnapshotCompression {
        switch configuration.storage.snapshotCompression {
        case .none: .none
        case .gzip: .gzip
        case .snappy: .snappy
        }
    }

    /// Bytes of all files; a directory that cannot be listed counts as empty.
    func sizes() -> (data: Int64, log: Int64) {
        func size(_ directory: String) -> Int64 {
            ((try? disk.list(directory)) ?? []).reduce(0) { $0 + ($1.isDirectory ? 0 : $1.size) }
        }
        return (size(directories.snapshots), size(directories.logs))
    }
}

/// Snapshots and old files of a data directory, for the snapshot thread.
struct StoredSnapshots<D: Disk, Gzip: StreamCodec>: ~Copyable, SnapshotFiles {
    private var writer: SnapshotWriter<D, Gzip>
    private var purger: Purge<D, Gzip>?
    private let writesLastProcessed: Bool
    private let logger: Logger?
    /// Snapshots that were complained about already.
    private var damaged: Set<String> = []

    init(_ store: DataStore<D, Gzip>, log: Logger?) {
        let storage = store.configuration.storage
        writer = SnapshotWriter(
            disk: store.disk,
            directory: store.directories.snapshots,
            compression: store.snapshotCompression,
            gzip: store.gzip
        )
        purger = storage.purge.map { purge in
            Purge(
                disk: store.disk,
                directories: store.directories,
                gzip: store.gzip,
                retain: purge.retainedSnapshots,
                maxBufferBytes: store.configuration.limits.maximumPacketSize
                    + store.configuration.limits.extraRecordSize
            )
        }
        writesLastProcessed = storage.writesLastProcessedZxid
        logger = log
    }

    mutating func begin(_ head: SnapshotHead) throws(StorageError) {
        try writer.begin(zxid: head.zxid, sessions: head.sessions, acls: head.acls)
    }

    mutating func append(_ nodes: UnsafeRawBufferPointer) throws(StorageError) {
        try writer.append(nodes: nodes)
    }

    mutating func finish(digest: UInt64?) throws(StorageError) -> (name: String, bytes: Int64) {
        let entry = try writer.finish(digest: digest, lastProcessed: writesLastProcessed)
        return (entry.name, entry.size)
    }

    mutating func abandon() {
        writer.abandon()
    }

    mutating func purge(while goesOn: () -> Bool) {
        guard purger != nil else { return }
        purger?.restart()
        do throws(StorageError) {
            while goesOn() {
                guard let step = try purger?.step(), step == .more else { break }
            }
        } catch {
            logger?.warning("removing old snapshots and logs failed", metadata: ["reason": "\(error)"])
        }
        guard let report = purger?.report else { return }
        for failure in report.damaged where damaged.insert(failure.file).inserted {
            logger?.error(
                "a snapshot is damaged; it is kept, and older ones with it",
                metadata: ["reason": "\(failure)"]
            )
        }
        if !report.removed.isEmpty {
            logger?.info(
                "removed old snapshots and logs",
                metadata: ["files": "\(report.removed.count)", "bytes": "\(report.removedBytes)"]
            )
        }
    }
}
