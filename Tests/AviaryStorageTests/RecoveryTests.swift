import AviarySimulation
import AviaryStorage
import Testing
import ZooKeeperProtocol

/// Which snapshot is used, and when none may be (docs/protocol/disk-format.md sections 4.3, 4.5, 5 and 6).
@Suite("Recovery")
struct RecoveryTests {
    /// 1 to 30, with snapshots of 10 and 20 and logs from 1, 11 and 21.
    private static let history: History = {
        var history = History()
        history.createMany(30)
        return history
    }()

    private let disk = SimulatedDisk.empty()

    init() throws {
        try disk.writeSnapshot(Self.history.tree(at: Zxid(10)), zxid: Zxid(10))
        try disk.writeSnapshot(Self.history.tree(at: Zxid(20)), zxid: Zxid(20))
        disk.installLog("log.1", Self.history.records(1...10))
        disk.installLog("log.b", Self.history.records(11...20))
        disk.installLog("log.15", Self.history.records(21...30))
    }

    private func error(_ change: (inout RecoveryOptions) -> Void = { _ in }) throws -> StorageError {
        let before = disk.files(in: "data/version-2")
        var tree = NaiveTree()
        let error = try #require(throws: StorageError.self) { try recover(disk, into: &tree, change) }
        #expect(disk.files(in: "data/version-2") == before)
        return error
    }

    private func cut(_ name: String, to count: Int) throws {
        let bytes = try #require(disk.contents(name.inVersionFolder))
        disk.setContents(name.inVersionFolder, Array(bytes[..<min(count, bytes.count)]))
    }

    // MARK: - Falling back

    @Test("The newest snapshot is used, and only the logs behind it")
    func newest() throws {
        try disk.remove("log.1".inVersionFolder)
        try disk.remove("log.b".inVersionFolder)
        var tree = NaiveTree()
        let report = try recover(disk, into: &tree)
        #expect(report.snapshot == "snapshot.14")
        #expect(report.replayedCount == 10)
        #expect(tree.replayed == (21...30).map { Zxid($0) })
        #expect(tree.difference(from: Self.history.tree) == nil)
        #expect(report.warnings.isEmpty)
        #expect(report.allowsPurge)
    }

    @Test("A newest snapshot that is cut or damaged is passed over with a word, and the tree is the same")
    func fallback() throws {
        let path = "snapshot.14".inVersionFolder
        let bytes = try #require(disk.contents(path))
        var damaged = bytes
        damaged[300] ^= 1
        for form in [[], Array(bytes[..<100]), Array(bytes[..<(bytes.count - 3)]), damaged] {
            disk.setContents(path, form)
            var tree = NaiveTree()
            let report = try recover(disk, into: &tree)
            #expect(report.snapshot == "snapshot.a")
            #expect(report.replayedCount == 20)
            #expect(tree.difference(from: Self.history.tree) == nil)
            #expect(report.warnings.count == 1)
            #expect(report.warnings.first?.contains(path) == true)
            // What stood in for the newest must not go before there is another.
            #expect(!report.allowsPurge)
        }
    }

    @Test("A place on the disk that cannot be read counts as damage of that snapshot")
    func unreadableSnapshot() throws {
        let path = "snapshot.14".inVersionFolder
        disk.setFault { $0.kind == .read && $0.path == path ? .refuse(.inputOutput) : nil }
        var tree = NaiveTree()
        #expect(try recover(disk, into: &tree).snapshot == "snapshot.a")
    }

    @Test("A snapshot that this user may not read is refused, with a remedy, and no older one is used")
    func forbiddenSnapshot() throws {
        let path = "snapshot.14".inVersionFolder
        disk.setFault { $0.kind == .open && $0.path == path ? .refuse(.permissionDenied) : nil }
        let error = try error()
        #expect(error.description.contains(path))
        #expect(error.description.contains("the user who owns the data"))
    }

    @Test("An older snapshot does not stand in when the logs end before the newer one")
    func lostTransactions() throws {
        try cut("snapshot.14", to: 100)
        try disk.remove("log.15".inVersionFolder)
        disk.installLog("log.b", Self.history.records(11...18))
        let error = try error()
        guard case .snapshotsLost(let newest, let lastZxid, let failures) = error else {
            Issue.record("\(error)")
            return
        }
        #expect(newest == "snapshot.14")
        #expect(lastZxid == Zxid(18))
        #expect(failures.count == 1)
        #expect(error.description.contains("0x12"))
    }

