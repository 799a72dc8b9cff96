internal import AviaryCore
internal import AviaryStorage

/// What the shell counts, for `mntr`; the core counts the rest (`ServerStatistics`).
///
/// Plain integers: only the loop touches them. What the disk threads measure comes to the loop with their reports.
struct ShellMetrics {
    var bytesReceived = 0
    /// Connections turned away at the door: too many in total, or no descriptors left.
    var connectionsRejected = 0
    /// Connections that the shell closed on its own: garbage, oversized frames, slow readers.
    var connectionsDropped = 0
    /// Connections that the token bucket did not let in, as what it lacked.
    var tokenDeficit = Summary()
    var largeRequestsRejected = 0
    /// Times that reading stopped because too many requests were waiting.
    var throttleWaits = 0

    /// Microseconds are kept as milliseconds, as Apache counts them.
    var fsyncTime = Summary()
    var batchRecords = Summary()
    var logQueueLength = Summary()
    var logQueueTime = LatencyHistogram()
    var logFlushTime = LatencyHistogram()
    var logQueueAndFlushTime = LatencyHistogram()
    var recordsLogged = 0

    var snapshotTime = Summary()
    var snapshotErrors = 0

    /// Set once by recovery and kept by `reset`: they describe the start.
    var startup = Startup()

    struct Startup: Sendable {
        var databaseMilliseconds: Int64 = 0
        var snapshotMilliseconds: Int64 = 0
        var replayMilliseconds: Int64 = 0
        var transactions: Int64 = 0
        var digestMismatches: Int64 = 0
    }

    /// `srst`.
    mutating func reset() {
        let startup = startup
        self = ShellMetrics()
        self.startup = startup
    }

    mutating func flushed(_ report: LogReport) {
        guard let taken = report.flushMicroseconds else { return }
        fsyncTime.add(taken / 1000)
        batchRecords.add(Int64(report.records))
        logQueueLength.add(Int64(report.queueLength))
        logQueueTime.add(report.queuedMicroseconds / 1000)
        logFlushTime.add(taken / 1000)
        logQueueAndFlushTime.add((report.queuedMicroseconds + taken) / 1000)
        recordsLogged += report.records
    }
}
