internal import AviaryCore
internal import Zab

/// How long this member looked for a leader, and how long it served nobody. Milliseconds.
struct AvailabilityMetrics {
    /// Elections that this server took part in.
    private(set) var lookingCount = 0
    private(set) var electionTime = Summary()
    /// From the end of service to its return.
    private(set) var unavailableTime = Summary()
    /// The same, where this server leads afterwards.
    private(set) var leaderUnavailableTime = Summary()

    private var isLooking = false
    private var lookingSince: Int64 = 0
    private var isServing = false
    /// Nil before the first service: a start is no outage.
    private var endedAt: Int64?
    private(set) var leadingSince: Int64?

    /// To be told at the end of every turn.
    mutating func note(_ role: Zab.Role, isServing: Bool, at time: Int64) {
        if (role == .looking) != isLooking {
            isLooking = role == .looking
            if isLooking {
                lookingCount += 1
                lookingSince = time
            } else {
                electionTime.add((time - lookingSince) / 1000)
            }
        }
        guard isServing != self.isServing else { return }
        self.isServing = isServing
        guard isServing else {
            endedAt = time
            leadingSince = nil
            return
        }
        let leads = if case .leading = role { true } else { false }
        if leads { leadingSince = time }
        guard let endedAt else { return }
        unavailableTime.add((time - endedAt) / 1000)
        if leads { leaderUnavailableTime.add((time - endedAt) / 1000) }
    }

    /// `srst`.
    mutating func reset() {
        lookingCount = 0
        electionTime = Summary()
        unavailableTime = Summary()
        leaderUnavailableTime = Summary()
    }
}