    @Test("An older snapshot does not stand in when logs behind it are missing")
    func missingLogs() throws {
        try cut("snapshot.14", to: 100)
        try disk.remove("log.b".inVersionFolder)
        let error = try error()
        guard case .noUsableSnapshot(_, let failures) = error else {
            Issue.record("\(error)")
            return
        }
        #expect(failures.map { $0.file.hasSuffix("snapshot.14") } == [true, false])
        #expect(failures[1].reason.contains("expected 0xb"))
    }

    @Test("With no usable snapshot nothing is served, whatever the logs hold and whoever trusts them")
    func noUsableSnapshot() throws {
        for name in ["snapshot.a", "snapshot.14"] { try cut(name, to: 0) }
        for trusts in [false, true] {
            let error = try error { $0.trustsMissingSnapshot = trusts }
            guard case .noUsableSnapshot(_, let failures) = error else {
                Issue.record("\(error)")
                continue
            }
            #expect(failures.count == 2)
        }
        for name in disk.logNames() { try disk.remove(name.inVersionFolder) }
        if case .noUsableSnapshot = try error() {} else { Issue.record("an empty snapshot is no empty database") }
    }

    @Test("Damage in a log is not avoided by another snapshot")
    func damagedLog() throws {
        disk.flipBit("log.15".inVersionFolder, offset: 60)
        if case .damagedLog(let damage) = try error() {
            #expect(damage.file == "log.15".inVersionFolder)
        } else {
            Issue.record("damage was passed over")
        }
    }

    @Test("A snapshot whose nodes do not fit together is damaged, whatever its checksum says")
    func misfitNodes() throws {
        var writer = SnapshotWriter(disk: disk, directory: "data/version-2", gzip: NoGzip())
        try writer.begin(zxid: Zxid(25), sessions: [], acls: [])
        var nodes = JuteWriter()
        let noBytes = UnsafeRawBufferPointer(start: nil, count: 0)
        SnapshotNode.write(path: noBytes, data: noBytes, aclID: -1, stat: .zero, to: &nodes)
        Array("/a/b".utf8).withUnsafeBytes {
            SnapshotNode.write(path: $0, data: noBytes, aclID: -1, stat: .zero, to: &nodes)
        }
        try nodes.withBytes { try writer.append(nodes: $0) }
        try writer.finish(digest: nil, lastProcessed: true)
        var tree = NaiveTree()
        let report = try recover(disk, into: &tree)
        #expect(report.snapshot == "snapshot.14")
        #expect(report.warnings.first?.contains("the parent of /a/b is missing") == true)
        #expect(tree.difference(from: Self.history.tree) == nil)
    }

    @Test("A node whose ACL nobody knows after the replay makes a snapshot unusable")
    func unknownACL() throws {
        var nodes = JuteWriter()
        let noBytes = UnsafeRawBufferPointer(start: nil, count: 0)
        SnapshotNode.write(path: noBytes, data: noBytes, aclID: 77, stat: .zero, to: &nodes)
        for name in ["snapshot.a", "snapshot.14"] { try disk.remove(name.inVersionFolder) }
        var writer = SnapshotWriter(disk: disk, directory: "data/version-2", gzip: NoGzip())
        try writer.begin(zxid: Zxid(30), sessions: [], acls: [])
        try nodes.withBytes { try writer.append(nodes: $0) }
        try writer.finish(digest: nil, lastProcessed: true)
        #expect(try error().description.contains("ACL 77") == true)
    }

    // MARK: - Snapshots of another history

    /// A server that had a transaction nobody else kept wrote snapshots that hold it; its log was cut afterwards, and a
    /// later epoch went on without it.
    private func dirty(digests: Bool = true, snapshotZero: Bool = true) throws -> (SimulatedDisk, NaiveTree) {
        let disk = SimulatedDisk.empty()
        var history = History()
        if snapshotZero { try disk.writeSnapshot(history.tree, zxid: .zero) }
        history.beginEpoch(1)
        history.createMany(2)
        var lost = history
        lost.create("/lost")
        // Named at the cut, and yet it holds what came after.
        try disk.writeSnapshot(lost.tree, zxid: Zxid(0x1_0000_0002), digest: history.tree.digest)
        // Named by that very transaction: only digests tell that it is gone.
        if digests { try disk.writeSnapshot(lost.tree, zxid: Zxid(0x1_0000_0003)) }
        history.beginEpoch(2)
        history.createMany(5)
        let records = history.records.map { record in
            digests ? record : History.Record(zxid: record.zxid, payload: Array(record.payload.dropLast(12)))
        }
        disk.installLog("log.100000001", Array(records[..<2]), padding: 0)
        disk.installLog("log.200000001", Array(records[2...]))
        return (disk, history.tree)
    }

