import ZooKeeperProtocol

/// Taking over the leader's history (docs/protocol/quorum-protocol.md section 10).
///
/// What arrives with its COMMIT before NEWLEADER is logged at once; what is not committed by then waits for UPTODATE,
/// because nothing may be acknowledged before the history is (ZOOKEEPER-4394, 4685).
extension Learner {
    // MARK: The beginning

    /// DIFF, TRUNC or SNAP: what to do with the log (`FollowerProcessSyncMessage`).
    func process(syncMessage packet: QuorumPacket, state: inout PeerState, into output: inout ZabOutput) {
        switch packet.kind {
        case .diff:
            break
        case .trunc:
            guard packet.zxid <= state.history.logged, packet.zxid.rawValue >= 0 else {
                return refuse("TRUNC to \(packet.zxid), and the log ends with \(state.history.logged),")
            }
            if packet.zxid < state.history.logged {
                state.history.cut(after: packet.zxid)
                state.forgetLostProposals(into: &output)
                state.durable.order(truncationAfter: packet.zxid, into: &output)
            }
        case .snap:
            guard packet.zxid.rawValue >= 0 else { return refuse("SNAP of \(packet.zxid)") }
            state.beginSnapshot(packet.zxid, from: link, into: &output)
        default:
            return refuse("packet type \(packet.type)")
        }
        phase = .synchronizing
        nextCommit = state.history.end
    }

    // MARK: History

    func process(
        inSync packet: QuorumPacket,
        state: inout PeerState,
        at time: Int64,
        into output: inout ZabOutput
    ) throws(JuteError) {
        switch packet.kind {
        case .proposal:
            try receive(packet.zxid, packet.data, state: &state, into: &output)
        case .commit:
            process(commitInSync: packet.zxid, state: &state, into: &output)
        case .commitAndActivate:
            designatedLeader = try Activation(data: packet.data).designatedLeader
            process(commitInSync: packet.zxid, state: &state, into: &output)
        case .inform:
            try receive(packet.zxid, packet.data, state: &state, into: &output)
            process(commitInSync: packet.zxid, state: &state, into: &output)
        case .informAndActivate:
            let activation = try Activation(data: packet.data)
            designatedLeader = activation.designatedLeader
            try receive(packet.zxid, activation.txn, state: &state, into: &output)
            process(commitInSync: packet.zxid, state: &state, into: &output)
        case .newLeader:
            process(newLeader: packet, state: &state, at: time, into: &output)
        case .upToDate:
            process(upToDate: packet, state: &state, into: &output)
        default:
            // PING among them: an answer would be taken for the acknowledgement of NEWLEADER.
            break
        }
    }

    /// PROPOSAL before we serve (`FollowerProcessPROPOSALInSync`): kept, and not logged yet.
    ///
    /// Twice is harmless (H29), a gap is not (H8).
    func receive(
        _ zxid: Zxid,
        _ payload: UnsafeRawBufferPointer?,
        state: inout PeerState,
        into output: inout ZabOutput
    ) throws(JuteError) {
        guard let payload else { throw .unexpectedNull }
        let last = state.history.last
        guard zxid > last else { return }
        guard History.isContiguous(zxid, after: last) else {
            return refuse("\(zxid), but the one behind \(last) is missing,")
        }
        guard zxid.epoch <= epoch else { return refuse("\(zxid), which is later than epoch \(epoch),") }
        guard Txn.zxid(ofPayload: payload) == zxid else { return refuse("\(zxid) with another zxid inside") }
        state.history.append(zxid, payload)
        note(configurationIn: payload, state: &state, into: &output)
    }

    /// COMMIT before we serve (`FollowerProcessCOMMITInSync`).
    private func process(commitInSync zxid: Zxid, state: inout PeerState, into output: inout ZabOutput) {
        guard advanceCommit(to: zxid, state: state), phase == .synchronizing else { return }
        settle(state: &state, into: &output)
    }

    /// The next transaction is committed.
    ///
    /// - Returns: false for one that was committed before: it is in the snapshot, or came twice.
    func advanceCommit(to zxid: Zxid, state: borrowing PeerState) -> Bool {
        guard zxid > state.history.zxid(before: nextCommit) else { return false }
        guard nextCommit < state.history.end, state.history.zxid(at: nextCommit) == zxid else {
            let expected = nextCommit < state.history.end ? "\(state.history.zxid(at: nextCommit))" : "none"
            refuse("COMMIT of \(zxid), expected \(expected),")
            return false
        }
        nextCommit += 1
        return true
    }

    /// Logs and applies what is committed, as soon as the log is cut or the snapshot is in place.
    func settle(state: inout PeerState, into output: inout ZabOutput) {
        guard state.durable.isSettled, phase == .synchronizing || phase == .storing else { return }
        // What came behind NEWLEADER waits for UPTODATE.
        let position = phase == .synchronizing ? nextCommit : historyEnd
        state.log(to: position, into: &output)
        if position > state.history.appliedEnd {
            state.apply(upTo: state.history.zxid(before: position), into: &output)
        }
        guard owesEpoch else { return }
        owesEpoch = false
        state.durable.order(current: epoch, role: role, into: &output)
    }

    // MARK: The end

    /// NEWLEADER: this is the history that the epoch begins with (`FollowerProcessNEWLEADER`).
    ///
    /// First the transactions become durable, then the epoch, then the leader hears of it: in any other order a crash
    /// leaves a short history under a high epoch, which wins elections (ZOOKEEPER-4643, 4785).
    private func process(
        newLeader packet: QuorumPacket,
        state: inout PeerState,
        at time: Int64,
        into output: inout ZabOutput
    ) {
        guard phase == .synchronizing, packet.zxid == epoch.newLeaderZxid else {
            return refuse("NEWLEADER \(packet.zxid) for epoch \(epoch)")
        }
        if let data = packet.data, data.count > 1 {
            guard let configuration = try? QuorumConfiguration.parse(utf8: data) else {
                return refuse("NEWLEADER with an unreadable configuration")
            }
            state.takeLastSeen(configuration, into: &output)
        }
        phase = .storing
        historyEnd = nextCommit
        owesEpoch = true
        settle(state: &state, into: &output)
    }

    /// History and epoch are stored (`FollowerProcessNEWLEADER`, second half).
    func epochStored(state: inout PeerState, into output: inout ZabOutput) {
        guard phase == .storing else { return }
        phase = .waiting
        state.durable.synchronized(upTo: state.history.logged)
        output.send(.ack, zxid: epoch.newLeaderZxid, on: link)
    }

    /// UPTODATE: a quorum has the history; serve (`FollowerProcessUPTODATE`).
    private func process(upToDate packet: QuorumPacket, state: inout PeerState, into output: inout ZabOutput) {
        guard phase == .waiting else { return refuse("UPTODATE") }
        output.send(.ack, zxid: epoch.newLeaderZxid, on: link)
        phase = .broadcast
        acked = max(state.history.logged, epoch.newLeaderZxid)
        state.apply(upTo: state.history.logged, into: &output)
        activateAnnounced(state: &state, into: &output)
        checkRole(designatedLeader: designatedLeader, state: state)
        guard refusal == nil else { return }
        output.upcalls.append(.learn(leader: leader, isObserver: isObserver))
        // An observer gets what is not committed yet once more, with its INFORM.
        if isObserver { state.history.cut(after: state.history.zxid(before: nextCommit)) }
        state.logAll(into: &output)
        state.apply(upTo: state.history.zxid(before: nextCommit), into: &output)
    }
}
