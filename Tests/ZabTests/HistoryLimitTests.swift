import Testing
import ZooKeeperProtocol

@testable import Zab

@Suite("What a leader reads from its log for a learner")
struct HistoryLimitTests {
    private static let now = Now(wallMilliseconds: 1, monotonicMicroseconds: 1_000_000)

    private static func payload(_ zxid: Zxid) -> [UInt8] {
        var writer = JuteWriter(capacity: 64)
        Txn(
            header: TxnHeader(session: SessionID(7), cxid: 1, zxid: zxid, time: 0),
            body: .error(.noNode),
            digest: nil
        ).write(to: &writer)
        return writer.copy()
    }

    private static func receive(
        _ type: QuorumPacketType,
        _ zxid: Zxid,
        _ peer: inout Peer,
        _ output: inout ZabOutput,
        data: (inout JuteWriter) -> Void
    ) throws {
        var writer = JuteWriter(capacity: 64)
        QuorumPacket.write(type, zxid: zxid, identities: nil, to: &writer, data: data)
        try writer.copy().withUnsafeBytes { bytes in
            let (packet, _) = try #require(try QuorumPacket.parse(bytes))
            peer.receive(packet: packet, on: LinkID(1), at: now, into: &output)
        }
    }

    private static func commits(_ bytes: [UInt8]) throws -> [Zxid] {
        try bytes.withUnsafeBytes { all in
            var commits: [Zxid] = []
            var rest = all
            while let (packet, size) = try QuorumPacket.parse(rest) {
                if packet.kind == .commit { commits.append(packet.zxid) }
                rest = UnsafeRawBufferPointer(rebasing: rest[size...])
            }
            return commits
        }
    }

    /// The leader's log began with a snapshot that ends with the NEWLEADER of epoch 2, so no record says where that ends.
    @Test("What is behind the end of the committed history is not committed by being read")
    func limit() throws {
        let end = Epoch(2).newLeaderZxid
        let (old, new) = (Zxid(0x1_0000_0073), Epoch(3).newLeaderZxid.next)
        var peer = Peer(
            options: PeerOptions(me: ServerID(3), tickMilliseconds: 2000, initLimit: 10, syncLimit: 5),
            configuration: try QuorumConfiguration.parse("server.3=c:1:2\nserver.4=d:1:2:observer\nversion=0"),
            durable: DurableState(lastZxid: end, acceptedEpoch: Epoch(2), currentEpoch: Epoch(2)),
            lastProcessed: end,
            seed: 1,
            now: Self.now
        )
        var output = ZabOutput()
        peer.start(at: Self.now, into: &output)
        peer.advance(to: Now(wallMilliseconds: 1, monotonicMicroseconds: 2_000_000), into: &output)
        peer.epochStored(accepted: Epoch(3), at: Self.now, into: &output)
        peer.epochStored(current: Epoch(3), at: Self.now, into: &output)
        try #require(peer.role == .leading(isEstablished: true))
        Self.payload(new).withUnsafeBytes { peer.proposed(zxid: new, payload: $0, at: Self.now, into: &output) }

        peer.accepted(LinkID(1), at: Self.now, into: &output)
        try Self.receive(.observerInfo, Epoch(1).newLeaderZxid, &peer, &output) {
            LearnerInfo(server: ServerID(4), configurationVersion: 0).write(to: &$0)
        }
        output.reset()
        try Self.receive(.ackEpoch, Zxid(0x1_0000_005a), &peer, &output) {
            EpochAcknowledgement(currentEpoch: Epoch(1)).write(to: &$0)
        }
        let isAsked = output.links.contains {
            if case .readHistory(_, .records(_, let through, _, _)) = $0 { through == end } else { false }
        }
        try #require(isAsked)
        output.reset()
        let payloads = [Self.payload(old), Self.payload(new)]
        payloads[0].withUnsafeBytes { first in
            payloads[1].withUnsafeBytes { second in
                let records = [
                    HistoryRecord(zxid: old, payload: first), HistoryRecord(zxid: new, payload: second),
                ]
                peer.historyRead(
                    LinkID(1),
                    .records(previous: Zxid(0x1_0000_005a), records),
                    at: Self.now,
                    into: &output
                )
            }
        }
        #expect(try Self.commits(output.linkBytes.copy()) == [old])
        #expect(peer.leading?.links.first?.phase == .storing)
    }
}
