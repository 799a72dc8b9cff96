package import ZooKeeperProtocol

package struct StorageWorkerOptions: Sendable {
    package var log: TxnLogOptions
    package var flush: FlushPolicy
    package var limits: ReadingLimits
    /// How a leader's snapshot is stored (`snapshot.compression.method`).
    package var compression: SnapshotCompression
    /// Whether the last applied zxid stands in it (`serializeLastProcessedZxid.enabled`).
    package var writesLastProcessed: Bool

    package init(
        log: TxnLogOptions = TxnLogOptions(),
        flush: FlushPolicy = FlushPolicy(),
        limits: ReadingLimits = ReadingLimits(),
        compression: SnapshotCompression = .none,
        writesLastProcessed: Bool = true
    ) {
        self.log = log
        self.flush = flush
        self.limits = limits
        self.compression = compression
        self.writesLastProcessed = writesLastProcessed
    }
}

/// Carries out what is to be stored, one order after the other: the log, the epochs, and what a leader has to say about
/// both (docs/protocol/quorum-protocol.md sections 8 to 10).
///
/// One order is finished before the next begins, but for consecutive groups of transactions, which share a sync. So
/// everything that was to be appended is durable when an epoch is stored, and everything is as a leader wants it when that
/// is reported: whoever gives the orders need not wait in between. Owned by one thread, or by a simulator; calls block as
/// long as the disk does.
///
/// ```
/// while let orders = take() {                    // whoever drives it
///     for order in orders { try worker.perform(order, &driver) }
///     try worker.endGroup(&driver)               // reports what has become durable
/// }
/// ```
///
/// What is thrown is fatal: the process ends, and the next start finds out what the disk holds (hazards H12 and H13).
package struct StorageWorker<D: Disk, Gzip: StreamCodec>: ~Copyable {
    private let disk: D
    private let directories: DataDirectories
    private let gzip: Gzip
    private let options: StorageWorkerOptions

    private var log: GroupCommit<D>
    private var installer: SnapshotInstaller<D, Gzip>
    /// Whether a snapshot failed whose orders may still come.
    private var passesOverSnapshot = false
    /// Whether the note that this member has lost its memory is still there.
    private var hasLostMemory: Bool
    /// What the snapshot that is being received is the state after.
    private var incomingZxid = Zxid.zero

    /// Opens the log, with space reserved for the first records as far as there is any.
    ///
    /// - Parameters:
    ///   - directories: opened, and this process's alone.
    ///   - lastZxid: what recovery found last.
    ///   - hasLostMemory: whether recovery found a note that says so (`MemberState.remembersAll`).
    package init(
        disk: D,
        directories: DataDirectories,
        gzip: Gzip,
        lastZxid: Zxid,
        options: StorageWorkerOptions,
        hasLostMemory: Bool = false
    ) throws(StorageError) {
        self.disk = disk
        self.directories = directories
        self.gzip = gzip
        self.options = options
        self.hasLostMemory = hasLostMemory
        log = try StorageWorker.openLog(disk, directories, lastZxid, options)
        installer = SnapshotInstaller(
            disk: disk,
            directories: directories,
            compression: options.compression,
            gzip: gzip
        )
    }

    private static func openLog(
        _ disk: D,
        _ directories: DataDirectories,
        _ lastZxid: Zxid,
        _ options: StorageWorkerOptions
    ) throws(StorageError) -> GroupCommit<D> {
        var writer = TxnLogWriter(
            disk: disk,
            directory: directories.logs,
            lastZxid: lastZxid,
            options: options.log
        )
        try writer.prepare()
        return GroupCommit(writer, policy: options.flush)
    }

    /// Everything up to here survives a power failure.
    package var durableZxid: Zxid { log.durableZxid }
    package var space: LogSpace { log.space }
    /// Bytes that can still be appended into reserved space.
    package var availableBytes: Int64 { log.availableBytes }
    /// Bytes of records in the current log file; 0 before the first.
    package var fileBytes: Int64 { log.fileBytes }
    package var statistics: TxnLogWriter<D>.Statistics { log.statistics }

    // MARK: - Orders

    /// Carries out one order. What was appended may wait for `endGroup` with its sync.
    package mutating func perform<Driver: StorageDriver & ~Copyable>(
        _ order: StorageOrder,
        _ driver: inout Driver
    ) throws(StorageError) {
        if case .append(let batch) = order {
            invariant(!installer.isReceiving, "transactions for a log that a snapshot is about to replace")
            return try log.append(batch, &driver)
        }
        try log.flush(&driver)
        switch order {
        case .append:
            break
        case .storeAccepted(let epoch):
            try store(&driver) { (files) throws(StorageError) in try files.store(accepted: epoch) }
            driver.report(.acceptedEpochStored(epoch))
        case .storeCurrent(let epoch):
            try store(&driver) { (files) throws(StorageError) in try files.store(current: epoch) }
            // Everything up to this epoch is here again, and on disk.
            if hasLostMemory { try LostMemory(disk: disk, directory: directories.snapshots).clear() }
            hasLostMemory = false
            driver.report(.currentEpochStored(epoch))
        case .truncate(let zxid):
            try truncate(after: zxid, &driver)
        case .beginSnapshot, .snapshotBytes, .finishSnapshot, .abandonSnapshot:
            try receive(order, &driver)
        }
    }

    /// No order waits any more: what was appended is made durable, unless the policy lets it wait for company.
    package mutating func endGroup<Driver: StorageDriver & ~Copyable>(_ driver: inout Driver) throws(StorageError) {
        try log.endGroup(&driver)
    }

    /// - Returns: when to call `wake` if no order comes before; nil when there is nothing to do without one.
    package func deadline<Driver: StorageDriver & ~Copyable>(_ driver: borrowing Driver) -> Int64? {
        log.deadline(driver)
    }

    /// No order came until `deadline`: stores what waited for company, notes that the last group is stable, or looks for
    /// space.
    package mutating func wake<Driver: StorageDriver & ~Copyable>(_ driver: inout Driver) throws(StorageError) {
        try log.wake(&driver)
    }

    /// Makes durable what was appended, and nothing else: the part of stopping that has to succeed.
    package mutating func flush<Driver: StorageDriver & ~Copyable>(_ driver: inout Driver) throws(StorageError) {
        try log.flush(&driver)
    }

    /// Ends in order: after this a start has nothing to put right. The worker must not be used afterwards.
    package mutating func close<Driver: StorageDriver & ~Copyable>(_ driver: inout Driver) throws(StorageError) {
        installer.abandon()
        try log.close(&driver)
    }

    // MARK: - What a leader wants

    /// On a disk that is full the log has space reserved; an epoch takes little of it, and without it a member could not
    /// even say that its disk is full.
    private mutating func store<Driver: StorageDriver & ~Copyable>(
        _ driver: inout Driver,
        _ body: (EpochFiles<D>) throws(StorageError) -> Void
    ) throws(StorageError) {
        let files = EpochFiles(disk: disk, directory: directories.snapshots)
        do throws(StorageError) {
            try body(files)
        } catch {
            guard case .epochNotStored(let reason) = error, reason.reason == .noSpace,
                try log.giveUpSpace(Self.epochBytes, &driver)
            else { throw error }
            try body(files)
        }
    }

    /// What an epoch file and its name take, with some room for how a file system counts.
    private static var epochBytes: Int64 { 64 << 10 }

    private mutating func truncate<Driver: StorageDriver & ~Copyable>(
        after zxid: Zxid,
        _ driver: inout Driver
    ) throws(StorageError) {
        try log.close(&driver)
        let result = try LogCut(disk: disk, directories: directories, gzip: gzip, limits: options.limits)
            .cut(after: zxid)
        try reopenLog(after: result.lastZxid)
        driver.report(
            .truncated(to: result.lastZxid, setAside: result.setAside, hasSnapshot: result.hasSnapshot)
        )
        // Another file is written to, with another reserve.
        log.reportSpace(&driver)
    }

    private mutating func receive<Driver: StorageDriver & ~Copyable>(
        _ order: StorageOrder,
        _ driver: inout Driver
    ) throws(StorageError) {
        do throws(InstallError) {
            try carryOut(order, &driver)
        } catch {
            switch error {
            case .fatal(let error):
                throw error
            case .givenUp(let error):
                installer.abandon()
                passesOverSnapshot = true
                driver.report(.snapshotFailed(error))
            }
        }
        if case .snapshotBytes(let piece) = order { driver.report(.snapshotBytesWritten(piece)) }
    }

    private mutating func carryOut<Driver: StorageDriver & ~Copyable>(
        _ order: StorageOrder,
        _ driver: inout Driver
    ) throws(InstallError) {
        switch order {
        case .beginSnapshot(let zxid):
            installer.abandon()
            passesOverSnapshot = false
            incomingZxid = zxid
            do throws(StorageError) {
                try installer.begin(zxid) { driver.report(.warning(.cannotRemove($0))) }
            } catch {
                throw .givenUp(error)
            }
        case .snapshotBytes(let piece):
            guard !passesOverSnapshot else { return }
            do throws(StorageError) { try append(piece) } catch { throw .givenUp(error) }
        case .finishSnapshot(let digest):
            guard !passesOverSnapshot else { return }
            try install(digest, &driver)
        case .abandonSnapshot:
            installer.abandon()
            passesOverSnapshot = false
        case .append, .storeAccepted, .storeCurrent, .truncate:
            return
        }
    }

    private mutating func append(_ piece: SnapshotPiece) throws(StorageError) {
        try piece.bytes.withBytes { (bytes) throws(StorageError) in try installer.append(bytes) }
    }

    private mutating func install<Driver: StorageDriver & ~Copyable>(
        _ digest: UInt64?,
        _ driver: inout Driver
    ) throws(InstallError) {
        // The log that is open is among what is moved away.
        do throws(StorageError) { try log.close(&driver) } catch { throw .fatal(error) }
        let last = log.durableZxid
        if incomingZxid < last { try noteLoss(of: last) }
        do throws(InstallError) {
            let zxid = try installer.finish(digest: digest, lastProcessed: options.writesLastProcessed)
            do throws(StorageError) { try reopenLog(after: zxid) } catch { throw .fatal(error) }
            driver.report(.snapshotInstalled(zxid))
        } catch {
            guard case .givenUp = error else { throw error }
            do throws(StorageError) { try reopenLog(after: last) } catch { throw .fatal(error) }
            throw error
        }
        log.reportSpace(&driver)
    }

    /// A leader may send a snapshot that is behind what this member has acknowledged, and the transactions between the two
    /// after it. Until they are here again, and with them the epoch, this member must not vote with what it has.
    private mutating func noteLoss(of last: Zxid) throws(InstallError) {
        guard !hasLostMemory else { return }
        let reason = "A leader's snapshot \(incomingZxid) takes the place of a history up to \(last).\n"
        do throws(StorageError) {
            let epoch = try EpochFiles(disk: disk, directory: directories.snapshots).readCurrent() ?? .zero
            let promised = HistoryEnd(epoch: epoch, zxid: last)
            try LostMemory(disk: disk, directory: directories.snapshots).note(reason, promised: promised)
        } catch {
            throw .fatal(error)
        }
        hasLostMemory = true
    }

    private mutating func reopenLog(after zxid: Zxid) throws(StorageError) {
        log = try StorageWorker.openLog(disk, directories, zxid, options)
    }

}
