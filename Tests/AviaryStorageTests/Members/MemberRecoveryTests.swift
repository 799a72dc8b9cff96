import AviarySimulation
import AviaryStorage
import Testing
import ZooKeeperProtocol

/// What a member of an ensemble starts with, and what becomes of files that it cannot use.
@Suite("Recovery of a member")
struct MemberRecoveryTests {
    private static let history: History = {
        var history = History(after: Zxid(0x5_0000_0000))
        history.createMany(12)
        return history
    }()

    /// A snapshot, two logs, and epochs.
    private static func disk(seed: UInt64 = 1) throws -> SimulatedDisk {
        let disk = SimulatedDisk.empty(seed: seed)
        try disk.writeSnapshot(.fresh, zxid: Zxid(0x5_0000_0000))
        var worker = try disk.worker(after: Zxid(0x5_0000_0000))
        var driver = TestDriver()
        try worker.perform([.append(Array(history.records[..<6]), rolls: true)], &driver)
        try worker.perform([.append(Array(history.records[6...]))], &driver)
        try worker.close(&driver)
        try disk.epochs.store(accepted: Epoch(6))
        try disk.epochs.store(current: Epoch(5))
        return disk
    }

    private func damage(_ disk: SimulatedDisk) throws -> StorageError? {
        var tree = NaiveTree()
        guard case .damaged(let error) = try disk.memberRecovery.run(into: &tree) else { return nil }
        #expect(tree.nodes.isEmpty)
        return error
    }

    @Test("A sound directory is loaded with its epochs")
    func sound() throws {
        let disk = try Self.disk()
        var tree = NaiveTree()
        let state = try disk.startMember(into: &tree)
        #expect(state.report.lastZxid == Self.history.lastZxid)
        #expect(state.accepted == Epoch(6))
        #expect(state.current == Epoch(5))
        #expect(state.remembersAll)
        #expect(state.notes.isEmpty)
        #expect(tree.difference(from: Self.history.tree) == nil)
    }

    @Test("Golden: the members of an ensemble of Apache's, after four epochs", arguments: ["s1", "s2", "s3", "s4"])
    func golden(member: String) throws {
        let disk = SimulatedDisk()
        try Golden.install("g-ensemble-epochs/" + member, on: disk)
        var tree = NaiveTree()
        let state = try disk.startMember(into: &tree)
        #expect(state.accepted == Epoch(4))
        #expect(state.current == Epoch(4))
        #expect(state.remembersAll)
        let expected = try Golden.expected("g-ensemble-epochs/" + member)
        #expect(state.report.lastZxid == Zxid(Golden.number(expected.lastZxid)))
        #expect(tree.digest == UInt64(bitPattern: Golden.number(expected.treeDigest)))
    }

    @Test("A new member has nothing, and remembers that", arguments: [true, false])
    func new(mayCreate: Bool) throws {
        let disk = SimulatedDisk.empty()
        var options = RecoveryOptions()
        options.createsDatabase = mayCreate
        let recovery = MemberRecovery(
            disk: disk,
            directories: SimulatedDisk.directories,
            gzip: NoGzip(),
            options: options
        )
        var tree = NaiveTree()
        guard case .loaded(let state) = try recovery.run(into: &tree) else {
            Issue.record("not loaded")
            return
        }
        #expect(state.remembersAll == mayCreate)
        #expect(state.report.lastZxid == (mayCreate ? .zero : Zxid(-1)))
        #expect(state.accepted == .zero)
    }

    @Test("Museum 1, H14: emptied snapshots, a log without a snapshot, a missing or damaged log: damage, and no change")
    func damages() throws {
        let changes: [(String, (SimulatedDisk) throws -> Void)] = [
            ("emptied snapshot", { $0.setContents("snapshot.500000000".inVersionFolder, []) }),
            ("no snapshot", { try $0.remove("snapshot.500000000".inVersionFolder) }),
            ("first log missing", { try $0.remove("log.500000001".inVersionFolder) }),
            ("damaged log", { $0.flipBit("log.500000001".inVersionFolder, offset: 300) }),
            ("accepted epoch is no number", { $0.setText("acceptedEpoch", "six") }),
            ("current epoch above the accepted one", { $0.setText("currentEpoch", "7") }),
            ("log above the accepted epoch", { $0.setText("acceptedEpoch", "4") }),
        ]
        for (what, change) in changes {
            let disk = try Self.disk()
            try change(disk)
            let before = disk.files(in: "data/version-2")
            #expect(try damage(disk) != nil, "\(what)")
            #expect(disk.files(in: "data/version-2") == before, "\(what)")
        }
    }

