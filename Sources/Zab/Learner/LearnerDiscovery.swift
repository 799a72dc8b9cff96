import ZooKeeperProtocol

/// Agreeing to a new epoch (docs/protocol/quorum-protocol.md sections 7 and 8).
extension Learner {
    /// LEADERINFO: the epoch that the leader proposes (`FollowerProcessLEADERINFO`).
    func process(
        leaderInfo packet: QuorumPacket,
        state: inout PeerState,
        into output: inout ZabOutput
    ) throws(JuteError) {
        guard packet.kind == .leaderInfo else { return refuse("packet type \(packet.type)") }
        let info = try LeaderInfo(data: packet.data)
        guard info.protocolVersion >= LearnerInfo.protocolVersion else {
            return refuse("protocol version \(info.protocolVersion)")
        }
        let accepted = state.durable.acceptedEpoch
        epoch = packet.zxid.epoch
        guard epoch >= accepted, epoch > .zero else {
            return refuse("epoch \(epoch), and \(accepted) is accepted already,")
        }
        if let requiredEpoch, epoch != requiredEpoch {
            return refuse("epoch \(epoch), which is not formed yet: this server has lost its memory and waits,")
        }
        if epoch > accepted {
            phase = .accepting
            state.durable.order(accepted: epoch, into: &output)
        } else {
            // Another leader may have got our word for this number: it counts once only.
            acknowledgeEpoch(as: nil, state: state, into: &output)
        }
    }

    /// The epoch is stored: the leader may count on it.
    func epochAccepted(state: borrowing PeerState, into output: inout ZabOutput) {
        guard phase == .accepting else { return }
        // Whoever has forgotten what it promised promises nothing.
        let current = state.durable.memory == .lost ? nil : state.durable.currentEpoch
        acknowledgeEpoch(as: current, state: state, into: &output)
    }

    private func acknowledgeEpoch(
        as current: Epoch?,
        state: borrowing PeerState,
        into output: inout ZabOutput
    ) {
        phase = .acknowledging
        output.send(.ackEpoch, zxid: state.history.logged, on: link) {
            EpochAcknowledgement(currentEpoch: current).write(to: &$0)
        }
    }
}
