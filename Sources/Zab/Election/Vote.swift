import ZooKeeperProtocol

/// Whom a server wants to lead, and what it knows of that server's history (docs/protocol/quorum-protocol.md section 5.1).
struct Vote: Equatable, Sendable {
    var leader: ServerID
    /// The last transaction of the leader's log.
    var zxid: Zxid
    /// The epoch that the leader last took part in (its currentEpoch); after synchronization the one that was formed.
    var peerEpoch: Epoch
    /// Which election of the sender this vote belongs to.
    var round: Int64

    /// Of a server that may not be elected and has not heard of anybody who may; unlike one without memory it counts where
    /// somebody takes it for a voter.
    static let undecided = Vote(leader: .none, zxid: .zero, peerEpoch: .zero, round: 0)

    /// Of a server that takes no part, and knows of nobody.
    static func none(round: Int64) -> Vote {
        Vote(leader: .none, zxid: Zxid(.min), peerEpoch: Epoch(.min), round: round)
    }

    /// A database that is not there, and so nobody's candidate.
    static let unknownZxid = Zxid(-1)
}

/// A vote as it was heard.
struct Ballot: Sendable {
    var from: ServerID
    var state: Notification.State
    var vote: Vote
    /// Of the notification; 0 has no epoch of its own.
    var version: Int32

    /// Whether the epoch may be formed that the ballot speaks of. The log with which its leader was elected ends in an
    /// earlier epoch then; the epoch in which a log ends is formed only if nobody has logged anything in it.
    var mayBeEstablished: Bool { vote.zxid.rawValue >= 0 && vote.peerEpoch > vote.zxid.epoch }

    /// Whether two ballots count for the same leader (section 5.3).
    ///
    /// Members of an ensemble may remember their election differently, so zxid and round only count among those who
    /// are still looking (ZOOKEEPER-1732, 1805).
    func agrees(with other: Ballot) -> Bool {
        if state == .looking || other.state == .looking { return vote == other.vote }
        guard vote.leader == other.vote.leader else { return false }
        return (version == 0) != (other.version == 0) || vote.peerEpoch == other.vote.peerEpoch
    }
}

/// The last ballot of each server, by server id.
struct BallotBox: Sendable {
    private var ballots: [Ballot] = []

    mutating func put(_ ballot: Ballot) {
        let index = ballots.firstIndex { $0.from >= ballot.from } ?? ballots.endIndex
        if index < ballots.endIndex, ballots[index].from == ballot.from {
            ballots[index] = ballot
        } else {
            ballots.insert(ballot, at: index)
        }
    }

    subscript(server: ServerID) -> Ballot? { ballots.first { $0.from == server } }

    func servers(agreeingWith ballot: Ballot) -> Set<ServerID> {
        Set(ballots.lazy.filter { $0.agrees(with: ballot) }.map(\.from))
    }

    mutating func remove(_ server: ServerID) { ballots.removeAll { $0.from == server } }

    mutating func removeAll() { ballots.removeAll() }
}