    @Test("A place of the disk that cannot be read is damage; that the user may not read it is not")
    func readErrors() throws {
        for (reason, isDamage) in [(.inputOutput, true), (.permissionDenied, false)] as [(DiskError.Reason, Bool)] {
            let disk = try Self.disk()
            disk.setFault { operation in
                operation.kind == .read && operation.path.contains("log.5") ? .refuse(reason) : nil
            }
            if isDamage {
                #expect(try damage(disk) != nil)
            } else {
                var tree = NaiveTree()
                #expect(throws: StorageError.self) { try disk.memberRecovery.run(into: &tree) }
            }
        }
    }

    @Test("What is in quarantine is kept, with the reason; the promise stays; the member has lost its memory")
    func quarantine() throws {
        let disk = try Self.disk()
        disk.flipBit("log.500000001".inVersionFolder, offset: 300)
        let before = disk.files(in: "data/version-2").filter { !$0.key.hasPrefix(".") }
        let error = try #require(try damage(disk))
        let folder = try disk.memberRecovery.quarantine(because: error)
        #expect(folder == "quarantine.1")
        disk.restart(.everythingUnsynced)
        var kept = disk.files(in: "quarantine.1".inVersionFolder)
        let why = String(decoding: kept.removeValue(forKey: "why.txt") ?? [], as: UTF8.self)
        #expect(why.contains("log.500000001") && why.contains("checksum mismatch"))
        #expect(kept == before.filter { $0.key != "acceptedEpoch" })
        var tree = NaiveTree()
        let state = try disk.startMember(into: &tree)
        #expect(!state.remembersAll)
        #expect(state.report.database == .uninitialized)
        #expect(state.report.lastZxid == Zxid(-1))
        #expect(state.accepted == Epoch(6))
        #expect(state.current == .zero)
    }

    @Test(
        "What the epoch files promised is kept as far as anybody can know",
        arguments: [
            ("4", "5", 6), ("six", "5", 5), (nil, "7", 7), ("6", "x", 6), ("", "", 5), ("6", "4x", 6), (nil, "x", 5),
            ("?", nil, 5),
        ] as [(String?, String?, Int64)]
    )
    func promises(accepted: String?, current: String?, promised: Int64) throws {
        let disk = try Self.disk()
        var logged = Self.history
        logged.beginEpoch(6)
        logged.createMany(1)
        if promised == 6, accepted == "4" { disk.installLog("log.600000001", Array(logged.records.suffix(1))) }
        for (name, text) in [("acceptedEpoch", accepted), ("currentEpoch", current)] {
            if let text { disk.setText(name, text) } else { try disk.remove(name.inVersionFolder) }
        }
        let error = try #require(try damage(disk))
        _ = try disk.memberRecovery.quarantine(because: error)
        disk.restart(.everythingUnsynced)
        var tree = NaiveTree()
        let state = try disk.startMember(into: &tree)
        #expect(state.accepted == Epoch(promised))
        #expect(!state.remembersAll)
    }

    @Test(
        "Power fails at every call of a quarantine: nothing is lost, and the member never passes for one that knows",
        arguments: losses
    )
    func everyCall(_ loss: SimulatedDisk.Loss) throws {
        for powerCut in 0... {
            let disk = try Self.disk(seed: UInt64(powerCut + 1))
            disk.flipBit("log.500000001".inVersionFolder, offset: 300)
            let before = disk.files(in: "data/version-2").filter { !$0.key.hasPrefix(".") && $0.key != "acceptedEpoch" }
            let error = try #require(try damage(disk))
            disk.cutPower(after: powerCut)
            _ = try? disk.memberRecovery.quarantine(because: error)
            let isDone = disk.hasPower
            disk.restart(loss)
            var state: MemberState?
            var tree = NaiveTree()
            for _ in 0..<3 where state == nil {
                switch try disk.memberRecovery.run(into: &tree) {
                case .loaded(let found): state = found
                case .damaged(let error): _ = try disk.memberRecovery.quarantine(because: error)
                }
            }
            let found = try #require(state)
            #expect(!found.remembersAll, "cut \(powerCut)")
            #expect(found.report.lastZxid == Zxid(-1))
            #expect(found.accepted == Epoch(6))
            var kept: [String: [UInt8]] = [:]
            for folder in disk.directoryNames(in: "data/version-2") {
                for (name, bytes) in disk.files(in: folder.inVersionFolder) where name != "why.txt" {
                    kept[name] = bytes
                }
            }
            #expect(kept == before, "cut \(powerCut)")
            if isDone { break }
        }
    }

