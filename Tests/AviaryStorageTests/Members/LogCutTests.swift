import AviarySimulation
import AviaryStorage
import Synchronization
import Testing
import ZooKeeperProtocol

/// TRUNC: docs/protocol/disk-format.md section 3.6, hazards H9, H11 and H13 of docs/protocol/quorum-protocol.md.
@Suite("Cutting the log")
struct LogCutTests {
    /// Epoch 1, with transactions 1 to 9; then two of epoch 2.
    private static let history: History = {
        var history = History(after: Zxid(0x1_0000_0000))
        for number in 0..<9 { history.createMany(1, data: String(repeating: "d", count: 100 * number)) }
        history.beginEpoch(2)
        history.createMany(2)
        return history
    }()

    private static func zxid(_ number: Int) -> Zxid { history.records[number - 1].zxid }

    /// Transactions 1 to 11 in logs of three, written by our worker, and a snapshot of what was before.
    private static func disk(seed: UInt64 = 1) throws -> SimulatedDisk {
        let disk = SimulatedDisk.empty(seed: seed)
        try disk.writeSnapshot(.fresh, zxid: Zxid(0x1_0000_0000))
        var worker = try disk.worker(after: Zxid(0x1_0000_0000))
        var driver = TestDriver()
        for start in stride(from: 0, to: history.records.count, by: 3) {
            let records = Array(history.records[start..<min(start + 3, history.records.count)])
            try worker.perform([.append(records, rolls: true)], &driver)
        }
        try worker.close(&driver)
        disk.setText("acceptedEpoch", "2")
        disk.setText("currentEpoch", "2")
        return disk
    }

    private func cut(
        _ disk: SimulatedDisk,
        after zxid: Zxid
    ) throws(StorageError) -> LogCut<SimulatedDisk, NoGzip>.Result {
        try LogCut(disk: disk, directories: SimulatedDisk.directories, gzip: NoGzip(), limits: ReadingLimits())
            .cut(after: zxid)
    }

    @Test("Whatever is cut off is gone, and what is left loads and goes on", arguments: 1...11)
    func everyPlace(number: Int) throws {
        let disk = try Self.disk()
        let zxid = Self.zxid(number)
        let result = try cut(disk, after: zxid)
        #expect(result.lastZxid == zxid)
        #expect(result.hasSnapshot)
        #expect(result.removedLogs.count == (11 - 1) / 3 - (number - 1) / 3)
        disk.restart(.everythingUnsynced)
        var tree = NaiveTree()
        let state = try disk.startMember(into: &tree)
        #expect(state.report.lastZxid == zxid)
        #expect(tree.difference(from: Self.history.tree(at: zxid)) == nil)
        // The same zxids are used again, for something else.
        var other = History(after: zxid)
        other.createSession(0x77)
        var worker = try disk.worker(after: zxid)
        var driver = TestDriver()
        try worker.perform([.append(other.records)], &driver)
        disk.restart(.everythingUnsynced)
        #expect(try disk.startMember(into: &tree).report.lastZxid == zxid.next)
        #expect(tree.sessions[0x77] != nil)
    }

    @Test("A cut leaves no padding: the file ends with the record, as Apache's servers leave it")
    func noPadding() throws {
        let disk = SimulatedDisk.empty()
        disk.installLog("log.100000001", Self.history.records)
        _ = try cut(disk, after: Self.zxid(4))
        let expected = FileBytes.log(Array(Self.history.records[..<4]), padding: 0)
        #expect(disk.contents("log.100000001".inVersionFolder) == expected)
    }

    @Test("Cutting where the log does not have the zxid ends below it, and says so")
    func missing() throws {
        let disk = SimulatedDisk.empty()
        try disk.writeSnapshot(.fresh, zxid: Zxid(0x1_0000_0000))
        disk.installLog("log.100000001", Array(Self.history.records[..<4]))
        #expect(try cut(disk, after: Zxid(0x1_0000_0007)).lastZxid == Self.zxid(4))
        #expect(try cut(disk, after: Zxid(0x2_0000_0000)).lastZxid == Zxid(0x2_0000_0000), "no transaction has that")
    }

    @Test("Nothing but a snapshot at the very place is left when all logs are behind it")
    func onlySnapshot() throws {
        let disk = try Self.disk()
        let result = try cut(disk, after: Zxid(0x1_0000_0000))
        #expect(result.lastZxid == Zxid(0x1_0000_0000))
        #expect(disk.logNames() == [])
        var tree = NaiveTree()
        #expect(try disk.startMember(into: &tree).report.lastZxid == Zxid(0x1_0000_0000))
    }

