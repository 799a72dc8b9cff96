package import ZooKeeperProtocol

/// The configuration in force and, while a reconfiguration is under way, what is proposed as well.
///
/// Until the new one is committed nobody knows which of them counts, so every decision needs a quorum in each
/// (docs/protocol/quorum-protocol.md section 3). There may be more than one: who is behind can get a proposal before it
/// has heard that the one in front is in force, and that one must not be forgotten for the other, which may come to
/// nothing. A proposal counts for as long as its transaction is, or may still be, in this server's history.
package struct JointConfiguration: Sendable {
    /// Committed.
    package internal(set) var current: QuorumConfiguration
    /// Proposed and not known to be committed: ascending, none older than `current`.
    private(set) var proposals: [QuorumConfiguration] = []

    init(current: QuorumConfiguration) {
        self.current = current
    }

    /// The newest proposal.
    package var proposed: QuorumConfiguration? { proposals.last }

    /// The newest one that is known, committed or not: Apache's "last seen".
    package var lastSeen: QuorumConfiguration { proposed ?? current }

    // MARK: What counts

    func isQuorum(_ servers: Set<ServerID>) -> Bool {
        current.isQuorum(servers) && proposals.allSatisfy { $0.isQuorum(servers) }
    }

    /// Whether a leader that these servers have is somebody's leader. To follow it decides nothing, and a proposed
    /// configuration may be one that was never decided: any quorum is enough.
    func isFollowing(_ servers: Set<ServerID>) -> Bool {
        current.isQuorum(servers) || proposals.contains { $0.isQuorum(servers) }
    }

    func isVoter(_ server: ServerID) -> Bool {
        current.isVoter(server) || proposals.contains { $0.isVoter(server) }
    }

    func isListed(_ server: ServerID) -> Bool {
        current.member(server) != nil || proposals.contains { $0.member(server) != nil }
    }

    /// What a vote for this server weighs: nothing is lost if one configuration gives it weight.
    func weight(of server: ServerID) -> Int64 {
        proposals.reduce(Int64(current.weight(of: server))) { max($0, Int64($1.weight(of: server))) }
    }

    /// The voters of each, ascending.
    var voters: [ServerID] {
        guard !proposals.isEmpty else { return current.voters.sorted() }
        return proposals.reduce(Set(current.voters)) { $0.union($1.voters) }.sorted()
    }

    // MARK: What comes and goes

    mutating func add(_ configuration: QuorumConfiguration) {
        guard configuration.version > current.version else { return }
        proposals.removeAll { $0.version == configuration.version }
        let index = proposals.firstIndex { $0.version > configuration.version } ?? proposals.endIndex
        proposals.insert(configuration, at: index)
    }

    /// Forgets what was proposed behind `version`.
    mutating func forget(after version: Int64) {
        proposals.removeAll { $0.version > version }
    }

    /// Puts a configuration in force. What was proposed before it is part of the past.
    mutating func activate(_ configuration: QuorumConfiguration) {
        current = configuration
        proposals.removeAll { $0.version <= configuration.version }
    }

    /// Takes all proposals out, to be added again if the history that they belong to turns out to stay.
    mutating func takeProposals() -> [QuorumConfiguration] {
        defer { proposals = [] }
        return proposals
    }
}
