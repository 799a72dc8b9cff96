import ZooKeeperProtocol

/// Fast leader election: rounds of votes until a quorum wants the same leader (docs/protocol/quorum-protocol.md
/// section 5.4, Apache's `FastLeaderElection`).
///
/// Nothing here makes an epoch safe; that is what discovery does. An election only has to end, and soon, with a server
/// whose history is long enough. Between elections it keeps the final vote, for servers that still look.
struct Election: Sendable {
    enum Result: Equatable, Sendable {
        case none
        /// The vote changed: everybody is to hear of it.
        case changed
        /// The sender is in this round and votes for somebody else than it would if it had heard this server's vote.
        case outvoted
        /// `vote` is final. Those who are still to count it hear of it first if it changed.
        case elected(isChanged: Bool)
    }

    /// What a server may do in a round.
    enum Standing: Equatable, Sendable {
        /// It votes, and may be elected with a history that reaches this far.
        case candidate(HistoryEnd)
        /// It votes for whoever has as much as this, which it has not itself any more.
        case elector(HistoryEnd)
        /// No voter: it follows whomever the voters elect.
        case onlooker
        /// Without memory: it has no say, and follows whoever leads already.
        case latecomer
    }

    /// Rounds this server has taken part in: its logical clock.
    private(set) var round: Int64 = 0
    /// What this server proposes; after the election, what came out of it.
    private(set) var vote = Vote.none(round: 0)
    private(set) var isLooking = false
    private var own = Vote.none(round: 0)
    private var me = ServerID.none
    private(set) var standing = Standing.onlooker
    /// Voters that look for a leader without a candidate: nobody waits for them.
    private(set) var abstaining: Set<ServerID> = []
    /// Votes of this round.
    private var received = BallotBox()
    /// Votes of servers that have a leader.
    private var settled = BallotBox()
    private var interval: Int64 = 0
    private var resendAt = Int64.max
    /// When a quorum of equal votes stops to wait for a better one.
    private var finalizeAt: Int64?

    /// No election comes so far; a message that says it does must not make everybody count on from there.
    static let roundLimit = Int64.max / 2

    // MARK: Beginning

    /// Starts a round.
    mutating func begin(_ standing: Standing, me: ServerID, interval: Int64, at time: Int64) {
        round += 1
        self.standing = standing
        self.me = me
        own =
            switch standing {
            case .candidate(let end): Vote(leader: me, zxid: end.zxid, peerEpoch: end.epoch, round: 0)
            case .elector(let end): Vote(leader: .none, zxid: end.zxid, peerEpoch: end.epoch, round: 0)
            case .onlooker: .undecided
            case .latecomer: .none(round: 0)
            }
        own.round = round
        vote = own
        abstaining.removeAll()
        received.removeAll()
        settled.removeAll()
        isLooking = true
        finalizeAt = nil
        self.interval = interval
        resendAt = time + interval
    }

    /// Takes a leader without an election: the designated one of a reconfiguration.
    mutating func settle(on vote: Vote) {
        self.vote = vote
        self.vote.round = round
        end()
    }

    /// Takes part no more, and has found nobody.
    mutating func giveUp() {
        end()
    }

    private mutating func end() {
        isLooking = false
        resendAt = .max
        finalizeAt = nil
        received.removeAll()
        settled.removeAll()
        abstaining.removeAll()
    }

    /// The ensemble agreed on an epoch: this is what those who still look are told from now on.
    mutating func formed(_ epoch: Epoch) {
        vote.peerEpoch = epoch
    }

    // MARK: Votes

    /// What a ballot of a voter changes (`HandleNotmsg`).
    mutating func handle(_ ballot: Ballot, electorate: Electorate, at time: Int64, finalize: Int64) -> Result {
        guard isLooking, electorate.isVoter(ballot.from) else { return .none }
        guard electorate.isVoter(ballot.vote.leader) else {
            guard ballot.state == .looking else { return .none }
            abstaining.insert(ballot.from)
            received.remove(ballot.from)
            settled.remove(ballot.from)
            return count(electorate: electorate, at: time, finalize: finalize)
        }
        abstaining.remove(ballot.from)
        switch ballot.state {
        case .observing:
            return .none
        case .looking:
            return handle(looking: ballot, electorate: electorate, at: time, finalize: finalize)
        case .following, .leading:
            return handle(settled: ballot, electorate: electorate)
        }
    }

