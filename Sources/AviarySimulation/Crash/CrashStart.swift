internal import AviaryCore
internal import AviaryStorage
internal import ZooKeeperProtocol

/// How a life begins: what recovery has found is held against what was written.
extension CrashRun {
    /// - Returns: nil when the crash came first, or something that was allowed to end the server.
    func start() throws(Violation) -> SimulatedServer? {
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
    func serve(_ started: SimulatedServer) throws(Violation) {
        server = started
        if started.recovery.tailCut != nil { counts[.tailsCut] += 1 }
        started.begin(at: now)
        try takeResults()
    }

    func check(_ server: SimulatedServer) throws(Violation) {
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

    func compare(
        _ server: SimulatedServer,
        _ body: (NaiveTree, UInt64?) throws(Violation) -> Void
    ) throws(Violation) {
        let tree: NaiveTree
        do throws(RestoreError) { tree = try server.picture() } catch { throw Violation(.wrongTree, "\(error)") }
        try body(tree, settings.core.digestEnabled ? server.core.digest : nil)
    }
}
