import Testing
import ZooKeeperProtocol

@testable import Zab

/// A member whose data directory is gone, or could not be used (docs/reliability.md: whole data directory lost): until a
/// leader that others follow has synchronized it, it counts for nothing.
@Suite("Members without memory")
struct LostMemoryTests {
    /// A transaction of epoch 1, as somebody's log has it.
    private func record(_ counter: Int64) -> Record {
        let zxid = Zxid(Epoch(1).newLeaderZxid.rawValue + counter)
        var writer = JuteWriter(capacity: 64)
        Txn(
            header: TxnHeader(session: SessionID(7), cxid: Int32(counter), zxid: zxid, time: 0),
            body: .error(.noNode),
            digest: nil
        ).write(to: &writer)
        return Record(zxid: zxid, payload: writer.copy())
    }

    /// Servers whose logs end with these transactions of epoch 1; nil has lost its disk.
    private func ensemble(_ ends: [Int64?], seed: UInt64 = 1) throws -> Simulation {
        let ensemble = try Simulation(seed: seed, voters: ends.count)
        let longest = ends.compactMap { $0 }.max() ?? 0
        let records = longest > 0 ? (1...longest).map(record) : []
        for record in records { ensemble.checker.propose(record) }
        for (server, end) in zip(ensemble.servers, ends) {
            guard let end else {
                ensemble.loseDisk(server)
                continue
            }
            server.log = Array(records.prefix(Int(end)))
            server.acceptedEpoch = Epoch(1)
            server.currentEpoch = Epoch(1)
        }
        return ensemble
    }

    private func serves(_ ensemble: Simulation, with count: Int) -> Bool {
        ensemble.servers.allSatisfy { !$0.isUp || ($0.isServing && $0.tree.count == count) }
    }

    @Test("Together with one that is behind it elects nobody, whoever is down")
    func helpsNobody() throws {
        // 3 and 1 had committed five transactions; 1 comes back with nothing, 3 stays away.
        let ensemble = try ensemble([nil, 2, 5])
        ensemble.start(ensemble[1])
        ensemble.start(ensemble[2])
        #expect(!ensemble.run(seconds: 60) { ensemble.servers.contains { $0.role != .looking } })
        ensemble.start(ensemble[3])
        #expect(ensemble.run(seconds: 60) { serves(ensemble, with: 5) })
        #expect(ensemble.servers.allSatisfy { $0.remembersAll })
        #expect(ensemble.checker.violations == [])
    }

    @Test("Two of five without memory do not bring a leader without the committed transactions", arguments: 1...20)
    func seed17(seed: Int) throws {
        let ensemble = try ensemble([nil, 2, nil, 5, 2], seed: UInt64(seed))
        for number in [1, 2, 3, 5] { ensemble.start(ensemble[number]) }
        #expect(!ensemble.run(seconds: 30) { ensemble.servers.contains(where: \.isServing) })
        ensemble.start(ensemble[4])
        #expect(ensemble.run(seconds: 60) { serves(ensemble, with: 5) })
        #expect(ensemble.checker.violations == [])
    }

    @Test("It says nothing to a leader before the leader's epoch is formed", arguments: 1...20)
    func joinsEstablishedLeaders(seed: Int) throws {
        let ensemble = try ensemble([3, nil, 3, 3, 3], seed: UInt64(seed))
        var isFormed = false
        var isEarly = false
        ensemble.trace = { from, type, _, to in
            if type == .upToDate { isFormed = true }
            if from == ServerID(2), type == .ack || type == .ackEpoch, !isFormed { isEarly = true }
        }
        ensemble.startAll()
        #expect(ensemble.run(seconds: 60) { serves(ensemble, with: 3) })
        #expect(!isEarly)
        #expect(ensemble[2].remembersAll)
        #expect(ensemble.checker.violations == [])
    }

    @Test("While it looks its notifications are those of a server without a vote")
    func abstains() throws {
        let ensemble = try ensemble([nil, 2, 5])
        ensemble.start(ensemble[1])
        ensemble.start(ensemble[2])
        ensemble.run(seconds: 5)
        let notification = try #require(ensemble.lastNotifications[[ServerID(1), ServerID(2)]])
        #expect(notification.state == .looking)
        #expect(notification.leader == .none)
        #expect(notification.zxid == Zxid(.min))
        #expect(notification.peerEpoch == Epoch(.min))
    }

    @Test("Once synchronized it has its vote again")
    func votesAgain() throws {
        let ensemble = try ensemble([nil, 3, 3])
        ensemble.startAll()
        try #require(ensemble.run(seconds: 60) { serves(ensemble, with: 3) })
        ensemble.crash(ensemble[3])
        #expect(ensemble.run(seconds: 60) { serves(ensemble, with: 3) })
        #expect(ensemble.checker.violations == [])
    }

