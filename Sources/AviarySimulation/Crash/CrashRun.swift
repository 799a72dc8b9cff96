internal import AviaryCore
internal import AviaryStorage
internal import ZooKeeperProtocol

/// One seed: the lives of one server on one disk, each ended by a crash, and everything that clients were told held
/// against what is there afterwards.
package final class CrashRun {
    /// Where the lives end.
    package enum Plan: Sendable, Hashable {
        /// By chance, as everything else.
        case random
        /// The first life at the disk call with this number; nothing else goes wrong. The second life is not ended.
        case call(Int, SimulatedDisk.Loss)
    }

    let plan: Plan
    let planted: PlantedFault?
    let disk: SimulatedDisk
    var random: SeededGenerator
    var workload: WorkloadGenerator
    let settings: SimulatedSettings
    private let hasFlips: Bool
    let hasFullDisk: Bool
    /// Groups are large.
    let isDiskSlow: Bool
    private let lives: Int

    var ledger = Ledger()
    var clients: [SimulatedClient] = []
    var owners: [ConnectionID: SimulatedClient] = [:]
    var server: SimulatedServer?
    /// In this life the disk was full, so that writes may be refused.
    var refusesWrites = false
    var now = Now(wallMilliseconds: 1_700_000_000_000, monotonicMicroseconds: 1_000_000)
    /// Snapshots that were damaged and stay so.
    var damaged: Set<String> = []
    /// Logs that lost their mark.
    var unmarked: Set<String> = []
    /// What goes wrong in this life, in words.
    var faults: [String] = []
    /// What went wrong in the life before, and how that ended.
    private var faultsBefore: [String] = []
    /// Disk calls of the first life.
    package private(set) var firstLifeCalls = 0
    package internal(set) var counts = CrashCounts()
    package internal(set) var trace = TraceHash()
    /// Told what happens, for whoever has to find out.
    package var narrator: ((String) -> Void)?

    package init(seed: UInt64, planted: PlantedFault? = nil, plan: Plan = .random) {
        self.plan = plan
        self.planted = planted
        random = SeededGenerator(seed: seed)
        disk = SimulatedDisk(seed: random.next())
        let hasZeros = random.oneIn(4)
        hasFullDisk = random.oneIn(4) && plan == .random
        let isBulky = random.oneIn(hasFullDisk ? 2 : 3)
        let size: WorkloadGenerator.Size = random.oneIn(24) ? .huge : isBulky ? .bulky : .small
        workload = WorkloadGenerator(random.fork(), hasZeros: hasZeros, size: size)
        // A whole sector of zeros in the last group cannot be told from one that is lost: docs/design/storage.md.
        hasFlips = !hasZeros && plan == .random
        isDiskSlow = random.oneIn(2)
        lives = plan == .random ? 2 + random.below(3) : 1
        settings = SimulatedSettings(from: &random, hasFullDisk: hasFullDisk, size: size)
        setLies()
    }

    private func setLies() {
        switch planted {
        case .rollWithoutDirectorySync: disk.setLies([.directorySync])
        case .snapshotNamedBeforeSync: disk.setLies([.fileSync(suffix: FileNames.unfinishedSuffix)])
        case .failedSyncRetried: disk.setLies([.failedSync])
        case .checksumIgnored: disk.setReadFilter { $0.contains("/log.") ? LogMap.forged($1) : $1 }
        case .tornTailRead: disk.setReadFilter { $0.contains("/log.") ? LogMap.completed($1) : $1 }
        default: break
        }
    }

    /// Lives all the lives.
    ///
    /// - Throws: the first promise that did not hold.
    package func run() throws(Violation) {
        for life in 0...lives {
            faultsBefore = faults
            faults = []
            do throws(Violation) {
                try live(life, isLast: life == lives)
            } catch {
                var violation = error
                violation.text += " (life \(life + 1): \(faults.joined(separator: ", ")); before it: "
                violation.text += "\(faultsBefore.joined(separator: ", ")))"
                throw violation
            }
        }
    }

    // MARK: - One life

    private func live(_ life: Int, isLast: Bool) throws(Violation) {
        counts[.lives] += 1
        disk.forgetTrace()
        var started: SimulatedServer?
        // Only where all is stable that is there: what was not written yet would undo the damage.
        if hasFlips, !disk.hasUnsyncedChanges, random.oneIn(2) {
            disk.setCapacity(nil)
            started = try startDamaged()
        }
        // A start takes few calls, and most of what there is to see comes after it.
        let spares = plan == .random && !random.oneIn(4)
        if hasFullDisk, !isLast { changeSpace(fills: life > 0 && !random.oneIn(3)) }
        if !spares { planFaults(life, isLast: isLast) }
        if started == nil { started = try start() }
        if spares { planFaults(life, isLast: isLast) }
        narrate("life \(life + 1): \(faults.joined(separator: ", "))")
        narrate("  known \(ledger.seen), written \(ledger.lastSubmitted)")
        if let started {
            narrate("  recovered \(started.recovery)")
            try serve(started)
            try work()
            if isLast { try finish() }
        }
        if life == 0 { firstLifeCalls = disk.trace.count }
        for operation in disk.trace { trace.mix(operation.description) }
        if !isLast { crash() }
    }

    func narrate(_ text: @autoclosure () -> String) {
        if let narrator { narrator(text()) }
    }

    /// What the server has written and said goes to whom it concerns.
    func takeResults() throws(Violation) {
        guard let server else { return }
        for txn in server.submitted {
            try ledger.submit(txn)
            counts[.transactions] += 1
            if case .closeSession = txn.body { counts[.sessionsExpired] += 1 }
        }
        server.submitted.removeAll(keepingCapacity: true)
        // A refusal may have waited behind other replies for longer than the disk was full.
        refusesWrites = server.counts.wasSpaceLow && (hasFullDisk || disk.faultCount > 0)
        for delivery in server.deliveries { try take(delivery, server) }
        server.deliveries.removeAll(keepingCapacity: true)
        if let complaint = server.complaints.first { throw Violation(.complaint, complaint) }
    }
}
