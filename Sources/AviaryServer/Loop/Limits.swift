/// The bounds of one server, as numbers that the hot path compares with.
struct Limits: Sendable {
    /// `jute.maxbuffer`: the longest frame.
    var maximumFrameBytes: Int
    /// As many requests may be in flight before anybody is looked at for pausing.
    var outstandingRequests: Int
    /// Bytes of transactions that may wait for the disk. `TxnLogWriter` reserves space for more than that.
    var unstoredBytes = 4 << 20
    /// Reserved bytes of a full disk below which nothing more is written, not even the end of a session.
    var lastLogBytes = 1 << 20
    /// What the end of a session takes in the log, and not less.
    static let sessionEndBytes = 80
    /// `largeRequestThreshold`: frames from this length on count as large; `Int.max` is never.
    var largeRequestBytes: Int
    /// `largeRequestMaxBytes`.
    var largeRequestTotalBytes: Int
    /// Bytes of one connection's requests that may wait, for the disk or behind others, before it is not read from until
    /// they are answered. The core keeps copies of them.
    var maximumUnansweredBytes = 4 << 20
    /// Unsent bytes of one client at which it is not read from any more, and at which it is again.
    var pauseUnsentBytes = 1 << 20
    var resumeUnsentBytes = 1 << 18
    /// Unsent bytes of one client at which it is closed unless it takes some of them: one answer may be larger, but what
    /// comes on top is notifications, and those are worth nothing to somebody who does not read.
    var maximumUnsentBytes: Int
    /// Bytes that may be held for all clients together: what they do not take, and what they have not finished or must
    /// wait for. Above it clients are closed: `HeldShare.victims` says which.
    var maximumClientBytes: Int
    /// Connections that there are descriptors for.
    var maximumConnections: Int
    /// Bytes of answers to one connection after which all others are looked at first.
    var turnReplyBytes = 64 << 10

    /// Descriptors that clients may not have: logs, snapshots, listeners, the event loop's own.
    static let reservedDescriptors = 32

    init(_ configuration: ServerConfiguration, maximumDescriptors: Int) {
        maximumFrameBytes = configuration.limits.maximumPacketSize
        outstandingRequests = min(
            configuration.limits.outstandingRequests + 1,
            configuration.requestThrottle.maximumRequests ?? .max
        )
        largeRequestBytes = configuration.limits.largeRequestThreshold.map { $0 + 1 } ?? .max
        largeRequestTotalBytes = configuration.limits.largeRequestMaximumTotal
        // One answer may be larger than a frame that a client may send.
        maximumUnsentBytes = max(16 << 20, 4 * configuration.limits.maximumPacketSize)
        // Less than this would not hold what one client may send, and be sent, at once.
        maximumClientBytes = max(
            configuration.limits.clientBytes ?? ProcessFacts.memoryLimit() / 4,
            4 * configuration.limits.maximumPacketSize
        )
        let descriptors = maximumDescriptors < 0 ? 1024 : maximumDescriptors
        maximumConnections = max(descriptors - Limits.reservedDescriptors, 1)
    }
}
