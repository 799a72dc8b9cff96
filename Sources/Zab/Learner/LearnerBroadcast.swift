import ZooKeeperProtocol

/// Following a leader (docs/protocol/quorum-protocol.md sections 11 and 12).
extension Learner {
    func process(
        broadcast packet: QuorumPacket,
        state: inout PeerState,
        into output: inout ZabOutput
    ) throws(JuteError) {
        switch packet.kind {
        case .proposal where !isObserver:
            // `FollowerProcessPROPOSAL`: no ACK leaves here, it follows from `stored`.
            try receive(packet.zxid, packet.data, state: &state, into: &output)
            state.logAll(into: &output)
        case .commit where !isObserver:
            process(commit: packet.zxid, state: &state, into: &output)
        case .commitAndActivate where !isObserver:
            let activation = try Activation(data: packet.data)
            process(commit: packet.zxid, activation: activation, state: &state, into: &output)
        case .inform:
            try receive(packet.zxid, packet.data, state: &state, into: &output)
            state.logAll(into: &output)
            process(commit: packet.zxid, state: &state, into: &output)
        case .informAndActivate:
            let activation = try Activation(data: packet.data)
            try receive(packet.zxid, activation.txn, state: &state, into: &output)
            state.logAll(into: &output)
            process(commit: packet.zxid, activation: activation, state: &state, into: &output)
        case .ping:
            guard pings.count < Learner.maxPings else { return refuse("more PINGs than can be answered") }
            pings.append(packet.zxid)
            output.upcalls.append(.pingAsked)
        case .sync:
            output.upcalls.append(.synced)
        case .revalidate:
            let reply = try Revalidation.Reply(data: packet.data)
            output.upcalls.append(.revalidated(reply.session, isValid: reply.isValid))
        case .newLeader, .diff, .trunc, .snap, .leaderInfo, .upToDate:
            refuse("packet type \(packet.type)")
        default:
            break
        }
    }

    /// The core answers each in the same turn.
    static let maxPings = 4096

    /// COMMIT: a quorum has the transaction, and that is enough for it to be seen, whether or not our own disk has it
    /// already (`FollowerProcessCOMMIT`).
    private func process(
        commit zxid: Zxid,
        activation: Activation? = nil,
        state: inout PeerState,
        into output: inout ZabOutput
    ) {
        guard refusal == nil, advanceCommit(to: zxid, state: state) else { return }
        if let activation {
            state.activateProposals(upTo: zxid, into: &output)
            activations.append(Activated(zxid: zxid, designatedLeader: activation.designatedLeader))
        }
        state.apply(upTo: zxid, into: &output)
        if let activation { checkRole(designatedLeader: activation.designatedLeader, state: state) }
    }

    /// The log is durable up to here: every proposal of this role that is in it is acknowledged, one by one and in order.
    ///
    /// Reports about the time before speak of transactions up to `acked`, and so do nothing (H7).
    func stored(state: borrowing PeerState, into output: inout ZabOutput) {
        guard phase == .broadcast, !isObserver else { return }
        let upTo = min(state.durable.storedZxid, state.history.logged)
        while acked < upTo {
            acked = acked.next
            output.send(.ack, zxid: acked, on: link)
        }
    }

    /// The sessions that were alive since the last PING.
    func answerPing(_ touched: [SessionTouch], into output: inout ZabOutput) {
        guard !pings.isEmpty else { return }
        let zxid = pings.removeFirst()
        // Empty, never null: Apache's leader cannot do without.
        output.send(.ping, zxid: zxid, on: link) { writer in
            for touch in touched { touch.write(to: &writer) }
        }
    }
}
