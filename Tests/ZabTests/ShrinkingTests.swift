import Testing
import ZooKeeperProtocol

@testable import Zab

/// What is proposed while one configuration follows the other is in flight when the former one's members leave.
@Suite("An ensemble that shrinks")
struct ShrinkingTests {
    /// Proposes another configuration and something behind it; no follower's log comes further than the first.
    ///
    /// - Parameter observers: whether the followers stay, as observers.
    /// - Returns: the leader, which is the only voter of the new configuration, and the followers.
    private func change(
        _ ensemble: Simulation,
        observers: Bool
    ) throws -> (leader: SimulatedServer, followers: [SimulatedServer]) {
        ensemble.startAll()
        #expect(ensemble.run(seconds: 10) { ensemble.servers.allSatisfy(\.isServing) })
        let leader = try #require(ensemble.servers.first { $0.peer?.mayPropose == true })
        let followers = ensemble.servers.filter { $0.id != leader.id }
        let members = ensemble.configuration.members.compactMap { member -> QuorumMember? in
            var member = member
            if member.id != leader.id { member.role = .observer }
            return observers || member.id == leader.id ? member : nil
        }
        ensemble.propose(on: leader, members: try QuorumConfiguration(members: members))
        let last = leader.peer?.history.last
        let zxid = try #require(last)
        for _ in 0..<3 { ensemble.propose(on: leader) }
        let areStopped = ensemble.run(seconds: 10) {
            for follower in followers where follower.lastLogged == zxid { follower.isDiskStopped = true }
            return followers.allSatisfy(\.isDiskStopped)
        }
        #expect(areStopped)
        return (leader, followers)
    }

    private func goesOn(_ ensemble: Simulation, _ leader: SimulatedServer) -> Bool {
        guard ensemble.run(seconds: 20, until: { leader.isServing && leader.tree.count == 4 }) else { return false }
        for _ in 0..<10 { ensemble.propose(on: leader) }
        return ensemble.run(seconds: 20) { leader.tree.count == 14 }
    }

    @Test("Nobody waits for a voter that has become an observer", arguments: 1...10)
    func observer(seed: Int) throws {
        let ensemble = try Simulation(seed: UInt64(seed), voters: 2, isReconfigEnabled: true)
        let (leader, followers) = try change(ensemble, observers: true)
        // It leaves the leader at the moment when the change is in force, and its log is cut.
        #expect(ensemble.run(seconds: 10) { followers[0].peer?.role != .following(isSynced: true) })
        ensemble.resumeDisk(followers[0])
        #expect(goesOn(ensemble, leader))
        #expect(ensemble.run(seconds: 20) { followers[0].tree.count == 14 })
        #expect(ensemble.checker.violations == [])
    }

    @Test("Nobody waits for those that are removed and end at once", arguments: 1...10)
    func removed(seed: Int) throws {
        let ensemble = try Simulation(seed: UInt64(seed), voters: 3, isReconfigEnabled: true)
        let (leader, followers) = try change(ensemble, observers: false)
        #expect(ensemble.run(seconds: 10) { leader.peer?.configurations.current.members.count == 1 })
        for follower in followers { ensemble.crash(follower) }
        #expect(goesOn(ensemble, leader))
        #expect(ensemble.checker.violations == [])
    }

    @Test("What a change does not have yet waits for both")
    func requirements() throws {
        func members(_ numbers: ClosedRange<Int>) throws -> QuorumConfiguration {
            try QuorumConfiguration.parse(numbers.map { "server.\($0)=s\($0):1:2\n" }.joined() + "version=0")
        }
        func acked(_ counts: [Int64]) -> [(ServerID, Zxid)] {
            counts.enumerated().map { (ServerID(Int64($0.offset + 1)), Zxid($0.element)) }
        }
        var requirements = Requirements(try members(1...3))
        func committable(_ counts: [Int64]) -> Int64 {
            requirements.committable(acked: acked(counts), lastProposed: Zxid(9)).rawValue
        }
        #expect(committable([9, 4, 3]) == 4)
        requirements.add(try members(1...5), from: Zxid(6))
        #expect(committable([9, 5, 3]) == 5)
        #expect(committable([9, 9, 9]) == 9)
        #expect(committable([9, 9, 0, 0, 0]) == 5)
        #expect(committable([9, 0, 0, 9, 9]) == 0)
        #expect(committable([9, 8, 0, 7, 0]) == 7)
        requirements.activateNext()
        #expect(committable([9, 9, 0, 0, 0]) == 0)
        #expect(committable([9, 0, 0, 9, 8]) == 8)
    }
}
