import ZooKeeperProtocol

/// Proposals, acknowledgements and commits (docs/protocol/quorum-protocol.md section 11).
extension Leader {
    /// The core made a transaction, and hands it to the log (`LeaderProcessRequest`, `LeaderBroadcastPROPOSAL`).
    func propose(
        _ zxid: Zxid,
        _ payload: UnsafeRawBufferPointer,
        configuration: QuorumConfiguration?,
        state: inout PeerState,
        at time: Int64,
        into output: inout ZabOutput
    ) throws(RoleEnd) {
        invariant(isEstablished, "\(zxid) is proposed while \(phase)")
        let expected = max(state.history.last, epoch.newLeaderZxid).next
        invariant(zxid == expected, "\(zxid) is proposed, expected \(expected)")
        state.history.append(zxid, payload)
        state.history.markLogged(to: state.history.end)
        // The next number would be the first of another epoch: this one stays ours alone, and a new epoch begins.
        guard zxid.counter < Leader.counterLimit else {
            throw RoleEnd("epoch \(epoch) has no zxids left", level: .info)
        }
        if let configuration {
            propose(configuration, at: zxid, state: &state, into: &output)
        }
        if state.isInBatch {
            owesBatch = true
        } else {
            try endBatch(state: &state, at: time, into: &output)
        }
    }

    /// Sends what was proposed, and commits what may be by now: a single voter has its own acknowledgement only, and
    /// waits for no packet.
    func endBatch(state: inout PeerState, at time: Int64, into output: inout ZabOutput) throws(RoleEnd) {
        owesBatch = false
        pumpAll(state: state, at: time, into: &output)
        try commit(state: &state, at: time, into: &output)
    }

    /// The counter that no transaction may have: its successor belongs to the next epoch (H21).
    static let counterLimit: Int64 = 0xffff_ffff

    // MARK: Packets of learners in sync

    func process(
        broadcast packet: QuorumPacket,
        _ index: Int,
        state: inout PeerState,
        at time: Int64,
        into output: inout ZabOutput
    ) throws(RoleEnd) {
        let link = links[index].id
        do throws(JuteError) {
            switch packet.kind {
            case .ack:
                try process(ack: packet.zxid, index, state: state, at: time, into: &output)
            case .ping:
                let touches = try SessionTouch.list(data: packet.data)
                if !touches.isEmpty { output.upcalls.append(.touched(link, touches)) }
                answered(pingOf: index, state: state, into: &output)
            case .request:
                let request = try ForwardedRequest(data: packet.data)
                let copy = LearnerRequest(request, identities: packet.identities)
                output.upcalls.append(.request(link, from: links[index].server, copy))
            case .revalidate:
                let ask = try Revalidation.Request(data: packet.data)
                output.upcalls.append(
                    .revalidate(link, ask.session, timeoutMilliseconds: ask.timeoutMilliseconds)
                )
            default:
                break
            }
        } catch {
            drop(link, "unreadable packet of type \(packet.type) (\(error))", into: &output)
        }
        guard packet.kind == .ack else { return }
        if state.isInBatch {
            owesBatch = true
        } else {
            try commit(state: &state, at: time, into: &output)
        }
    }

    /// ACK: a proposal is durable at the learner, and so is everything before it (`LeaderProcessACK`).
    private func process(
        ack zxid: Zxid,
        _ index: Int,
        state: borrowing PeerState,
        at time: Int64,
        into output: inout ZabOutput
    ) throws(JuteError) {
        // The second acknowledgement of NEWLEADER, which answers UPTODATE.
        guard zxid.counter != 0, zxid > links[index].acked else { return }
        let sent = state.history.zxid(before: links[index].nextProposal)
        guard zxid <= sent else {
            return drop(links[index].id, "ACK of \(zxid), but nothing behind \(sent) was sent", into: &output)
        }
        links[index].acked = zxid
        links[index].ackedAt = time
    }

    // MARK: Commit

    /// Commits what has its quorums by now, in order (`LeaderTryToCommit`).
    func commit(state: inout PeerState, at time: Int64, into output: inout ZabOutput) throws(RoleEnd) {
        guard isEstablished, !isMaster else { return }
        let before = committed
        var reached = committable(state: state)
        if let pending = reconfiguration, pending.zxid <= reached.zxid {
            try activate(pending, acked: reached.acked, state: &state, at: time, into: &output)
            // Other servers decide about what is behind it.
            reached = committable(state: state)
        }
        if reached.zxid > committed {
            committed = reached.zxid
            state.apply(upTo: committed, into: &output)
            pumpAll(state: state, at: time, into: &output)
        }
        if committed > before, committed.counter == Leader.counterLimit - 1, committed.epoch == epoch {
            throw RoleEnd("epoch \(epoch) has used up its zxids", level: .info)
        }
    }

