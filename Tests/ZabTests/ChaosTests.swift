import Foundation
import Testing
import ZooKeeperProtocol

@testable import Zab

/// Seeds: first everything goes wrong and nothing may be lost, then everything works again and all have to come together.
@Suite("Ensembles under faults")
struct ChaosTests {
    /// A few with every run of the tests; `ZAB_SEEDS=1000-3999` for a run of its own.
    static let seeds: [UInt64] = {
        let range = ProcessInfo.processInfo.environment["ZAB_SEEDS"]?.split(separator: "-").compactMap { UInt64($0) }
        guard let range, range.count == 2, range[0] <= range[1] else { return Array(0..<30) }
        return Array(range[0]...range[1])
    }()

    @Test("Whatever fails, nothing committed is lost, and progress returns", arguments: seeds)
    func chaos(seed: UInt64) throws {
        try Chaos(seed: seed).run()
    }
}

/// One run.
struct Chaos {
    let seed: UInt64
    let ensemble: Simulation

    init(seed: UInt64) throws {
        self.seed = seed
        var random = SplitMix64(seed: seed)
        let voters = random.next() % 3 == 0 ? 5 : 3
        let hasMasters = random.next() % 3 == 0
        let observers = hasMasters ? 1 + Int(random.next() % 3) : Int(random.next() % 2)
        ensemble = try Simulation(
            seed: seed,
            voters: voters,
            observers: observers,
            isReconfigEnabled: seed % 3 == 2,
            hasObserverMasters: hasMasters
        )
        ensemble.maxDelay = [500, 5_000, 40_000][Int(random.next() % 3)]
        ensemble.maxDiskDelay = [200, 5_000, 60_000][Int(random.next() % 3)]
        if ProcessInfo.processInfo.environment["ZAB_TELL"] != nil {
            let ensemble = ensemble
            ensemble.noteTrace = { print("\(ensemble.time / 1000) ms  \($0): \($1.message) \($1.metadata)") }
            ensemble.callTrace = { print("\(ensemble.time / 1000) ms  \($0): \($1)") }
        }
        ensemble.linkCapacity = [600, 4_000, 1 << 20][Int(random.next() % 3)]
    }

    func run() throws {
        ensemble.startAll()
        work(until: 20_000_000)
        disturb(until: 20_000_000)
        ensemble.run(seconds: 20)
        try #require(ensemble.checker.violations == [], "seed \(seed)")
        recover()
        let cameTogether = ensemble.run(seconds: 60) { isTogether }
        try #require(ensemble.checker.violations == [], "seed \(seed)")
        try #require(cameTogether, "seed \(seed): \(ensemble.servers.map { "\($0.id) \($0.role) \($0.tree.count)" })")
        let before = ensemble.checker.delivered.count
        ensemble.servers.forEach { ensemble.propose(on: $0) }
        let commits = ensemble.run(seconds: 10) { ensemble.servers.allSatisfy { $0.tree.count > before } }
        try #require(ensemble.checker.violations == [], "seed \(seed)")
        try #require(commits, "seed \(seed): nothing is committed after all is well")
    }

    private var isTogether: Bool {
        let epochs = Set(ensemble.servers.map { $0.peer?.epoch })
        return epochs.count == 1
            && ensemble.servers.allSatisfy { $0.isServing && $0.tree.count == ensemble.checker.delivered.count }
    }

    /// Clients write, and ask for proofs.
    private func work(until end: Int64) {
        guard ensemble.time < end else { return }
        for server in ensemble.servers where server.isServing {
            for _ in 0..<ensemble.chance(3) { ensemble.propose(on: server, size: Int(ensemble.chance(300))) }
            if ensemble.chance(4) == 0 { ensemble.confirm(on: server) }
            if server.options.reconfigEnabled, ensemble.chance(60) == 0 {
                let other = ServerID(Int64(1 + ensemble.chance(UInt64(ensemble.servers.count))))
                let roles: [QuorumMember.Role?] = [.participant, .participant, .observer, nil]
                ensemble.reconfigure(on: server, other, to: roles[Int(ensemble.chance(4))])
            }
            if ensemble.chance(40) == 0 { ensemble.snapshot(server, purge: ensemble.chance(2) == 0) }
        }
        ensemble.schedule(after: Int64(ensemble.chance(40_000)) + 1) { work(until: end) }
    }

    private func disturb(until end: Int64) {
        guard ensemble.time < end else { return }
        let servers = ensemble.servers
        let server = servers[Int(ensemble.chance(UInt64(servers.count)))]
        let other = servers[Int(ensemble.chance(UInt64(servers.count)))]
        switch ensemble.chance(10) {
        case 0, 1:
            ensemble.crash(server)
            if ensemble.chance(3) == 0, mayLoseDisk(server) { ensemble.loseDisk(server) }
            ensemble.schedule(after: Int64(ensemble.chance(1_500_000))) { ensemble.start(server) }
        case 2:
            // The leader, whoever that is.
            guard let leader = servers.first(where: { $0.peer?.leading != nil }) else { break }
            ensemble.crash(leader)
            ensemble.schedule(after: Int64(ensemble.chance(2_500_000))) { ensemble.start(leader) }
        case 3, 4:
            guard server.id != other.id else { break }
            ensemble.cut(server.id, other.id, isSilent: ensemble.chance(2) == 0)
            ensemble.schedule(after: Int64(ensemble.chance(3_000_000))) { ensemble.heal(server.id, other.id) }
        case 5:
            for other in servers where other.id != server.id {
                ensemble.cut(server.id, other.id, isSilent: ensemble.chance(2) == 0)
                ensemble.schedule(after: Int64(ensemble.chance(3_000_000))) { ensemble.heal(server.id, other.id) }
            }
        case 6:
            for link in server.orderedLinks
            where ensemble.chance(2) == 0 {
                ensemble.breakLink(link)
            }
        case 7:
            server.isDiskStopped = true
            ensemble.schedule(after: Int64(ensemble.chance(2_000_000))) { ensemble.resumeDisk(server) }
        case 8:
            server.isPaused = true
            ensemble.schedule(after: Int64(ensemble.chance(2_000_000))) { server.isPaused = false }
        default:
            // All at once: what is not on a quorum's disks is gone.
            for server in servers where ensemble.chance(2) == 0 {
                ensemble.crash(server)
                ensemble.schedule(after: Int64(ensemble.chance(1_000_000))) { ensemble.start(server) }
            }
        }
        ensemble.schedule(after: Int64(ensemble.chance(1_500_000))) { disturb(until: end) }
    }

    /// Whether a quorum of the others still knows what it promised, and will: none of them is about to give up its log
    /// for a leader's snapshot.
    private func mayLoseDisk(_ server: SimulatedServer) -> Bool {
        let able = ensemble.servers.filter { other in
            guard other.id != server.id, other.remembersAll else { return false }
            if other.operations.contains(where: { if case .install = $0 { true } else { false } }) { return false }
            return !other.links.values.contains { $0.ends[$0.index(of: other.id)].isReceivingSnapshot }
        }
        // Which voters count changes meanwhile.
        guard !server.options.reconfigEnabled else { return false }
        return ensemble.configuration.isQuorum(Set(able.map(\.id)))
    }

    private func recover() {
        let servers = ensemble.servers
        for server in servers {
            for other in servers where server.id < other.id { ensemble.heal(server.id, other.id) }
            ensemble.resumeDisk(server)
            server.isPaused = false
        }
        for server in servers { ensemble.start(server) }
    }
}
