import AviarySimulation
import AviaryStorage
import Testing
import ZooKeeperProtocol

/// SNAP in place of everything else: hazards H4 and H10 of docs/protocol/quorum-protocol.md.
@Suite("Installing a leader's snapshot")
struct SnapshotInstallTests {
    /// What this server has: epoch 1, and two transactions of an epoch that nobody else knows.
    private static let own: History = {
        var history = History(after: Zxid(0x1_0000_0000))
        history.createMany(6)
        history.beginEpoch(2)
        history.createMany(2, data: "lost")
        return history
    }()

    /// What the leader has: the same beginning, then epoch 3.
    private static let leader: History = {
        var history = History(after: Zxid(0x1_0000_0000))
        history.createMany(6)
        history.beginEpoch(3)
        history.createSession(0x99)
        history.create("/leader", String(repeating: "L", count: 5000))
        return history
    }()

    private static let later: History = {
        var history = leader
        history.create("/later")
        history.create("/latest")
        return history
    }()

    /// Two snapshots and three logs.
    private static func disk(seed: UInt64 = 1) throws -> SimulatedDisk {
        let disk = SimulatedDisk.empty(seed: seed)
        try disk.writeSnapshot(.fresh, zxid: Zxid(0x1_0000_0000))
        let middle = Zxid(0x1_0000_0003)
        try disk.writeSnapshot(own.tree(at: middle), zxid: middle)
        var worker = try disk.worker(after: Zxid(0x1_0000_0000))
        var driver = TestDriver()
        try worker.perform([.append(Array(own.records[..<3]), rolls: true)], &driver)
        try worker.perform([.append(Array(own.records[3..<6]), rolls: true)], &driver)
        try worker.perform([.append(Array(own.records[6...]))], &driver)
        try worker.close(&driver)
        try disk.epochs.store(accepted: Epoch(3))
        try disk.epochs.store(current: Epoch(2))
        return disk
    }

    /// The orders for a stream in pieces.
    private static func orders(_ bytes: [UInt8], zxid: Zxid, piece: Int, digest: UInt64?) -> [StorageOrder] {
        var orders: [StorageOrder] = [.beginSnapshot(zxid)]
        for start in stride(from: 0, to: bytes.count, by: piece) {
            orders.append(.snapshotBytes(bytes[start..<min(start + piece, bytes.count)]))
        }
        return orders + [.finishSnapshot(digest: digest)]
    }

    private static func orders(piece: Int = 700) -> [StorageOrder] {
        orders(leader.tree.stream(), zxid: leader.lastZxid, piece: piece, digest: leader.tree.digest)
    }

    /// Everything of a synchronization by SNAP, to the ACK of NEWLEADER.
    private static var synchronization: [StorageOrder] {
        orders() + [.append(Array(later.records[leader.records.count...])), .storeCurrent(Epoch(3))]
    }

    @Test("The file is one that recovery reads, whatever the pieces were", arguments: [1, 13, 14, 15, 700, 1 << 20])
    func pieces(_ piece: Int) throws {
        for compression in [SnapshotCompression.none, .snappy] {
            let disk = try Self.disk()
            var worker = try disk.worker(after: Self.own.lastZxid, compression: compression)
            var driver = TestDriver()
            try worker.perform(Self.orders(piece: piece), &driver)
            #expect(driver.story.suffix(2) == ["installed 300000002", "durable 300000002"])
            disk.restart(.everythingUnsynced)
            #expect(disk.names() == ["acceptedEpoch", "currentEpoch", "snapshot.300000002" + compression.suffix])
            var tree = NaiveTree()
            let state = try disk.startMember(into: &tree)
            #expect(state.report.lastZxid == Self.leader.lastZxid)
            #expect(state.report.alarms.isEmpty)
            #expect(tree.difference(from: Self.leader.tree) == nil)
        }
    }

    @Test("Streams of Apache's servers become files that recovery reads", arguments: try! GoldenStream.all())
    func golden(_ stream: GoldenStream) throws {
        let disk = SimulatedDisk.empty()
        var worker = try disk.worker(after: Zxid(-1), hasLostMemory: true)
        var driver = TestDriver()
        try worker.perform(Self.orders(stream.bytes, zxid: stream.zxid, piece: 100, digest: nil), &driver)
        disk.restart(.everythingUnsynced)
        var tree = NaiveTree()
        let state = try disk.startMember(into: &tree)
        #expect(state.report.lastZxid == stream.zxid)
        #expect(tree.nodes.keys.sorted() == stream.nodes.keys.sorted())
    }

