import Testing
import ZooKeeperProtocol

@testable import AviarySimulation

@Suite("Many observers")
struct AudienceTests {
    private let toObservers = Traffic.Flow(from: .leader, to: .observer)

    @Test("A leader sends each observer one packet a write, and is sent no acknowledgement")
    func atTheLeader() throws {
        let audience = try Audience.measure(observers: 40, hasMasters: false, writes: 30, seed: 1)
        #expect(audience.writes >= 30)
        // The last ones may still be under way.
        let informs = audience.traffic.amount(.inform, toObservers).packets
        #expect((40 * (audience.writes - 5)...40 * (audience.writes + 5)).contains(informs))
        #expect(audience.traffic.amount(.proposal, toObservers).packets == 0)
        #expect(audience.traffic.amount(.ack, Traffic.Flow(from: .observer, to: .leader)).packets == 0)
    }

    @Test("Where followers serve observers, they are nothing to the leader")
    func atFollowers() throws {
        let audience = try Audience.measure(observers: 40, hasMasters: true, writes: 30, seed: 1)
        for kind in [QuorumPacketType.inform, .proposal, .ping] {
            #expect(audience.traffic.amount(kind, toObservers).packets == 0)
        }
        #expect(audience.traffic.amount(.inform, Traffic.Flow(from: .follower, to: .observer)).packets > 1000)
    }
}
