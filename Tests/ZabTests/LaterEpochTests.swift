import Testing
import ZooKeeperProtocol

@testable import Zab

/// Whoever accepted an epoch follows no earlier one, whether or not anybody ever led that epoch.
@Suite("A member that accepted a later epoch than its leader's")
struct LaterEpochTests {
    /// - Returns: an ensemble that serves, without its fourth server, which accepted epoch 40 and may have a vote.
    private func ensemble(seed: UInt64, voters: Int) throws -> Simulation {
        let ensemble = try Simulation(seed: seed, voters: voters, observers: 4 - voters)
        for server in ensemble.servers.prefix(3) { ensemble.start(server) }
        #expect(ensemble.run(seconds: 10) { ensemble.servers.prefix(3).allSatisfy(\.isServing) })
        ensemble[4].acceptedEpoch = Epoch(40)
        return ensemble
    }

    /// In seed 314253 of `aviary-sim ensemble` a voter had become an observer, and nobody gave way to it any more.
    @Test("It comes to follow, at the price of one epoch", arguments: [3, 4], 1...5)
    func joins(voters: Int, seed: Int) throws {
        let ensemble = try ensemble(seed: UInt64(seed), voters: voters)
        ensemble.start(ensemble[4])
        #expect(ensemble.run(seconds: 10) { ensemble.servers.allSatisfy(\.isServing) })
        #expect(ensemble.servers.allSatisfy { $0.currentEpoch == Epoch(41) })
        #expect(ensemble.checker.violations == [])
    }

    /// The leader gives way, and the next epoch is formed while the member is away.
    @Test("It is not needed for the epoch that it can follow", arguments: 1...5)
    func comesAndGoes(seed: Int) throws {
        let ensemble = try ensemble(seed: UInt64(seed), voters: 3)
        ensemble.start(ensemble[4])
        #expect(ensemble.run(seconds: 10) { !ensemble.servers.prefix(3).contains { $0.peer?.mayPropose == true } })
        ensemble.crash(ensemble[4])
        #expect(ensemble.run(seconds: 10) { ensemble.servers.prefix(3).allSatisfy(\.isServing) })
        #expect(ensemble.servers.prefix(3).allSatisfy { $0.currentEpoch == Epoch(41) })
        ensemble.start(ensemble[4])
        #expect(ensemble.run(seconds: 10) { ensemble.servers.allSatisfy(\.isServing) })
        #expect(ensemble.servers.allSatisfy { $0.currentEpoch == Epoch(41) })
        #expect(ensemble.checker.violations == [])
    }
}

/// The number of the first configuration is that of the epoch which the members were first led in: who is started with
/// the files of the beginning may come to give them another.
@Suite("A member with a newer configuration than its leader's")
struct LaterConfigurationTests {
    /// Seed 609830 of `aviary-sim ensemble`: it was refused for as long as that server led.
    @Test("It comes to follow, at the price of one epoch", arguments: 1...5)
    func joins(seed: Int) throws {
        let ensemble = try Simulation(seed: UInt64(seed), voters: 3, isReconfigEnabled: true)
        for server in ensemble.servers.dropFirst() { ensemble.start(server) }
        #expect(ensemble.run(seconds: 10) { ensemble.servers.dropFirst().allSatisfy(\.isServing) })
        let version: Int64 = 0x7_0000_0000
        ensemble[1].configuration = try QuorumConfiguration(members: ensemble.configuration.members, version: version)
        ensemble.start(ensemble[1])
        #expect(ensemble.run(seconds: 10) { ensemble.servers.allSatisfy(\.isServing) })
        #expect(ensemble.servers.allSatisfy { $0.currentEpoch == Epoch(2) })
        #expect(ensemble.servers.allSatisfy { $0.peer?.configurations.current.version == version })
        #expect(ensemble.checker.violations == [])
    }
}