    @Test("A leader's snapshot gives the memory back once the epoch is stored, and not before")
    func memoryComesBack() throws {
        let disk = try Self.disk()
        disk.flipBit("log.500000001".inVersionFolder, offset: 300)
        _ = try disk.memberRecovery.quarantine(because: try #require(try damage(disk)))
        var worker = try disk.worker(after: Zxid(-1), hasLostMemory: true)
        var driver = TestDriver()
        try worker.perform(
            [
                .beginSnapshot(Self.history.lastZxid), .snapshotBytes(Self.history.tree.stream()),
                .finishSnapshot(digest: Self.history.tree.digest),
            ],
            &driver
        )
        disk.restart(.everythingUnsynced)
        var tree = NaiveTree()
        var state = try disk.startMember(into: &tree)
        #expect(!state.remembersAll)
        #expect(state.report.lastZxid == Self.history.lastZxid)
        worker = try disk.worker(after: Self.history.lastZxid, hasLostMemory: true)
        try worker.perform([.storeCurrent(Epoch(6))], &driver)
        disk.restart(.everythingUnsynced)
        state = try disk.startMember(into: &tree)
        #expect(state.remembersAll)
        #expect(state.current == Epoch(6))
        // The next trouble gets the next folder.
        disk.setText("acceptedEpoch", "?")
        #expect(try disk.memberRecovery.quarantine(because: try #require(try damage(disk))) == "quarantine.2")
    }

    @Test("Whoever puts an initialize file there wants a member that begins with nothing")
    func initialize() throws {
        let disk = try Self.disk()
        disk.flipBit("log.500000001".inVersionFolder, offset: 300)
        _ = try disk.memberRecovery.quarantine(because: try #require(try damage(disk)))
        disk.setContents("data/initialize", [])
        var tree = NaiveTree()
        var state = try disk.startMember(into: &tree)
        #expect(state.remembersAll)
        #expect(state.report.database == .created)
        // Until its first snapshot is there.
        disk.restart(.everythingUnsynced)
        state = try disk.startMember(into: &tree)
        #expect(state.remembersAll)
        #expect(state.report.database == .created)
    }

    @Test("A server alone does not start on the remains of a member")
    func alone() throws {
        let disk = try Self.disk()
        disk.flipBit("log.500000001".inVersionFolder, offset: 300)
        _ = try disk.memberRecovery.quarantine(because: try #require(try damage(disk)))
        var tree = NaiveTree()
        let error = #expect(throws: StorageError.self) { try recover(disk, into: &tree) }
        guard case .memoryLost(_, let reason) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(reason.contains("checksum mismatch"))
    }

    @Test("Loading once more beside an open log changes nothing on disk")
    func reload() throws {
        let disk = try Self.disk()
        var worker = try disk.worker(after: Self.history.lastZxid)
        var driver = TestDriver()
        var next = Self.history
        next.createMany(3)
        try worker.perform([.append(Array(next.records.suffix(3)))], &driver)
        let before = disk.files(in: "data/version-2")
        var tree = NaiveTree()
        let report = try disk.memberRecovery.reload(into: &tree)
        #expect(report.lastZxid == next.lastZxid)
        #expect(tree.difference(from: next.tree) == nil)
        #expect(disk.files(in: "data/version-2") == before)
        try worker.perform([.truncate(after: Self.history.lastZxid)], &driver)
        #expect(try disk.memberRecovery.reload(into: &tree).lastZxid == Self.history.lastZxid)
    }
}