    @Test("H9: snapshots beyond the cut, by name or by a node in them, are not used again")
    func dirtySnapshots() throws {
        let disk = try Self.disk()
        let (kept, cutAt) = (Self.zxid(3), Self.zxid(5))
        try disk.writeSnapshot(Self.history.tree(at: kept), zxid: kept)
        // Named below the cut, and holding what is cut off: it was written while that was being applied.
        try disk.writeSnapshot(Self.history.tree(at: Self.zxid(6)), zxid: Self.zxid(4))
        try disk.writeSnapshot(Self.history.tree(at: Self.zxid(7)), zxid: Self.zxid(7))
        let result = try cut(disk, after: cutAt)
        #expect(result.setAside.sorted() == ["snapshot.100000004", "snapshot.100000007"])
        #expect(disk.files(in: "set-aside.100000005".inVersionFolder).keys.sorted() == result.setAside.sorted())
        disk.restart(.everythingUnsynced)
        var tree = NaiveTree()
        let state = try disk.startMember(into: &tree)
        #expect(state.report.snapshot == "snapshot.100000003")
        #expect(state.report.alarms.isEmpty)
        #expect(tree.difference(from: Self.history.tree(at: cutAt)) == nil)
    }

    @Test("H9, golden: the phantom of m-dirty-snapshot-after-trunc does not come back, neither at a cut nor at a start")
    func goldenDirtySnapshot() throws {
        let name = "m-dirty-snapshot-after-trunc"
        let disk = SimulatedDisk()
        try Golden.install(name, on: disk)
        var tree = NaiveTree()
        let state = try disk.startMember(into: &tree)
        #expect(state.accepted == Epoch(2))
        #expect(state.current == Epoch(2))
        #expect(state.report.snapshot == "snapshot.0")
        #expect(state.report.alarms.isEmpty)
        #expect(tree.nodes["/lost"] == nil)
        #expect(state.report.warnings.contains { $0.contains("snapshot.100000002") })

        let again = SimulatedDisk()
        try Golden.install(name, on: again)
        let result = try cut(again, after: Zxid(0x1_0000_0002))
        #expect(result.setAside.sorted() == ["snapshot.100000002", "snapshot.100000003"])
        #expect(result.lastZxid == Zxid(0x1_0000_0002))
        #expect(try again.startMember(into: &tree).report.lastZxid == Zxid(0x1_0000_0002))
        #expect(tree.nodes["/lost"] == nil)
    }

    @Test("A cut without a clean snapshot says that there is none")
    func noSnapshotLeft() throws {
        let disk = SimulatedDisk.empty()
        try disk.writeSnapshot(Self.history.tree(at: Self.zxid(9)), zxid: Self.zxid(3))
        disk.installLog("log.100000001", Array(Self.history.records[..<9]))
        #expect(try !cut(disk, after: Self.zxid(5)).hasSnapshot)
    }

