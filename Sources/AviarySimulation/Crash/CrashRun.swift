package import AviaryCore
package import AviaryStorage
package import ZooKeeperProtocol

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

    private let plan: Plan
    private let planted: PlantedFault?
    private let disk: SimulatedDisk
    private var random: SeededGenerator
    private var workload: WorkloadGenerator
    private let settings: SimulatedSettings
    private let hasFlips: Bool
    private let hasFullDisk: Bool
    /// Groups are large.
    private let isDiskSlow: Bool
    private let lives: Int

    private var ledger = Ledger()
    private var clients: [SimulatedClient] = []
    private var owners: [ConnectionID: SimulatedClient] = [:]
    private var server: SimulatedServer?
    /// In this life the disk was full, so that writes may be refused.
    private var refusesWrites = false
    private var now = Now(wallMilliseconds: 1_700_000_000_000, monotonicMicroseconds: 1_000_000)
    /// Snapshots that were damaged and stay so.
    private var damaged: Set<String> = []
    /// Logs that lost their mark.
    private var unmarked: Set<String> = []
    /// What goes wrong in this life, in words.
    private var faults: [String] = []
    /// What went wrong in the life before, and how that ended.
    private var faultsBefore: [String] = []
    /// Disk calls of the first life.
    package private(set) var firstLifeCalls = 0
    package private(set) var counts = CrashCounts()
    package private(set) var trace = TraceHash()
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
        settings = CrashRun.settings(&random, hasFullDisk: hasFullDisk, size)
        setLies()
    }

    private static func settings(
        _ random: inout SeededGenerator,
        hasFullDisk: Bool,
        _ size: WorkloadGenerator.Size
    ) -> SimulatedSettings {
        var core = CoreOptions(passwordDigest: { Array($0.reversed()) })
        core.tickTimeMilliseconds = 1000
        core.minSessionTimeoutMilliseconds = 2000
        core.maxSessionTimeoutMilliseconds = 20_000
        core.containerCheckIntervalMilliseconds = 3000
        core.extendedTypes = true
        core.closeSessionTxn = !random.oneIn(5)
        core.digestEnabled = !random.oneIn(8)
        core.snapCount = random.pick([10, 20, 40, 100_000])
        var settings = SimulatedSettings(core: core)
        if random.oneIn(4) { settings.directories = DataDirectories(data: "data", log: "log") }
        if random.oneIn(3) { settings.compression = .snappy }
        settings.writesLastProcessed = !random.oneIn(4)
        if random.oneIn(4) { settings.maximumLogBytes = 1500 }
        // A large reserve is met early.
        if hasFullDisk, random.oneIn(2) { settings.maximumRecordBytes = 28 << 10 }
        if size == .huge {
            settings.maximumUnstoredBytes = 200 << 10
            settings.maximumRecordBytes = 256 << 10
            settings.snapshotChunkBytes = 20_000
        }
        return settings
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
        if hasFullDisk, !isLast { life > 0 && !random.oneIn(3) ? fillDisk() : disk.setCapacity(nil) }
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

    private func narrate(_ text: @autoclosure () -> String) {
        if let narrator { narrator(text()) }
    }

    private func planFaults(_ life: Int, isLast: Bool) {
        guard !isLast else { return disk.setCapacity(nil) }
        switch plan {
        case .call(let number, let loss):
            if life == 0 { disk.cutPower(after: number) }
            faults.append("power cut at call \(number), \(loss)")
        case .random:
            planPowerCut()
            if random.oneIn(4) { planFailure() }
        }
    }

    private func planPowerCut() {
        switch random.below(10) {
        case 0..<5:
            let count = random.below(random.pick([15, 60, 200]))
            disk.cutPower(after: count)
            faults.append("power cut at call \(count)")
        case 5, 6:
            // What tears a group: it is written, and not yet synced. An open file keeps the name that it was opened by.
            let count = random.below(random.pick([4, 20]))
            disk.cutPower(at: .sync, on: FileNames.spareLog, after: count)
            faults.append("power cut at sync \(count) of a log")
        case 7, 8:
            let kind = random.pick(
                [.sync, .sync, .write, .rename, .syncDirectory, .remove, .truncate, .allocate, .open]
                    as [DiskError.Operation]
            )
            let count = random.below(kind == .sync || kind == .write ? 24 : 4)
            disk.cutPower(at: kind, after: count)
            faults.append("power cut at \(kind.rawValue) \(count)")
        default:
            faults.append("crash between two calls")
        }
    }

    private func planFailure() {
        let kind = random.pick(
            [.sync, .sync, .sync, .syncDirectory, .write, .allocate, .rename, .remove, .open, .truncate]
                as [DiskError.Operation]
        )
        let count = random.below(random.pick([3, 12, 30]))
        var fault = SimulatedDisk.Fault.refuse(kind == .open ? .tooManyFiles : .inputOutput)
        if kind == .write { fault = .writeOnly(bytes: random.below(900), .inputOutput) }
        disk.fail(kind, after: count, with: fault)
        faults.append("\(kind.rawValue) \(count) fails")
    }

    private func fillDisk() {
        let free = random.pick([0, 0, 4, 12, 16, 24, 40, 100]) << 10
        disk.setCapacity(disk.usedBytes + Int64(free))
        faults.append("disk full but for \(free) bytes")
    }

    // MARK: - Start

    /// - Returns: nil when the crash came first, or something that was allowed to end the server.
    private func start() throws(Violation) -> SimulatedServer? {
        let started: SimulatedServer
        do throws(StorageError) {
            started = try SimulatedServer(on: disk, settings, planted: planted, seed: random.next(), now: now)
        } catch {
            if !disk.hasPower {
                counts[.powerCutsInRecovery] += 1
                return nil
            }
            if disk.faultCount > 0 {
                counts[.startsRefusedByFault] += 1
                return nil
            }
            // A new database needs some room.
            if case .snapshotFailed(let cause) = error, cause.reason == .noSpace, ledger.seen == .zero { return nil }
            throw Violation(.startRefused, "\(error)")
        }
        if disk.isFull { counts[.startsOnFullDisk] += 1 }
        try check(started)
        return started
    }

    /// Lets clients in.
    private func serve(_ started: SimulatedServer) throws(Violation) {
        server = started
        if started.recovery.tailCut != nil { counts[.tailsCut] += 1 }
        started.begin(at: now)
        try takeResults()
    }

    private func check(_ server: SimulatedServer) throws(Violation) {
        let report = server.recovery
        if let alarm = report.alarms.first { throw Violation(.wrongDigest, "\(alarm)") }
        guard damaged.isEmpty == false || report.allowsPurge else {
            throw Violation(.unusableFile, report.warnings.joined(separator: "; "))
        }
        let known = ledger.seen
        let written = ledger.lastSubmitted
        try compare(server) { (tree, digest) throws(Violation) in
            try ledger.recovered(at: report.lastZxid, tree, digest: digest)
        }
        if report.lastZxid < written { counts[.writesLost] += 1 }
        if report.lastZxid > known { counts[.writesKept] += 1 }
    }

    private func compare(
        _ server: SimulatedServer,
        _ body: (NaiveTree, UInt64?) throws(Violation) -> Void
    ) throws(Violation) {
        let tree: NaiveTree
        do throws(RestoreError) { tree = try server.picture() } catch { throw Violation(.wrongTree, "\(error)") }
        try body(tree, settings.core.digestEnabled ? server.core.digest : nil)
    }

    // MARK: - Work

    private func work() throws(Violation) {
        if clients.isEmpty {
            clients = ["10.0.0.1", "10.0.0.2", "192.0.2.7", "10.0.0.3"].map { SimulatedClient(address: $0) }
        }
        for _ in 0..<(plan == .random ? 40 + random.below(hasFullDisk ? 200 : 100) : 70) {
            guard let server, disk.hasPower else { return }
            do throws(StorageError) { try step(server) } catch { return try ended(by: error) }
            if !random.oneIn(3) { server.endTurn(at: now) }
            guard disk.hasPower else { return }
            try takeResults()
        }
    }

    private func step(_ server: SimulatedServer) throws(StorageError) {
        switch random.below(100) {
        case 0..<45: send(server)
        case 45..<50: connect(random.pick(clients), server)
        case 50: disconnect(random.pick(clients), server)
        case 51: closeSession(random.pick(clients), server)
        case 52..<57: advance(server, Int64(random.below(700)))
        case 57: advance(server, Int64(2000 + random.below(9000)))
        case 58: now.wallMilliseconds += Int64(random.below(10_000)) - 5000
        case 59..<71: if !isDiskSlow || random.oneIn(4) { try server.stepLog(at: now) }
        case 71..<83: server.takeLogReport(at: now)
        case 83..<86: server.beginSnapshot(at: now)
        case 86..<90: server.encodeSnapshot()
        case 90..<97: for _ in 0..<2 { server.stepSnapshots(at: now) }
        case 97: try server.noteSilence(at: now)
        case 98: if hasFullDisk, plan == .random { random.oneIn(2) ? fillDisk() : disk.setCapacity(nil) }
        default: server.endTurn(at: now)
        }
    }

    private func send(_ server: SimulatedServer) {
        let client = random.pick(clients)
        guard case .connected = client.phase, let connection = client.connection else {
            if case .disconnected = client.phase { connect(client, server) }
            return
        }
        for _ in 0..<(random.oneIn(3) ? 1 + random.below(4) : 1) {
            // The shell lets a write wait with its connection; here the client thinks of it later.
            if server.isLogBehind { return }
            let request = workload.next()
            let frame = client.request(request.operation, request.expected, request.body)
            server.receive(frame, from: connection, at: now)
        }
    }

    private func connect(_ client: SimulatedClient, _ server: SimulatedServer) {
        guard case .disconnected = client.phase else { return }
        if client.session != 0 { counts[.sessionsRenewed] += 1 }
        let id = server.accept(client.address, at: now)
        owners[id] = client
        let timeout = random.pick([2000, 3000, 10_000, 20_000] as [Int32])
        server.receive(client.connect(as: id, timeoutMilliseconds: timeout), from: id, at: now)
    }

    private func disconnect(_ client: SimulatedClient, _ server: SimulatedServer) {
        guard let id = client.connection else { return }
        server.disconnected(id, at: now)
        owners[id] = nil
        client.disconnect()
    }

    private func closeSession(_ client: SimulatedClient, _ server: SimulatedServer) {
        guard case .connected = client.phase, let connection = client.connection else { return }
        server.receive(client.request(.closeSession, .closeSession, []), from: connection, at: now)
    }

    private func advance(_ server: SimulatedServer, _ milliseconds: Int64) {
        now.wallMilliseconds += milliseconds
        now.monotonicMicroseconds += milliseconds * 1000
        server.advance(to: now)
    }

    /// What the server has written and said goes to whom it concerns.
    private func takeResults() throws(Violation) {
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

    private func take(_ delivery: SimulatedServer.Delivery, _ server: SimulatedServer) throws(Violation) {
        switch delivery {
        case .frame(let id, let frame):
            guard let client = owners[id] else { return }
            let wasConnecting = if case .connecting = client.phase { true } else { false }
            trace.mix(Int(id.slot))
            trace.mix(Int(id.generation))
            trace.mix(frame)
            try client.receive(frame, &ledger, refusesWrites: refusesWrites)
            guard wasConnecting, case .connected = client.phase else { return }
            // Answered at once, before what waits: hence first.
            if random.oneIn(2) {
                let frame = client.request(.auth, .done, CrashRun.credentials(random.pick(WorkloadGenerator.users)))
                server.receive(frame, from: id, at: now)
            }
            for path in WorkloadGenerator.lastingPaths + ["/a", "/b"] where ledger.tree.nodes[path] == nil {
                let request = WorkloadGenerator.create(path)
                server.receive(client.request(request.operation, request.expected, request.body), from: id, at: now)
            }
        case .close(let id):
            guard let client = owners.removeValue(forKey: id) else { return }
            if case .connecting(renews: true) = client.phase {
                throw Violation(
                    .zxidWentBack,
                    "a client that has seen \(client.lastZxidSeen) is turned away at \(server.core.lastProcessedZxid)"
                )
            }
            client.disconnect()
            server.disconnected(id, at: now)
        }
    }

    private static func credentials(_ user: String) -> [UInt8] {
        var writer = JuteWriter()
        writer.int32(0)
        writer.string("digest")
        writer.string(user)
        return writer.copy()
    }

    // MARK: - The end

    private func ended(by error: StorageError) throws(Violation) {
        narrate("  the server ends: \(error)")
        guard disk.hasPower else { return }
        guard disk.faultCount > 0 else { throw Violation(.serverEnded, "\(error)") }
        counts[.serversEndedByFault] += 1
    }

    private func crash() {
        countLife()
        let loss: SimulatedDisk.Loss =
            if case .call(_, let loss) = plan { loss } else {
                random.pick([.processOnly, .processOnly, .everythingUnsynced, .random, .random, .random, .random])
            }
        switch loss {
        case .processOnly: counts[.kills] += 1
        case .everythingUnsynced: counts[.everythingLost] += 1
        case .random: counts[.someLost] += 1
        }
        faults.append("\(loss)")
        narrate("  crash, \(loss); calls: \(disk.trace.suffix(6).map(\.description).joined(separator: ", "))")
        narrate("  files: \(describeFiles())")
        server = nil
        owners = [:]
        for client in clients { client.disconnect() }
        disk.restart(loss)
        mixFiles()
        narrate("  files left: \(describeFiles())")
        advanceBetweenLives()
    }

    private var fileDirectories: [String] {
        Set([settings.directories.snapshots, settings.directories.logs]).sorted()
    }

    private func describeFiles() -> String {
        fileDirectories.flatMap { directory in
            disk.files(in: directory).sorted { $0.key < $1.key }.map { name, bytes in
                "\(directory)/\(name) \(bytes.count)"
            }
        }.joined(separator: ", ")
    }

    private func mixFiles() {
        for directory in fileDirectories {
            for (name, bytes) in disk.files(in: directory).sorted(by: { $0.key < $1.key }) {
                trace.mix(name)
                trace.mix(bytes)
            }
        }
    }

    private func advanceBetweenLives() {
        now.wallMilliseconds += 1 + Int64(random.below(3000))
        now.monotonicMicroseconds = 1_000_000
    }

    private func countLife() {
        counts[.faults] += disk.faultCount
        guard let server else {
            if !disk.hasPower { counts[.powerCuts] += 1 }
            return
        }
        if !disk.hasPower {
            counts[.powerCuts] += 1
            if server.isSnapshotUnderWay { counts[.powerCutsInSnapshot] += 1 }
            if server.isPurgeUnderWay { counts[.powerCutsInPurge] += 1 }
            if server.isBetweenLogs { counts[.powerCutsInRoll] += 1 }
        }
        counts[.snapshots] += server.counts.snapshots
        counts[.snapshotsFailed] += server.counts.snapshotsFailed
        counts[.rolls] += server.counts.rolls
        counts[.largeGroups] += server.counts.largeFlushes
        counts[.rollsRefused] += server.counts.rollsRefused
        counts[.filesPurged] += server.counts.filesPurged
        if server.counts.wasSpaceLow { counts[.spaceLow] += 1 }
        if server.counts.wasSpaceExhausted { counts[.spaceExhausted] += 1 }
    }

    /// The last life: everything that was asked for is answered, and the tree is still the right one.
    private func finish() throws(Violation) {
        guard let server else { return }
        disk.setCapacity(nil)
        try settle(server)
        if server.isSpaceLow {
            advance(server, SimulatedServer.spacePatienceMilliseconds)
            do throws(StorageError) {
                try server.noteSilence(at: now)
            } catch {
                throw Violation(.serverEnded, "\(error)")
            }
            try settle(server)
        }
        try writeOnce(server)
        guard server.core.digestMismatchCount == 0 else { throw Violation(.wrongDigest, "of the prepared tree") }
        try ledger.see(server.core.lastProcessedZxid)
        try compare(server) { (tree, digest) throws(Violation) in try ledger.compare(tree, digest: digest) }
        do throws(StorageError) { try server.close() } catch { throw Violation(.serverEnded, "\(error)") }
        countLife()
    }

    /// Lets the server do all that there is to do.
    private func settle(_ server: SimulatedServer) throws(Violation) {
        for _ in 0..<200 {
            server.endTurn(at: now)
            try takeResults()
            if isQuiet(server) { return }
            if server.hasLogWork {
                do throws(StorageError) {
                    try server.stepLog(at: now)
                } catch {
                    throw Violation(.serverEnded, "\(error)")
                }
            }
            server.takeLogReport(at: now)
            server.encodeSnapshot()
            server.stepSnapshots(at: now)
        }
        throw Violation(
            .stuck,
            server.isSnapshotUnderWay ? "a snapshot" : "\(server.core.outstandingRequests) requests"
        )
    }

    private func isQuiet(_ server: SimulatedServer) -> Bool {
        !server.hasLogWork && !server.hasLogReports && !server.isSnapshotUnderWay && !server.isPurgeUnderWay
            && server.core.outstandingRequests == 0 && !clients.contains(where: \.hasOutstanding)
    }

    /// With a sound disk a new client gets what it asks for: a server that refuses everything keeps all other promises.
    private func writeOnce(_ server: SimulatedServer) throws(Violation) {
        let client = SimulatedClient(address: "10.0.0.4")
        clients.append(client)
        connect(client, server)
        try settle(server)
        guard case .connected = client.phase, let connection = client.connection else {
            throw Violation(.stuck, "a new client gets no session")
        }
        let before = client.doneWrites
        let request = WorkloadGenerator.certain
        server.receive(client.request(request.operation, request.expected, request.body), from: connection, at: now)
        try settle(server)
        guard client.doneWrites > before else { throw Violation(.stuck, "a new client's write is not done") }
    }

    // MARK: - Damage

    /// One bit of a file that is stable.
    private struct Flip {
        var path: String
        var offset: Int
        var bit: Int
        /// The file before.
        var bytes: [UInt8]

        var isLog: Bool { path.contains("/log.") }
        /// The records in it, if it is a log.
        var records: [LogMap.Record] { LogMap(bytes).records }
        /// In what tells how far the log is stable (docs/design/storage.md).
        var isInMark: Bool { isLog && (4..<16).contains(offset) }
    }

    /// Turns one bit, and starts a server: it has to say where the damage is, or to come out right without what is damaged.
    /// Afterwards the bit is turned back, as if the file came from a copy, so that the lives go on.
    ///
    /// - Returns: the server, if it started.
    private func startDamaged() throws(Violation) -> SimulatedServer? {
        guard let flip = pickFlip() else { return nil }
        counts[.bitsFlipped] += 1
        faults.append("bit \(flip.bit) of byte \(flip.offset) of \(flip.path) turned")
        disk.flipBit(flip.path, offset: flip.offset, bit: flip.bit)
        let isNew = damaged.insert(flip.path).inserted
        let started: SimulatedServer
        do throws(StorageError) {
            started = try SimulatedServer(on: disk, settings, planted: planted, seed: random.next(), now: now)
        } catch {
            narrate("  refused: \(error)")
            try check(error, flip)
            counts[.damageReported] += 1
            repair(flip, isNew)
            return nil
        }
        try check(started)
        counts[.damageSurvived] += 1
        if flip.isInMark {
            // The server has gone on without the mark. With an old one back, or with more damage in this file, nobody could
            // tell what was acknowledged in it: that would be two faults, and one at a time is the promise.
            unmarked.insert(flip.path)
            damaged.remove(flip.path)
        } else if !flip.isLog, random.oneIn(2) {
            counts[.damageLeft] += 1
        } else {
            repair(flip, isNew)
        }
        return started
    }

    private func repair(_ flip: Flip, _ isNew: Bool) {
        disk.flipBit(flip.path, offset: flip.offset, bit: flip.bit)
        if isNew { damaged.remove(flip.path) }
    }

    private func pickFlip() -> Flip? {
        var paths: [String] = []
        for directory in fileDirectories {
            for name in disk.files(in: directory).keys.sorted() where !name.hasPrefix(".") && !name.hasSuffix(".tmp") {
                paths.append(FileNames.join(directory, name))
            }
        }
        paths.removeAll { unmarked.contains($0) }
        guard !paths.isEmpty else { return nil }
        let path = random.pick(paths)
        guard let bytes = disk.contents(path), let last = bytes.lastIndex(where: { $0 != 0 }) else { return nil }
        let offset = random.oneIn(8) ? random.below(min(16, last + 1)) : random.below(last + 1)
        return Flip(path: path, offset: offset, bit: random.below(8), bytes: bytes)
    }

    /// What the server said about the damage has to lead an operator to it: the file, where in it, and how far the data
    /// goes in front of it.
    private func check(_ error: StorageError, _ flip: Flip) throws(Violation) {
        func isNamed(_ failures: [SnapshotFailure]) -> Bool {
            failures.contains { flip.path == $0.file || flip.path.hasSuffix("/" + $0.file) }
        }
        switch error {
        case .damagedLog(let damage) where damage.file == flip.path:
            try checkPlace(damage.offset, flip)
            let expected = flip.records.last { $0.range.upperBound <= damage.offset }?.zxid
            guard damage.lastGoodZxid == expected else {
                throw Violation(
                    .wrongDamageReport,
                    "last good zxid \(CrashRun.name(damage.lastGoodZxid)) in front of offset \(damage.offset) of "
                        + "\(flip.path), but it is \(CrashRun.name(expected))"
                )
            }
        case .recordAboveLimit(flip.path, let offset, _, _):
            try checkPlace(offset, flip)
        case .noUsableSnapshot(_, let failures) where isNamed(failures),
            .snapshotsLost(_, _, let failures) where isNamed(failures):
            return
        default:
            throw Violation(.wrongDamageReport, "\(error)")
        }
    }

    private static func name(_ zxid: Zxid?) -> String { zxid.map { "\($0)" } ?? "none" }

    /// Damage to a record is where the record begins. Other bytes tell how far the log goes, or stand behind its records:
    /// then it is told where a record begins or the last one ends.
    private func checkPlace(_ offset: Int64, _ flip: Flip) throws(Violation) {
        if let record = flip.records.first(where: { $0.range.contains(flip.offset) }) {
            guard offset == record.range.lowerBound else {
                throw Violation(
                    .wrongDamageReport,
                    "offset \(offset) of \(flip.path), but it is the record at \(record.range.lowerBound)"
                )
            }
            counts[.damageReportedInLog] += 1
        } else {
            let ends = flip.records.map { Int64($0.range.upperBound) }
            guard offset == 0 || offset == LogMap.headerSize || ends.contains(offset) else {
                throw Violation(.wrongDamageReport, "offset \(offset) of \(flip.path), where no record begins or ends")
            }
        }
    }
}