    @Test("H10: older snapshots and logs are set aside, and nothing brings them back")
    func setAside() throws {
        let disk = try Self.disk()
        var worker = try disk.worker(after: Self.own.lastZxid)
        var driver = TestDriver()
        try worker.perform(Self.synchronization, &driver)
        try worker.close(&driver)
        let aside = disk.files(in: "set-aside.300000002".inVersionFolder).keys.sorted()
        #expect(
            aside == [
                "log.100000001", "log.100000004", "log.200000001", "snapshot.100000000", "snapshot.100000003",
            ]
        )
        // The snapshot is lost. What is left must not be taken for the whole.
        disk.flipBit("snapshot.300000002".inVersionFolder, offset: 100)
        var tree = NaiveTree()
        guard case .damaged(let error) = try disk.memberRecovery.run(into: &tree) else {
            Issue.record("a member serves \(tree.nodes.keys.sorted())")
            return
        }
        _ = try disk.memberRecovery.quarantine(because: error)
        #expect(try !disk.startMember(into: &tree).remembersAll)
    }

    @Test(
        "H4, H10, museum 3, 4, 50: power fails at every call of a synchronization, and the server has one history or the other",
        arguments: losses
    )
    func everyCall(_ loss: SimulatedDisk.Loss) throws {
        for powerCut in 0... {
            let disk = try Self.disk(seed: UInt64(powerCut + 1))
            var driver = TestDriver()
            disk.cutPower(after: powerCut)
            do throws(StorageError) {
                var worker = try disk.worker(after: Self.own.lastZxid)
                try worker.perform(Self.synchronization, &driver)
            } catch {
                #expect(error.diskReason == .powerLost, "\(error)")
            }
            let isDone = disk.hasPower
            disk.restart(loss)
            // A second crash while the start goes on with it.
            if powerCut % 3 == 0 {
                disk.cutPower(after: powerCut % 7)
                var tree = NaiveTree()
                _ = try? disk.memberRecovery.run(into: &tree)
                disk.restart(loss)
            }
            var tree = NaiveTree()
            let state = try disk.startMember(into: &tree)
            let last = state.report.lastZxid
            #expect(state.accepted >= state.current)
            #expect(state.current >= last.epoch)
            if last.epoch == Epoch(3) {
                #expect(tree.difference(from: Self.later.tree(at: last)) == nil, "cut \(powerCut), \(last)")
                #expect(last >= Self.leader.lastZxid)
            } else {
                #expect(last == Self.own.lastZxid, "cut \(powerCut)")
                #expect(tree.difference(from: Self.own.tree) == nil)
                #expect(!driver.story.contains { $0.hasPrefix("installed") })
            }
            if driver.story.contains("current 3") { #expect(last == Self.later.lastZxid) }
            // What the start has put in order lasts.
            disk.restart(.everythingUnsynced)
            #expect(try disk.startMember(into: &tree).report.lastZxid == last)
            if last.epoch == Epoch(3) {
                #expect(!disk.names().contains { $0.hasPrefix("log.1") || $0.hasPrefix("log.2") }, "cut \(powerCut)")
                #expect(!disk.names().contains { $0.hasPrefix("snapshot.1") }, "cut \(powerCut)")
            }
            if isDone { break }
        }
    }

    @Test(
        "Whatever the disk refuses, a snapshot is installed, given up, or the process ends; the next start has one history"
    )
    func refusals() throws {
        var counts = [0, 0]
        for kind in [.open, .write, .sync, .rename, .syncDirectory, .makeDirectory, .list] as [DiskError.Operation] {
            for count in 0... {
                let disk = try Self.disk()
                var worker = try disk.worker(after: Self.own.lastZxid)
                var driver = TestDriver()
                disk.fail(kind, after: count, with: .refuse(kind == .write ? .noSpace : .inputOutput))
                var failure: StorageError?
                do throws(StorageError) { try worker.perform(Self.orders(), &driver) } catch { failure = error }
                let hasFailed = disk.faultCount > 0
                let isGivenUp = driver.story.contains("snapshot failed")
                if isGivenUp { counts[0] += 1 }
                if failure != nil { counts[1] += 1 }
                if isGivenUp, failure == nil {
                    // The log goes on where it was.
                    var next = Self.own
                    next.createMany(1)
                    try worker.perform([.append(Array(next.records.suffix(1)))], &driver)
                    #expect(driver.story.last == "durable 200000003")
                }
                disk.restart(.random)
                var tree = NaiveTree()
                let last = try disk.startMember(into: &tree).report.lastZxid
                if last.epoch == Epoch(3) {
                    #expect(tree.difference(from: Self.leader.tree) == nil)
                    #expect(!isGivenUp)
                } else {
                    #expect(last.counter == (isGivenUp ? 3 : 2))
                    #expect(tree.nodes["/leader"] == nil)
                }
                if !hasFailed {
                    #expect(last == Self.leader.lastZxid)
                    break
                }
            }
        }
        #expect(counts[0] > 3)
        #expect(counts[1] > 3)
    }

    @Test("A stream that is cut off, abandoned or unsigned changes nothing, and another can follow")
    func givenUp() throws {
        let stream = Self.leader.tree.stream()
        let disk = try Self.disk()
        let before = disk.files(in: "data/version-2")
        var worker = try disk.worker(after: Self.own.lastZxid)
        var driver = TestDriver()
        try worker.perform(
            [.beginSnapshot(Self.leader.lastZxid), .snapshotBytes(stream.dropLast(20)), .abandonSnapshot],
            &driver
        )
        #expect(driver.takeStory() == ["bytes"])
        for bytes in [stream.dropLast(1), stream[...] + [0], stream[..<10]] {
            let digest = Self.leader.tree.digest
            try worker.perform(
                Self.orders(Array(bytes), zxid: Self.leader.lastZxid, piece: 4000, digest: digest),
                &driver
            )
            #expect(driver.takeStory().contains("snapshot failed"))
        }
        #expect(
            disk.files(in: "data/version-2").filter { !$0.key.hasPrefix(".") }
                == before.filter { !$0.key.hasPrefix(".") }
        )
        try worker.perform(Self.orders(), &driver)
        #expect(driver.story.contains("installed 300000002"))
    }

    @Test("A full disk gives the snapshot up; every byte's memory comes back all the same")
    func fullDisk() throws {
        let disk = try Self.disk()
        var worker = try disk.worker(after: Self.own.lastZxid)
        var driver = TestDriver()
        disk.setCapacity(disk.usedBytes)
        var large = Self.leader
        for number in 0..<20 { large.create("/large\(number)", String(repeating: "l", count: 100_000)) }
        let orders = Self.orders(
            large.tree.stream(),
            zxid: large.lastZxid,
            piece: 50_000,
            digest: large.tree.digest
        )
        try worker.perform(orders, &driver)
        #expect(driver.story.filter { $0 == "bytes" }.count == orders.count - 2)
        #expect(driver.story.filter { $0 == "snapshot failed" }.count == 1)
        #expect(!driver.story.contains { $0.hasPrefix("installed") })
        #expect(!disk.names().contains { $0.hasPrefix(".aviary.in") })
        disk.setCapacity(nil)
        driver.reports = []
        try worker.perform(orders, &driver)
        #expect(driver.story.contains("installed \(large.lastZxid.hex)"))
    }

    @Test("What an earlier snapshot had set aside goes when the next one comes")
    func removesOlder() throws {
        let disk = try Self.disk()
        var worker = try disk.worker(after: Self.own.lastZxid)
        var driver = TestDriver()
        try worker.perform(Self.synchronization, &driver)
        #expect(disk.directoryNames(in: "data/version-2") == ["set-aside.300000002"])
        let tree = Self.later.tree
        try worker.perform(
            Self.orders(tree.stream(), zxid: Self.later.lastZxid, piece: 999, digest: tree.digest),
            &driver
        )
        #expect(disk.directoryNames(in: "data/version-2") == ["set-aside.300000004"])
        #expect(
            disk.files(in: "set-aside.300000004".inVersionFolder).keys.sorted()
                == ["log.300000003", "snapshot.300000002"]
        )
    }

    @Test("With folders of their own, logs are set aside among logs")
    func separateFolders() throws {
        let disk = SimulatedDisk()
        var directories = DataDirectories(data: "data", log: "log")
        _ = try directories.open(on: disk, creates: true, owner: "test")
        disk.setContents("data/version-2/snapshot.0", [1])
        disk.setContents("log/version-2/log.1", [2])
        var installer = SnapshotInstaller(
            disk: disk,
            directories: directories,
            compression: .none,
            gzip: NoGzip()
        )
        try installer.begin(Self.leader.lastZxid)
        try Self.leader.tree.stream().withUnsafeBytes { try installer.append($0) }
        _ = try installer.finish(digest: nil, lastProcessed: true)
        #expect(disk.files(in: "data/version-2/set-aside.300000002") == ["snapshot.0": [1]])
        #expect(disk.files(in: "log/version-2/set-aside.300000002") == ["log.1": [2]])
    }
}
