import Testing
import ZooKeeperProtocol

@testable import Zab

/// What went wrong in other servers, as steps for ours: the entries of the bug museum (docs/reliability.md section 3) that
/// are about agreement. The checker of the simulation sees to it that nothing committed is lost or differs.
@Suite("Bug museum")
struct MuseumTests {
    /// A transaction as somebody's log has it.
    private func record(_ epoch: Int64, _ counter: Int64, by session: Int64 = 7) -> Record {
        let zxid = Zxid(Epoch(epoch).newLeaderZxid.rawValue + counter)
        var writer = JuteWriter(capacity: 64)
        Txn(
            header: TxnHeader(session: SessionID(session), cxid: Int32(counter), zxid: zxid, time: 0),
            body: .error(.noNode),
            digest: nil
        ).write(to: &writer)
        return Record(zxid: zxid, payload: writer.copy())
    }

    private func give(_ records: [Record], to server: SimulatedServer, epoch: Int64) {
        server.log = records
        server.acceptedEpoch = Epoch(epoch)
        server.currentEpoch = Epoch(epoch)
    }

    private func leader(of ensemble: Simulation) throws -> SimulatedServer {
        try #require(ensemble.servers.first { $0.peer?.mayPropose == true })
    }

    private func started(voters: Int = 3, seed: UInt64 = 1) throws -> Simulation {
        let ensemble = try Simulation(seed: seed, voters: voters)
        ensemble.startAll()
        try #require(ensemble.run(seconds: 20) { ensemble.servers.allSatisfy(\.isServing) })
        return ensemble
    }

    /// All that are up serve and have everything that was ever committed.
    private func comeTogether(_ ensemble: Simulation, seconds: Double = 60) -> Bool {
        ensemble.run(seconds: seconds) {
            ensemble.servers.allSatisfy {
                !$0.isUp || ($0.isServing && $0.tree.count == ensemble.checker.delivered.count)
            }
        }
    }

    private func isolate(_ server: SimulatedServer, _ ensemble: Simulation, isSilent: Bool = true) {
        for other in ensemble.servers where other !== server { ensemble.cut(server.id, other.id, isSilent: isSilent) }
    }

    private func healAll(_ ensemble: Simulation) {
        for one in ensemble.servers { for other in ensemble.servers { ensemble.heal(one.id, other.id) } }
    }

    // MARK: Synchronization

    @Test("6: a follower whose disk stands still acknowledges nothing of a DIFF")
    func ackAfterStable() throws {
        let ensemble = try started()
        let leader = try leader(of: ensemble)
        let late = try #require(ensemble.servers.first { $0 !== leader })
        ensemble.crash(late)
        for _ in 0..<5 { ensemble.propose(on: leader) }
        ensemble.run(seconds: 1)
        var acknowledged = false
        ensemble.trace = { from, type, _, _ in if from == late.id, type == .ack { acknowledged = true } }
        ensemble.start(late)
        late.isDiskStopped = true
        ensemble.run(seconds: 1.5)
        #expect(!acknowledged)
        ensemble.resumeDisk(late)
        #expect(comeTogether(ensemble))
        #expect(acknowledged)
        #expect(ensemble.checker.violations == [])
    }

    @Test(
        "7, 9: killed anywhere between the transactions of a synchronization and its epoch, then elected",
        arguments: 1...40 as ClosedRange<UInt64>
    )
    func epochAfterTransactions(seed: UInt64) throws {
        let ensemble = try started(seed: seed)
        ensemble.maxDiskDelay = 20_000
        let leader = try leader(of: ensemble)
        let late = try #require(ensemble.servers.first { $0 !== leader })
        ensemble.crash(late)
        for _ in 0..<5 { ensemble.propose(on: leader) }
        ensemble.run(seconds: 1)
        ensemble.start(late)
        ensemble.run(seconds: 2) { late.operations.count > 1 }
        ensemble.run(seconds: Double(seed) / 1000)
        // A part of what its disk was given is done.
        ensemble.crash(late)
        ensemble.crash(leader)
        ensemble.start(late)
        #expect(ensemble.run(seconds: 60) { ensemble.servers.contains { $0.peer?.mayPropose == true } })
        ensemble.start(leader)
        #expect(comeTogether(ensemble))
        #expect(ensemble.checker.violations == [])
    }

