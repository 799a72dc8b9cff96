package import ZooKeeperProtocol

/// Election, as the peer takes part in it (docs/protocol/quorum-protocol.md section 5).
extension Peer {
    // MARK: Rounds

    mutating func beginElection(into output: inout ZabOutput) {
        lookAt = nil
        state.abstainers.removeAll()
        let interval = Int64(state.options.minNotificationMilliseconds) * 1000
        election.begin(state.standing, me: state.me, interval: interval, at: time)
        notifyVoters(into: &output)
        countVotes(into: &output)
    }

    mutating func advanceElection(into output: inout ZabOutput) {
        guard election.isLooking else { return }
        countVotes(into: &output)
        guard election.isResendDue(at: time, maxInterval: Int64(state.options.maxNotificationMilliseconds) * 1000)
        else { return }
        notifyVoters(into: &output)
        explainLostMemory(into: &output)
        let links = state.links
        let me = state.me
        if state.configurations.voters.contains(where: { $0 != me && links[$0] != .up }) { output.connectAll = true }
    }

    private mutating func countVotes(into output: inout ZabOutput) {
        guard election.isLooking else { return }
        let result = election.count(electorate: state.electorate, at: time, finalize: state.options.finalizeTime)
        if result != .none { takeRole(into: &output) }
    }

    // MARK: Messages

    /// A notification arrived (`ReceiveNotmsg`, `HandleNotmsg`; section 5.2).
    package mutating func receive(
        notification: Notification,
        from server: ServerID,
        at now: Now,
        into output: inout ZabOutput
    ) {
        begin(at: now, output)
        guard server != state.me, notification.electionEpoch < Election.roundLimit else { return }
        noteLooker(server, isLooking: notification.state == .looking)
        adoptConfiguration(of: notification, into: &output)
        guard state.configurations.isVoter(server) else {
            // It takes no part in the vote, and only asks who leads, or who is a member.
            if notification.state == .looking { answer(server, to: notification, into: &output) }
            return
        }
        let hasLostMemory = notification.leader == .none && notification.zxid == Vote.none(round: 0).zxid
        noteAbstainer(server, isOne: notification.state == .looking && hasLostMemory)
        if notification.state == .looking, !hasLostMemory { noteMemory(of: server, into: &output) }
        if election.isLooking {
            vote(notification, from: server, into: &output)
        } else if notification.state == .looking {
            answer(server, to: notification, into: &output)
            heardLooking(server, Ballot(notification, from: server).vote, into: &output)
        }
    }

    private mutating func vote(_ notification: Notification, from server: ServerID, into output: inout ZabOutput) {
        let ballot = Ballot(notification, from: server)
        let result = election.handle(
            ballot,
            electorate: state.electorate,
            at: time,
            finalize: state.options.finalizeTime
        )
        switch result {
        case .elected(let isChanged):
            if isChanged { notifyVoters(into: &output) }
            takeRole(into: &output)
        case .changed:
            notifyVoters(into: &output)
        case .outvoted:
            // Our vote may have reached it while it still had a leader; it would wait for us to repeat it.
            if election.hasVote { answer(server, to: notification, into: &output) }
        case .none:
            // Who has no vote says nothing by itself: each of two such would answer the other for ever.
            guard election.hasVote, ballot.state == .looking else { return }
            // Who has no candidate has not heard of ours, and would wait for us to repeat it.
            let lacksCandidate = !state.configurations.isVoter(ballot.vote.leader)
            let isNews = lacksCandidate && state.configurations.isVoter(election.vote.leader)
            if isNews || ballot.vote.round < election.round { answer(server, to: notification, into: &output) }
        }
    }

    private mutating func heardLooking(_ server: ServerID, _ vote: Vote, into output: inout ZabOutput) {
        guard leading != nil else { return }
        let own = election.vote
        // Votes of a round only become better: with this one it does not come back to ours.
        let isLost =
            vote.round > own.round
            || vote.round == own.round && state.configurations.isVoter(vote.leader)
                && state.electorate.prefers(vote, to: own)
        inRole(&output) { peer, _ throws(RoleEnd) in
            try peer.leading?.heard(
                lookingVoter: server,
                isLost: isLost,
                state: peer.state
            )
        }
    }

    /// An election connection to a server came up, or there is none.
    package mutating func electionLink(_ server: ServerID, isUp: Bool, at now: Now, into output: inout ZabOutput) {
        begin(at: now, output)
        guard state.configurations.isListed(server) else { return }
        state.links.set(server, isUp: isUp)
        guard election.isLooking else { return }
        // What the transport repeats on a new connection may be old.
        if isUp, state.configurations.isVoter(server) { output.notifications.append((to: server, notification)) }
        countVotes(into: &output)
    }

    // MARK: Sending

    private mutating func notifyVoters(into output: inout ZabOutput) {
        let notification = self.notification
        for voter in state.configurations.voters where voter != state.me {
            output.notifications.append((to: voter, notification: notification))
        }
        // Who is no member may know nobody who still is one, and hears of a newer configuration from those it was told of.
        guard !state.configurations.isListed(state.me) else { return }
        for server in acquaintances where server != state.me && !state.configurations.isVoter(server) {
            output.notifications.append((to: server, notification: notification))
        }
    }

