import AviarySimulation
import AviaryStorage
import Testing
import ZooKeeperProtocol

/// A leader sends the snapshot that it has, and what comes behind it afterwards. That snapshot may be behind what the
/// learner has acknowledged already.
@Suite("A snapshot that is behind the log")
struct SnapshotBehindLogTests {
    private static let history: History = {
        var history = History(after: Zxid(0x1_0000_0000))
        history.createMany(8)
        return history
    }()

    private static func zxid(_ number: Int) -> Zxid { history.records[number - 1].zxid }

    private func disk() throws -> SimulatedDisk {
        let disk = SimulatedDisk.empty(seed: 1)
        try disk.writeSnapshot(.fresh, zxid: Zxid(0x1_0000_0000))
        disk.setText("acceptedEpoch", "1")
        disk.setText("currentEpoch", "1")
        return disk
    }

    /// A member with transactions 1 to 8.
    private func worker(on disk: SimulatedDisk, _ driver: inout TestDriver) throws -> TestWorker {
        var worker = try disk.worker(after: Zxid(0x1_0000_0000))
        try worker.perform([.append(Self.history.records)], &driver)
        return worker
    }

    private func snapshot(_ number: Int) -> [StorageOrder] {
        let zxid = Self.zxid(number)
        let tree = Self.history.tree(at: zxid)
        return [.beginSnapshot(zxid), .snapshotBytes(tree.stream()), .finishSnapshot(digest: tree.digest)]
    }

    @Test(
        "Until all is here again the member says that it has lost its memory, wherever it is interrupted",
        arguments: losses
    )
    func interrupted(loss: SimulatedDisk.Loss) throws {
        var call = 0
        while true {
            var driver = TestDriver()
            let disk = try disk()
            var worker = try worker(on: disk, &driver)
            disk.cutPower(after: call)
            try? worker.perform(snapshot(3), &driver)
            let isDone = disk.hasPower
            disk.restart(loss)
            var tree = NaiveTree()
            let state = try disk.startMember(into: &tree)
            if state.report.lastZxid < Self.zxid(8) {
                #expect(!state.remembersAll, "power cut at call \(call): it votes with \(state.report.lastZxid)")
                // Whoever is to lead has to have at least what was here.
                #expect(state.promised?.zxid == Self.zxid(8), "power cut at call \(call)")
            }
            guard !isDone else { break }
            call += 1
        }
        #expect(call > 5)
    }

    @Test("With the transactions behind the snapshot and the epoch it has its memory back")
    func caughtUp() throws {
        var driver = TestDriver()
        let disk = try disk()
        var worker = try worker(on: disk, &driver)
        try worker.perform(snapshot(3), &driver)
        try worker.perform([.append(Array(Self.history.records[3...])), .storeCurrent(Epoch(1))], &driver)
        disk.restart(.everythingUnsynced)
        var tree = NaiveTree()
        let state = try disk.startMember(into: &tree)
        #expect(state.remembersAll && state.report.lastZxid == Self.zxid(8))
    }

    @Test("A snapshot that is ahead takes nothing back")
    func ahead() throws {
        var driver = TestDriver()
        let disk = try disk()
        var worker = try worker(on: disk, &driver)
        try worker.perform(snapshot(8), &driver)
        disk.restart(.everythingUnsynced)
        var tree = NaiveTree()
        #expect(try disk.startMember(into: &tree).remembersAll)
    }
}