    @Test(
        "5, 8: proposals and commits at every moment between SNAP or DIFF and UPTODATE",
        arguments: 1...20 as ClosedRange<UInt64>
    )
    func betweenNewLeaderAndUpToDate(seed: UInt64) throws {
        let ensemble = try started(seed: seed)
        ensemble.maxDiskDelay = [500, 20_000, 60_000][Int(seed % 3)]
        let leader = try leader(of: ensemble)
        let late = try #require(ensemble.servers.first { $0 !== leader })
        ensemble.crash(late)
        for _ in 0..<Int(seed) { ensemble.propose(on: leader, size: 300) }
        ensemble.run(seconds: 1)
        ensemble.snapshot(leader, purge: seed % 2 == 0)
        var first: Zxid?
        ensemble.trace = { from, type, zxid, _ in
            if from == late.id, type == .ack, first == nil { first = zxid }
        }
        func work() {
            ensemble.propose(on: leader)
            ensemble.schedule(after: Int64(1000 + ensemble.chance(2000)), work)
        }
        work()
        ensemble.start(late)
        #expect(ensemble.run(seconds: 30) { late.isServing })
        // The acknowledgement of the history comes before that of anything else.
        #expect(first?.counter == 0)
        ensemble.run(seconds: 1)
        ensemble.crash(leader)
        #expect(comeTogether(ensemble))
        #expect(ensemble.checker.violations == [])
    }

    @Test("10: what came with a synchronization is handed on to the next learner without a hole")
    func noHoleHandedOn() throws {
        let ensemble = try Simulation(seed: 4, voters: 3)
        let records = (1...6).map { record(1, Int64($0)) }
        for record in records { ensemble.checker.propose(record) }
        give(records, to: ensemble[3], epoch: 1)
        give(Array(records.prefix(3)), to: ensemble[2], epoch: 1)
        give(Array(records.prefix(1)), to: ensemble[1], epoch: 1)
        ensemble.start(ensemble[3])
        ensemble.start(ensemble[2])
        try #require(ensemble.run(seconds: 20) { ensemble[2].isServing && ensemble[3].isServing })
        ensemble.crash(ensemble[3])
        ensemble.start(ensemble[1])
        #expect(ensemble.run(seconds: 30) { ensemble[1].isServing && ensemble[1].tree.count == 6 })
        #expect(ensemble[2].role == .leading(isEstablished: true))
        #expect(ensemble[1].log.map(\.zxid) == records.map(\.zxid))
        #expect(ensemble.checker.violations == [])
    }

    @Test("11, 14: what a deposed leader logged alone is gone everywhere, also from what it sends from disk later")
    func uncommittedTail() throws {
        let ensemble = try started(seed: 5)
        let old = try leader(of: ensemble)
        isolate(old, ensemble)
        for _ in 0..<3 { ensemble.propose(on: old) }
        let others = ensemble.servers.filter { $0 !== old }
        try #require(ensemble.run(seconds: 30) { others.contains { $0.peer?.mayPropose == true } })
        for _ in 0..<20 { ensemble.propose(on: try leader(of: ensemble), size: 400) }
        ensemble.run(seconds: 1)
        healAll(ensemble)
        #expect(comeTogether(ensemble))
        // It leads again, and serves somebody who has nothing from its log.
        let empty = try #require(others.first)
        ensemble.crash(empty)
        ensemble.loseDisk(empty)
        ensemble.crash(old)
        ensemble.start(old)
        ensemble.start(empty)
        #expect(comeTogether(ensemble))
        #expect(empty.tree == ensemble.checker.delivered)
        #expect(ensemble.checker.violations == [])
    }

    @Test(
        "13: a TRUNC whose synchronization is interrupted leaves no gap",
        arguments: 1...20 as ClosedRange<UInt64>
    )
    func interruptedTruncation(seed: UInt64) throws {
        let ensemble = try Simulation(seed: seed, voters: 3)
        let common = (1...4).map { record(1, Int64($0)) }
        let tail = (5...7).map { record(1, Int64($0), by: 9) }
        for record in common + tail { ensemble.checker.propose(record) }
        give(common + tail, to: ensemble[1], epoch: 1)
        for number in [2, 3] { give(common, to: ensemble[number], epoch: 2) }
        var isCut = false
        ensemble.trace = { _, type, zxid, _ in if type == .trunc, zxid == common.last?.zxid { isCut = true } }
        ensemble.maxDiskDelay = 10_000
        ensemble.start(ensemble[2])
        ensemble.start(ensemble[3])
        try #require(ensemble.run(seconds: 20) { ensemble[2].isServing && ensemble[3].isServing })
        ensemble.start(ensemble[1])
        ensemble.run(seconds: 10) { ensemble[1].orderedLinks.isEmpty == false }
        ensemble.run(seconds: Double(seed) / 500)
        for link in ensemble[1].orderedLinks { ensemble.breakLink(link) }
        try #require(comeTogether(ensemble))
        ensemble.propose(on: try leader(of: ensemble))
        #expect(comeTogether(ensemble))
        ensemble.crash(ensemble[1])
        ensemble.start(ensemble[1])
        #expect(comeTogether(ensemble))
        #expect(isCut)
        ensemble.run(seconds: 1)
        #expect(ensemble[1].log == ensemble.checker.delivered)
        #expect(ensemble.checker.violations == [])
    }