    /// Answers what a server has said, unless it has been answered the same just now: two that differ about who votes
    /// would answer each other for ever.
    private mutating func answer(_ server: ServerID, to question: Notification, into output: inout ZabOutput) {
        guard election.isLooking || leading != nil || learning != nil else { return }
        let answer = notification
        // The text of a configuration may be long, and is not worth keeping.
        let question = question.hashValue
        if let index = answered.firstIndex(where: { $0.server == server }) {
            let last = answered.remove(at: index)
            let pause = Int64(state.options.minNotificationMilliseconds) * 1000 / 2
            if last.question == question, last.answer == answer, time - last.time < pause {
                return answered.append(last)
            }
        } else if answered.count >= Peer.maxAnswered {
            answered.removeFirst()
        }
        answered.append(Answered(server: server, question: question, answer: answer, time: time))
        output.notifications.append((to: server, notification: answer))
    }

    /// Anybody may knock.
    private static let maxAnswered = 64

    /// What was said to a server last.
    struct Answered: Sendable {
        var server: ServerID
        var question: Int
        var answer: Notification
        /// Microseconds.
        var time: Int64
    }

    /// What this server says of itself.
    private var notification: Notification {
        let vote = election.vote
        return Notification(
            state: notificationState,
            leader: vote.leader,
            zxid: vote.zxid,
            electionEpoch: election.isLooking ? election.round : vote.round,
            peerEpoch: vote.peerEpoch,
            configuration: Array(state.configurations.current.text.utf8)
        )
    }

    private var notificationState: Notification.State {
        if leading != nil { return .leading }
        guard let learning else { return .looking }
        return learning.isObserver ? .observing : .following
    }

    // MARK: Those who have lost their memory

    private mutating func noteAbstainer(_ server: ServerID, isOne: Bool) {
        if isOne { state.abstainers.insert(server) } else { state.abstainers.remove(server) }
    }

    /// A server has its memory. It may have introduced itself before that is known here.
    private mutating func noteMemory(of server: ServerID, into output: inout ZabOutput) {
        for index in waiting.indices where waiting[index].server == server { waiting[index].isForgetful = false }
        inRole(&output) { peer, output throws(RoleEnd) in
            try peer.leading?.noteMemory(of: server, state: &peer.state, into: &output)
        }
    }

    /// Says so when so many voters have lost their memory that the others cannot decide anything: nobody can know any
    /// more what was promised, and no waiting helps.
    private mutating func explainLostMemory(into output: inout ZabOutput) {
        var lost = state.abstainers
        if election.standing == .latecomer { lost.insert(state.me) }
        let voters = state.configurations.voters
        guard state.isVoter, lost != explainedLoss, !state.configurations.isQuorum(Set(voters).subtracting(lost)) else {
            return
        }
        explainedLoss = lost
        let names = lost.sorted().map { "\($0)" }.joined(separator: ", ")
        let others = voters.filter { !lost.contains($0) }.map { "\($0)" }.joined(separator: ", ")
        output.note(
            .error,
            "no leader can be elected: voters \(names) have lost what they had stored, and the others "
                + "(\(others.isEmpty ? "none" : others)) are no quorum. Start every server that still has its data, or "
                + "restore the data directory of one that had it. If that cannot be done, create an empty file "
                + "'initialize' in dataDir of servers \(names) and restart them: the ensemble then goes on with the "
                + "newest data that is left, and whatever only they had is gone"
        )
    }

    // MARK: Those who still look

    private mutating func noteLooker(_ server: ServerID, isLooking: Bool) {
        let index = lookers.firstIndex { $0 >= server } ?? lookers.endIndex
        let isKnown = index < lookers.endIndex && lookers[index] == server
        if isLooking, !isKnown, state.configurations.isListed(server) {
            lookers.insert(server, at: index)
        } else if !isLooking, isKnown {
            lookers.remove(at: index)
        }
    }

    /// The epoch is formed. Servers that looked when they were last heard of may be waiting for longer and longer until
    /// they ask again: they are told.
    mutating func announceEpoch(into output: inout ZabOutput) {
        guard role.isServing, announcedRole != state.role else { return }
        announcedRole = state.role
        election.formed(epoch)
        let notification = self.notification
        for server in lookers { output.notifications.append((to: server, notification: notification)) }
        lookers.removeAll()
    }

    // MARK: Configurations

    /// A server that looks takes over a newer configuration: it may be looking for servers that are gone.
    private mutating func adoptConfiguration(of notification: Notification, into output: inout ZabOutput) {
        guard election.isLooking, state.options.reconfigEnabled, let text = notification.configuration,
            let configuration = try? QuorumConfiguration.parse(utf8: text), state.adopts(configuration)
        else { return }
        let hasSameMembers = configuration.hasSameMembers(as: state.configurations.current)
        state.activate(configuration, into: &output)
        if !hasSameMembers { beginElection(into: &output) }
    }
}

extension Ballot {
    init(_ notification: Notification, from server: ServerID) {
        from = server
        state = notification.state
        version = notification.version
        vote = Vote(
            leader: notification.leader,
            zxid: notification.zxid,
            peerEpoch: notification.peerEpoch,
            round: notification.electionEpoch
        )
    }
}
