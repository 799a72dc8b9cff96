package import ZooKeeperProtocol

/// Taking up roles and giving them up.
extension Peer {
    // MARK: Looking

    /// Has no leader: looks for one, as soon as it is known what this server could offer.
    mutating func look(into output: inout ZabOutput) {
        invariant(leading == nil && learning == nil, "looking for a leader while there is one")
        guard state.durable.isSettled, !state.isWithdrawn, lookAt == nil else { return }
        // Observers would all ask at once, and who has lost its memory may have been too early.
        let isPatient = state.isObserver || state.standing == .latecomer
        if isPatient, state.options.observerElectionDelayMilliseconds > 0, election.round > 0 {
            let most = UInt64(state.options.observerElectionDelayMilliseconds) * 1000
            lookAt = time + Int64(state.random.next() % most)
        } else {
            beginElection(into: &output)
        }
    }

    /// The log is cut, or the snapshot of a leader is in place or given up: an election may have waited for it.
    mutating func settled(into output: inout ZabOutput) {
        guard leading == nil, learning == nil, !election.isLooking, lookAt == nil else { return }
        look(into: &output)
    }

    // MARK: Ends

    /// Gives the role up, because of something that only the caller knows.
    ///
    /// - Parameter restMilliseconds: how long it does not look for a leader, so that others can find one without it.
    package mutating func resign(
        _ reason: String,
        restMilliseconds: Int = 0,
        at now: Now,
        into output: inout ZabOutput
    ) {
        begin(at: now, output)
        guard leading != nil || learning != nil else { return }
        if restMilliseconds > 0 { lookAt = time + Int64(restMilliseconds) * 1000 }
        inRole(&output) { _, _ throws(RoleEnd) in throw RoleEnd(reason) }
    }

    /// Takes part in nothing until `comeBack`.
    package mutating func withdraw(_ reason: String, at now: Now, into output: inout ZabOutput) {
        begin(at: now, output)
        guard !state.isWithdrawn else { return }
        state.isWithdrawn = true
        lookAt = nil
        election.giveUp()
        inRole(&output) { _, _ throws(RoleEnd) in throw RoleEnd(reason) }
        closeWaiting(into: &output)
    }

    /// Looks for a leader again after `withdraw`.
    package mutating func comeBack(at now: Now, into output: inout ZabOutput) {
        begin(at: now, output)
        guard state.isWithdrawn else { return }
        state.isWithdrawn = false
        if isStarted { settled(into: &output) }
    }

    /// Gives the role up. What was received and not logged is forgotten; what is logged stays, and counts in the next
    /// election whether it was committed or not (ZOOKEEPER-2845).
    mutating func end(_ reason: RoleEnd, into output: inout ZabOutput) {
        let wasServing: Bool
        if let isEstablished = leading?.isEstablished {
            wasServing = isEstablished
            for link in leading?.links ?? [] { output.links.append(.close(link.id)) }
            pastSyncs = syncs
        } else if let link = learning?.link, let isSynced = learning?.isSynced {
            wasServing = isSynced
            endMaster(into: &output)
            output.links.append(.close(link))
            if state.durable.snapshot == link { output.storage.append(.abandonSnapshot(link)) }
        } else {
            return
        }
        output.note(
            reason.level,
            "\(role.name) ends: \(reason.reason)",
            [("epoch", "\(epoch)"), ("zxid", "\(state.history.logged)")]
        )
        leading = nil
        learning = nil
        state.role += 1
        state.history.cutUnlogged()
        state.forgetLostProposals(into: &output)
        if wasServing { output.upcalls.append(.stop) }
        if let successor = reason.successor, state.durable.isSettled {
            succeed(successor, into: &output)
        } else {
            look(into: &output)
        }
    }

    /// A reconfiguration says who leads: no election.
    private mutating func succeed(_ leader: ServerID, into output: inout ZabOutput) {
        election.settle(
            on: Vote(leader: leader, zxid: state.history.logged, peerEpoch: state.durable.currentEpoch, round: 0)
        )
        takeRole(into: &output)
    }

    // MARK: Beginnings

    /// The election is over: leads, or follows whoever does.
    mutating func takeRole(into output: inout ZabOutput) {
        lookAt = nil
        explainedLoss.removeAll()
        state.role += 1
        if election.vote.leader == state.me {
            lead(into: &output)
        } else {
            learn(from: election.vote.leader, into: &output)
        }
    }

    private mutating func lead(into output: inout ZabOutput) {
        output.note(
            .info,
            "elected leader",
            [("round", "\(election.round)"), ("zxid", "\(state.history.logged)")]
        )
        leading = Leader(state: state, links: waiting, at: time)
        let arrived = waiting.filter { $0.phase == .introduced }.map(\.id)
        waiting.removeAll()
        inRole(&output) { peer, output throws(RoleEnd) in
            guard peer.state.durable.remembersAll else {
                throw RoleEnd("this server has lost its memory and may not lead")
            }
            for link in arrived {
                try peer.leading?.welcome(link, state: &peer.state, at: peer.time, into: &output)
            }
            // A single voter is a quorum.
            try peer.leading?.discover(state: &peer.state, into: &output)
        }
    }

    private mutating func learn(from leader: ServerID, into output: inout ZabOutput) {
        // They elected a server that leads nobody: the sooner they know, the better.
        closeWaiting(into: &output)
        let requiredEpoch = state.requiredEpoch(under: election.vote)
        learning = Learner(leader: leader, requiredEpoch: requiredEpoch, state: &state, at: time, into: &output)
        output.note(
            .info,
            learning?.isObserver == true ? "observing a leader" : "following a leader",
            [("leader", "\(leader)"), ("zxid", "\(state.history.logged)")]
        )
    }

    // MARK: Learners that come too early

    /// More than this many servers do not wait for one leader.
    static var maxWaiting: Int { 256 }

    /// How long a learner may wait for this server to lead. Who elected it with a vote that it has changed since waits in
    /// vain, and is better off in another round.
    var patienceWithWaiting: Int64 {
        let isForSomebodyElse = election.isLooking && election.vote.leader != state.me
        guard isForSomebodyElse, state.configurations.isVoter(election.vote.leader) else {
            return state.options.initTime
        }
        return state.options.finalizeTime
    }

    /// The reconfiguration that could have made this server lead is over, and it does not.
    mutating func closeWaitingInVain(into output: inout ZabOutput) {
        guard learning != nil, state.configurations.proposed == nil else { return }
        closeWaiting(into: &output)
    }

    private mutating func closeWaiting(into output: inout ZabOutput) {
        for link in waiting { output.links.append(.close(link.id)) }
        waiting.removeAll()
    }

    mutating func expireWaiting(into output: inout ZabOutput) {
        guard !waiting.isEmpty else { return }
        let limit = time - patienceWithWaiting
        for link in waiting where link.heardAt <= limit { output.links.append(.close(link.id)) }
        waiting.removeAll { $0.heardAt <= limit }
    }
}

extension Role {
    /// Whether the epoch is formed, and clients are served: a leader with its quorum, or a learner that is up to date.
    package var isServing: Bool {
        switch self {
        case .looking: false
        case .leading(let isEstablished): isEstablished
        case .following(let isSynced), .observing(let isSynced): isSynced
        }
    }

    var name: String {
        switch self {
        case .looking: "looking"
        case .leading: "leading"
        case .following: "following"
        case .observing: "observing"
        }
    }
}
