import Testing
import ZooKeeperProtocol

@testable import AviarySimulation

@Suite("Changes of the members in a simulated ensemble")
struct MemberChangeTests {
    @Test("Two that reach the leader together: the second is refused, at the leader as at a follower", arguments: 1...3)
    func together(seed: UInt64) throws {
        var random = SeededGenerator(seed: 1)
        var settings = EnsembleSettings(from: &random)
        settings.voters = [1, 2, 3]
        settings.observers = []
        settings.outsiders = [4]
        settings.hasReconfigurations = true
        settings.hasObserverMasters = false
        settings.clients = 3
        // What does not fit waits, and comes in one piece.
        settings.window = 2 << 10
        settings.faults = FaultMix(kinds: [], interval: 1_000_000)
        let run = try EnsembleRun(seed: seed, settings: settings)
        defer { for machine in run.machines { machine.process = nil } }
        run.isFaulty = false
        for client in run.clients { client.isQuiet = true }
        for machine in run.machines { run.start(machine) }
        run.plan(run.clients)
        try run.runUntil(10_000_000)
        try run.demand("that everybody is let in") { run.clients.allSatisfy(\.isAttached) }
        func change(_ role: String) -> Request {
            let line = "server.4=server-4:2888:3888:\(role);2181"
            return .reconfigure(joining: line, leaving: nil, members: nil, from: -1)
        }
        var judged = 0
        // Whoever they are connected to.
        for client in run.clients {
            let before = run.recorder.history.operations.count
            let large = Request.setData("/q", [UInt8](repeating: 1, count: 3000), version: -1)
            client.ask([large, change("observer"), change("participant")])
            run.plan([client])
            try run.demand("the answers") { !client.hasOutstanding }
            let asked = run.recorder.history.operations[before...]
            // A connection may break: servers begin anew while the others change.
            guard asked.allSatisfy({ $0.reply != nil }) else { continue }
            #expect(asked.map { $0.reply?.error } == [.ok, .ok, .reconfigInProgress])
            judged += 1
        }
        #expect(judged > 0)
        try run.observer.check(run.recorder.history)
    }
}
