import Testing
import ZooKeeperProtocol

@testable import Zab

/// A server that was removed long ago comes back with its old data, and none of those that it knew is a member any more.
@Suite("A server that knows nobody")
struct AcquaintanceTests {
    private let now = Now(wallMilliseconds: 1, monotonicMicroseconds: 1_000_000)

    private func configuration(_ numbers: [Int], version: Int64) throws -> QuorumConfiguration {
        let lines = numbers.map { "server.\($0)=s\($0):1:2\n" }.joined()
        return try QuorumConfiguration.parse(lines + "version=" + String(version, radix: 16))
    }

    private func peer(_ me: Int64, _ configuration: QuorumConfiguration, asking: [Int64]) -> Peer {
        var options = PeerOptions(me: ServerID(me), tickMilliseconds: 2000, initLimit: 10, syncLimit: 5)
        options.reconfigEnabled = true
        return Peer(
            options: options,
            configuration: configuration,
            acquaintances: asking.map { ServerID($0) },
            durable: DurableState(lastZxid: Zxid(0x1_0000_0005), acceptedEpoch: Epoch(1), currentEpoch: Epoch(1)),
            lastProcessed: Zxid(0x1_0000_0005),
            seed: 1,
            now: now
        )
    }

    @Test("Asks those that it was told of, and finds the leader by the newer configuration that one of them has")
    func asks() throws {
        var peer = peer(1, try configuration([2, 3], version: 0x1_0000_0004), asking: [1, 2, 6])
        var output = ZabOutput()
        peer.start(at: now, into: &output)
        #expect(Set(output.notifications.map(\.to)) == [ServerID(2), ServerID(3), ServerID(6)])
        output.reset()
        let newer = try configuration([6], version: 0x7_0000_0036)
        let answer = Notification(
            state: .leading,
            leader: ServerID(6),
            zxid: Zxid(0x7_0000_0037),
            electionEpoch: 3,
            peerEpoch: Epoch(8),
            configuration: Array(newer.text.utf8)
        )
        peer.receive(notification: answer, from: ServerID(6), at: now, into: &output)
        peer.receive(notification: answer, from: ServerID(6), at: now, into: &output)
        #expect(peer.configurations.current == newer)
        #expect(peer.leader == ServerID(6))
    }

    @Test("A member asks the voters alone")
    func member() throws {
        var peer = peer(3, try configuration([2, 3], version: 0x1_0000_0004), asking: [2, 6])
        var output = ZabOutput()
        peer.start(at: now, into: &output)
        #expect(output.notifications.map(\.to) == [ServerID(2)])
    }
}
