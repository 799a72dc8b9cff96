import Testing
import ZooKeeperProtocol

@testable import Zab

@Suite("Whom an observer asks")
struct ObserverTargetTests {
    private static let start: Int64 = 1_000_000

    private static func now(_ microseconds: Int64) -> Now {
        Now(wallMilliseconds: 1, monotonicMicroseconds: microseconds)
    }

    /// Server 4 observes, and has two followers to ask, twice, and the leader; server 2 is a voter, and follows the leader alone. The leader is 3.
    private static func learner(_ me: Int64, into output: inout ZabOutput) throws -> Peer {
        var options = PeerOptions(me: ServerID(me), tickMilliseconds: 2000, initLimit: 10, syncLimit: 5)
        options.hasObserverMasters = true
        let zxid = Zxid(0x1_0000_0005)
        var peer = Peer(
            options: options,
            configuration: try QuorumConfiguration.parse(
                "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\nserver.4=d:1:2:observer\nversion=0"
            ),
            durable: DurableState(lastZxid: zxid, acceptedEpoch: Epoch(1), currentEpoch: Epoch(1)),
            lastProcessed: zxid,
            seed: 1,
            now: now(start)
        )
        peer.start(at: now(start), into: &output)
        peer.election.settle(on: Vote(leader: ServerID(3), zxid: zxid, peerEpoch: Epoch(1), round: 1))
        peer.takeRole(into: &output)
        return peer
    }

    private static func connects(_ links: [LinkAction]) -> [(link: LinkID, to: ServerID)] {
        links.compactMap { if case .connect(let link, let to) = $0 { (link, to) } else { nil } }
    }

    private static func closes(_ links: [LinkAction]) -> [LinkID] {
        links.compactMap { if case .close(let link) = $0 { link } else { nil } }
    }

    /// Lets time pass until it connects to somebody.
    private static func nextTarget(of peer: inout Peer, into output: inout ZabOutput) -> (link: LinkID, to: ServerID)? {
        output.reset()
        for _ in 0..<10 {
            guard let deadline = peer.nextDeadlineMicroseconds else { return nil }
            peer.advance(to: now(deadline), into: &output)
            guard peer.role == .observing(isSynced: false) else { return nil }
            if let target = connects(output.links).first { return target }
        }
        return nil
    }

    @Test("Servers that say nothing share the time there is: the last one asked is the leader")
    func silent() throws {
        var output = ZabOutput()
        var peer = try Self.learner(4, into: &output)
        var asked = [try #require(Self.connects(output.links).first)]
        for _ in 0..<4 {
            asked.append(try #require(Self.nextTarget(of: &peer, into: &output)))
            #expect(Self.closes(output.links) == [asked[asked.count - 2].link])
        }
        #expect(Set(asked.map(\.to)) == [ServerID(1), ServerID(2), ServerID(3)])
        #expect(asked.last?.to == ServerID(3))
        #expect(peer.time < Self.start + 20_000_000)
        #expect(asked.prefix(2).map(\.to) == asked[2..<4].map(\.to))
        // What still happens to a connection that was given up is nothing.
        peer.connectFailed(asked[0].link, at: Self.now(peer.time), into: &output)
        peer.closed(asked[1].link, at: Self.now(peer.time), into: &output)
        #expect(peer.role == .observing(isSynced: false))
        #expect(Self.nextTarget(of: &peer, into: &output) == nil)
        #expect(peer.role == .looking)
    }

    @Test("One that closes the link is not asked for longer, and the next one is")
    func refused() throws {
        var output = ZabOutput()
        var peer = try Self.learner(4, into: &output)
        var asked = [try #require(Self.connects(output.links).first)]
        for _ in 0..<4 {
            let link = asked[asked.count - 1].link
            peer.connected(link, at: Self.now(peer.time), into: &output)
            peer.closed(link, at: Self.now(peer.time), into: &output)
            // Told twice, it counts once.
            peer.closed(link, at: Self.now(peer.time), into: &output)
            asked.append(try #require(Self.nextTarget(of: &peer, into: &output)))
        }
        #expect(Set(asked.map(\.to)) == [ServerID(1), ServerID(2), ServerID(3)])
        #expect(asked.last?.to == ServerID(3))
    }

    @Test("Who has one server to ask looks for a leader at once when that closes the link")
    func follower() throws {
        var output = ZabOutput()
        var peer = try Self.learner(2, into: &output)
        let (link, leader) = try #require(Self.connects(output.links).first)
        #expect(leader == ServerID(3))
        peer.connected(link, at: Self.now(peer.time), into: &output)
        peer.closed(link, at: Self.now(peer.time), into: &output)
        #expect(peer.role == .looking)
    }
}
