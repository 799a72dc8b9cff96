package import AviaryCore
package import AviaryStorage
package import ZooKeeperProtocol

/// How one simulated server is set up: what a configuration file and the bounds of the shell come to.
package struct SimulatedSettings: Sendable {
    package var directories = DataDirectories(data: "data")
    package var core: CoreOptions
    package var preallocationBytes: Int64 = 64 << 10
    /// Bytes of transactions that may wait for the disk before writes wait with their connections.
    package var maximumUnstoredBytes = 8 << 10
    /// Reserved bytes of a full disk below which nothing more is written.
    package var lastLogBytes = 8 << 10
    /// The longest record that is read: above what the largest multi of the workload makes, as no frame gets past the limit
    /// of the real server.
    package var maximumRecordBytes = 16 << 10
    /// Bytes of records after which a new log begins.
    package var maximumLogBytes = Int.max
    package var compression = SnapshotCompression.none
    package var writesLastProcessed = true
    package var retainedSnapshots = 3
    /// As much of the tree is encoded in one step.
    package var snapshotChunkBytes = 400

    package init(core: CoreOptions) {
        self.core = core
    }

    /// As the shell computes it: what waits when the disk turns out to be full, and again as much behind it, the longest
    /// record, and some for the end of sessions.
    var reserveBytes: Int64 { Int64(2 * maximumUnstoredBytes + maximumRecordBytes + 2 * lastLogBytes) }
}

