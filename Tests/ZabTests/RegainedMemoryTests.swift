import Testing
import ZooKeeperProtocol

@testable import Zab

@Suite("A voter that has its memory again")
struct RegainedMemoryTests {
    private static let now = Now(wallMilliseconds: 1, monotonicMicroseconds: 1_000_000)
    private static let last = Zxid(0x1_0000_0005)

    /// Server 3, elected by whoever is the other of two.
    private static func leader() throws -> Peer {
        var peer = Peer(
            options: PeerOptions(me: ServerID(3), tickMilliseconds: 2000, initLimit: 10, syncLimit: 5),
            configuration: try QuorumConfiguration.parse("server.1=a:1:2\nserver.3=c:1:2\nversion=0"),
            durable: DurableState(lastZxid: last, acceptedEpoch: Epoch(1), currentEpoch: Epoch(1)),
            lastProcessed: last,
            seed: 1,
            now: now
        )
        var output = ZabOutput()
        peer.start(at: now, into: &output)
        // It looked for a leader, and had nobody to name.
        peer.receive(notification: vote(for: ServerID.none), from: ServerID(1), at: now, into: &output)
        return peer
    }

    private static func vote(for leader: ServerID) -> Notification {
        Notification(
            state: .looking,
            leader: leader,
            zxid: leader == .none ? Zxid(.min) : last,
            electionEpoch: 1,
            peerEpoch: leader == .none ? Epoch(.min) : Epoch(1),
            configuration: []
        )
    }

    private static func introduce(to peer: inout Peer, into output: inout ZabOutput) throws {
        peer.accepted(LinkID(1), at: now, into: &output)
        var writer = JuteWriter(capacity: 64)
        QuorumPacket.write(.followerInfo, zxid: Epoch(1).newLeaderZxid, identities: nil, to: &writer) {
            LearnerInfo(server: ServerID(1), configurationVersion: 0).write(to: &$0)
        }
        try writer.copy().withUnsafeBytes { bytes in
            let (packet, _) = try #require(try QuorumPacket.parse(bytes))
            peer.receive(packet: packet, on: LinkID(1), at: now, into: &output)
        }
    }

    private static func hasEpoch(_ storage: [ZabStorageOrder]) -> Bool {
        storage.contains { if case .storeAccepted = $0 { true } else { false } }
    }

    /// Its vote and its connection come by different ways.
    @Test("Counts as soon as it is heard of, whether or not it introduced itself before", arguments: [true, false])
    func counts(isLeading: Bool) throws {
        var peer = try Self.leader()
        var output = ZabOutput()
        if isLeading {
            peer.election.settle(on: Vote(leader: ServerID(3), zxid: Self.last, peerEpoch: Epoch(1), round: 1))
            peer.takeRole(into: &output)
        }
        try Self.introduce(to: &peer, into: &output)
        #expect(!Self.hasEpoch(output.storage))
        peer.receive(notification: Self.vote(for: ServerID(3)), from: ServerID(1), at: Self.now, into: &output)
        peer.advance(to: Now(wallMilliseconds: 1, monotonicMicroseconds: 2_000_000), into: &output)
        #expect(peer.role == .leading(isEstablished: false))
        #expect(Self.hasEpoch(output.storage))
    }

    @Test("Does not count while it names nobody")
    func waits() throws {
        var peer = try Self.leader()
        var output = ZabOutput()
        peer.election.settle(on: Vote(leader: ServerID(3), zxid: Self.last, peerEpoch: Epoch(1), round: 1))
        peer.takeRole(into: &output)
        try Self.introduce(to: &peer, into: &output)
        peer.receive(notification: Self.vote(for: ServerID.none), from: ServerID(1), at: Self.now, into: &output)
        #expect(!Self.hasEpoch(output.storage))
    }
}
