internal import AviaryCore
internal import AviaryStorage
internal import ZooKeeperProtocol

/// The transactions of one turn of the loop, on their way to the disk.
///
/// The memory goes back and forth between the loop and the log thread, and exactly one of them has it at any time:
/// whoever holds the reference. That is the argument for `@unchecked Sendable`.
final class LogBatch: @unchecked Sendable {
    /// Payloads back to back; `records` says which is where.
    @exclusivity(unchecked) var bytes = JuteWriter(capacity: 4096)
    @exclusivity(unchecked) var records: [LogRecord] = []
    /// Whether a new log file begins behind these records.
    var rollsAfter = false
    /// When the loop handed it over.
    var submittedMicroseconds: Int64 = 0

    /// What it takes in a log file, or a little more.
    var storedBytes: Int { bytes.count + 16 * records.count }

    /// Forgets everything but the memory.
    func reset() {
        bytes.removeAll()
        records.removeAll(keepingCapacity: true)
        rollsAfter = false
    }
}

/// What the log thread tells the loop after a flush.
struct LogReport: Sendable {
    /// Everything up to here survives a power failure.
    var durable: Zxid
    var space: LogSpace
    /// Bytes that can still be appended into reserved space.
    var availableBytes: Int64
    /// Whose memory may be used again.
    var batches: [LogBatch] = []
    /// Records in this flush.
    var records = 0
    /// How long the flush took; nil when there was none.
    var flushMicroseconds: Int64?
    /// How long the oldest record waited for the flush to begin.
    var queuedMicroseconds: Int64 = 0
    /// Batches that were waiting when the flush began.
    var queueLength = 0
}

/// What a flush waits for (`flushDelay`, `maxBatchSize`, `maxWriteQueuePollTime`).
struct FlushPolicy: Sendable {
    /// How long a record may wait for company; 0 is not at all.
    var delayMicroseconds: Int64 = 0
    /// How long to wait for the next record before the flush, within `delayMicroseconds`.
    var pollMicroseconds: Int64 = 0
    /// Records in one flush.
    var maximumRecords = Int.max
    /// Bytes after which a new file begins (`txnLogSizeLimitInKb`).
    var maximumFileBytes = Int.max
    /// A flush that takes longer is logged.
    var warningMicroseconds: Int64 = 1_000_000
}

/// The loop's end of the log thread: a queue of batches, and reports coming back.
///
/// While the thread waits for the disk, batches gather; it takes them all at once and flushes once. So the slower the
/// disk, the larger the groups, and no setting is needed for that.
final class LogThread: Sendable {
    let shared = Shared()

    /// What both threads touch, under the monitor: hence `@unchecked Sendable`.
    final class Shared: @unchecked Sendable {
        let monitor = Monitor()
        var waiting: [LogBatch] = []
        var isStopping = false
    }

    /// Starts the thread, which owns `writer` until it ends.
    ///
    /// - Parameters:
    ///   - report: called on the log thread after every flush, and once last with `nil` when it has ended.
    ///   - failed: called on the log thread with an error that it cannot go on after; nothing but its end follows.
    /// - Returns: whether the system had a thread to give.
    func start<D: Disk>(
        _ writer: consuming TxnLogWriter<D>,
        policy: FlushPolicy,
        warn: @escaping @Sendable (LogWarning) -> Void,
        report: @escaping @Sendable (LogReport?) -> Void,
        failed: @escaping @Sendable (StorageError) -> Void
    ) -> Bool {
        let worker = LogWorker(
            writer: writer,
            queue: shared,
            policy: policy,
            warn: warn,
            report: report,
            failed: failed
        )
        return DiskThread.start("aviary-log") { worker.run() }
    }

    /// Hands a batch over. Only on the loop.
    func submit(_ batch: LogBatch) {
        shared.monitor.locked {
            shared.waiting.append(batch)
            shared.monitor.signal()
        }
    }

    /// Lets the thread finish what it has and end.
    func stop() {
        shared.monitor.locked {
            shared.isStopping = true
            shared.monitor.signal()
        }
    }
}

/// What the log thread wants an operator to know.
enum LogWarning: Sendable {
    case slowFlush(microseconds: Int64, records: Int)
    /// The log goes on in the old file, because there is no space for a new one.
    case cannotRoll
    /// At the end, when everything is stored already.
    case closeFailed(StorageError)
}

/// The log thread itself: the only one that touches `writer`, hence `@unchecked Sendable`.
private final class LogWorker<D: Disk>: @unchecked Sendable {
    @exclusivity(unchecked) private var writer: TxnLogWriter<D>
    private let queue: LogThread.Shared
    private let policy: FlushPolicy
    private let warn: @Sendable (LogWarning) -> Void
    private let report: @Sendable (LogReport?) -> Void
    private let failed: @Sendable (StorageError) -> Void

    /// Appended and not flushed.
    @exclusivity(unchecked) private var unflushed: [LogBatch] = []
    @exclusivity(unchecked) private var unflushedRecords = 0
    private var oldestMicroseconds: Int64 = 0
    private var isMarkOpen = false
    private var reportedSpace = LogSpace.ok
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

    init(
        writer: consuming TxnLogWriter<D>,
        queue: LogThread.Shared,
        policy: FlushPolicy,
        warn: @escaping @Sendable (LogWarning) -> Void,
        report: @escaping @Sendable (LogReport?) -> Void,
        failed: @escaping @Sendable (StorageError) -> Void
    ) {
        self.writer = writer
        self.queue = queue
        self.policy = policy
        self.warn = warn
        self.report = report
        self.failed = failed
    }

