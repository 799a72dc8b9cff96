/// A mistake that is built into simulated ensembles on purpose, to see that the checks find it.
///
/// None of them is in product code: each is between a member and its disk, its network or its clients.
package enum EnsemblePlantedFault: String, Sendable, CaseIterable {
    /// A member is told that its log is stable before it is.
    case ackBeforeSync
    /// currentEpoch is stored before the transactions of the synchronization.
    case epochStoredEarly
    /// A learner's history and epoch pass for stable while NEWLEADER is answered.
    case newLeaderAckedEarly
    /// TRUNC is reported done, and nothing is cut.
    case truncationDropped
    /// The watches that a client brings with it are not armed.
    case watchesForgotten
    /// A leader takes every follower's acknowledgement for granted.
    case commitWithoutQuorum
    /// A leader takes every follower's acknowledgement of its history for granted.
    case quorumAssumed
    /// A leader answers sync without asking anybody whether it still leads.
    case syncUnconfirmed
    /// A follower ends sessions by itself.
    case followerExpires
    /// Sequence numbers are counted too low after a restart.
    case sequenceLost
    /// What is left of an interrupted snapshot stays in memory.
    case memoryKept
    /// Two proposals reach a follower in the wrong order.
    case proposalsSwapped
    /// A bit of a proposal is turned on its way.
    case proposalDamaged
    /// A member that has lost its memory votes as if nothing had happened.
    case memoryLossIgnored
    /// A server that is behind what a client has seen lets it in.
    case staleServerWelcomes
    /// Ephemerals are there again after a restart.
    case ephemeralsSurvive
    /// A record is left out when a log is read for a learner.
    case historyHole
    /// Members forget the epoch that they accepted last, as long as they have no transaction of it.
    case epochReused

    /// Within how many seeds, from 1 on, it is found: at least twice what it took when this was written.
    package var seeds: UInt64 {
        switch self {
        case .ackBeforeSync, .epochStoredEarly, .newLeaderAckedEarly, .watchesForgotten, .commitWithoutQuorum,
            .quorumAssumed, .sequenceLost, .epochReused:
            20
        case .truncationDropped, .followerExpires, .proposalDamaged, .ephemeralsSurvive, .historyHole: 60
        // The one vote that a member without its disk must not have.
        case .memoryLossIgnored: 150
        case .proposalsSwapped: 300
        // A snapshot that is interrupted, and a leader that has all of it already.
        case .memoryKept: 1500
        // A client that goes from a server which has the last writes to one that has not, at the very moment; a leader that
        // goes on at the very moment when another has taken its place.
        case .staleServerWelcomes, .syncUnconfirmed: 1200
        }
    }

    /// Some show only under faults of a kind, which few seeds have.
    func focus(_ settings: inout EnsembleSettings) {
        switch self {
        case .syncUnconfirmed:
            // A leader that stands still while others elect another, and goes on before it knows.
            settings.faults = FaultMix(kinds: [.pause, .isolation, .isolation], interval: 400_000, leaderOneIn: 1)
            settings.client.pause = 40_000
        case .memoryLossIgnored:
            // A disk that is lost while another server is away.
            let kinds: [EnsembleFault] = [.lostDisk, .lostDisk, .kill, .isolation]
            settings.faults = FaultMix(kinds: kinds, interval: 200_000, leaderOneIn: 1)
            settings.client.pause = 40_000
        case .epochReused:
            // Leaders that go as soon as they are there, and little to write.
            settings.faults = FaultMix(kinds: [.kill, .powerCut, .blackout], interval: 300_000, leaderOneIn: 1)
            settings.client.pause = 1_500_000
        default:
            return
        }
    }
}