    @Test(
        "A snapshot with a transaction that history does not have is passed over for one without",
        arguments: [true, false]
    )
    func dirtySnapshot(_ digests: Bool) throws {
        let (disk, committed) = try dirty(digests: digests)
        var tree = NaiveTree()
        let report = try recover(disk, into: &tree)
        #expect(tree.difference(from: committed) == nil)
        #expect(report.snapshot == "snapshot.0")
        #expect(report.lastZxid == Zxid(0x2_0000_0005))
        #expect(report.alarms.isEmpty)
        let warning = try #require(report.warnings.first)
        if digests {
            #expect(warning.hasPrefix("log.200000001".inVersionFolder))
            #expect(warning.contains("after 0x200000001"))
            #expect(warning.contains("snapshot.100000003 does not belong to this history"))
        } else {
            #expect(warning.hasPrefix("snapshot.100000002: holds a node changed by 0x100000003"))
        }
        // They do not stand in the way, or count, ever again.
        #expect(report.setAside.last == "snapshot.100000002")
        disk.restart(.everythingUnsynced)
        let again = try recover(disk, into: &tree)
        #expect(again.warnings.isEmpty)
        #expect(tree.difference(from: committed) == nil)
        #expect(disk.contents(".aviary.aside.snapshot.100000002".inVersionFolder) != nil)
    }

    @Test("Without another snapshot it is used, and the alarm names file and zxid")
    func onlyDirtySnapshots() throws {
        let (disk, committed) = try dirty(snapshotZero: false)
        var tree = NaiveTree()
        let report = try recover(disk, into: &tree)
        #expect(report.snapshot == "snapshot.100000003")
        #expect(report.lastZxid == Zxid(0x2_0000_0005))
        #expect(tree.difference(from: committed) == "/lost should not be there")
        #expect(report.alarms.first?.zxid == Zxid(0x2_0000_0001))
        #expect(report.alarms.first?.file == "log.200000001".inVersionFolder)
    }

    @Test("A log written by another tree is an alarm, not a refusal")
    func otherDigests() throws {
        let disk = SimulatedDisk.empty()
        var history = History()
        history.createMany(5)
        try disk.writeSnapshot(History().tree, zxid: .zero)
        let records = history.records.map { record in
            History.Record(
                zxid: record.zxid,
                payload: record.payload.dropLast(1) + [record.payload[record.payload.count - 1] ^ 1]
            )
        }
        disk.installLog("log.1", records)
        var tree = NaiveTree()
        let report = try recover(disk, into: &tree)
        #expect(tree.difference(from: history.tree) == nil)
        #expect(report.alarms.count == 1)
        #expect(report.alarms.first?.zxid == Zxid(1))
        #expect(try recover(disk, into: &tree) { $0.comparesDigests = false }.alarms.isEmpty)
    }

    @Test("A snapshot taken while transactions went on is replayed to the exact tree, without an alarm")
    func fuzzy() throws {
        var history = History()
        history.createMany(12)
        history.delete("/n3")
        history.createMany(5)
        // 10 by name; /n3 is gone already (zxid 13) although its parent was written before that; /nb and /nc are there.
        let mixed = mix(history.tree(at: Zxid(10)), with: ["/nb", "/nc"], of: history.tree, without: "/n3")
        for trailer in [10, 12, 13] as [Int64] {
            let disk = SimulatedDisk.empty()
            try disk.writeSnapshot(mixed, zxid: Zxid(10), digest: history.tree(at: Zxid(trailer)).digest)
            if trailer > 10 {
                let path = "snapshot.a".inVersionFolder
                let bytes = try #require(disk.contents(path))
                disk.setContents(path, retrailered(bytes, zxid: trailer))
            }
            disk.installLog("log.1", history.records)
            var tree = NaiveTree()
            let report = try recover(disk, into: &tree)
            #expect(tree.difference(from: history.tree) == nil)
            #expect(report.alarms.isEmpty, "\(report.alarms)")
            #expect(report.replayedCount == 8)
        }
    }