    /// How far what was proposed has its quorums, and who has acknowledged how much.
    private func committable(state: borrowing PeerState) -> (zxid: Zxid, acked: [(ServerID, Zxid)]) {
        var acked: [(ServerID, Zxid)] = [(state.me, state.durable.storedZxid)]
        for index in links.indices where links[index].phase >= .synchronized && links[index].isFollower {
            acked.append((links[index].server, links[index].acked))
        }
        return (requirements.committable(acked: acked, lastProposed: state.history.last), acked)
    }

    // MARK: What learners are sent

    func pumpAll(state: borrowing PeerState, at time: Int64, into output: inout ZabOutput) {
        // Whoever has fallen out of the history is dropped, so the list may shrink.
        for link in links.map(\.id) { pump(link, state: state, at: time, into: &output) }
    }

    /// Sends a learner what comes next, as far as its link takes it.
    func pump(_ link: LinkID, state: borrowing PeerState, at time: Int64, into output: inout ZabOutput) {
        guard let index = index(of: link) else { return }
        guard links[index].phase >= .synchronizing else { return readOn(index, state: state, into: &output) }
        guard min(links[index].nextCommit, links[index].nextProposal) >= state.history.start else {
            return fallBehind(index, state: state, into: &output)
        }
        let committedEnd = state.history.position(after: historyForLearners) ?? state.history.end
        while links[index].credit > 0 || links[index].owesCommit {
            flushDeferred(index, into: &output)
            let commitsEnd = min(committedEnd, links[index].commitsHeldFrom)
            if links[index].phase == .synchronizing, isHistorySent(index, state: state) {
                sendNewLeader(index, state: state, at: time, into: &output)
            } else if links[index].nextCommit < min(links[index].nextProposal, commitsEnd) {
                sendCommit(index, state: state, into: &output)
            } else if links[index].isObserver, links[index].phase != .synchronizing {
                guard links[index].nextProposal < commitsEnd else { break }
                sendInform(index, state: state, into: &output)
            } else {
                // What a master has and its leader has not committed may yet be taken back.
                guard links[index].nextProposal < (isMaster ? committedEnd : state.history.end) else { break }
                sendProposal(index, state: state, at: time, into: &output)
            }
        }
        flushDeferred(index, into: &output)
    }

    private func isHistorySent(_ index: Int, state: borrowing PeerState) -> Bool {
        state.history.zxid(before: links[index].nextCommit) >= links[index].historyEnd
            || links[index].nextCommit == state.history.end
    }

    private func sendNewLeader(
        _ index: Int,
        state: borrowing PeerState,
        at time: Int64,
        into output: inout ZabOutput
    ) {
        let text = (isMaster ? state.configurations.current : state.configurations.lastSeen).text
        output.send(.newLeader, zxid: epoch.newLeaderZxid, on: links[index].id) { writer in
            var text = text
            text.withUTF8 { writer.raw(UnsafeRawBufferPointer($0)) }
        }
        links[index].credit -= text.utf8.count + QuorumPacket.minimumSize
        links[index].phase = .storing
        links[index].heardAt = time
    }

    private func sendProposal(
        _ index: Int,
        state: borrowing PeerState,
        at time: Int64,
        into output: inout ZabOutput
    ) {
        let position = links[index].nextProposal
        let zxid = state.history.zxid(at: position)
        if links[index].acked >= state.history.zxid(before: position) { links[index].ackedAt = time }
        let id = links[index].id
        links[index].credit -= state.history.withPayload(at: position) {
            output.send(.proposal, zxid: zxid, data: $0, on: id)
        }
        links[index].nextProposal = position + 1
        links[index].readThrough = zxid
    }