    private mutating func handle(
        looking ballot: Ballot,
        electorate: Electorate,
        at time: Int64,
        finalize: Int64
    ) -> Result {
        // Who does not know its own history can neither be compared nor compare.
        guard standing != .latecomer, ballot.vote.zxid != Vote.unknownZxid else { return .none }
        // It may have had a leader a moment ago; it has none now.
        settled.remove(ballot.from)
        // Who has no candidate has said nothing in its round that anybody could have heard: it takes the others'.
        if !mayBeElected, vote.leader == .none, ballot.vote.round < round { join(ballot.vote.round) }
        guard ballot.vote.round >= round else { return .none }
        let before = vote
        if ballot.vote.round > round {
            round = ballot.vote.round
            received.removeAll()
            own.round = round
            vote = electorate.prefers(ballot.vote, to: own) ? ballot.vote : own
        } else if electorate.prefers(ballot.vote, to: vote) {
            vote = ballot.vote
        }
        // Only what is new is answered: two servers that weigh votes differently do not go on for ever.
        let isNews = received[ballot.from]?.vote != ballot.vote
        received.put(ballot)
        if vote != before { finalizeAt = nil }
        if count(electorate: electorate, at: time, finalize: finalize) != .none {
            return .elected(isChanged: vote != before)
        }
        if vote != before { return .changed }
        return isNews && ballot.vote != vote ? .outvoted : .none
    }

    private mutating func join(_ round: Int64) {
        self.round = round
        own.round = round
        vote.round = round
        received.removeAll()
    }

    /// Somebody has a leader: follow it as well if a quorum does and it leads indeed.
    private mutating func handle(settled ballot: Ballot, electorate: Electorate) -> Result {
        guard standing != .latecomer || ballot.mayBeEstablished else {
            settled.remove(ballot.from)
            return .none
        }
        if ballot.vote.round == round, standing != .latecomer {
            received.put(ballot)
            if electorate.isQuorum(supporters(of: ballot, electorate: electorate)), leads(ballot, in: received) {
                return elect(ballot.vote)
            }
        }
        settled.put(ballot)
        if electorate.isFollowing(settled.servers(agreeingWith: ballot)), leads(ballot, in: settled) {
            round = ballot.vote.round
            return elect(ballot.vote)
        }
        return .none
    }

    private mutating func elect(_ vote: Vote) -> Result {
        self.vote = vote
        self.vote.round = round
        end()
        return .elected(isChanged: false)
    }

    /// Whether the leader of a ballot says itself that it leads; others may have heard of it before it stopped.
    private func leads(_ ballot: Ballot, in box: BallotBox) -> Bool {
        guard ballot.vote.leader == me else { return box[ballot.vote.leader]?.state == .leading }
        return own.leader == me && ballot.vote.round == round
    }

    private var mayBeElected: Bool { if case .candidate = standing { true } else { false } }

    /// Whether this server's vote counts.
    var hasVote: Bool {
        switch standing {
        case .candidate, .elector: true
        case .onlooker, .latecomer: false
        }
    }

    private func supporters(of ballot: Ballot, electorate: Electorate) -> Set<ServerID> {
        var servers = received.servers(agreeingWith: ballot)
        guard hasVote else { return servers }
        let mine = Ballot(from: me, state: .looking, vote: vote, version: 2)
        if mine.agrees(with: ballot) { servers.insert(me) }
        return servers
    }

    // MARK: The end of a round

    /// Ends the round when a quorum votes like this server and nobody who can be reached may still change that.
    ///
    /// To be called when the election links change as well.
    mutating func count(electorate: Electorate, at time: Int64, finalize: Int64) -> Result {
        guard isLooking, standing != .latecomer, electorate.isVoter(vote.leader) else { return .none }
        let mine = Ballot(from: vote.leader, state: .looking, vote: vote, version: 2)
        guard electorate.isQuorum(supporters(of: mine, electorate: electorate)) else {
            finalizeAt = nil
            return .none
        }
        let deadline = finalizeAt ?? time + finalize
        finalizeAt = deadline
        let mayChange = electorate.voters.contains { voter in
            voter != me && received[voter] == nil && settled[voter] == nil && !abstaining.contains(voter)
                && electorate.mayReach(voter)
        }
        guard !mayChange || time >= deadline else { return .none }
        return elect(vote)
    }

    // MARK: Time

    var nextDeadline: Int64 { isLooking ? min(resendAt, finalizeAt ?? .max) : .max }

    /// Whether nobody answered for so long that the vote is to be sent again (`NotmsgTimeout`).
    mutating func isResendDue(at time: Int64, maxInterval: Int64) -> Bool {
        guard isLooking, time >= resendAt else { return false }
        interval = min(interval * 2, maxInterval)
        resendAt = time + interval
        return true
    }
}
