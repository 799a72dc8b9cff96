internal import AviaryCore
internal import AviaryEnsemble
internal import AviaryStorage
internal import Zab
internal import ZooKeeperProtocol

/// The second half of a run: everything heals, and has to go on.
extension EnsembleRun {
    /// Ends all faults, and starts all servers but a few that a quorum can do without.
    func heal() throws(Violation) {
        isFaulty = false
        narrate("healing")
        counts[.healed] += 1
        relieveAll()
        var spare = random.oneIn(2) ? random.below(settings.spare + 1) : 0
        for machine in machines where machine.process == nil {
            let isVoter = isVoter(machine.id)
            if isVoter, spare > 0, !machine.isDamaged {
                spare -= 1
                machine.staysDown = true
                narrate("\(machine.id) stays down")
            } else if !machine.isStartPlanned {
                planStart(machine, after: random.range(0, 200_000))
            }
        }
    }

    /// How long a healed quorum may take to whatever is demanded of it.
    var patience: Int64 {
        let ticks = 3 * (settings.initLimit + settings.syncLimit) * settings.tickMilliseconds
        let sessions = 3 * Int(settings.client.timeoutMilliseconds)
        return Int64(ticks + sessions + 2 * min(settings.maxNotificationMilliseconds, 10_000) + 10_000) * 1000
    }

    func finish() throws(Violation) {
        // Everybody writes.
        let before = clients.map(\.acknowledgedWrites)
        try demand("a write of each client") { () in
            zip(self.clients, before).allSatisfy { $0.acknowledgedWrites > $1 }
        }
        // Everybody reads all there is, behind a sync.
        for client in clients { client.isQuiet = true }
        for client in clients { client.ask(EnsembleRun.lastRequests) }
        try demand("an answer to everything") { () in
            self.clients.allSatisfy { $0.isAttached && !$0.hasOutstanding }
        }
        // Everybody has the same.
        try demand("that all servers have everything") { () in
            self.machines.allSatisfy { machine in
                guard !machine.staysDown, self.configuration.member(machine.id) != nil else { return true }
                guard let process = machine.process, process.member.isServing else { return false }
                let applied = process.core.lastProcessedZxid
                return self.observer.committed.position(of: applied) == self.observer.committed.entries.count
            }
        }
        try compareTrees()
        try observer.check(recorder.history)
    }

    static var lastRequests: [Request] {
        let paths = EnsembleWorkload.allPaths
        return [.sync("/")] + paths.map { .getData($0, watches: false) }
            + ["/", "/q", "/s"].map { .getChildren($0, watches: false) }
    }

    /// Whether so many voters have lost what they promised that the others are no quorum: then nothing may go on, and
    /// somebody has to decide.
    var needsHuman: Bool {
        let able = machines.filter { machine in
            guard let process = machine.process else { return !machine.staysDown && !machine.isDamaged }
            return process.member.remembersAll
        }
        return !isQuorum(able.map(\.id).filter { isVoter($0) })
    }

    func demand(_ what: String, _ isDone: () -> Bool) throws(Violation) {
        narrate("now \(what)")
        let limit = time.microseconds + patience
        if isDone() { return }
        try runUntil(limit, orUntil: isDone)
        guard !isDone() else { return }
        if needsHuman {
            counts[.needsHuman] += 1
            throw Violation(.needsHuman, what)
        }
        var state = machines.map { machine in
            guard let process = machine.process else { return "\(machine.id) down" }
            return "\(machine.id) \(process.member.role) at \(process.core.lastProcessedZxid)"
        }
        state += clients.map { "client \($0.number) \($0.phase)" }
        for machine in machines { narrate("\(machine.id) \(machine.process?.election.description ?? "")") }
        for service in [Service.election, .quorum] { for link in network.describe(service) { narrate(link) } }
        throw Violation(.noProgress, "no \(what) within \(patience / 1_000_000) s: \(state.joined(separator: ", "))")
    }

    private func text(_ sessions: [Int64: Int32]) -> String {
        sessions.sorted { $0.key < $1.key }.map { "\(SessionID($0.key)) of \($0.value) ms" }.joined(separator: ", ")
    }

    func compareTrees() throws(Violation) {
        // Who is no member may be behind.
        for machine in machines where configuration.member(machine.id) != nil {
            guard let process = machine.process, process.member.isServing else { continue }
            var found = try process.picture()
            var expected = observer.committed.tree
            // Every server writes this one by itself.
            found.forget("/zookeeper/config")
            expected.forget("/zookeeper/config")
            if found.sessions != expected.sessions {
                let (has, wants) = (text(found.sessions), text(expected.sessions))
                throw Violation(.wrongSessions, "\(machine.id): sessions \(has), expected \(wants)")
            }
            if let difference = found.difference(from: expected) {
                throw Violation(.replicasDiffer, "\(machine.id): \(difference)")
            }
        }
    }
}