    func run() {
        do throws(StorageError) {
            // Whoever started the thread has seen to it that the loop knows.
            reportedSpace = writer.space
            var taken: [LogBatch] = []
            while let reason = next(into: &taken) {
                switch reason {
                case .batches:
                    for batch in taken { try append(batch) }
                    if policy.delayMicroseconds <= 0 { try flush() }
                case .flushDue:
                    try flush()
                case .silence:
                    try sealMark()
                }
                taken.removeAll(keepingCapacity: true)
                if reportedSpace != .ok { try lookForSpace() }
            }
            try flush()
        } catch {
            failed(error)
            return report(nil)
        }
        do throws(StorageError) { try writer.close() } catch { warn(.closeFailed(error)) }
        report(nil)
    }

    private enum WakeUp { case batches, flushDue, silence }

    /// Sleeps until there is something to do; nil when the thread is to end and everything is taken.
    private func next(into taken: inout [LogBatch]) -> WakeUp? {
        let deadline = sleepDeadline
        return queue.monitor.locked {
            while queue.waiting.isEmpty {
                if queue.isStopping { return nil }
                guard let deadline else {
                    queue.monitor.wait()
                    continue
                }
                guard SystemClock.monotonicMicroseconds() < deadline else {
                    return unflushed.isEmpty ? .silence : .flushDue
                }
                queue.monitor.wait(until: deadline)
            }
            swap(&taken, &queue.waiting)
            return .batches
        }
    }

    private var sleepDeadline: Int64? {
        if !unflushed.isEmpty {
            let now = SystemClock.monotonicMicroseconds()
            return min(oldestMicroseconds + policy.delayMicroseconds, now + policy.pollMicroseconds)
        }
        guard isMarkOpen || reportedSpace != .ok else { return nil }
        return SystemClock.monotonicMicroseconds() + Self.patienceMicroseconds
    }

    private func append(_ batch: LogBatch) throws(StorageError) {
        if unflushed.isEmpty { oldestMicroseconds = batch.submittedMicroseconds }
        unflushed.append(batch)
        for record in batch.records {
            batch.bytes.withBytes(in: record.range) { writer.append($0, zxid: record.zxid) }
            unflushedRecords += 1
            if unflushedRecords >= policy.maximumRecords { try flush(keeping: batch) }
        }
        if batch.rollsAfter {
            try flush()
            isRollDue = true
            try rollIfDue()
        } else if SystemClock.monotonicMicroseconds() >= oldestMicroseconds + policy.delayMicroseconds,
            policy.delayMicroseconds > 0
        {
            try flush()
        }
    }

    /// - Parameter batch: is still being read.
    private func flush(keeping batch: LogBatch? = nil) throws(StorageError) {
        guard !unflushed.isEmpty else { return }
        var finished = LogReport(durable: writer.durableZxid, space: writer.space, availableBytes: 0)
        finished.records = unflushedRecords
        finished.queueLength = unflushed.count
        if unflushedRecords > 0 {
            let start = SystemClock.monotonicMicroseconds()
            finished.durable = try writer.flush()
            let taken = SystemClock.monotonicMicroseconds() - start
            finished.flushMicroseconds = taken
            finished.queuedMicroseconds = max(start - oldestMicroseconds, 0)
            if taken > policy.warningMicroseconds {
                warn(.slowFlush(microseconds: taken, records: unflushedRecords))
            }
            isMarkOpen = true
            if writer.statistics.bytes - bytesAtRoll >= policy.maximumFileBytes { isRollDue = true }
            try rollIfDue()
        }
        finished.space = writer.space
        finished.availableBytes = writer.availableBytes
        reportedSpace = writer.space
        finished.batches = unflushed
        unflushed.removeAll(keepingCapacity: true)
        if let batch {
            finished.batches.removeLast()
            unflushed.append(batch)
        }
        unflushedRecords = 0
        report(finished)
    }

    /// A roll that fails changes nothing for the file that goes on, so it is told of once and not tried with every group.
    private func rollIfDue() throws(StorageError) {
        guard isRollDue, nextRoll == 0 || SystemClock.monotonicMicroseconds() >= nextRoll else { return }
        if try writer.roll() {
            bytesAtRoll = writer.statistics.bytes
            isRollDue = false
            isRollFailing = false
            nextRoll = 0
        } else {
            if !isRollFailing { warn(.cannotRoll) }
            isRollFailing = true
            nextRoll = SystemClock.monotonicMicroseconds() + Self.rollPatienceMicroseconds
        }
    }

    private func sealMark() throws(StorageError) {
        guard isMarkOpen else { return }
        try writer.sealMark()
        isMarkOpen = false
    }

    /// Not at every wake-up: a full disk is asked once in a while, however many sessions close meanwhile.
    private func lookForSpace() throws(StorageError) {
        let now = SystemClock.monotonicMicroseconds()
        guard now - lookedForSpace >= Self.patienceMicroseconds else { return }
        lookedForSpace = now
        let space = try writer.retryAllocation()
        guard space != reportedSpace else { return }
        reportedSpace = space
        if space == .ok { nextRoll = 0 }
        report(LogReport(durable: writer.durableZxid, space: space, availableBytes: writer.availableBytes))
    }
}
