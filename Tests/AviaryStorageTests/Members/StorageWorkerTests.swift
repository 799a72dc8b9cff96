import AviarySimulation
import AviaryStorage
import Testing
import ZooKeeperProtocol

/// One order after the other, and nothing told before it is on disk.
@Suite("The storage worker")
struct StorageWorkerTests {
    private static let history: History = {
        var history = History()
        history.createMany(30)
        return history
    }()

    private func records(_ range: ClosedRange<Int64>) -> [History.Record] { Self.history.records(range) }

    private func disk() throws -> SimulatedDisk {
        let disk = SimulatedDisk.empty()
        try disk.writeSnapshot(.fresh, zxid: .zero)
        return disk
    }

    @Test("Consecutive groups share one sync, and their memory comes back with the report")
    func groupCommit() throws {
        let disk = try disk()
        var worker = try disk.worker(after: .zero)
        var driver = TestDriver()
        try worker.perform([.append(records(1...1))], &driver)
        driver.reports = []
        disk.forgetTrace()
        let batches = [LogBatch(), LogBatch(), LogBatch()]
        for (index, batch) in batches.enumerated() {
            for record in records(Int64(2 + 2 * index)...Int64(3 + 2 * index)) {
                record.payload.withUnsafeBytes { batch.append($0, zxid: record.zxid) }
            }
            try worker.perform(.append(batch), &driver)
        }
        #expect(driver.reports.isEmpty)
        try worker.endGroup(&driver)
        #expect(driver.story == ["durable 7"])
        #expect(disk.trace.filter { $0.kind == .sync }.count == 1)
        guard case .durable(let report) = driver.reports[0] else { return }
        #expect(report.batches.map { ObjectIdentifier($0) } == batches.map { ObjectIdentifier($0) })
        #expect(report.records == 6)
        #expect(report.queueLength == 3)
    }

    @Test("H5, museum 7: an epoch is stored behind everything that came before it")
    func epochBehindAppends() throws {
        let disk = try disk()
        var worker = try disk.worker(after: .zero)
        var driver = TestDriver()
        try worker.perform(.append(records(1...3)), &driver)
        try worker.perform(.storeAccepted(Epoch(2)), &driver)
        try worker.perform(.append(records(4...5)), &driver)
        try worker.perform(.storeCurrent(Epoch(2)), &driver)
        #expect(driver.story == ["durable 3", "accepted 2", "durable 5", "current 2"])
        disk.restart(.everythingUnsynced)
        var tree = NaiveTree()
        #expect(try disk.startMember(into: &tree).report.lastZxid == Zxid(5))
    }