    private func mix(
        _ tree: NaiveTree,
        with added: [String],
        of later: NaiveTree,
        without removed: String
    ) -> NaiveTree {
        var mixed = tree
        for path in added {
            guard let node = later.nodes[path] else { continue }
            Array(path.utf8).withUnsafeBytes { path in
                (node.data ?? []).withUnsafeBytes { data in
                    try? mixed.restore(path: path, data: data, aclID: -1, stat: node.stat)
                }
            }
        }
        mixed.forget(removed)
        return mixed
    }

    /// The same snapshot with another zxid in its digest trailer, sealed again.
    private func retrailered(_ bytes: [UInt8], zxid: Int64) -> [UInt8] {
        var writer = JuteWriter()
        let body = Array(bytes[..<(bytes.count - 54)])
        body.withUnsafeBytes { writer.raw($0) }
        writer.int64(zxid)
        writer.int32(2)
        Array(bytes[(bytes.count - 42)..<(bytes.count - 34)]).withUnsafeBytes { writer.raw($0) }
        writer.int64(Int64(writer.withBytes { Adler32.update(Adler32.initial, $0) }))
        writer.int32(1)
        writer.byte(UInt8(ascii: "/"))
        return writer.copy()
    }

    // MARK: - Beginning

    @Test("An empty directory is a new database, and the file that allows it is used up")
    func newDatabase() throws {
        let disk = SimulatedDisk.empty()
        var tree = NaiveTree()
        let report = try recover(disk, into: &tree)
        #expect(report.database == .created)
        #expect(report.lastZxid == .zero)
        #expect(tree.digest == 0x51c6_d660)
        #expect(try recover(disk, into: &tree) { $0.createsDatabase = false }.database == .uninitialized)
        disk.setContents("data/initialize", [])
        let allowed = try recover(disk, into: &tree) { $0.createsDatabase = false }
        #expect(allowed.database == .created)
        // Whoever is interrupted here is still wanted to begin with nothing.
        disk.restart(.everythingUnsynced)
        #expect(try recover(disk, into: &tree) { $0.createsDatabase = false }.database == .created)
        try DataDirectories(data: "data").noteDatabase(on: disk, forcesSync: true)
        #expect(disk.contents("data/initialize") == nil)
        // For good: with it a server that has lost its data would begin anew.
        disk.restart(.everythingUnsynced)
        #expect(disk.contents("data/initialize") == nil)
        let again = try recover(disk, into: &tree) { $0.createsDatabase = false }
        #expect(again.database == .uninitialized)
        #expect(again.lastZxid == Zxid(-1))
    }

    @Test("A log that never got a record does not make a directory used")
    func emptyLogOnly() throws {
        let disk = SimulatedDisk.empty()
        disk.setContents("log.1".inVersionFolder, FileBytes.logHeader)
        var tree = NaiveTree()
        let report = try recover(disk, into: &tree)
        #expect(report.database == .created)
        #expect(report.removedLogs == ["log.1"])
    }

    @Test("Trusted logs have to begin at the beginning")
    func trustedLogs() throws {
        for name in ["snapshot.a", "snapshot.14"] { try disk.remove(name.inVersionFolder) }
        var tree = NaiveTree()
        let report = try recover(disk, into: &tree) { $0.trustsMissingSnapshot = true }
        #expect(tree.difference(from: Self.history.tree) == nil)
        #expect(report.replayedCount == 30)
        try disk.remove("log.1".inVersionFolder)
        guard case .missingRecords(_, _, let expected, let found) = try error({ $0.trustsMissingSnapshot = true })
        else {
            Issue.record("a hole was passed over")
            return
        }
        #expect(expected == Zxid(1))
        #expect(found == Zxid(11))
    }

    // MARK: - Around it

    @Test("Leftovers of a server that ended are removed; what is not ours stays")
    func leftovers() throws {
        for name in ["snapshot.1e.tmp", "snapshot.1e.snappy.tmp", FileNames.spareLog, "currentEpoch.tmp", "notes.txt"] {
            disk.setContents(name.inVersionFolder, [1, 2, 3])
        }
        var tree = NaiveTree()
        let report = try recover(disk, into: &tree)
        #expect(report.lastZxid == Zxid(30))
        let names = Set(disk.files(in: "data/version-2").keys)
        #expect(!names.contains { $0.contains("snapshot.1e") || $0 == FileNames.spareLog })
        #expect(names.isSuperset(of: ["currentEpoch.tmp", "notes.txt"]))
    }

