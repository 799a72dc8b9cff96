import Testing
import ZooKeeperProtocol

@testable import Zab

@Suite("Observer masters")
struct ObserverMasterTests {
    @Test("Observers get everything from followers, and the leader has none of them")
    func served() throws {
        let ensemble = try Simulation(seed: 7, voters: 3, observers: 4, hasObserverMasters: true)
        var informed: Set<ServerID> = []
        ensemble.trace = { from, type, _, _ in if type == .inform { informed.insert(from) } }
        ensemble.startAll()
        #expect(ensemble.run(seconds: 10) { ensemble.servers.allSatisfy(\.isServing) })
        let leader = try #require(ensemble.servers.first { $0.peer?.mayPropose == true })
        for _ in 0..<100 { ensemble.propose(on: leader) }
        #expect(ensemble.run(seconds: 10) { ensemble.servers.allSatisfy { $0.tree.count == 100 } })
        #expect(!informed.isEmpty && !informed.contains(leader.id))
        #expect(leader.peer?.learners?.observers == 0)
        #expect(ensemble.checker.violations == [])
    }

    @Test("When the follower that serves them is gone they find another server", arguments: [1, 2, 3, 4] as [UInt64])
    func masterDies(seed: UInt64) throws {
        let ensemble = try Simulation(seed: seed, voters: 3, observers: 2, hasObserverMasters: true)
        ensemble.startAll()
        #expect(ensemble.run(seconds: 10) { ensemble.servers.allSatisfy(\.isServing) })
        let leader = try #require(ensemble.servers.first { $0.peer?.mayPropose == true })
        let follower = try #require(ensemble.servers.prefix(3).first { $0.id != leader.id })
        ensemble.crash(follower)
        for _ in 0..<10 { ensemble.propose(on: leader) }
        let isDone = ensemble.run(seconds: 20) {
            ensemble.servers.allSatisfy { $0.id == follower.id || ($0.isServing && $0.tree.count == 10) }
        }
        #expect(isDone)
        #expect(ensemble.checker.violations == [])
    }

    @Test("A master that is behind keeps an observer waiting, and takes nothing back", arguments: 1...10)
    func behind(seed: Int) throws {
        let ensemble = try Simulation(seed: UInt64(seed), voters: 3, observers: 1, hasObserverMasters: true)
        var truncated: [ServerID] = []
        ensemble.trace = { from, type, _, to in if to == ServerID(4), type == .trunc { truncated.append(from) } }
        for server in ensemble.servers.prefix(3) { ensemble.start(server) }
        try #require(ensemble.run(seconds: 10) { ensemble.servers.prefix(3).allSatisfy(\.isServing) })
        ensemble.start(ensemble[4])
        try #require(ensemble.run(seconds: 10) { ensemble[4].isServing })
        let leader = try #require(ensemble.servers.first { $0.peer?.mayPropose == true })
        let master = try #require(ensemble.servers.first { $0.peer?.mastering?.serving.links.isEmpty == false })
        let other = try #require(ensemble.servers.prefix(3).first { $0 !== leader && $0 !== master })
        ensemble.cut(leader.id, other.id, isSilent: true)
        for _ in 0..<5 { ensemble.propose(on: leader) }
        try #require(ensemble.run(seconds: 0.2) { ensemble[4].tree.count == 5 })
        ensemble.crash(master)
        ensemble.run(seconds: 0.4)
        ensemble.heal(leader.id, other.id)
        #expect(ensemble.run(seconds: 20) { !master.isUp && other.tree.count == 5 && ensemble[4].isServing })
        #expect(truncated == [])
        #expect(ensemble[4].tree.count == 5)
        #expect(ensemble.checker.violations == [])
    }

    @Test("What never was committed is waited for only so long, and the leader takes it back")
    func ahead() throws {
        let ensemble = try Simulation(seed: 5, voters: 3, observers: 1, hasObserverMasters: true)
        ensemble.startAll()
        try #require(ensemble.run(seconds: 10) { ensemble.servers.allSatisfy(\.isServing) })
        let leader = try #require(ensemble.servers.first { $0.peer?.mayPropose == true })
        ensemble.propose(on: leader)
        try #require(ensemble.run(seconds: 10) { ensemble.servers.allSatisfy { $0.log.count == 1 } })
        ensemble.crash(ensemble[4])
        var record = try #require(ensemble[4].log.last)
        record.zxid = record.zxid.next
        ensemble[4].log.append(record)
        var reasons: [String] = []
        ensemble.noteTrace = { if $1.level == .warning, $0 != ServerID(4) { reasons.append($1.message) } }
        ensemble.start(ensemble[4])
        #expect(ensemble.run(seconds: 10) { ensemble[4].isServing })
        #expect(ensemble[4].tree.count == 1)
        #expect(reasons.count == 1 && reasons.allSatisfy { $0.contains("not known to be committed") }, "\(reasons)")
        #expect(ensemble.checker.violations == [])
    }