    @Test(
        "H3, H5, museum 6, 7: power fails at every call, and currentEpoch never says more than the log holds",
        arguments: losses
    )
    func everyCall(_ loss: SimulatedDisk.Loss) throws {
        var sync = History(after: Zxid(0x1_0000_0000))
        sync.createMany(4)
        sync.beginEpoch(2)
        sync.createMany(3)
        for powerCut in 0... {
            let disk = SimulatedDisk.empty(seed: UInt64(powerCut + 1))
            try disk.writeSnapshot(.fresh, zxid: Zxid(0x1_0000_0000))
            disk.setText("acceptedEpoch", "1")
            disk.setText("currentEpoch", "1")
            var driver = TestDriver()
            disk.cutPower(after: powerCut)
            do throws(StorageError) {
                var worker = try disk.worker(after: Zxid(0x1_0000_0000))
                try worker.perform(
                    [
                        .append(Array(sync.records[..<2])), .storeAccepted(Epoch(2)),
                        .append(Array(sync.records[2..<4])), .append(Array(sync.records[4...])),
                        .storeCurrent(Epoch(2)),
                    ],
                    &driver
                )
            } catch {
                #expect(error.diskReason == .powerLost, "\(error)")
            }
            let isDone = disk.hasPower
            disk.restart(loss)
            let stored = try disk.epochs.read()
            var tree = NaiveTree()
            let state = try disk.startMember(into: &tree)
            let last = state.report.lastZxid
            if stored.current == Epoch(2) { #expect(last == sync.lastZxid, "cut \(powerCut)") }
            if stored.accepted == Epoch(2) { #expect(last >= sync.records[1].zxid) }
            #expect(state.accepted >= state.current)
            #expect(state.current >= last.epoch)
            #expect(tree.difference(from: sync.tree(at: last)) == nil)
            if isDone { break }
        }
    }

    @Test("H12: after a write or a sync that failed the worker does nothing any more, and the log has no hole")
    func failures() throws {
        for kind in [.write, .sync] as [DiskError.Operation] {
            let disk = try disk()
            var worker = try disk.worker(after: .zero)
            var driver = TestDriver()
            try worker.perform([.append(records(1...3))], &driver)
            disk.setFault { $0.kind == kind ? .refuse(.inputOutput) : nil }
            #expect(throws: StorageError.self) { try worker.perform([.append(records(4...5))], &driver) }
            disk.setFault(nil)
            #expect(throws: StorageError.self) { try worker.perform([.append(records(6...7))], &driver) }
            #expect(throws: StorageError.self) { try worker.perform(.storeCurrent(Epoch(9)), &driver) }
            #expect(driver.story == ["durable 3"])
            disk.restart(.everythingUnsynced)
            var tree = NaiveTree()
            #expect(try disk.startMember(into: &tree).report.lastZxid == Zxid(3))
            #expect(disk.text("currentEpoch") == "0")
        }
    }

    @Test("An epoch that cannot be stored ends the process, and is not reported")
    func epochFailure() throws {
        let disk = try disk()
        var worker = try disk.worker(after: .zero)
        var driver = TestDriver()
        disk.fail(.rename, after: 0, with: .refuse(.inputOutput))
        let error = #expect(throws: StorageError.self) {
            try worker.perform([.storeAccepted(Epoch(1))], &driver)
        }
        guard case .epochNotStored = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(driver.reports.isEmpty)
    }

    @Test("On a disk that the log has filled there is still room for an epoch")
    func epochOnFullDisk() throws {
        let disk = try disk()
        try disk.epochs.store(accepted: Epoch(1))
        try disk.epochs.store(current: Epoch(1))
        var worker = try disk.worker(after: .zero)
        var driver = TestDriver()
        try worker.perform([.append(records(1...3))], &driver)
        disk.setCapacity(disk.usedBytes)
        try worker.perform([.storeAccepted(Epoch(2)), .append(records(4...5)), .storeCurrent(Epoch(2))], &driver)
        #expect(driver.story.suffix(3) == ["accepted 2", "durable 5", "current 2"])
        disk.restart(.everythingUnsynced)
        var tree = NaiveTree()
        let state = try disk.startMember(into: &tree)
        #expect(state.accepted == Epoch(2))
        #expect(state.current == Epoch(2))
        #expect(state.report.lastZxid == Zxid(5))
    }

    @Test("After a cut the log goes on in another file, and how much space there is is told again")
    func truncate() throws {
        let disk = try disk()
        var worker = try disk.worker(after: .zero)
        var driver = TestDriver()
        try worker.perform(.append(records(1...9)), &driver)
        try worker.perform(.truncate(after: Zxid(4)), &driver)
        #expect(driver.story == ["durable 9", "truncated 4 aside []", "durable 4"])
        guard case .durable(let report) = driver.reports[2] else { return }
        #expect(report.space == .ok)
        #expect(report.availableBytes > 1000)
        try worker.perform([.append(records(5...6))], &driver)
        #expect(disk.logNames() == ["log.1", "log.5"])
        #expect(driver.story.last == "durable 6")
        #expect(worker.durableZxid == Zxid(6))
    }

    @Test("A snapshot that was given up takes its later orders with it, and nothing else")
    func givenUp() throws {
        let disk = try disk()
        var worker = try disk.worker(after: .zero)
        var driver = TestDriver()
        disk.fail(.open, after: 0, with: .refuse(.noSpace))
        try worker.perform(
            [
                .beginSnapshot(Zxid(9)), .snapshotBytes([1, 2, 3]), .finishSnapshot(digest: nil),
                .storeAccepted(Epoch(1)), .append(records(1...2)),
            ],
            &driver
        )
        #expect(driver.story == ["snapshot failed", "bytes", "accepted 1", "durable 2"])
    }

    @Test("Space is looked for once in a while, and the last group's mark is sealed in silence")
    func silence() throws {
        let disk = try disk()
        var worker = try disk.worker(after: .zero)
        var driver = TestDriver()
        #expect(worker.deadline(driver) == nil)
        try worker.perform([.append(records(1...3))], &driver)
        #expect(worker.deadline(driver) == 1_000_001)
        driver.monotonicMicroseconds = 1_000_001
        disk.forgetTrace()
        try worker.wake(&driver)
        #expect(disk.trace.filter { $0.kind == .sync }.count == 1)
        #expect(worker.deadline(driver) == nil)
    }
}
