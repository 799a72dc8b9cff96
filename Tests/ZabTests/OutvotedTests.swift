import Testing
import ZooKeeperProtocol

@testable import Zab

@Suite("A vote that was not heard")
struct OutvotedTests {
    private static func peer(at now: Now) throws -> Peer {
        let text = "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\nversion=0"
        return Peer(
            options: PeerOptions(me: ServerID(3), tickMilliseconds: 2000, initLimit: 10, syncLimit: 5),
            configuration: try QuorumConfiguration.parse(utf8: Array(text.utf8)),
            durable: DurableState(lastZxid: Zxid(0x1_0000_0005), acceptedEpoch: Epoch(1), currentEpoch: Epoch(1)),
            lastProcessed: Zxid(0x1_0000_0005),
            seed: 1,
            now: now
        )
    }

    private static func vote(for leader: Int64, round: Int64) -> Notification {
        Notification(
            state: .looking,
            leader: ServerID(leader),
            zxid: Zxid(0x1_0000_0005),
            electionEpoch: round,
            peerEpoch: Epoch(1),
            configuration: []
        )
    }

    /// Two followers miss their leader one after the other: the first one's vote finds the second with a leader still.
    @Test("Whoever joins the round with a worse vote is told the better one at once, and once")
    func told() throws {
        let now = Now(wallMilliseconds: 1, monotonicMicroseconds: 1_000_000)
        var peer = try Self.peer(at: now)
        var output = ZabOutput()
        peer.start(at: now, into: &output)
        output.reset()
        let vote = Self.vote(for: 1, round: 1)
        peer.receive(notification: vote, from: ServerID(1), at: now, into: &output)
        #expect(output.notifications.map(\.to) == [ServerID(1)])
        #expect(output.notifications.first?.notification.leader == ServerID(3))
        output.reset()
        peer.receive(notification: vote, from: ServerID(1), at: now, into: &output)
        #expect(output.notifications.isEmpty)
    }

    @Test("A round that nobody can come to is not taken over")
    func senselessRound() throws {
        let now = Now(wallMilliseconds: 1, monotonicMicroseconds: 1_000_000)
        var peer = try Self.peer(at: now)
        var output = ZabOutput()
        peer.start(at: now, into: &output)
        for round: Int64 in [.max, .max - 1] {
            let vote = Self.vote(for: 3, round: round)
            peer.receive(notification: vote, from: ServerID(1), at: now, into: &output)
        }
        #expect(peer.election.round == 1)
    }
}