    @Test("What is asked of a master is handed on, and each answer finds its way back")
    func questions() throws {
        let ensemble = try Simulation(seed: 3, voters: 3, observers: 1, hasObserverMasters: true)
        ensemble.startAll()
        #expect(ensemble.run(seconds: 10) { ensemble.servers.allSatisfy(\.isServing) })
        let observer = ensemble[4]
        var calls: [(ServerID, String)] = []
        ensemble.callTrace = { calls.append(($0, $1)) }
        let sync = ForwardedRequest(
            session: SessionID(9),
            cxid: 1,
            operation: Operation.sync.rawValue,
            body: UnsafeRawBufferPointer(start: nil, count: 0)
        )
        ensemble.input(observer) { $0.forward(sync, identities: [], at: ensemble.now, into: &$1) }
        ensemble.input(observer) {
            $0.revalidate(session: SessionID(77), timeoutMilliseconds: 1000, at: ensemble.now, into: &$1)
        }
        let leader = try #require(ensemble.servers.first { $0.peer?.mayPropose == true })
        ensemble.run(seconds: 1) { calls.count { $0.0 == leader.id && $0.1.contains("revalidate") } > 0 }
        let follower = try #require(ensemble.servers.first { $0.peer?.mastering?.serving.links.isEmpty == false })
        let link = try #require(leader.peer?.leading?.links.first { $0.server == follower.id }?.id)
        ensemble.input(leader) { $0.expectSync(on: link, behind: .zero, at: ensemble.now, into: &$1) }
        ensemble.input(leader) { $0.answerSync(on: link, at: ensemble.now, into: &$1) }
        ensemble.input(leader) {
            $0.answerRevalidation(on: link, session: SessionID(77), isValid: true, at: ensemble.now, into: &$1)
        }
        ensemble.run(seconds: 1)
        let heard = calls.filter { $0.0 == observer.id }.map(\.1)
        #expect(heard.contains { $0.contains("synced") } && heard.contains { $0.contains("revalidated") }, "\(heard)")
        let wrong = calls.filter { $0.0 == follower.id && ($0.1.contains("synced") || $0.1.contains("revalidated")) }
        #expect(wrong.isEmpty)
    }

    @Test("What a session asked for before it moved, to an observer or among them, is not handed on any more")
    func movedSessions() throws {
        var claims = SessionClaims()
        let (session, first, second) = (SessionID(77), LinkID(1), LinkID(2))
        #expect(claims.allows(session, on: first))
        claims.claim(session, by: first)
        #expect(claims.allows(session, on: first) && !claims.allows(session, on: second))
        claims.claim(session, by: second)
        #expect(!claims.allows(session, on: first) && claims.allows(session, on: second))
        claims.claim(session, by: nil)
        #expect(!claims.allows(session, on: first) && !claims.allows(session, on: second))
        for number in 0..<Int64(2 * SessionClaims.limit) { claims.claim(SessionID(1000 + number), by: first) }
        #expect(claims.allows(session, on: first))
        #expect(!claims.allows(SessionID(999 + Int64(2 * SessionClaims.limit)), on: second))
    }

    @Test("A master whose session goes to its observer ends its own connection, and hands on what comes from there")
    func takenAlong() throws {
        let ensemble = try Simulation(seed: 3, voters: 3, observers: 1, hasObserverMasters: true)
        ensemble.startAll()
        try #require(ensemble.run(seconds: 10) { ensemble.servers.allSatisfy(\.isServing) })
        var calls: [(ServerID, String)] = []
        ensemble.callTrace = { calls.append(($0, $1)) }
        let session = SessionID(77)
        let leader = try #require(ensemble.servers.first { $0.peer?.mayPropose == true })
        let master = try #require(ensemble.servers.first { $0.peer?.mastering?.serving.links.isEmpty == false })
        func come(to server: SimulatedServer) {
            ensemble.input(server) {
                $0.revalidate(session: session, timeoutMilliseconds: 1000, at: ensemble.now, into: &$1)
            }
            ensemble.run(seconds: 1)
        }
        func requests() -> Int {
            calls.removeAll()
            let create = ForwardedRequest(
                session: session,
                cxid: 1,
                operation: Operation.create.rawValue,
                body: UnsafeRawBufferPointer(start: nil, count: 0)
            )
            ensemble.input(ensemble[4]) { $0.forward(create, identities: [], at: ensemble.now, into: &$1) }
            ensemble.run(seconds: 1)
            return calls.count { $0.0 == leader.id && $0.1.contains("request") }
        }
        come(to: master)
        #expect(!calls.contains { $0.0 == master.id && $0.1.contains("moved") })
        #expect(requests() == 0)
        come(to: ensemble[4])
        #expect(calls.contains { $0.0 == master.id && $0.1.contains("moved") })
        #expect(requests() == 1)
        come(to: master)
        #expect(requests() == 0)
    }

    /// Whoever hears first that the leader hands over may come to the next one before that knows.
    @Test(
        "A server that serves observers takes in those that it is about to lead",
        arguments: 1...20 as ClosedRange<UInt64>
    )
    func handOver(seed: UInt64) throws {
        let ensemble = try Simulation(
            seed: seed,
            voters: 4,
            observers: 1,
            isReconfigEnabled: true,
            hasObserverMasters: true
        )
        ensemble.startAll()
        try #require(ensemble.run(seconds: 20) { ensemble.servers.allSatisfy(\.isServing) })
        let leader = try #require(ensemble.servers.first { $0.peer?.mayPropose == true })
        let round = ensemble.servers.compactMap { $0.peer?.election.round }.max() ?? 0
        var complaints: [ZabNote] = []
        ensemble.noteTrace = { server, note in
            // The observer has to find another master.
            guard server.rawValue <= 4, note.level == .warning || note.level == .error else { return }
            complaints.append(note)
        }
        #expect(ensemble.reconfigure(on: leader, leader.id, to: nil))
        let others = ensemble.servers.filter { $0 !== leader }
        #expect(
            ensemble.run(seconds: 30) {
                others.allSatisfy { $0.isServing && $0.configuration?.voters.count == 3 }
                    && others.contains { $0.peer?.mayPropose == true }
            }
        )
        #expect(complaints.map(\.message) == [])
        #expect(others.allSatisfy { $0.peer?.election.round ?? 0 <= round }, "an election was needed")
        #expect(ensemble.checker.violations == [])
    }
}
