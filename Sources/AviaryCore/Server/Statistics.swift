import ZooKeeperProtocol

/// Count, sum and extremes of a series.
package struct Summary: Sendable {
    package private(set) var count = 0
    package private(set) var sum: Int64 = 0
    /// 0 when there is none.
    package private(set) var min: Int64 = 0
    package private(set) var max: Int64 = 0

    package init() {}

    package mutating func add(_ value: Int64) {
        min = count == 0 ? value : Swift.min(min, value)
        max = count == 0 ? value : Swift.max(max, value)
        count += 1
        sum += value
    }

    package var average: Double { count == 0 ? 0 : Double(sum) / Double(count) }
}

/// A series of durations in milliseconds whose percentiles can be told within some per cent.
package struct LatencyHistogram: Sendable {
    package private(set) var summary = Summary()
    /// Logarithmic buckets with eight steps each; 40 octaves hold any 64-bit millisecond count of a lifetime.
    private var buckets = [Int32](repeating: 0, count: 40 * 8)

    package init() {}

    package mutating func add(_ milliseconds: Int64) {
        summary.add(milliseconds)
        let index = LatencyHistogram.bucket(milliseconds)
        buckets[index] &+= 1
    }

    private static func bucket(_ value: Int64) -> Int {
        guard value >= 8 else { return Int(Swift.max(value, 0)) }
        let octave = 63 - value.leadingZeroBitCount
        let step = Int(value >> (octave - 3)) & 7
        return Swift.min((octave - 2) * 8 + step, 40 * 8 - 1)
    }

    /// The lower bound of the bucket that holds the given share (0…1) of the values.
    package func percentile(_ share: Double) -> Int64 {
        guard summary.count > 0 else { return 0 }
        let rank = Swift.max(1, Int(Double(summary.count) * share))
        var seen = 0
        for index in buckets.indices {
            seen += Int(buckets[index])
            if seen >= rank {
                return index < 8 ? Int64(index) : Int64(8 + index % 8) << (index / 8 - 1)
            }
        }
        return summary.max
    }
}

/// What the core counts, for `srvr`, `stat` and `mntr`.
package struct ServerStatistics: Sendable {
    package var packetsReceived = 0
    package var packetsSent = 0
    /// Milliseconds from a request's arrival to its reply.
    package var latency = Summary()
    package var readLatency = LatencyHistogram()
    package var updateLatency = LatencyHistogram()

    /// −1 when there was none yet.
    package var lastResponseBytes = -1
    package var minResponseBytes = -1
    package var maxResponseBytes = -1
    package var responseBytes = 0
    package var watchBytes = 0

    package var connectionRequests = 0
    package var connectionRevalidates = 0
    package var connectionDrops = 0
    package var sessionlessExpired = 0
    package var staleSessionsExpired = 0
    package var authFailures = 0
    package var throttledOps = 0
    package var staleReplies = 0
    package var ensembleAuthSuccess = 0
    package var ensembleAuthFail = 0
    package var ensembleAuthSkip = 0
    package var outstandingChangesQueued = 0
    package var outstandingChangesRemoved = 0
    package var commits = 0

    /// Of a leader: bytes of its transactions. −1 when there was none yet.
    package private(set) var lastProposalBytes = -1
    package private(set) var minProposalBytes = -1
    package private(set) var maxProposalBytes = -1
    package private(set) var proposals = 0

    /// Watches that one event fired.
    package var nodeCreatedWatches = Summary()
    package var nodeDeletedWatches = Summary()
    package var nodeChangedWatches = Summary()
    package var nodeChildrenWatches = Summary()

    package init() {}

    mutating func proposed(bytes: Int) {
        proposals += 1
        lastProposalBytes = bytes
        if minProposalBytes < 0 || bytes < minProposalBytes { minProposalBytes = bytes }
        if bytes > maxProposalBytes { maxProposalBytes = bytes }
    }

    mutating func replied(bytes: Int) {
        packetsSent += 1
        responseBytes += bytes
        lastResponseBytes = bytes
        if minResponseBytes < 0 || bytes < minResponseBytes { minResponseBytes = bytes }
        if bytes > maxResponseBytes { maxResponseBytes = bytes }
    }
}

/// What is counted of one connection, for `cons` and `stat`.
struct ConnectionStatistics {
    var received = 0
    var sent = 0
    var lastOperation = "NA"
    /// −1: none yet.
    var lastCxid: Int64 = -1
    var lastZxid: Int64 = -1
    var lastResponseMicroseconds: Int64 = 0
    var lastLatency: Int64 = 0
    var latency = Summary()

    @inline(__always)
    mutating func replied(_ operation: String, cxid: Int32, zxid: Zxid, arrived: Int64, now: Now) {
        sent += 1
        lastOperation = operation
        lastCxid = Int64(UInt32(bitPattern: cxid))
        lastZxid = zxid.rawValue
        lastResponseMicroseconds = now.monotonicMicroseconds
        lastLatency = (now.monotonicMicroseconds - arrived) / 1000
        latency.add(lastLatency)
    }

    mutating func reset() {
        self = ConnectionStatistics()
    }
}
