/// The token bucket in front of new sessions (docs/protocol/client-protocol.md section 18).
///
/// A session takes tokens from a bucket that fills with time; without enough of them its connection is closed. With a
/// freeze time connections are also dropped by chance, with a probability that rises while the bucket is empty and falls
/// while it is full: clients that come back all at once are then spread out before the bucket is dry.
struct ConnectionThrottle {
    private let settings: ServerConfiguration.ConnectionThrottle
    private let capacity: Int
    private let fillCount: Int
    private let fillMilliseconds: Int64
    private let freezeMilliseconds: Int64?

    private var tokens: Int
    private var filled: Int64
    private var frozen: Int64
    /// Of dropping a connection although there are tokens; 0 to 1.
    private(set) var dropProbability = 0.0

    init(_ settings: ServerConfiguration.ConnectionThrottle, nowMilliseconds: Int64) {
        self.settings = settings
        let factor = settings.isWeighted ? settings.globalSessionWeight : 1
        capacity = settings.tokens * factor
        fillCount = settings.fillCount * factor
        fillMilliseconds = max(settings.fillTime.milliseconds, 1)
        freezeMilliseconds = settings.freezeTime?.milliseconds
        tokens = capacity
        filled = nowMilliseconds
        frozen = nowMilliseconds
    }

    var isOn: Bool { capacity > 0 }

    /// How many tokens the bucket lacks.
    var deficit: Int { capacity - tokens }

    /// Whether a connection may have its session.
    ///
    /// - Parameters:
    ///   - renewsSession: it comes with a session's id.
    ///   - chance: 0 to 1, new for each call.
    mutating func admits(renewsSession: Bool, nowMilliseconds: Int64, chance: Double) -> Bool {
        guard isOn else { return true }
        let elapsed = nowMilliseconds - filled
        if elapsed > fillMilliseconds {
            let (added, overflow) = Int(elapsed / fillMilliseconds).multipliedReportingOverflow(by: fillCount)
            tokens = overflow ? capacity : min(capacity, tokens + min(added, capacity))
            filled = nowMilliseconds
        }
        if let freezeMilliseconds {
            adjustProbability(freezeMilliseconds, nowMilliseconds)
            if chance < dropProbability { return false }
        }
        let cost = weight(renewsSession)
        guard tokens >= cost else { return false }
        tokens -= cost
        return true
    }

    private func weight(_ renewsSession: Bool) -> Int {
        guard settings.isWeighted else { return 1 }
        return renewsSession ? settings.renewSessionWeight : settings.globalSessionWeight
    }

    private mutating func adjustProbability(_ freezeMilliseconds: Int64, _ nowMilliseconds: Int64) {
        guard nowMilliseconds - frozen > freezeMilliseconds else { return }
        if tokens == 0 {
            dropProbability = min(dropProbability + settings.dropIncrease, 1)
        } else if Double(deficit) <= (Double(capacity) * settings.decreaseRatio).rounded() {
            dropProbability = max(dropProbability - settings.dropDecrease, 0)
        }
        frozen = nowMilliseconds
    }
}
