package import AviaryCore

/// What one seed makes of an ensemble: how many servers, how fast their network and disks are, what clients do, and which
/// faults are about.
///
/// Not every seed has everything: what is drawn from few kinds of faults goes deeper than what is drawn from all.
package struct EnsembleSettings: Sendable {
    /// Ids of voters, then of observers.
    package var voters: [Int64]
    package var observers: [Int64]
    /// Servers that run and are no members at the beginning.
    package var outsiders: [Int64] = []
    /// Clients change the members now and then.
    package var hasReconfigurations = false
    package var tickMilliseconds: Int
    package var initLimit: Int
    package var syncLimit: Int
    package var maxNotificationMilliseconds: Int
    /// Committed transactions that a leader keeps in memory; few, so that learners are synchronized from disk too.
    package var recentCount: Int
    package var recentBytes: Int
    package var snapshotSizeFactor: Double
    package var forceSnapshotSync: Bool
    package var snapCount: Int
    package var maximumLogBytes: Int
    package var compression: Bool
    package var hasSeparateLogs: Bool
    /// Longest contents of a node.
    package var maximumDataBytes: Int
    package var latency: SimulatedNetwork.Latency
    package var window: Int
    package var disk: DiskSpeed
    package var clients: Int
    package var client: EnsembleClient.Settings
    /// Of the first phase, microseconds.
    package var faultPhase: Int64
    package var faults: FaultMix
    /// Followers serve observers (`observerMasterPort`).
    package var hasObserverMasters = false
    /// Clients leave observers alone.
    package var clientsUseVoters = false

    package var servers: [Int64] { voters + observers + outsiders }
    /// How many voters may be gone while the others still decide. Where the members change that is not known.
    package var spare: Int { hasReconfigurations ? 0 : (voters.count - 1) / 2 }

    /// How long the disk of a server takes, microseconds.
    package struct DiskSpeed: Sendable {
        package var base: Int64
        package var jitter: Int64
    }

    package init(from random: inout SeededGenerator) {
        let count = random.pick([1, 3, 3, 3, 3, 3, 3, 5, 5, 5, 7])
        let watching = random.oneIn(4) ? 1 + random.below(2) : 0
        var ids = (1...Int64(count + watching)).map { $0 }
        if watching > 0, random.oneIn(2) { ids.shuffle(using: &random) }
        voters = ids.prefix(count).sorted()
        observers = ids.dropFirst(count).sorted()
        tickMilliseconds = random.pick([100, 200, 200, 500])
        initLimit = random.pick([5, 10, 20])
        syncLimit = random.pick([2, 4, 5])
        maxNotificationMilliseconds = random.pick([1000, 3000, 60_000])
        recentCount = random.pick([1, 4, 20, 500])
        recentBytes = random.pick([0, 500, 4000, 32 << 20])
        snapshotSizeFactor = random.pick([0.33, 0.33, 100, 0, -1])
        forceSnapshotSync = random.oneIn(20)
        snapCount = random.pick([10, 40, 150, 100_000])
        maximumLogBytes = random.oneIn(4) ? 1500 : Int.max
        compression = random.oneIn(6)
        hasSeparateLogs = random.oneIn(4)
        maximumDataBytes = random.oneIn(5) ? 3000 : 200
        // A tick is a long time for the network and the disks, as it is in every ensemble that works.
        let tick = Int64(tickMilliseconds) * 1000
        let base = min(random.pick([50, 200, 1000, 5000]), tick / 100)
        latency = SimulatedNetwork.Latency(
            base: base,
            jitter: base * random.pick([1, 1, 3]),
            lossOneIn: random.pick([1 << 30, 1 << 30, 3000])
        )
        window = random.pick([2 << 10, 64 << 10, 256 << 10])
        let speed = min(random.pick([100, 1000, 10_000]), tick / 40)
        disk = DiskSpeed(base: speed, jitter: speed * random.pick([1, 1, 3]))
        clients = 2 + random.below(4)
        client = EnsembleClient.Settings()
        client.timeoutMilliseconds = Int32(tickMilliseconds * random.pick([4, 8, 20]))
        client.pause = random.pick([40_000, 150_000, 400_000])
        client.pipeline = random.pick([1, 4, 12])
        client.requestsPerSession = random.pick([0, 0, 20, 60])
        faultPhase = random.pick([3, 5, 9]) * 1_000_000
        faults = FaultMix(from: &random, voters: voters.count)
        if count > 1, random.oneIn(4) { drawReconfigurations(&random) }
        if !observers.isEmpty || hasReconfigurations { hasObserverMasters = random.oneIn(2) }
    }

    private mutating func drawReconfigurations(_ random: inout SeededGenerator) {
        hasReconfigurations = true
        let first = (servers.max() ?? 0) + 1
        outsiders = (0..<Int64(random.below(3))).map { first + $0 }
        // How much may be lost depends on who is a member.
        faults.kinds.removeAll { $0 == .lostDisk || $0 == .flippedBit }
    }

    /// Whether an empty directory is no fresh server's unless somebody says so: otherwise one that has lost its disk could
    /// not be told from a new one.
    package var needsInitialize: Bool { faults.kinds.contains(.lostDisk) }

    package var description: String {
        var text = "\(voters.count) voters"
        if !observers.isEmpty { text += ", observers \(observers)" }
        if hasObserverMasters { text += ", followers serve observers" }
        if hasReconfigurations { text += ", members change, outsiders \(outsiders)" }
        text += ", tick \(tickMilliseconds), limits \(initLimit)/\(syncLimit), keeps \(recentCount)/\(recentBytes)"
        text += ", snapCount \(snapCount), network \(latency.base)+\(latency.jitter), disk \(disk.base)+\(disk.jitter)"
        return text + ", \(clients) clients, faults: \(faults.description)"
    }
}
