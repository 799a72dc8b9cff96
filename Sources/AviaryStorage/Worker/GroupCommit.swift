internal import ZooKeeperProtocol

/// What a flush waits for (`flushDelay`, `maxBatchSize`, `maxWriteQueuePollTime`).
package struct FlushPolicy: Sendable {
    /// How long a record may wait for company; 0 is not at all.
    package var delayMicroseconds: Int64
    /// How long to wait for the next record before the flush, within `delayMicroseconds`.
    package var pollMicroseconds: Int64
    /// Records in one flush.
    package var maximumRecords: Int
    /// Bytes after which a new file begins (`txnLogSizeLimitInKb`).
    package var maximumFileBytes: Int
    /// A flush that takes longer is told of.
    package var warningMicroseconds: Int64

    package init(
        delayMicroseconds: Int64 = 0,
        pollMicroseconds: Int64 = 0,
        maximumRecords: Int = .max,
        maximumFileBytes: Int = .max,
        warningMicroseconds: Int64 = 1_000_000
    ) {
        self.delayMicroseconds = delayMicroseconds
        self.pollMicroseconds = pollMicroseconds
        self.maximumRecords = maximumRecords
        self.maximumFileBytes = maximumFileBytes
        self.warningMicroseconds = warningMicroseconds
    }
}

/// Groups of transactions, one sync for each; and what goes with that: rolls, the search for space on a full disk, and
/// the seal on the durable mark once nothing comes any more.
struct GroupCommit<D: Disk>: ~Copyable {
    private var writer: TxnLogWriter<D>
    private let policy: FlushPolicy

    /// Appended and not flushed.
    private var unflushed: [LogBatch] = []
    private var unflushedRecords = 0
    private var oldestMicroseconds: Int64 = 0
    private var isMarkOpen = false
    private var reportedSpace: LogSpace
    private var lookedForSpace: Int64 = 0
    private var bytesAtRoll = 0
    private var isRollDue = false
    /// When a roll may be tried that failed before; 0 is at once.
    private var nextRoll: Int64 = 0
    private var isRollFailing = false

    /// How long the log goes on in its file before a roll that failed is tried again.
    private static var rollPatienceMicroseconds: Int64 { 10_000_000 }
    /// How often to look for space while there is none, and after how much silence the last group's mark is sealed.
    private static var patienceMicroseconds: Int64 { 1_000_000 }

    /// - Parameter writer: whoever makes this has told whom it concerns how much space it has.
    init(_ writer: consuming TxnLogWriter<D>, policy: FlushPolicy) {
        reportedSpace = writer.space
        self.writer = writer
        self.policy = policy
    }

    var durableZxid: Zxid { writer.durableZxid }
    var space: LogSpace { writer.space }
    var availableBytes: Int64 { writer.availableBytes }
    var fileBytes: Int64 { writer.fileBytes }
    var statistics: TxnLogWriter<D>.Statistics { writer.statistics }

    var hasUnflushed: Bool { !unflushed.isEmpty }

    /// Takes a batch; it goes to disk with the next flush, or at once where the policy wants that.
    mutating func append<Driver: StorageDriver & ~Copyable>(
        _ batch: LogBatch,
        _ driver: inout Driver
    ) throws(StorageError) {
        if unflushed.isEmpty { oldestMicroseconds = batch.submittedMicroseconds }
        unflushed.append(batch)
        for record in batch.records {
            batch.bytes.withBytes(in: record.range) { writer.append($0, zxid: record.zxid) }
            unflushedRecords += 1
            if unflushedRecords >= policy.maximumRecords { try flush(keeping: batch, &driver) }
        }
        if batch.rollsAfter {
            try flush(&driver)
            isRollDue = true
            try rollIfDue(&driver)
        } else if policy.delayMicroseconds > 0,
            driver.monotonicMicroseconds >= oldestMicroseconds + policy.delayMicroseconds
        {
            try flush(&driver)
        }
    }

    /// Nothing else waits to be appended: the group is complete, unless the policy lets it wait.
    mutating func endGroup<Driver: StorageDriver & ~Copyable>(_ driver: inout Driver) throws(StorageError) {
        if policy.delayMicroseconds <= 0 { try flush(&driver) }
        if reportedSpace != .ok { try lookForSpace(&driver) }
    }

