internal import AviaryEnsemble
package import ZooKeeperProtocol

/// What many observers cost those who serve them: an ensemble without faults whose clients write for a while.
package struct Audience: Sendable {
    package var writes = 0
    /// Microseconds of simulated time.
    package var duration: Int64 = 0
    /// From the first start to the moment when everybody served, microseconds of simulated time.
    package var gathering: Int64 = 0
    package var traffic = Traffic()

    /// Three voters and as many observers as one likes.
    ///
    /// - Parameters:
    ///   - observers: how many.
    ///   - hasMasters: followers serve observers as well (`observerMasterPort`).
    ///   - writes: how many there are to be, at least.
    /// - Throws: whatever promise does not hold.
    package static func measure(observers: Int, hasMasters: Bool, writes: Int, seed: UInt64) throws(Violation)
        -> Audience
    {
        let settings = EnsembleSettings(audience: observers, hasMasters: hasMasters)
        let run = try EnsembleRun(seed: seed, settings: settings)
        // Processes and their machines hold each other.
        defer { for machine in run.machines { machine.process = nil } }
        return try run.gather(writes: writes)
    }
}

extension EnsembleSettings {
    /// Nothing fails, and all is as usual in a data centre.
    fileprivate init(audience: Int, hasMasters: Bool) {
        var random = SeededGenerator(seed: 1)
        self.init(from: &random)
        voters = [1, 2, 3]
        observers = (0..<Int64(audience)).map { 4 + $0 }
        tickMilliseconds = 2000
        initLimit = 10
        syncLimit = 5
        maxNotificationMilliseconds = 60_000
        recentCount = 500
        recentBytes = 32 << 20
        snapCount = 100_000
        maximumLogBytes = .max
        compression = false
        maximumDataBytes = 1
        latency = SimulatedNetwork.Latency(base: 200, jitter: 100, lossOneIn: 1 << 30)
        window = 256 << 10
        disk = DiskSpeed(base: 500, jitter: 100)
        clients = 3
        client = EnsembleClient.Settings()
        client.timeoutMilliseconds = 30_000
        client.pause = 100_000
        faults = FaultMix(kinds: [], interval: 1_000_000)
        hasObserverMasters = hasMasters
        clientsUseVoters = true
    }
}

extension EnsembleRun {
    fileprivate func gather(writes: Int) throws(Violation) -> Audience {
        var audience = Audience()
        for client in clients { client.isQuiet = true }
        isFaulty = false
        for machine in machines { start(machine) }
        try demand("that everybody serves") { machines.allSatisfy { $0.process?.member.isServing == true } }
        audience.gathering = time.microseconds

        for client in clients { client.isQuiet = false }
        plan(clients)
        traffic = Traffic()
        let first = observer.committed.entries.count
        let began = time.microseconds
        try demand("\(writes) writes") { observer.committed.entries.count >= first + writes }
        audience.duration = time.microseconds - began
        audience.writes = observer.committed.entries.count - first
        audience.traffic = traffic ?? Traffic()
        traffic = nil
        return audience
    }
}
