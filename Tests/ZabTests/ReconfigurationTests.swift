import Testing
import ZooKeeperProtocol

@testable import Zab

/// Members come, go and change roles while the ensemble works (docs/protocol/quorum-protocol.md section 15).
@Suite("Reconfigurations")
struct ReconfigurationTests {
    private func ensemble(voters: Int, observers: Int = 0, seed: UInt64) throws -> Simulation {
        let ensemble = try Simulation(seed: seed, voters: voters, observers: observers, isReconfigEnabled: true)
        ensemble.startAll()
        try #require(ensemble.run(seconds: 20) { ensemble.servers.allSatisfy(\.isServing) })
        return ensemble
    }

    private func leader(of ensemble: Simulation) throws -> SimulatedServer {
        try #require(ensemble.servers.first { $0.peer?.mayPropose == true })
    }

    /// Everybody in the configuration serves and has everything.
    private func isTogether(_ ensemble: Simulation, without absent: ServerID? = nil) -> Bool {
        ensemble.servers.allSatisfy { server in
            server.id == absent
                || (server.isServing && server.tree.count == ensemble.checker.delivered.count
                    && server.configuration?.version == ensemble.reconfigurationCount)
        }
    }

    @Test("An observer becomes a voter, and its vote is needed from then on", arguments: 1...5 as ClosedRange<UInt64>)
    func observerVotes(seed: UInt64) throws {
        let ensemble = try ensemble(voters: 2, observers: 1, seed: seed)
        #expect(ensemble.reconfigure(on: try leader(of: ensemble), ServerID(3), to: .participant))
        #expect(
            ensemble.run(seconds: 20) {
                isTogether(ensemble) && ensemble[3].configuration?.voters.count == 3
            }
        )
        ensemble.crash(ensemble[1])
        #expect(
            ensemble.run(seconds: 20) {
                ensemble[2].isServing && ensemble[3].isServing
                    && ensemble.servers.contains { $0.peer?.mayPropose == true }
            }
        )
        ensemble.propose(on: try leader(of: ensemble))
        let count = ensemble.checker.delivered.count
        #expect(
            ensemble.run(seconds: 20) {
                ensemble.checker.delivered.count > count || ensemble[2].tree.count > count
            }
        )
        #expect(ensemble.checker.violations == [])
    }

    @Test("A leader that is taken out hands over without losing anything", arguments: 1...5 as ClosedRange<UInt64>)
    func leaderLeaves(seed: UInt64) throws {
        let ensemble = try ensemble(voters: 3, seed: seed)
        let leader = try leader(of: ensemble)
        for _ in 0..<20 { ensemble.propose(on: leader) }
        #expect(ensemble.reconfigure(on: leader, leader.id, to: nil))
        for _ in 0..<20 { ensemble.propose(on: leader) }
        let others = ensemble.servers.filter { $0 !== leader }
        #expect(
            ensemble.run(seconds: 30) {
                others.allSatisfy { $0.isServing && $0.configuration?.voters == others.map(\.id) }
                    && others.contains { $0.peer?.mayPropose == true }
            }
        )
        #expect(ensemble.checker.delivered.count >= 21)
        #expect(ensemble.checker.violations == [])
    }

    @Test("A leader that dies in the middle of a reconfiguration", arguments: 1...20 as ClosedRange<UInt64>)
    func leaderDies(seed: UInt64) throws {
        let ensemble = try ensemble(voters: 3, observers: 1, seed: seed)
        let leader = try leader(of: ensemble)
        #expect(ensemble.reconfigure(on: leader, ServerID(4), to: .participant))
        ensemble.run(seconds: Double(seed) / 2000)
        ensemble.crash(leader)
        ensemble.run(seconds: 3)
        ensemble.start(leader)
        #expect(ensemble.run(seconds: 40) { ensemble.servers.allSatisfy(\.isServing) })
        ensemble.propose(on: try self.leader(of: ensemble))
        #expect(ensemble.run(seconds: 20) { isTogether(ensemble) })
        #expect(ensemble.checker.violations == [])
    }

    @Test("Who starts with a configuration of the past learns of the present from the others")
    func oldConfiguration() throws {
        let ensemble = try ensemble(voters: 3, observers: 1, seed: 3)
        ensemble.crash(ensemble[1])
        ensemble.run(seconds: 2)
        let leader = try leader(of: ensemble)
        let before = ensemble.reconfigurationCount
        #expect(ensemble.reconfigure(on: leader, ServerID(4), to: nil))
        #expect(
            ensemble.run(seconds: 20) {
                ensemble.reconfigurationCount > before && isTogether(ensemble, without: ServerID(1))
            }
        )
        #expect(ensemble[1].configuration?.version != ensemble.reconfigurationCount)
        ensemble.start(ensemble[1])
        #expect(ensemble.run(seconds: 20) { isTogether(ensemble) })
        #expect(ensemble.checker.violations == [])
    }
}
