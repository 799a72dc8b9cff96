import Testing
import ZooKeeperProtocol

@testable import Zab

/// Four voters: two of them are enough to keep the others from electing anybody, and were not enough for the leader that
/// they elected while somebody could not be reached.
@Suite("An election that comes out differently for different servers")
struct SplitElectionTests {
    private let now = Now(wallMilliseconds: 1, monotonicMicroseconds: 1_000_000)
    private static let text = "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\nserver.5=e:1:2\nversion=0"

    private func vote(for leader: Int64) -> Notification {
        Notification(
            state: .looking,
            leader: ServerID(leader),
            zxid: Zxid(0x1_0000_0005),
            electionEpoch: 1,
            peerEpoch: Epoch(1),
            configuration: []
        )
    }

    /// Server 3, which looks for a leader.
    private func makePeer(_ output: inout ZabOutput) throws -> Peer {
        var peer = Peer(
            options: PeerOptions(me: ServerID(3), tickMilliseconds: 2000, initLimit: 10, syncLimit: 5),
            configuration: try QuorumConfiguration.parse(SplitElectionTests.text),
            durable: DurableState(lastZxid: Zxid(0x1_0000_0005), acceptedEpoch: Epoch(1), currentEpoch: Epoch(1)),
            lastProcessed: Zxid(0x1_0000_0005),
            seed: 1,
            now: now
        )
        peer.start(at: now, into: &output)
        return peer
    }

    private func role(_ peer: borrowing Peer) -> Role { peer.role }

    @Test("Who was elected gives up once there is no quorum without those that vote for somebody better")
    func lostVoter() throws {
        var output = ZabOutput()
        var peer = try makePeer(&output)
        peer.electionLink(ServerID(5), isUp: false, at: now, into: &output)
        for server in [1, 2] as [Int64] {
            peer.receive(notification: vote(for: 3), from: ServerID(server), at: now, into: &output)
        }
        #expect(role(peer) == .leading(isEstablished: false))
        // What it said before it voted for us may arrive late.
        peer.receive(notification: vote(for: 1), from: ServerID(1), at: now, into: &output)
        #expect(role(peer) == .leading(isEstablished: false))
        peer.receive(notification: vote(for: 5), from: ServerID(1), at: now, into: &output)
        #expect(role(peer) == .leading(isEstablished: false))
        peer.receive(notification: vote(for: 5), from: ServerID(5), at: now, into: &output)
        #expect(role(peer) == .looking)
    }

    @Test("Who was elected with a vote that it has changed since lets those go that wait for it")
    func changedVote() throws {
        var output = ZabOutput()
        var peer = try makePeer(&output)
        peer.accepted(LinkID(1), at: now, into: &output)
        peer.receive(notification: vote(for: 3), from: ServerID(1), at: now, into: &output)
        let due = peer.nextDeadlineMicroseconds ?? 0
        peer.receive(notification: vote(for: 5), from: ServerID(5), at: now, into: &output)
        #expect(!output.links.contains(.close(LinkID(1))))
        let later = Now(wallMilliseconds: 1, monotonicMicroseconds: max(due, now.monotonicMicroseconds + 200_000))
        peer.advance(to: later, into: &output)
        #expect(output.links.contains(.close(LinkID(1))))
    }
}
