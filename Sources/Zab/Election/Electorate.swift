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
