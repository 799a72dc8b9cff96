import ZooKeeperProtocol

@testable import Zab

/// A follower that belongs to the quorum of a recorded leader without being in the recording: it agrees to everything, at
/// once.
struct UnrecordedFollower {
    let link: LinkID
    let id: ServerID
    /// Where its log ends, and the epoch that it belongs to.
    let last: Zxid
    let epoch: Epoch
    let configurationVersion: Int64

    var introduction: [UInt8] {
        let info = LearnerInfo(server: id, configurationVersion: configurationVersion)
        return packet(.followerInfo, epoch.newLeaderZxid) { info.write(to: &$0) }
    }

    func answers(to packet: QuorumPacket) -> [[UInt8]] {
        switch packet.kind {
        case .leaderInfo:
            [self.packet(.ackEpoch, last) { EpochAcknowledgement(currentEpoch: epoch).write(to: &$0) }]
        case .newLeader, .proposal: [Recording.packet(.ack, packet.zxid)]
        case .ping: [Recording.packet(.ping, packet.zxid, data: [])]
        default: []
        }
    }

    private func packet(_ type: QuorumPacketType, _ zxid: Zxid, data body: (inout JuteWriter) -> Void) -> [UInt8] {
        var writer = JuteWriter(capacity: 64)
        QuorumPacket.write(type, zxid: zxid, to: &writer, data: body)
        return writer.copy()
    }
}

extension ReplayedPeer {
    /// Leads with a follower of which nothing was recorded, and has proposed and committed what came before.
    func lead(with follower: ServerID, _ configuration: QuorumConfiguration, proposed: [Record]) {
        let state = (last: peer.history.logged, epoch: peer.state.durable.currentEpoch)
        let unrecorded = UnrecordedFollower(
            link: accept(),
            id: follower,
            last: state.last,
            epoch: state.epoch,
            configurationVersion: configuration.version
        )
        self.unrecorded = unrecorded
        receive(unrecorded.introduction, on: unrecorded.link)
        deliverReplies()
        while !mayPropose, work(for: unrecorded.link) { deliverReplies() }
        for record in proposed {
            record.payload.withUnsafeBytes { propose(record.zxid, $0) }
            deliverReplies()
            while work(for: unrecorded.link) {}
        }
    }
}
