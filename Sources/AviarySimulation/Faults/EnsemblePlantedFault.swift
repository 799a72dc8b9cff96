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
    /// acceptedEpoch is not stored: after a crash an epoch can be accepted twice.
    case epochUsedTwice
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
}
