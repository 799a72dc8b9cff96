package import ZooKeeperProtocol

/// The configuration in force and, while a reconfiguration is under way, the proposed one as well.
///
/// Until the new one is committed nobody knows which of them counts, so every decision needs a quorum in both
/// (docs/protocol/quorum-protocol.md section 3).
package struct JointConfiguration: Sendable {
    /// Committed.
    package internal(set) var current: QuorumConfiguration
    /// Proposed and not yet committed; never an older one than `current`.
    package internal(set) var proposed: QuorumConfiguration?

    init(current: QuorumConfiguration) {
        self.current = current
    }

    func isQuorum(_ servers: Set<ServerID>) -> Bool {
        current.isQuorum(servers) && (proposed?.isQuorum(servers) ?? true)
    }

    /// Whether a leader that these servers have is somebody's leader. To follow it decides nothing, and a proposed
    /// configuration may be one that was never decided: either quorum is enough.
    func isFollowing(_ servers: Set<ServerID>) -> Bool {
        current.isQuorum(servers) || (proposed?.isQuorum(servers) ?? false)
    }

    func isVoter(_ server: ServerID) -> Bool {
        current.isVoter(server) || (proposed?.isVoter(server) ?? false)
    }

    func isListed(_ server: ServerID) -> Bool {
        current.members.contains { $0.id == server } || (proposed?.members.contains { $0.id == server } ?? false)
    }

    /// What a vote for this server weighs: nothing is lost if one configuration gives it weight.
    func weight(of server: ServerID) -> Int64 {
        max(Int64(current.weight(of: server)), Int64(proposed?.weight(of: server) ?? 0))
    }

    /// The voters of either, ascending.
    var voters: [ServerID] {
        guard let proposed else { return current.voters.sorted() }
        return Set(current.voters).union(proposed.voters).sorted()
    }

    /// The newest one that is known, committed or not: Apache's "last seen".
    package var lastSeen: QuorumConfiguration { proposed ?? current }
}