/// One server process: the core, the log, snapshots and purge on a simulated disk, joined as `AviaryServer` joins them,
/// but for threads: what the loop and the two disk threads do comes in steps, and whoever owns this says whose turn it is.
///
/// An error that is thrown out of a step ends the process, as it would end the real one.
package final class SimulatedServer {
    /// Bytes for a connection, in the order in which they leave.
    package enum Delivery: Sendable {
        /// One frame without its length.
        case frame(ConnectionID, [UInt8])
        case close(ConnectionID)
    }

    package private(set) var core: ServerCore
    package let recovery: RecoveryReport
    /// What clients are sent, until somebody takes it.
    package var deliveries: [Delivery] = []
    /// Transactions handed to the log thread, until somebody takes them.
    package var submitted: [Txn] = []
    package private(set) var counts = Counts()
    /// What was said that no operator should ever read.
    package private(set) var complaints: [String] = []

    package struct Counts: Sendable {
        /// Of groups that are written past the page cache.
        package var largeFlushes = 0
        package var rolls = 0
        package var rollsRefused = 0
        package var snapshots = 0
        package var snapshotsFailed = 0
        package var filesPurged = 0
        package var wasSpaceLow = false
        package var wasSpaceExhausted = false
    }

    private let disk: SimulatedDisk
    private let settings: SimulatedSettings
    private let planted: PlantedFault?
    private let lock: DirectoryLock<SimulatedDisk>
    private let directories: DataDirectories
    private var output = Output()

    // The log thread.
    private var worker: StorageWorker<SimulatedDisk, NoGzip>
    private var driver = StorageReports()
    private var batches: [LogBatch] = []
    private var reports: [LogReport] = []
    private var unstoredBytes = 0

    // The snapshot thread, and the loop's side of it.
    private var snapshots: OwnSnapshots
    private var nextSnapshotMicroseconds: Int64 = 0

    /// Opens the directories and recovers. Nothing is served before `begin`.
    ///
    /// - Throws: why the server does not start.
    package init(
        on disk: SimulatedDisk,
        _ settings: SimulatedSettings,
        planted: PlantedFault? = nil,
        seed: UInt64,
        now: Now
    ) throws(StorageError) {
        self.disk = disk
        self.settings = settings
        self.planted = planted
        var directories = settings.directories
        lock = try directories.open(on: disk, creates: true, owner: "simulated server")
        self.directories = directories
        var restored = RestoredCore(ServerCore(options: settings.core, seed: seed, now: now), planted: planted)
        recovery = try Recovery(
            disk: disk,
            directories: directories,
            gzip: NoGzip(),
            options: SimulatedServer.recoveryOptions(settings, planted)
        ).run(into: &restored)
        var core = restored.finish()
        snapshots = OwnSnapshots(
            disk,
            directories,
            OwnSnapshots.Options(
                compression: settings.compression,
                chunkBytes: settings.snapshotChunkBytes,
                writesLastProcessed: settings.writesLastProcessed,
                retained: settings.retainedSnapshots,
                maximumRecordBytes: settings.maximumRecordBytes
            )
        )
        if recovery.database == .created { try snapshots.writeFirst(of: &core) }
        self.core = core
        worker = try StorageWorker(
            disk: disk,
            directories: directories,
            gzip: NoGzip(),
            lastZxid: recovery.lastZxid,
            options: StorageWorkerOptions(
                log: TxnLogOptions(
                    preallocationBytes: settings.preallocationBytes,
                    reserveBytes: settings.reserveBytes,
                    lastBytes: Int64(settings.lastLogBytes)
                ),
                flush: FlushPolicy(maximumFileBytes: settings.maximumLogBytes)
            )
        )
    }

    static func recoveryOptions(_ settings: SimulatedSettings, _ planted: PlantedFault?) -> RecoveryOptions {
        var options = RecoveryOptions()
        options.limits = ReadingLimits(
            maxBufferBytes: settings.maximumRecordBytes,
            extendedTypes: settings.core.extendedTypes
        )
        options.comparesDigests = settings.core.digestEnabled
        options.forcesSync = planted != .recoveredUnsynced
        return options
    }

    /// Lets clients in.
    package func begin(at now: Now) {
        setLogRoom(worker.space, worker.availableBytes, at: now)
        core.start(lastZxid: recovery.lastZxid, at: now, into: &output)
        if recovery.replayedCount > 0 { beginSnapshot(at: now) }
        snapshots.isPurging = recovery.allowsPurge
        endTurn(at: now)
    }

    /// The tree and the sessions as they are applied. Not while a snapshot is under way.
    package func picture() throws(RestoreError) -> NaiveTree {
        let head = core.beginSnapshot()
        var nodes = JuteWriter()
        while core.continueSnapshot(maxBytes: 1 << 16, into: &nodes) {}
        return try nodes.withBytes { (bytes) throws(RestoreError) in try NaiveTree(head, encodedNodes: bytes) }
    }

    // MARK: - The loop

    package func accept(_ address: String, at now: Now) -> ConnectionID {
        core.accept(PeerAddress(text: address, port: 1), at: now)
    }

    package func receive(_ frame: [UInt8], from connection: ConnectionID, at now: Now) {
        frame.withUnsafeBytes { core.receive($0, from: connection, at: now, into: &output) }
    }

    package func disconnected(_ connection: ConnectionID, at now: Now) {
        core.closed(connection, at: now, into: &output)
    }

    package func advance(to now: Now) {
        core.advance(to: now, into: &output)
    }

    /// Whether as many bytes wait for the disk as may: then writes wait with their connections.
    package var isLogBehind: Bool { unstoredBytes + output.logBytes.count >= settings.maximumUnstoredBytes }

    /// Carries out what the core wants done.
    package func endTurn(at now: Now) {
        while !output.isEmpty {
            if !output.log.isEmpty || output.isSnapshotDue { submit(at: now) }
            output.clientBytes.withBytes { bytes in
                for action in output.clients {
                    switch action {
                    case .send(let id, let range): split(bytes[range], to: id)
                    case .close(let id): deliveries.append(.close(id))
                    }
                }
            }
            for note in output.notes where note.level == .error && !note.message.contains("disk") {
                complaints.append(note.message)
            }
            for note in output.notes where note.message.hasPrefix("removing ephemerals") {
                complaints.append(note.message)
            }
            let isSnapshotDue = output.isSnapshotDue
            output.reset()
            if isSnapshotDue { beginSnapshot(at: now) }
        }
    }

    private func submit(at now: Now) {
        let batch = LogBatch()
        output.logBytes.withBytes { batch.bytes.raw($0) }
        batch.records = output.log
        batch.rollsAfter = output.isSnapshotDue
        batch.submittedMicroseconds = now.monotonicMicroseconds
        for record in batch.records {
            let txn = batch.bytes.withBytes(in: record.range) { try? Txn(payload: $0) }
            if let txn { submitted.append(txn) } else { complaints.append("a record that cannot be read") }
        }
        unstoredBytes += batch.storedBytes
        batches.append(batch)
        if planted == .replyBeforeSync, let last = batch.records.last {
            reports.append(
                LogReport(durable: last.zxid, space: worker.space, availableBytes: worker.availableBytes)
            )
        }
    }

    private func split(_ bytes: Slice<UnsafeRawBufferPointer>, to id: ConnectionID) {
        var rest = UnsafeRawBufferPointer(rebasing: bytes)
        while rest.count >= 4 {
            let length = Int(Int32(bigEndian: rest.loadUnaligned(as: Int32.self)))
            deliveries.append(.frame(id, [UInt8](rest[4..<4 + length])))
            rest = UnsafeRawBufferPointer(rebasing: rest[(4 + length)...])
        }
    }

    /// Takes the oldest report of the log thread.
    package func takeLogReport(at now: Now) {
        guard !reports.isEmpty else { return }
        let report = reports.removeFirst()
        unstoredBytes -= report.batches.reduce(0) { $0 + $1.storedBytes }
        setLogRoom(report.space, report.availableBytes, at: now)
        core.durable(upTo: report.durable, at: now, into: &output)
    }

    private func setLogRoom(_ space: LogSpace, _ availableBytes: Int64, at now: Now) {
        if space != .ok { counts.wasSpaceLow = true }
        if space == .exhausted { counts.wasSpaceExhausted = true }
        if planted == .fullDiskIgnored { return }
        if planted == .fullDiskRemembered, space == .ok, counts.wasSpaceLow { return }
        let room = LogRoom(
            space,
            availableBytes: availableBytes - Int64(unstoredBytes),
            lastBytes: Int64(settings.lastLogBytes),
            sessions: core.sessionCount
        )
        core.setLogRoom(room, at: now, into: &output)
    }

    // MARK: - The log thread

    package var hasLogWork: Bool { !batches.isEmpty }
    /// As far as the log thread knows.
    package var isSpaceLow: Bool { worker.space != .ok }
    /// After as long without work the log thread looks whether a full disk has room again.
    package static let spacePatienceMilliseconds: Int64 = 1000
    package var hasLogReports: Bool { !reports.isEmpty }

    /// Takes everything that waits, and flushes.
    package func stepLog(at now: Now) throws(StorageError) {
        let taken = batches
        batches = []
        driver.monotonicMicroseconds = now.monotonicMicroseconds
        defer { takeReports() }
        for batch in taken { try worker.perform(.append(batch), &driver) }
        try worker.endGroup(&driver)
    }

    private func takeReports() {
        for report in driver.reports {
            switch report {
            case .durable(let report):
                reports.append(report)
                guard report.flushMicroseconds != nil else { continue }
                if report.batches.reduce(0, { $0 + $1.bytes.count }) >= 64 << 10 { counts.largeFlushes += 1 }
            case .warning(.cannotRoll):
                counts.rollsRefused += 1
            case .warning, .acceptedEpochStored, .currentEpochStored, .truncated, .snapshotBytesWritten,
                .snapshotInstalled, .snapshotFailed:
                continue
            }
        }
        driver.reports = []
        counts.rolls = worker.statistics.rolls
    }

    /// Nothing was written for a while.
    package func noteSilence(at now: Now) throws(StorageError) {
        guard batches.isEmpty else { return }
        driver.monotonicMicroseconds = now.monotonicMicroseconds
        defer { takeReports() }
        try worker.wake(&driver)
    }

    /// Ends the process in order. Nothing may be called afterwards.
    package func close() throws(StorageError) {
        snapshots.abandon(&core)
        try worker.close(&driver)
    }

    // MARK: - Snapshots and purge

    package var isSnapshotUnderWay: Bool { snapshots.isUnderWay }
    package var isPurgeUnderWay: Bool { snapshots.isPurging }
    /// A log has ended, and the next has not begun.
    package var isBetweenLogs: Bool { counts.rolls > 0 && worker.fileBytes == 0 }

    /// Begins one, unless one is under way or has failed a moment ago.
    package func beginSnapshot(at now: Now) {
        guard now.monotonicMicroseconds >= nextSnapshotMicroseconds else { return }
        snapshots.begin(&core)
    }

    /// Encodes the next nodes: the loop's part.
    package func encodeSnapshot() { snapshots.encode(&core) }

    /// Carries out the next order, or the next piece of a purge: the thread's part. It survives every error but the loss
    /// of power.
    package func stepSnapshots(at now: Now) {
        switch snapshots.step(&core) {
        case .working:
            break
        case .written:
            counts.snapshots += 1
        case .failed:
            counts.snapshotsFailed += 1
            nextSnapshotMicroseconds = now.monotonicMicroseconds + 60_000_000
        case .purged(let count, let isOver):
            counts.filesPurged += count
            if isOver, planted == .purgeOfNeededLog { removeOlderLogs() }
        }
    }

    /// The planted mistake: a log is taken for older than a snapshot by its name alone.
    private func removeOlderLogs() {
        let newest = disk.files(in: directories.snapshots).keys.compactMap { FileNames.snapshotZxid($0)?.zxid }.max()
        guard let newest else { return }
        for name in disk.files(in: directories.logs).keys.sorted() {
            guard let zxid = FileNames.logZxid(name), zxid < newest else { continue }
            try? disk.remove(FileNames.join(directories.logs, name))
        }
    }
}