    @Test(
        "H11, museum 49: power fails at every call of a cut across files, and what is left is always a beginning",
        arguments: losses
    )
    func everyCall(_ loss: SimulatedDisk.Loss) throws {
        for number in [1, 4, 5, 8, 10] {
            for powerCut in 0... {
                let disk = try Self.disk(seed: UInt64(powerCut + 1))
                let dirty = Self.zxid(9)
                try disk.writeSnapshot(Self.history.tree(at: dirty), zxid: dirty)
                disk.cutPower(after: powerCut)
                var isDone = false
                do throws(StorageError) {
                    _ = try cut(disk, after: Self.zxid(number))
                    isDone = true
                } catch {
                    #expect(error.diskReason == .powerLost, "\(error)")
                }
                disk.restart(loss)
                var tree = NaiveTree()
                let state = try disk.startMember(into: &tree)
                let last = state.report.lastZxid
                #expect(last >= Self.zxid(number))
                #expect(state.accepted >= state.current)
                #expect(state.current >= last.epoch)
                #expect(tree.difference(from: Self.history.tree(at: last)) == nil, "cut \(powerCut)")
                if isDone { #expect(last == Self.zxid(number), "cut \(powerCut)") }
                // The leader asks again, and this time nothing is in the way.
                #expect(try cut(disk, after: Self.zxid(number)).lastZxid == Self.zxid(number))
                disk.restart(.everythingUnsynced)
                #expect(try disk.startMember(into: &tree).report.lastZxid == Self.zxid(number))
                if isDone { break }
            }
        }
    }

    @Test("H13, museum 18: whatever the disk refuses during a cut ends the process, and the next one is in order")
    func refusals() throws {
        for kind in [.rename, .remove, .syncDirectory, .open, .write, .truncate, .sync, .read] as [DiskError.Operation]
        {
            for count in 0... {
                let disk = try Self.disk()
                try disk.writeSnapshot(Self.history.tree(at: Self.zxid(9)), zxid: Self.zxid(9))
                disk.fail(kind, after: count, with: .refuse(kind == .write ? .noSpace : .inputOutput))
                do throws(StorageError) {
                    _ = try cut(disk, after: Self.zxid(4))
                } catch {
                    #expect(disk.faultCount == 1)
                }
                let hasFailed = disk.faultCount > 0
                disk.restart(.random)
                var tree = NaiveTree()
                let last = try disk.startMember(into: &tree).report.lastZxid
                #expect(tree.difference(from: Self.history.tree(at: last)) == nil)
                if !hasFailed {
                    #expect(last == Self.zxid(4))
                    break
                }
            }
        }
    }

    @Test("H9: a phantom does not outlive the record of it, even where no other snapshot is left")
    func phantomWithoutRecord() throws {
        for powerCut in 0... {
            let disk = SimulatedDisk.empty(seed: UInt64(powerCut + 1))
            disk.installLog("log.100000001", Array(Self.history.records[..<8]))
            // Named in front of the cut, and holding what is behind it.
            try disk.writeSnapshot(Self.history.tree(at: Self.zxid(6)), zxid: Self.zxid(3))
            disk.cutPower(after: powerCut)
            _ = try? cut(disk, after: Self.zxid(4))
            let isDone = disk.hasPower
            disk.restart(.everythingUnsynced)
            var tree = NaiveTree()
            if case .loaded(let state) = try disk.memberRecovery.run(into: &tree), state.report.lastZxid < Self.zxid(6)
            {
                #expect(tree.nodes["/n100000006"] == nil, "cut \(powerCut)")
            }
            if isDone { break }
        }
    }

    @Test("H11: a cut whose last sync failed is made once more by the start, and outlives the power")
    func failedSync() throws {
        let disk = try Self.disk()
        try disk.epochs.store(accepted: Epoch(3))
        let place = Self.zxid(5)
        let syncs = Counter()
        disk.setFault { operation in
            guard operation.kind == .sync, operation.path.contains("/log.") else { return nil }
            return syncs.next() == 2 ? .refuse(.inputOutput) : nil
        }
        #expect(throws: StorageError.self) { try cut(disk, after: place) }
        // The process is started again, and the system's memory says that the log is cut.
        disk.restart(.processOnly)
        var tree = NaiveTree()
        #expect(try disk.startMember(into: &tree).report.lastZxid == place)
        var next = History(after: place)
        next.beginEpoch(3)
        next.createSession(0x55)
        var worker = try disk.worker(after: place)
        var driver = TestDriver()
        try worker.perform([.append(next.records), .storeCurrent(Epoch(3))], &driver)
        disk.restart(.everythingUnsynced)
        #expect(try disk.startMember(into: &tree).report.lastZxid == next.lastZxid)
        #expect(tree.nodes["/n100000006"] == nil)
        #expect(tree.sessions[0x55] != nil)
    }

    @Test("A record that is damaged in front of the place is no reason to cut there")
    func damaged() throws {
        let disk = try Self.disk()
        disk.flipBit("log.100000004".inVersionFolder, offset: 200)
        let error = #expect(throws: StorageError.self) { try cut(disk, after: Self.zxid(6)) }
        guard case .damagedLog = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test("Museum 13: what is appended behind a cut is contiguous, whenever the power fails")
    func appendAfterCut() throws {
        var other = History(after: Self.zxid(4))
        other.beginEpoch(3)
        other.createSession(0x33)
        other.createSession(0x34)
        for loss in losses {
            for powerCut in 0... {
                let disk = try Self.disk(seed: UInt64(powerCut + 1))
                try disk.epochs.store(accepted: Epoch(3))
                var driver = TestDriver()
                disk.cutPower(after: powerCut)
                do throws(StorageError) {
                    var worker = try disk.worker(after: Self.zxid(11))
                    try worker.perform([.truncate(after: Self.zxid(4)), .append(other.records)], &driver)
                    try worker.perform([.storeCurrent(Epoch(3))], &driver)
                } catch {
                    #expect(error.diskReason == .powerLost, "\(error)")
                }
                let isDone = disk.hasPower
                disk.restart(loss)
                var tree = NaiveTree()
                let state = try disk.startMember(into: &tree)
                let last = state.report.lastZxid
                if last > Zxid(0x3_0000_0000) {
                    #expect(tree.sessions[0x33] != nil)
                    #expect(tree.nodes["/n100000005"] == nil)
                } else {
                    #expect(tree.difference(from: Self.history.tree(at: last)) == nil)
                }
                #expect(state.current >= last.epoch)
                if driver.story.contains("current 3") { #expect(last == Zxid(0x3_0000_0002)) }
                if isDone { break }
            }
        }
    }
}

/// Counts calls from any thread.
private final class Counter: Sendable {
    private let count = Mutex(0)

    func next() -> Int {
        count.withLock { count in
            count += 1
            return count
        }
    }
}