    @Test("25, 43: a learner that takes nothing holds up nobody, and is dropped")
    func slowLearner() throws {
        let ensemble = try started(seed: 6)
        let leader = try leader(of: ensemble)
        let slow = try #require(ensemble.servers.first { $0 !== leader })
        slow.isPaused = true
        let before = ensemble.checker.delivered.count
        for _ in 0..<50 {
            ensemble.propose(on: leader, size: 1000)
            ensemble.run(seconds: 0.05)
        }
        #expect(ensemble.checker.delivered.count == before + 50)
        // What it has not got is not kept for it without a bound.
        #expect((leader.peer?.history.count ?? 0) < 20)
        slow.isPaused = false
        #expect(comeTogether(ensemble))
        #expect(ensemble.checker.violations == [])
    }

    @Test("48: a leader with writes under way that is cut off, and then receives a snapshot")
    func snapshotOverPendingWrites() throws {
        let ensemble = try started(seed: 7)
        let old = try leader(of: ensemble)
        isolate(old, ensemble)
        for _ in 0..<5 { ensemble.propose(on: old) }
        let others = ensemble.servers.filter { $0 !== old }
        try #require(ensemble.run(seconds: 30) { others.contains { $0.peer?.mayPropose == true } })
        let new = try #require(others.first { $0.peer?.mayPropose == true })
        for _ in 0..<30 { ensemble.propose(on: new, size: 400) }
        ensemble.run(seconds: 2)
        for server in others { ensemble.snapshot(server, purge: true) }
        let taken = ensemble.snapshotsTaken
        healAll(ensemble)
        #expect(comeTogether(ensemble))
        #expect(ensemble.snapshotsTaken > taken)
        #expect(old.tree == ensemble.checker.delivered)
        #expect(ensemble.checker.violations == [])
    }

    // MARK: Leaders

    @Test("31: roles that end in the middle of everything, over and over", arguments: 1...5 as ClosedRange<UInt64>)
    func stepDowns(seed: UInt64) throws {
        let ensemble = try started(seed: seed)
        for _ in 0..<40 {
            for server in ensemble.servers where server.peer?.mayPropose == true {
                for _ in 0..<5 { ensemble.propose(on: server) }
                ensemble.confirm(on: server)
            }
            ensemble.run(seconds: Double(ensemble.chance(20)) / 1000)
            if let leader = ensemble.servers.first(where: { $0.peer?.mayPropose == true }) {
                ensemble.input(leader) { $0.resign("a test", at: ensemble.now, into: &$1) }
            }
            ensemble.run(seconds: 20) { ensemble.servers.contains { $0.peer?.mayPropose == true } }
        }
        #expect(comeTogether(ensemble))
        #expect(ensemble.checker.violations == [])
    }

    @Test(
        "33: a leader that dies in discovery is replaced within two initLimits",
        arguments: 1...20 as ClosedRange<UInt64>
    )
    func deadInDiscovery(seed: UInt64) throws {
        let ensemble = try Simulation(seed: seed, voters: 3)
        ensemble.startAll()
        try #require(ensemble.run(seconds: 20) { ensemble.servers.contains { $0.peer?.leading != nil } })
        ensemble.run(seconds: Double(seed) / 2000)
        let elected = try #require(ensemble.servers.first { $0.peer?.leading != nil })
        ensemble.crash(elected)
        let initTime = Double(elected.options.initLimit * elected.options.tickMilliseconds) / 1000
        #expect(ensemble.run(seconds: 2 * initTime) { ensemble.servers.contains { $0.peer?.mayPropose == true } })
        ensemble.start(elected)
        #expect(comeTogether(ensemble))
        #expect(ensemble.checker.violations == [])
    }

    @Test("35: an election does not wait for a voter that cannot be reached")
    func blackHole() throws {
        let ensemble = try Simulation(seed: 8, voters: 3)
        isolate(ensemble[3], ensemble)
        ensemble.startAll()
        #expect(ensemble.run(seconds: 1) { ensemble[1].isServing && ensemble[2].isServing })
        #expect(ensemble.checker.violations == [])
    }

    @Test("45: who has been deposed proves nothing any more", arguments: 1...10 as ClosedRange<UInt64>)
    func deposedProvesNothing(seed: UInt64) throws {
        let ensemble = try started(seed: seed)
        let old = try leader(of: ensemble)
        old.isPaused = true
        let others = ensemble.servers.filter { $0 !== old }
        try #require(ensemble.run(seconds: 60) { others.contains { $0.peer?.mayPropose == true } })
        for _ in 0..<5 { ensemble.propose(on: try #require(others.first { $0.peer?.mayPropose == true })) }
        ensemble.run(seconds: 1)
        // It goes on, and believes that it leads; P9 is the checker's.
        old.isPaused = false
        ensemble.confirm(on: old)
        ensemble.run(seconds: 0.1)
        #expect(comeTogether(ensemble))
        #expect(ensemble.checker.violations == [])
    }
}
