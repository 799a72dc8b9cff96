import Testing
import ZooKeeperProtocol

@testable import Zab

@Suite("An election of servers that differ about who votes")
struct DifferentViewsTests {
    private static let last = Zxid(0x1_0000_0009)

    private static func peer(
        _ me: Int64,
        voters: [Int64],
        proposed: [Int64]? = nil,
        remembersAll: Bool = true
    ) throws -> Peer {
        func configuration(_ servers: [Int64], version: String) throws -> QuorumConfiguration {
            let lines = servers.map { "server.\($0)=host\($0):1:2" } + ["version=\(version)"]
            return try QuorumConfiguration.parse(lines.joined(separator: "\n"))
        }
        var options = PeerOptions(me: ServerID(me), tickMilliseconds: 2000, initLimit: 10, syncLimit: 5)
        options.reconfigEnabled = true
        return Peer(
            options: options,
            configuration: try configuration(voters, version: "0"),
            proposed: try proposed.map { try configuration($0, version: "100000009") },
            durable: DurableState(
                lastZxid: last,
                acceptedEpoch: Epoch(1),
                currentEpoch: Epoch(1),
                remembersAll: remembersAll
            ),
            lastProcessed: last,
            seed: 1,
            now: now(0)
        )
    }

    private static func now(_ milliseconds: Int64) -> Now {
        Now(wallMilliseconds: milliseconds, monotonicMicroseconds: 1_000_000 + milliseconds * 1000)
    }

    private static func looking(_ vote: Vote) -> Notification {
        Notification(
            state: .looking,
            leader: vote.leader,
            zxid: vote.zxid,
            electionEpoch: 1,
            peerEpoch: vote.peerEpoch,
            configuration: []
        )
    }

    @Test("Two that are no voters do not answer each other for ever")
    func twoOnlookers() throws {
        var peer = try Self.peer(3, voters: [1, 2])
        var output = ZabOutput()
        peer.start(at: Self.now(0), into: &output)
        output.reset()
        for (milliseconds, isAnswered) in [(1, true), (2, false), (50, false), (150, true)] as [(Int64, Bool)] {
            let question = Self.looking(.undecided)
            peer.receive(notification: question, from: ServerID(4), at: Self.now(milliseconds), into: &output)
            #expect(output.notifications.map(\.to) == (isAnswered ? [ServerID(4)] : []))
            output.reset()
        }
    }

    @Test("Of two with the same history the one is preferred whom everybody knows")
    func knownCandidate() throws {
        var peer = try Self.peer(3, voters: [2, 3], proposed: [2, 3, 4])
        var output = ZabOutput()
        peer.start(at: Self.now(0), into: &output)
        let same = Vote(leader: ServerID(4), zxid: Self.last, peerEpoch: Epoch(1), round: 1)
        peer.receive(notification: Self.looking(same), from: ServerID(4), at: Self.now(1), into: &output)
        #expect(peer.election.vote.leader == ServerID(3))
        // What it has more may be committed.
        let longer = Vote(leader: ServerID(4), zxid: Self.last.next, peerEpoch: Epoch(1), round: 1)
        peer.receive(notification: Self.looking(longer), from: ServerID(4), at: Self.now(2), into: &output)
        #expect(peer.election.vote.leader == ServerID(4))
    }

    @Test(
        "Whoever has lost its memory says so, whether or not it takes itself for a voter",
        arguments: [[1, 2], [1, 3]]
    )
    func lostMemory(voters: [Int64]) throws {
        var peer = try Self.peer(3, voters: voters, remembersAll: false)
        var output = ZabOutput()
        peer.start(at: Self.now(0), into: &output)
        #expect(peer.election.standing == .latecomer)
        #expect(output.notifications.first?.notification.zxid == Vote.none(round: 1).zxid)
    }

    @Test("Whoever has not heard that it votes is not taken for one that has lost its memory")
    func unawareVoter() throws {
        var peer = try Self.peer(1, voters: [1], proposed: [3, 4])
        var output = ZabOutput()
        peer.start(at: Self.now(0), into: &output)
        peer.receive(notification: Self.looking(.undecided), from: ServerID(3), at: Self.now(1), into: &output)
        #expect(!peer.state.abstainers.contains(ServerID(3)))
        peer.receive(notification: Self.looking(.none(round: 1)), from: ServerID(4), at: Self.now(2), into: &output)
        #expect(peer.state.abstainers.contains(ServerID(4)))
    }
}