    @Test(
        "An ensemble that lost too much says what a human has to do",
        arguments: [[nil, nil, nil], [nil, 5, nil]]
    )
    func needsHuman(ends: [Int64?]) throws {
        let ensemble = try ensemble(ends)
        var notes: [(ServerID, ZabNote)] = []
        ensemble.noteTrace = { notes.append(($0, $1)) }
        ensemble.startAll()
        #expect(!ensemble.run(seconds: 120) { ensemble.servers.contains { $0.role != .looking } })
        for server in ensemble.servers {
            let errors = notes.filter { $0.0 == server.id && $0.1.level == .error }.map(\.1.message)
            #expect(errors.count <= 2, "server \(server.id) repeats itself")
            let last = try #require(errors.last)
            #expect(last.contains("initialize") && last.contains("restore the data directory"))
            for (other, end) in zip(ensemble.servers, ends) where end == nil {
                #expect(last.contains(other.id.description))
            }
        }
        // What the message says helps: whoever is told to begin anew has a vote again.
        for (server, end) in zip(ensemble.servers, ends) where end == nil {
            ensemble.crash(server)
            server.remembersAll = true
            ensemble.start(server)
        }
        let longest = ends.compactMap { $0 }.max() ?? 0
        #expect(ensemble.run(seconds: 60) { serves(ensemble, with: Int(longest)) })
        #expect(ensemble.checker.violations == [])
    }

    // MARK: A synchronization that was interrupted

    /// A server whose log was replaced by a leader's older snapshot, before what comes behind that.
    private func interrupt(_ server: SimulatedServer, at counter: Int64, of end: Int64) {
        server.log = Array((1...counter).map(record))
        server.remembersAll = false
        server.promised = HistoryEnd(epoch: Epoch(1), zxid: record(end).zxid)
    }

    @Test("Of whom only the end of the log is lost votes for whoever has it")
    func electorHelps() throws {
        let ensemble = try ensemble([5, 5, 5])
        interrupt(ensemble[2], at: 3, of: 5)
        ensemble.start(ensemble[1])
        ensemble.start(ensemble[2])
        #expect(ensemble.run(seconds: 60) { serves(ensemble, with: 5) })
        #expect(ensemble[1].role == .leading(isEstablished: true))
        #expect(ensemble[2].remembersAll)
        #expect(ensemble.checker.violations == [])
    }

    @Test("Who has no candidate yet goes back to the round of the others")
    func electorJoinsRound() throws {
        let configuration = try Simulation.configuration(voters: 3)
        let electorate = Electorate(configurations: JointConfiguration(current: configuration), links: ElectionLinks())
        let promised = HistoryEnd(epoch: Epoch(1), zxid: record(5).zxid)
        var election = Election()
        for _ in 0..<9 { election.begin(.elector(promised), me: ServerID(2), interval: 1, at: 0) }
        // Nobody heard of its round: without a candidate it is no vote.
        let vote = Vote(leader: ServerID(1), zxid: promised.zxid, peerEpoch: promised.epoch, round: 3)
        let ballot = Ballot(from: ServerID(1), state: .looking, vote: vote, version: 2)
        #expect(election.handle(ballot, electorate: electorate, at: 0, finalize: 200) == .changed)
        #expect(election.vote == vote)
    }

    @Test("Two servers without a vote do not answer each other for ever")
    func noEcho() throws {
        let configuration = try Simulation.configuration(voters: 1, observers: 1)
        let now = Now(wallMilliseconds: 0, monotonicMicroseconds: 0)
        func peer(_ id: Int64, remembersAll: Bool) -> Peer {
            Peer(
                options: PeerOptions(me: ServerID(id), tickMilliseconds: 200, initLimit: 10, syncLimit: 5),
                configuration: configuration,
                durable: DurableState(
                    lastZxid: .zero,
                    acceptedEpoch: .zero,
                    currentEpoch: .zero,
                    remembersAll: remembersAll
                ),
                lastProcessed: .zero,
                seed: 1,
                now: now
            )
        }
        var voter = peer(1, remembersAll: false)
        var observer = peer(2, remembersAll: true)
        var output = ZabOutput()
        voter.start(at: now, into: &output)
        observer.start(at: now, into: &output)
        var notification = try #require(output.notifications.last?.notification)
        // It has looked more often than the voter.
        notification.electionEpoch = 9
        observer.election.begin(.onlooker, me: ServerID(2), interval: 1_000_000, at: 0)
        output.reset()
        voter.receive(notification: notification, from: ServerID(2), at: now, into: &output)
        let answer = try #require(output.notifications.last?.notification)
        output.reset()
        observer.receive(notification: answer, from: ServerID(1), at: now, into: &output)
        #expect(output.notifications.isEmpty)
    }

    @Test("Of whom only the end of the log is lost votes for nobody without it")
    func electorRefuses() throws {
        let ensemble = try ensemble([4, 5, 5])
        interrupt(ensemble[2], at: 3, of: 5)
        ensemble.start(ensemble[1])
        ensemble.start(ensemble[2])
        #expect(!ensemble.run(seconds: 60) { ensemble.servers.contains { $0.role != .looking } })
        ensemble.start(ensemble[3])
        #expect(ensemble.run(seconds: 60) { serves(ensemble, with: 5) })
        #expect(ensemble.checker.violations == [])
    }
}
