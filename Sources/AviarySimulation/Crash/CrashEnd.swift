internal import AviaryCore
internal import AviaryStorage
internal import ZooKeeperProtocol

/// How a life ends: with a crash, or, the last one, with everything done.
extension CrashRun {
    func ended(by error: StorageError) throws(Violation) {
        narrate("  the server ends: \(error)")
        guard disk.hasPower else { return }
        guard disk.faultCount > 0 else { throw Violation(.serverEnded, "\(error)") }
        counts[.serversEndedByFault] += 1
    }

    func crash() {
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

    var fileDirectories: [String] {
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
    func finish() throws(Violation) {
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
}
