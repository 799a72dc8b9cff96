import ZooKeeperProtocol

/// Who may vote and be elected, and who can be reached: all that an election knows of its surroundings.
struct Electorate {
    let configurations: JointConfiguration
    let links: ElectionLinks

    func isVoter(_ server: ServerID) -> Bool { configurations.isVoter(server) }
    func isQuorum(_ servers: Set<ServerID>) -> Bool { configurations.isQuorum(servers) }
    func isFollowing(_ servers: Set<ServerID>) -> Bool { configurations.isFollowing(servers) }
    func weight(of server: ServerID) -> Int64 { configurations.weight(of: server) }
    /// Ascending.
    var voters: [ServerID] { configurations.voters }
    func mayReach(_ server: ServerID) -> Bool { links[server] != .down }

    /// Whether a vote replaces `other`: the later epoch, then the longer history (section 5.3); then whoever is a voter of
    /// the configuration in force, since those who have not heard of a proposed one know nobody else; then the larger id.
    func prefers(_ vote: Vote, to other: Vote) -> Bool {
        // Without weight nobody is elected.
        guard weight(of: vote.leader) != 0 else { return false }
        if vote.peerEpoch != other.peerEpoch { return vote.peerEpoch > other.peerEpoch }
        if vote.zxid != other.zxid { return vote.zxid > other.zxid }
        let isKnown = configurations.current.isVoter(vote.leader)
        guard isKnown == configurations.current.isVoter(other.leader) else { return isKnown }
        return vote.leader > other.leader
    }
}

/// What is known of the election connections.
struct ElectionLinks: Sendable {
    enum Condition: Sendable { case unknown, up, down }

    private var known: [(server: ServerID, isUp: Bool)] = []

    subscript(server: ServerID) -> Condition {
        guard let index = known.firstIndex(where: { $0.server == server }) else { return .unknown }
        return known[index].isUp ? .up : .down
    }

    mutating func set(_ server: ServerID, isUp: Bool) {
        if let index = known.firstIndex(where: { $0.server == server }) {
            known[index].isUp = isUp
        } else {
            known.append((server, isUp))
        }
    }

    /// Forgets servers that no configuration lists: anybody may knock.
    mutating func keepOnly(_ isListed: (ServerID) -> Bool) {
        known.removeAll { !isListed($0.server) }
    }
}
