internal import AviaryCore
internal import AviaryEnsemble
package import AviaryStorage
internal import ZooKeeperProtocol

/// The storage thread: orders one after the other, each taking its time, reported when it is over.
extension MemberProcess {
    func submit(_ order: StorageOrder) {
        if case .append(let batch) = order {
            run.observer.appended(batch, by: self)
            unstoredBytes += batch.storedBytes
            if run.planted == .ackBeforeSync, let last = batch.records.last { promise(upTo: last.zxid) }
        }
        storageQueue.append(order)
        plantOrder(order)
        startStorage()
    }

    /// The planted mistake: what is not stable passes for it.
    func promise(upTo zxid: Zxid) {
        unreported.append(
            .durable(LogReport(durable: zxid, space: worker.space, availableBytes: worker.availableBytes))
        )
        run.plan(.storage(server: machine.host.rawValue, incarnation: incarnation, .report), after: 1)
    }

    private func startStorage() {
        guard !isStorageBusy, !storageQueue.isEmpty else { return }
        isStorageBusy = true
        planStorage(.perform)
    }

    private func planStorage(_ step: StorageStep) {
        run.plan(
            .storage(server: machine.host.rawValue, incarnation: incarnation, step),
            after: run.diskDelay(machine) / 2 + 1
        )
    }

    /// - Throws: what ends the process.
    func storage(_ step: StorageStep) throws(StorageError) {
        switch step {
        case .perform:
            try perform()
            planStorage(.finish)
        case .finish:
            isStorageBusy = false
            report()
            startStorage()
            planWake()
        case .report:
            report()
        case .wake:
            plannedWake = .max
            guard !isStorageBusy, storageQueue.isEmpty else { return }
            driver.monotonicMicroseconds = run.now(machine).monotonicMicroseconds
            try worker.wake(&driver)
            noteDone()
            report()
            planWake()
        }
    }

    func planWake() {
        guard !isStorageBusy else { return }
        driver.monotonicMicroseconds = run.now(machine).monotonicMicroseconds
        guard let deadline = worker.deadline(driver), deadline < plannedWake else { return }
        plannedWake = deadline
        run.plan(.storage(server: machine.host.rawValue, incarnation: incarnation, .wake), at: deadline)
    }

    private func perform() throws(StorageError) {
        driver.monotonicMicroseconds = run.now(machine).monotonicMicroseconds
        guard let first = storageQueue.first else { return }
        if case .append = first {
            while case .append(let batch)? = storageQueue.first {
                storageQueue.removeFirst()
                try worker.perform(.append(batch), &driver)
            }
            try worker.endGroup(&driver)
        } else {
            storageQueue.removeFirst()
            try carryOut(first)
        }
        noteDone()
    }

    private func carryOut(_ order: StorageOrder) throws(StorageError) {
        switch (order, run.planted) {
        case (.truncate(let zxid), .truncationDropped):
            driver.report(.truncated(to: zxid, setAside: [], hasSnapshot: true))
        default:
            if case .beginSnapshot(let zxid) = order { machine.incomingSnapshot = zxid }
            if case .truncate(let zxid) = order { machine.cutting = zxid }
            try worker.perform(order, &driver)
        }
    }

    /// What the disk holds now.
    private func noteDone() {
        for report in driver.reports {
            switch report {
            case .durable(let report):
                machine.mirror.store(upTo: report.durable)
            case .truncated(let zxid, _, _):
                machine.cutting = nil
                if run.planted != .truncationDropped { machine.mirror.cut(after: zxid) }
            case .snapshotInstalled(let zxid):
                machine.mirror.reset(to: zxid)
                run.counts[.snapshotsInstalled] += 1
            case .currentEpochStored, .acceptedEpochStored, .snapshotBytesWritten, .snapshotFailed, .warning:
                break
            }
        }
        unreported += driver.reports.filter { report in
            if case .currentEpochStored = report { run.planted != .newLeaderAckedEarly } else { true }
        }
        driver.reports = []
    }

    private func report() {
        let reports = unreported
        unreported = []
        guard !reports.isEmpty else { return }
        let now = run.now(machine)
        for report in reports {
            if case .durable(let report) = report {
                unstoredBytes -= report.batches.reduce(0) { $0 + $1.storedBytes }
                setLogRoom(report.space, report.availableBytes, at: now)
            }
            tell(report, at: now)
        }
        endTurn()
    }

    func tell(_ report: StorageReport, at now: Now) {
        member.storageReported(report, &core, at: now, into: &output)
    }

    func setLogRoom(_ space: LogSpace, _ availableBytes: Int64, at now: Now) {
        let room = LogRoom(
            space,
            availableBytes: availableBytes - Int64(unstoredBytes),
            lastBytes: EnsembleRun.lastLogBytes,
            sessions: core.sessionCount
        )
        if room != .plenty, self.room == .plenty { run.counts[.refusals] += 1 }
        self.room = room
        run.recorder.history.refusesWrites(room != .plenty, machine.id.rawValue, at: now.monotonicMicroseconds)
        member.setLogRoom(room, &core, at: now, into: &output)
    }
}
