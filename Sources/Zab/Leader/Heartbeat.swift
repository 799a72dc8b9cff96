import ZooKeeperProtocol

/// PINGs, the time limits of learners, and the check that a quorum still follows (docs/protocol/quorum-protocol.md
/// section 13).
extension Leader {
    func advance(
        state: inout PeerState,
        at time: Int64,
        into output: inout ZabOutput
    ) throws(RoleEnd) {
        guard time < phaseDeadline else { throw RoleEnd("no quorum came to \(phase) in time") }
        guard time >= pingAt else { return }
        pingAt = time + state.options.tick / 2
        for link in links {
            if let reason = link.overdue(at: time, options: state.options, sent: state.history, isMaster: isMaster) {
                drop(link.id, reason, into: &output)
            }
        }
        try checkQuorum(state: state, at: time)
        for index in links.indices { ping(index, state: state, into: &output) }
    }

    /// Steps down when the followers that are left are no quorum, for longer than one that comes back needs.
    private func checkQuorum(state: borrowing PeerState, at time: Int64) throws(RoleEnd) {
        guard isEstablished, !isMaster,
            !state.configurations.isQuorum(servers(from: .synchronized, state: state))
        else {
            aloneSince = nil
            return
        }
        let since = aloneSince ?? time
        aloneSince = since
        // The first check finds it, the second one confirms it.
        if time > since { throw RoleEnd("no quorum follows any more") }
    }

    // MARK: Voters that look for a leader

    /// A voter looks for a leader, although we are one.
    ///
    /// - Parameter isLost: it is in a later round than the one that elected us, or votes in that round for who is better.
    ///   Before we serve nothing else counts: followers of ours may not have found out yet, and what they sent before we
    ///   were elected may arrive late.
    func heard(
        lookingVoter server: ServerID,
        isLost: Bool,
        state: borrowing PeerState
    ) throws(RoleEnd) {
        guard isEstablished || isLost else { return }
        deserters.insert(server)
        try checkDeserters(state: state)
    }

    /// Gives up as soon as those that do not look for another leader are no quorum: waiting only delays the election.
    func checkDeserters(state: borrowing PeerState) throws(RoleEnd) {
        guard !deserters.isEmpty else { return }
        let followers = servers(from: .introduced, state: state)
        var loyal = Set(state.configurations.voters)
        for server in deserters where !followers.contains(server) { loyal.remove(server) }
        guard !state.configurations.isQuorum(loyal) else { return }
        throw RoleEnd("too many voters look for another leader")
    }

    // MARK: PING

    private func ping(_ index: Int, state: borrowing PeerState, into output: inout ZabOutput) {
        // Nothing may stand between the packets of a synchronization, and who has not got NEWLEADER waits patiently.
        guard links[index].phase >= .storing else { return }
        output.send(.ping, zxid: lastProposed(state: state), on: links[index].id)
        // A learner answers once it has UPTODATE.
        if links[index].phase == .serving { links[index].pingsSent += 1 }
    }

    private func lastProposed(state: borrowing PeerState) -> Zxid {
        max(state.history.last, epoch.newLeaderZxid)
    }

    /// The learner answered its oldest PING.
    func answered(pingOf index: Int, state: borrowing PeerState, into output: inout ZabOutput) {
        guard links[index].pingsAnswered < links[index].pingsSent else { return }
        links[index].pingsAnswered += 1
        guard confirmations.isRunning else { return }
        // It had too much to answer when the round began, and may be the one that makes the quorum now.
        joinConfirmation(index, state: state, into: &output)
        finishConfirmations(state: state, into: &output)
    }

    // MARK: Proofs of leadership

    func confirm(_ token: UInt64, state: borrowing PeerState, into output: inout ZabOutput) {
        guard isEstablished else { return }
        confirmations.ask(token)
        beginConfirmations(state: state, into: &output)
    }

    private func beginConfirmations(state: borrowing PeerState, into output: inout ZabOutput) {
        while confirmations.isDue {
            var pings: [(link: LinkID, server: ServerID, number: UInt64)] = []
            for index in links.indices where mayConfirm(index) {
                ping(index, state: state, into: &output)
                pings.append((links[index].id, links[index].server, links[index].pingsSent))
            }
            confirmations.begin(pings)
            finishConfirmations(state: state, into: &output, startsNext: false)
        }
    }

    /// Whether to ask a learner: not when it leaves so many PINGs unanswered that more would only fill memory.
    private func mayConfirm(_ index: Int) -> Bool {
        let link = links[index]
        return link.phase == .serving && link.isFollower && link.pingsSent - link.pingsAnswered < 64
    }

    /// A follower came into sync while a round runs: it may be the one that makes the quorum.
    func joinConfirmation(_ index: Int, state: borrowing PeerState, into output: inout ZabOutput) {
        guard confirmations.isRunning, mayConfirm(index), !confirmations.asks(links[index].id) else { return }
        ping(index, state: state, into: &output)
        confirmations.join((links[index].id, links[index].server, links[index].pingsSent))
    }

    private func finishConfirmations(
        state: borrowing PeerState,
        into output: inout ZabOutput,
        startsNext: Bool = true
    ) {
        var servers = Set(confirmations.servers(answeredBy: links))
        servers.insert(state.me)
        guard state.configurations.isQuorum(servers) else { return }
        for token in confirmations.finish() { output.upcalls.append(.leadershipConfirmed(token)) }
        if startsNext { beginConfirmations(state: state, into: &output) }
    }
}

extension LearnerLink {
    /// Why this learner has been waited for long enough; nil when it has not.
    fileprivate func overdue(
        at time: Int64,
        options: PeerOptions,
        sent history: borrowing History,
        isMaster: Bool
    ) -> String? {
        let silence = time - heardAt
        switch phase {
        case .acknowledged where isMaster:
            // Another may know, or the leader will say that it was never decided.
            return silence > options.syncTime ? "its \(lastZxid) is not known to be committed here" : nil
        case .introduced, .acknowledged:
            // It waits for us.
            return nil
        case .arrived, .electing, .readingLog, .receivingSnapshot, .synchronizing, .storing:
            return silence > options.initTime ? "nothing heard for \(silence / 1000) ms while \(phase)" : nil
        case .synchronized, .serving:
            if silence > options.syncTime { return "nothing heard for \(silence / 1000) ms" }
            guard isFollower, acked < history.zxid(before: nextProposal), time - ackedAt > options.syncTime else {
                return nil
            }
            return "nothing acknowledged for \((time - ackedAt) / 1000) ms"
        }
    }
}
