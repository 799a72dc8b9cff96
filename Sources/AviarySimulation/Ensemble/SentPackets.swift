package import ZooKeeperProtocol

/// What one process has sent to a learner: follows the packets, to know where a synchronization stands.
struct SentPackets {
    enum Stage { case beginning, synchronizing, newLeader, upToDate }

    private(set) var stage = Stage.beginning
    /// How it was synchronized, once that is known.
    private(set) var mode: QuorumPacketType?
    /// Transactions sent before NEWLEADER.
    private(set) var early = 0
    /// Some of them came from disk.
    var isFromDisk = false
    /// A snapshot has begun, and its learner has not said that it has it.
    var isInsideSnapshot = false

    mutating func send(_ packet: QuorumPacket, _ counts: inout EnsembleCounts) {
        switch packet.kind {
        case .diff, .trunc, .snap:
            mode = packet.kind
            stage = .synchronizing
            if packet.kind == .trunc { counts[.truncations] += 1 }
            if packet.kind == .snap {
                counts[.snapshotsSent] += 1
                isInsideSnapshot = true
            }
        case .proposal, .inform:
            if stage == .synchronizing { early += 1 }
            if stage == .newLeader { counts[.proposalsBetween] += 1 }
        case .commit:
            if stage == .newLeader { counts[.commitsBetween] += 1 }
        case .newLeader:
            stage = .newLeader
            guard mode == .diff else { return }
            counts[early == 0 ? .diffsEmpty : isFromDisk ? .diffsFromDisk : .diffsFromMemory] += 1
        case .upToDate:
            stage = .upToDate
            isInsideSnapshot = false
        case .request, .ack, .ping, .revalidate, .sync, .commitAndActivate, .followerInfo, .observerInfo, .leaderInfo,
            .ackEpoch, .informAndActivate, nil:
            break
        }
    }
}
