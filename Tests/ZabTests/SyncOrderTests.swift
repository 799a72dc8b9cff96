import Testing
import ZooKeeperProtocol

@testable import Zab

@Suite("Answers to syncs")
struct SyncOrderTests {
    /// Servers of Apache's pair answers with questions by order alone: a SYNC out of its turn, and they answer no client
    /// any more.
    @Test("What was asked for after a sync is not committed before it, for that learner alone", arguments: [2, 4])
    func order(learner: Int64) throws {
        let ensemble = try Simulation(seed: 3, voters: 3, observers: 1)
        ensemble.startAll()
        #expect(ensemble.run(seconds: 10) { ensemble.servers.allSatisfy(\.isServing) })
        let leader = try #require(ensemble.servers.first { $0.peer?.mayPropose == true })
        let learner = ServerID(learner == leader.id.rawValue ? 1 : learner)
        let link = try #require(leader.peer?.leading?.links.first { $0.server == learner }?.id)
        var sent: [(QuorumPacketType, Zxid)] = []
        ensemble.trace = { from, kind, zxid, to in
            guard from == leader.id, to == learner, [.sync, .commit, .inform].contains(kind) else { return }
            sent.append((kind, zxid))
        }

        ensemble.propose(on: leader)
        let first = leader.peer?.history.last ?? .zero
        for _ in 0..<2 {
            ensemble.input(leader) { $0.expectSync(on: link, behind: first, at: ensemble.now, into: &$1) }
        }
        ensemble.propose(on: leader)
        let second = leader.peer?.history.last ?? .zero
        let others = ensemble.servers.filter { $0.id != learner }
        #expect(ensemble.run(seconds: 1) { others.allSatisfy { $0.peer?.history.applied == second } })
        #expect(sent.map(\.1) == [first])
        ensemble.input(leader) { $0.answerSync(on: link, at: ensemble.now, into: &$1) }
        #expect(sent.count == 2)
        ensemble.input(leader) { $0.answerSync(on: link, at: ensemble.now, into: &$1) }
        #expect(ensemble.run(seconds: 1) { ensemble.servers.allSatisfy { $0.peer?.history.applied == second } })
        let commit = sent.first?.0
        #expect(sent.map(\.0) == [commit, .sync, .sync, commit])
        #expect(sent.last?.1 == second)
        #expect(ensemble.checker.violations == [])
    }
}
