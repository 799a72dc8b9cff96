import AviarySimulation
import AviaryStorage
import Testing
import ZooKeeperProtocol

@Suite("Purge")
struct PurgeTests {
    /// Six snapshots, 10 to 60, and logs that do not line up with them, as in life.
    private let disk = SimulatedDisk.empty()
    private let history: History

    init() throws {
        var history = History()
        history.createMany(70)
        self.history = history
        for zxid in [10, 20, 30, 40, 50, 60] as [Int64] {
            try disk.writeSnapshot(history.tree(at: Zxid(zxid)), zxid: Zxid(zxid))
        }
        for first in [1, 13, 23, 33, 43, 53, 63] as [Int64] {
            let last = min(first == 1 ? 12 : first + 9, 70)
            disk.installLog(FileNames.log(Zxid(first)), history.records(first...last))
        }
    }

    private func purge(retain: Int = 3) throws -> Purge<SimulatedDisk, NoGzip>.Report {
        var purge = Purge(
            disk: disk,
            directories: DataDirectories(data: "data"),
            gzip: NoGzip(),
            retain: retain
        )
        while try purge.step() == .more {}
        return purge.report
    }

    private var names: Set<String> { Set(disk.files(in: "data/version-2").keys) }

    @Test("The newest snapshots stay, and the logs from the one that holds what follows the oldest of them")
    func retains() throws {
        let report = try purge()
        #expect(
            report.removed == [
                "snapshot.a", "snapshot.14", "snapshot.1e", "log.1", "log.d", "log.17",
            ]
        )
        #expect(report.removedBytes > 0)
        #expect(names == ["snapshot.28", "snapshot.32", "snapshot.3c", "log.21", "log.2b", "log.35", "log.3f"])
        disk.restart(.everythingUnsynced)
        #expect(names.count == 7)
        // Each of those that stay still leads to the whole tree.
        for name in ["snapshot.3c", "snapshot.32", "snapshot.28"] {
            var tree = NaiveTree()
            #expect(try recover(disk, into: &tree).snapshot == name)
            #expect(tree.difference(from: history.tree) == nil)
            try disk.remove(name.inVersionFolder)
        }
    }

    @Test("Never fewer than three stay")
    func atLeastThree() throws {
        #expect(try purge(retain: 1).removed.count == 6)
    }

    @Test("With no more than are to stay, nothing is removed")
    func tooFew() throws {
        #expect(try purge(retain: 6).removed == [])
        #expect(try purge(retain: 7).removed == [])
    }

    @Test("A snapshot that cannot be loaded does not count: the last usable ones are never removed")
    func damagedSnapshots() throws {
        disk.flipBit("snapshot.3c".inVersionFolder, offset: 200)
        disk.setContents("snapshot.32".inVersionFolder, [])
        let report = try purge()
        #expect(report.damaged.map { $0.file } == ["snapshot.3c".inVersionFolder, "snapshot.32".inVersionFolder])
        #expect(report.removed == ["snapshot.a", "log.1"])
        #expect(
            names.isSuperset(of: ["snapshot.3c", "snapshot.32", "snapshot.28", "snapshot.1e", "snapshot.14", "log.d"])
        )
    }

    @Test("The log that is being written stays, however old its name is")
    func currentLog() throws {
        for name in disk.logNames() { try disk.remove(name.inVersionFolder) }
        disk.installLog("log.1", history.records)
        #expect(try purge().removed == ["snapshot.a", "snapshot.14", "snapshot.1e"])
        #expect(disk.logNames() == ["log.1"])
    }

    @Test("What is neither a snapshot nor a log stays")
    func otherFiles() throws {
        for name in ["snapshot.1.tmp", "currentEpoch", "notes", "log.1.bak", FileNames.lock] {
            disk.setContents(name.inVersionFolder, [1])
        }
        _ = try purge()
        #expect(names.isSuperset(of: ["snapshot.1.tmp", "currentEpoch", "notes", "log.1.bak", FileNames.lock]))
    }

    @Test("A run that was interrupted, begun again, sees what came meanwhile")
    func interrupted() throws {
        let newest = try #require(disk.contents("snapshot.3c".inVersionFolder))
        try disk.remove("snapshot.3c".inVersionFolder)
        var purge = Purge(disk: disk, directories: DataDirectories(data: "data"), gzip: NoGzip(), retain: 3)
        _ = try purge.step()
        disk.setContents("snapshot.3c".inVersionFolder, newest)
        purge.restart()
        while try purge.step() == .more {}
        #expect(purge.report.removed.count == 6)
        #expect(names.filter { $0.hasPrefix("snapshot") }.count == 3)
    }

    @Test("A file that cannot be removed ends the run; the next begins anew")
    func failure() throws {
        var purge = Purge(disk: disk, directories: DataDirectories(data: "data"), gzip: NoGzip(), retain: 3)
        disk.setFault { $0.kind == .remove ? .refuse(.permissionDenied) : nil }
        #expect(throws: StorageError.self) { while try purge.step() == .more {} }
        disk.setFault(nil)
        while try purge.step() == .more {}
        #expect(purge.report.removed.count == 6)
    }

    @Test("Whenever the power fails in between, the rest loads")
    func powerFailure() throws {
        let files = disk.files(in: "data/version-2")
        for calls in 0...9 {
            for seed in 1...3 as ClosedRange<UInt64> {
                let disk = SimulatedDisk.empty(seed: seed)
                for (name, bytes) in files { disk.setContents(name.inVersionFolder, bytes) }
                var purge = Purge(
                    disk: disk,
                    directories: DataDirectories(data: "data"),
                    gzip: NoGzip(),
                    retain: 3
                )
                disk.cutPower(after: calls)
                do { while try purge.step() == .more {} } catch {}
                disk.restart(.random)
                var tree = NaiveTree()
                #expect(try recover(disk, into: &tree).snapshot == "snapshot.3c")
                #expect(tree.difference(from: history.tree) == nil)
                // And no snapshot outlives the logs behind it.
                for name in ["snapshot.3c", "snapshot.32", "snapshot.28"] { try disk.remove(name.inVersionFolder) }
                if disk.files(in: "data/version-2").keys.contains(where: { FileNames.snapshotZxid($0) != nil }) {
                    _ = try recover(disk, into: &tree)
                    #expect(tree.difference(from: history.tree) == nil)
                }
            }
        }
    }
}