    /// - Returns: when to call `wake` if nothing comes before; nil when only something that comes needs doing.
    func deadline<Driver: StorageDriver & ~Copyable>(_ driver: borrowing Driver) -> Int64? {
        if !unflushed.isEmpty {
            return min(
                oldestMicroseconds + policy.delayMicroseconds,
                driver.monotonicMicroseconds + policy.pollMicroseconds
            )
        }
        guard isMarkOpen || reportedSpace != .ok else { return nil }
        return driver.monotonicMicroseconds + Self.patienceMicroseconds
    }

    /// Nothing came until `deadline`.
    mutating func wake<Driver: StorageDriver & ~Copyable>(_ driver: inout Driver) throws(StorageError) {
        if unflushed.isEmpty { try sealMark() } else { try flush(&driver) }
        if reportedSpace != .ok { try lookForSpace(&driver) }
    }

    mutating func flush<Driver: StorageDriver & ~Copyable>(
        keeping batch: LogBatch? = nil,
        _ driver: inout Driver
    ) throws(StorageError) {
        guard !unflushed.isEmpty else { return }
        var finished = LogReport(durable: writer.durableZxid, space: writer.space, availableBytes: 0)
        finished.records = unflushedRecords
        finished.queueLength = unflushed.count
        if unflushedRecords > 0 {
            let start = driver.monotonicMicroseconds
            finished.durable = try writer.flush()
            let taken = driver.monotonicMicroseconds - start
            finished.flushMicroseconds = taken
            finished.queuedMicroseconds = max(start - oldestMicroseconds, 0)
            if taken > policy.warningMicroseconds {
                driver.report(.warning(.slowFlush(microseconds: taken, records: unflushedRecords)))
            }
            isMarkOpen = true
            if writer.statistics.bytes - bytesAtRoll >= policy.maximumFileBytes { isRollDue = true }
            try rollIfDue(&driver)
        }
        finished.space = writer.space
        finished.availableBytes = writer.availableBytes
        reportedSpace = writer.space
        finished.batches = unflushed
        unflushed.removeAll(keepingCapacity: true)
        if let batch {
            // It is still being read.
            finished.batches.removeLast()
            unflushed.append(batch)
        }
        unflushedRecords = 0
        driver.report(.durable(finished))
    }

    /// Gives reserved space back to a disk that is full, and tells of it.
    ///
    /// - Returns: false when there is none to give.
    mutating func giveUpSpace<Driver: StorageDriver & ~Copyable>(
        _ bytes: Int64,
        _ driver: inout Driver
    ) throws(StorageError) -> Bool {
        guard try writer.giveUpSpace(bytes) else { return false }
        reportedSpace = writer.space
        reportSpace(&driver)
        return true
    }

    /// Tells how much space there is, as it is now.
    func reportSpace<Driver: StorageDriver & ~Copyable>(_ driver: inout Driver) {
        driver.report(
            .durable(
                LogReport(
                    durable: writer.durableZxid,
                    space: writer.space,
                    availableBytes: writer.availableBytes
                )
            )
        )
    }

    /// Flushes, and ends the file. The log is not used afterwards.
    mutating func close<Driver: StorageDriver & ~Copyable>(_ driver: inout Driver) throws(StorageError) {
        try flush(&driver)
        try writer.close()
    }

    /// A roll that fails changes nothing for the file that goes on, so it is told of once and not tried with every group.
    private mutating func rollIfDue<Driver: StorageDriver & ~Copyable>(
        _ driver: inout Driver
    ) throws(StorageError) {
        guard isRollDue, nextRoll == 0 || driver.monotonicMicroseconds >= nextRoll else { return }
        if try writer.roll() {
            bytesAtRoll = writer.statistics.bytes
            isRollDue = false
            isRollFailing = false
            nextRoll = 0
        } else {
            if !isRollFailing { driver.report(.warning(.cannotRoll)) }
            isRollFailing = true
            nextRoll = driver.monotonicMicroseconds + Self.rollPatienceMicroseconds
        }
    }

    private mutating func sealMark() throws(StorageError) {
        guard isMarkOpen else { return }
        try writer.sealMark()
        isMarkOpen = false
    }

    /// Not at every wake-up: a full disk is asked once in a while, however many sessions close meanwhile.
    private mutating func lookForSpace<Driver: StorageDriver & ~Copyable>(
        _ driver: inout Driver
    ) throws(StorageError) {
        let now = driver.monotonicMicroseconds
        guard now - lookedForSpace >= Self.patienceMicroseconds else { return }
        lookedForSpace = now
        let space = try writer.retryAllocation()
        guard space != reportedSpace else { return }
        reportedSpace = space
        if space == .ok { nextRoll = 0 }
        reportSpace(&driver)
    }
}