    @Test("A tool that only looks changes nothing")
    func withoutRepairs() throws {
        try cut("log.15", to: 500)
        disk.setContents("snapshot.1e.tmp".inVersionFolder, [1])
        disk.setContents("log.20".inVersionFolder, [])
        let before = disk.files(in: "data/version-2")
        disk.forgetTrace()
        var tree = NaiveTree()
        let report = try recover(disk, into: &tree) { $0.repairs = false }
        #expect(report.tailCut != nil)
        #expect(disk.files(in: "data/version-2") == before)
        #expect(disk.trace.isEmpty)
    }

    @Test("What was only in the system's memory is on disk before it is served")
    func settles() throws {
        let disk = SimulatedDisk.empty()
        try disk.writeSnapshot(History().tree, zxid: .zero)
        let bytes = FileBytes.log(Self.history.records(1...10))
        let file = try disk.open("log.1".inVersionFolder, .createNew)
        try bytes.withUnsafeBytes { try file.write($0, at: 0) }
        disk.restart(.processOnly)
        var tree = NaiveTree()
        #expect(try recover(disk, into: &tree).lastZxid == Zxid(10))
        disk.restart(.everythingUnsynced)
        #expect(try recover(disk, into: &tree).lastZxid == Zxid(10))
    }

    @Test("A log without space behind it keeps its size, also when a start is interrupted", arguments: losses)
    func settlesAtItsSize(loss: SimulatedDisk.Loss) throws {
        let bytes = FileBytes.log(Self.history.records(21...30), padding: 0)
        for powerCut in 0... {
            disk.setContents("log.15".inVersionFolder, bytes)
            disk.cutPower(after: powerCut)
            var tree = NaiveTree()
            _ = try? recover(disk, into: &tree)
            let isDone = disk.hasPower
            disk.restart(loss)
            #expect(try recover(disk, into: &tree).lastZxid == Zxid(30), "cut \(powerCut)")
            #expect(tree.difference(from: Self.history.tree) == nil)
            #expect(disk.contents("log.15".inVersionFolder)?.count == bytes.count, "cut \(powerCut)")
            if isDone { break }
        }
    }

    @Test("Names in a folder of snapshots of its own are made stable too")
    func settlesBothFolders() throws {
        disk.makeStableDirectory("log/version-2")
        for name in ["log.1", "log.b", "log.15"] {
            guard let bytes = disk.contents(name.inVersionFolder) else { continue }
            disk.setContents("log/version-2/" + name, bytes)
            try disk.remove(name.inVersionFolder)
        }
        disk.forgetTrace()
        var tree = NaiveTree()
        let directories = DataDirectories(data: "data", log: "log")
        _ = try Recovery(disk: disk, directories: directories, gzip: NoGzip()).run(into: &tree)
        let synced = disk.trace.filter { $0.kind == .syncDirectory }.map { $0.path }
        #expect(Set(synced) == ["data/version-2", "log/version-2"])
    }

    @Test("Progress grows from nothing to all bytes of what is read")
    func progress() throws {
        var seen: [RecoveryProgress] = []
        var tree = NaiveTree()
        _ = try withoutActuallyEscaping({ seen.append($0) }) { note in
            try Recovery(
                disk: disk,
                directories: DataDirectories(data: "data"),
                gzip: NoGzip(),
                progress: note
            ).run(into: &tree)
        }
        #expect(Set(seen.map { $0.file }) == ["snapshot.14", "log.15"])
        #expect(seen.map { $0.bytesDone } == seen.map { $0.bytesDone }.sorted())
        #expect(seen.last?.bytesDone == seen.last?.bytesTotal)
    }

    @Test("A snapshot of another age leaves nothing behind for the next one that is tried")
    func startsFromNothing() throws {
        var session = Self.history
        session.createSession(0x77)
        try disk.writeSnapshot(session.tree, zxid: Zxid(30))
        try cut("snapshot.1e", to: 700)
        var tree = NaiveTree()
        let report = try recover(disk, into: &tree)
        #expect(report.snapshot == "snapshot.14")
        #expect(tree.sessions.isEmpty)
        #expect(tree.difference(from: Self.history.tree) == nil)
    }
}