    private func sendCommit(_ index: Int, state: borrowing PeerState, into output: inout ZabOutput) {
        let zxid = state.history.zxid(at: links[index].nextCommit)
        let id = links[index].id
        if let leader = designatedLeader(activatedBy: zxid, for: links[index]) {
            output.send(.commitAndActivate, zxid: zxid, on: id) { Activation(designatedLeader: leader).write(to: &$0) }
            links[index].credit -= QuorumPacket.minimumSize + 8
        } else {
            links[index].credit -= output.send(.commit, zxid: zxid, on: id)
        }
        links[index].nextCommit += 1
    }

    private func sendInform(_ index: Int, state: borrowing PeerState, into output: inout ZabOutput) {
        let position = links[index].nextProposal
        let zxid = state.history.zxid(at: position)
        let id = links[index].id
        let leader = designatedLeader(activatedBy: zxid, for: links[index])
        links[index].credit -= state.history.withPayload(at: position) { payload in
            guard let leader else { return output.send(.inform, zxid: zxid, data: payload, on: id) }
            output.send(.informAndActivate, zxid: zxid, on: id) {
                Activation(designatedLeader: leader, txn: payload).write(to: &$0)
            }
            return payload.count + QuorumPacket.minimumSize + 8
        }
        links[index].nextProposal = position + 1
        links[index].nextCommit = position + 1
        links[index].readThrough = zxid
    }

    /// What the learner needs next is forgotten: before NEWLEADER it comes from the disk, afterwards it is too late.
    private func fallBehind(_ index: Int, state: borrowing PeerState, into output: inout ZabOutput) {
        guard links[index].phase == .synchronizing, links[index].nextCommit == links[index].nextProposal else {
            let behind = "\(links[index].readThrough), and the oldest kept is behind \(state.history.floor)"
            return drop(links[index].id, "it is too slow: it has \(behind)", into: &output)
        }
        links[index].phase = .readingLog
        readOn(index, state: state, into: &output)
    }

    // MARK: Answers

    /// Sends a packet behind every commit up to `zxid`.
    func answer(
        _ type: QuorumPacketType,
        zxid: Zxid,
        data: [UInt8]?,
        behind: Zxid,
        on link: LinkID,
        state: borrowing PeerState,
        into output: inout ZabOutput
    ) {
        guard let index = index(of: link), links[index].phase == .serving else { return }
        guard links[index].deferred.count < LearnerLink.maxDeferred else {
            return drop(link, "\(LearnerLink.maxDeferred) answers wait for it to read", into: &output)
        }
        let position = state.history.position(after: behind) ?? 0
        links[index].postpone(LearnerLink.Deferred(position: position, type: type, zxid: zxid, data: data))
        flushDeferred(index, into: &output)
    }

    /// SYNC is to follow the commit of `zxid`, and to precede all behind that.
    func expectSync(behind zxid: Zxid, on link: LinkID, state: borrowing PeerState) {
        guard let index = index(of: link), links[index].phase == .serving else { return }
        links[index].expectSync(at: state.history.position(after: zxid) ?? 0)
    }

    /// The oldest SYNC that is expected is due.
    func answerSync(
        on link: LinkID,
        state: borrowing PeerState,
        at time: Int64,
        into output: inout ZabOutput
    ) {
        guard let index = index(of: link), let position = links[index].takeExpectedSync() else { return }
        let sync = LearnerLink.Deferred(position: position, type: .sync, zxid: .zero)
        guard links[index].deferred.count < LearnerLink.maxDeferred else {
            return drop(link, "\(LearnerLink.maxDeferred) answers wait for it to read", into: &output)
        }
        links[index].postpone(sync)
        // Commits may have waited for it.
        if links[index].commitsHeldFrom > position {
            pump(link, state: state, at: time, into: &output)
        } else {
            flushDeferred(index, into: &output)
        }
    }

    private func flushDeferred(_ index: Int, into output: inout ZabOutput) {
        let id = links[index].id
        for answer in links[index].takeDue() { links[index].credit -= answer.send(on: id, into: &output) }
    }
}

extension LearnerLink.Deferred {
    fileprivate func send(on link: LinkID, into output: inout ZabOutput) -> Int {
        guard let data else { return output.send(type, zxid: zxid, on: link) }
        return data.withUnsafeBytes { output.send(type, zxid: zxid, data: $0, on: link) }
    }
}

extension LearnerRequest {
    fileprivate init(_ request: ForwardedRequest, identities: [Identity]?) {
        self.init(
            session: request.session,
            cxid: request.cxid,
            operation: request.operation,
            body: [UInt8](request.body),
            identities: identities
        )
    }
}
