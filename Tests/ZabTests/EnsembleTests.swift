import Testing
import ZooKeeperProtocol

@testable import Zab

@Suite("An ensemble")
struct EnsembleTests {
    @Test("Three servers elect a leader, form an epoch and commit")
    func commits() throws {
        let ensemble = try Simulation(seed: 1, voters: 3)
        ensemble.startAll()
        let isServing = ensemble.run(seconds: 10) { ensemble.servers.allSatisfy(\.isServing) }
        #expect(isServing)
        let leader = try #require(ensemble.servers.first { $0.peer?.mayPropose == true })
        #expect(leader.id == ServerID(3))
        for _ in 0..<100 { ensemble.propose(on: leader) }
        #expect(ensemble.run(seconds: 10) { ensemble.servers.allSatisfy { $0.tree.count == 100 } })
        #expect(ensemble.checker.violations == [])
    }
}
