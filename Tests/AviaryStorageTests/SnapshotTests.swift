import AviarySimulation
import AviaryStorage
import Testing
import ZooKeeperProtocol

@Suite("Snapshots")
struct SnapshotTests {
    private static let history: History = {
        var history = History()
        history.createSession(0x100)
        history.createMany(30, data: "some data")
        return history
    }()

    private let zxid = Zxid(31)

    private func read(
        _ disk: SimulatedDisk,
        _ name: String,
        into tree: inout NaiveTree
    ) throws(SnapshotReadError) -> SnapshotSummary {
        let reader = SnapshotReader(disk: disk, directory: "data/version-2", gzip: NoGzip())
        return try reader.read(name, into: &tree)
    }

    private func failure(_ disk: SimulatedDisk, _ name: String) -> SnapshotFailure? {
        var tree = NaiveTree()
        do throws(SnapshotReadError) {
            _ = try read(disk, name, into: &tree)
            return nil
        } catch {
            guard case .damaged(let failure) = error else {
                Issue.record("\(error)")
                return nil
            }
            return failure
        }
    }

    @Test("What is written is read back, packed or not", arguments: [SnapshotCompression.none, .snappy])
    func roundTrip(_ compression: SnapshotCompression) throws {
        let disk = SimulatedDisk.empty()
        try disk.writeSnapshot(Self.history.tree, zxid: zxid, compression: compression)
        disk.restart(.everythingUnsynced)
        var tree = NaiveTree()
        let summary = try read(disk, FileNames.snapshot(zxid, compression), into: &tree)
        #expect(tree.difference(from: Self.history.tree) == nil)
        #expect(summary.digest?.zxid == zxid)
        #expect(summary.digest?.value == Self.history.tree.digest)
        #expect(summary.lastProcessedZxid == zxid)
        #expect(summary.nodes == Self.history.tree.nodes.count)
        #expect(summary.sessions == 1)
        #expect(summary.largestZxid == zxid)
        #expect(summary.laterZxids.isEmpty)
    }

    @Test("Digest and last zxid are left out when told to, and both are read by what is there")
    func trailers() throws {
        for (hasDigest, hasLast) in [(true, true), (true, false), (false, true), (false, false)] {
            let disk = SimulatedDisk.empty()
            var writer = SnapshotWriter(disk: disk, directory: "data/version-2", gzip: NoGzip())
            try writer.begin(zxid: zxid, sessions: [], acls: NaiveTree.aclTable)
            try Self.history.tree.encodedNodes().withUnsafeBytes { try writer.append(nodes: $0) }
            let file = try writer.finish(digest: hasDigest ? 7 : nil, lastProcessed: hasLast)
            let bytes = try #require(disk.contents("data/version-2/" + file.name))
            #expect(file.size == Int64(bytes.count))
            #expect(bytes.suffix(5) == [0, 0, 0, 1, UInt8(ascii: "/")])
            var tree = NaiveTree()
            let summary = try read(disk, file.name, into: &tree)
            #expect(summary.digest?.value == (hasDigest ? 7 : nil))
            #expect(summary.lastProcessedZxid == (hasLast ? zxid : nil))
        }
    }

    @Test(
        "Written again, a snapshot of another server comes out byte for byte",
        arguments: [
            ("a2-fresh-snapshot0-and-log", "snapshot.0"), ("b-snapshots-and-logs", "snapshot.33"),
            ("b-snapshots-and-logs", "snapshot.9"), ("c2-features-snapshot", "snapshot.2f"),
            ("g-ensemble-epochs/s3", "snapshot.300000007"), ("h-debian-3.8.0", "snapshot.0"),
            ("j-no-digest-old-style", "snapshot.a"),
        ]
    )
    func sameBytes(_ directory: String, _ name: String) throws {
        let disk = SimulatedDisk.empty()
        try Golden.install(directory, on: disk)
        var copy = CopyingSink()
        let limits = ReadingLimits(extendedTypes: true)
        let reader = SnapshotReader(disk: disk, directory: "data/version-2", gzip: NoGzip(), limits: limits)
        let summary = try reader.read(name, into: &copy)
        disk.makeStableDirectory("copy")
        var writer = SnapshotWriter(disk: disk, directory: "copy", gzip: NoGzip())
        try writer.begin(zxid: summary.zxid, sessions: copy.sessions, acls: copy.acls)
        try copy.nodes.withUnsafeBytes { try writer.append(nodes: $0) }
        // Of a fresh tree the digest 0 stands there with the zxid 0, which says nothing to a reader.
        let bytes = try #require(disk.contents("data/version-2/" + name))
        let isFresh = summary.zxid == .zero && bytes.count > 300
        let digest = isFresh ? CopyingSink.freshDigest : summary.digest?.value
        try writer.finish(digest: digest, lastProcessed: summary.lastProcessedZxid != nil)
        #expect(disk.contents("copy/" + name) == bytes)
    }

    @Test("Any bit that is turned is noticed")
    func everyBit() throws {
        let disk = SimulatedDisk.empty()
        var history = History()
        history.createMany(2)
        try disk.writeSnapshot(history.tree, zxid: Zxid(2))
        let path = "data/version-2/snapshot.2"
        let size = try #require(disk.contents(path)?.count)
        for index in 0..<size {
            disk.flipBit(path, offset: index, bit: index % 8)
            #expect(failure(disk, "snapshot.2") != nil, "byte \(index)")
            disk.flipBit(path, offset: index, bit: index % 8)
        }
        #expect(failure(disk, "snapshot.2") == nil)
    }

    @Test("A snapshot that ends early is noticed, unless it ends behind a seal as one without trailers does")
    func everyLength() throws {
        let disk = SimulatedDisk.empty()
        var history = History()
        history.createMany(2)
        try disk.writeSnapshot(history.tree, zxid: Zxid(2))
        let bytes = try #require(disk.contents("data/version-2/snapshot.2"))
        let whole = [bytes.count - 54, bytes.count - 21]
        for count in 0..<bytes.count {
            disk.setContents("data/version-2/snapshot.2", Array(bytes[..<count]))
            #expect((failure(disk, "snapshot.2") == nil) == whole.contains(count), "\(count) bytes")
        }
        disk.setContents("data/version-2/snapshot.2", bytes + [0])
        #expect(failure(disk, "snapshot.2") != nil)
    }

    @Test("A message says which file, where, and what is wrong")
    func messages() throws {
        let disk = SimulatedDisk.empty()
        try disk.writeSnapshot(Self.history.tree, zxid: zxid)
        let path = "data/version-2/snapshot.1f"
        let bytes = try #require(disk.contents(path))
        disk.setContents(path, Array(bytes[..<500]))
        #expect(failure(disk, "snapshot.1f")?.description.contains("\(path): the file ends among the nodes") == true)
        disk.setContents(path, [1, 2, 3, 4] + bytes.dropFirst(4))
        #expect(failure(disk, "snapshot.1f")?.reason.contains("not a snapshot (magic 0x1020304)") == true)
        disk.setContents(path, bytes)
        disk.flipBit(path, offset: bytes.count - 60)
        #expect(failure(disk, "snapshot.1f")?.reason.contains("checksum mismatch behind the nodes") == true)
    }

    @Test("A node larger than the window is read, one larger than the limit is refused")
    func largeNode() throws {
        let disk = SimulatedDisk.empty()
        var history = History()
        history.createMany(1)
        history.create("/large", String(repeating: "x", count: 2 * 0xfffff))
        history.createMany(1)
        try disk.writeSnapshot(history.tree, zxid: Zxid(3))
        var tree = NaiveTree()
        _ = try read(disk, "snapshot.3", into: &tree)
        #expect(tree.difference(from: history.tree) == nil)
        let limits = ReadingLimits(maxBufferBytes: 1 << 20)
        let reader = SnapshotReader(disk: disk, directory: "data/version-2", gzip: NoGzip(), limits: limits)
        #expect(throws: SnapshotReadError.self) { try reader.read("snapshot.3", into: &tree) }
    }

    @Test("Zxids above the snapshot's own are remembered, in order")
    func laterZxids() throws {
        let disk = SimulatedDisk.empty()
        try disk.writeSnapshot(Self.history.tree, zxid: Zxid(28))
        var tree = NaiveTree()
        let summary = try read(disk, "snapshot.1c", into: &tree)
        #expect(Set(summary.laterZxids) == [Zxid(29), Zxid(30), Zxid(31)])
        #expect(summary.laterZxids == summary.laterZxids.sorted())
    }

    // MARK: - Writing and its failures

    @Test("A large snapshot is synced on the way and not all at the end")
    func syncsOnTheWay() throws {
        let disk = SimulatedDisk.empty()
        var writer = SnapshotWriter(
            disk: disk,
            directory: "data/version-2",
            gzip: NoGzip(),
            syncEveryBytes: 2 << 20
        )
        try writer.begin(zxid: zxid, sessions: [], acls: [])
        let nodes = [UInt8](repeating: 1, count: 256 << 10)
        for _ in 0..<40 { try nodes.withUnsafeBytes { try writer.append(nodes: $0) } }
        #expect(disk.trace.count { $0.kind == .sync } >= 4)
        writer.abandon()
    }

    @Test("A snapshot that cannot be written costs nothing but itself")
    func fullDisk() throws {
        let disk = SimulatedDisk.empty()
        try disk.writeSnapshot(History().tree, zxid: .zero)
        let used = disk.usedBytes
        disk.setCapacity(used + 4096)
        var history = History()
        history.createMany(200, data: String(repeating: "x", count: 100))
        let error = try #require(throws: StorageError.self) {
            try disk.writeSnapshot(history.tree, zxid: Zxid(200))
        }
        guard case .snapshotFailed(let cause) = error else {
            Issue.record("\(error)")
            return
        }
        #expect(cause.reason == .noSpace)
        #expect(disk.usedBytes == used)
        #expect(Set(disk.files(in: "data/version-2").keys) == ["snapshot.0"])
    }

    @Test("A sync that fails leaves no snapshot by that name")
    func failedSync() throws {
        let disk = SimulatedDisk.empty()
        disk.setFault { $0.kind == .sync ? .refuse(.inputOutput) : nil }
        #expect(throws: StorageError.self) { try disk.writeSnapshot(Self.history.tree, zxid: zxid) }
        #expect(disk.files(in: "data/version-2").isEmpty)
    }

    @Test("Whenever the power fails, the snapshot is whole or not there, and the one before is there")
    func powerFailure() throws {
        var history = History()
        history.createMany(40, data: String(repeating: "y", count: 200))
        for seed in 1...4 as ClosedRange<UInt64> {
            for calls in 0...8 {
                let disk = SimulatedDisk.empty(seed: seed &* 100 &+ UInt64(calls))
                try disk.writeSnapshot(History().tree, zxid: .zero)
                disk.cutPower(after: calls)
                _ = try? disk.writeSnapshot(history.tree, zxid: Zxid(40))
                disk.restart(seed == 1 ? .everythingUnsynced : .random)
                let names = Set(disk.files(in: "data/version-2").keys)
                #expect(names.contains("snapshot.0"))
                if names.contains("snapshot.28") { #expect(failure(disk, "snapshot.28") == nil) }
                if calls == 8 { #expect(names == ["snapshot.0", "snapshot.28"]) }
            }
        }
    }

    @Test("Damaged bytes are an error, never a crash", arguments: 1...10)
    func mutations(_ seed: UInt64) throws {
        let disk = SimulatedDisk.empty()
        try disk.writeSnapshot(Self.history.tree, zxid: zxid)
        let bytes = try #require(disk.contents("data/version-2/snapshot.1f"))
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<50 {
            var damaged = bytes
            let start = Int.random(in: 16..<bytes.count, using: &generator)
            for index in start..<min(start + Int.random(in: 1...8, using: &generator), bytes.count) {
                damaged[index] = [0, 0xff, 0x7f, 0x80, 1].randomElement(using: &generator) ?? 0
            }
            guard damaged != bytes else { continue }
            disk.setContents("data/version-2/snapshot.1f", damaged)
            #expect(failure(disk, "snapshot.1f") != nil)
        }
    }
}

/// Keeps what a snapshot holds in the order in which it stands there.
private struct CopyingSink: SnapshotSink {
    static let freshDigest: UInt64 = 0

    var sessions: [(SessionID, Int32)] = []
    var acls: [(Int64, [ACL])] = []
    var nodes: [UInt8] = []

    mutating func restore(session: SessionID, timeoutMilliseconds: Int32) {
        sessions.append((session, timeoutMilliseconds))
    }

    mutating func restore(aclID: Int64, acl: [ACL]) { acls.append((aclID, acl)) }

    mutating func restore(
        path: UnsafeRawBufferPointer,
        data: UnsafeRawBufferPointer?,
        aclID: Int64,
        stat: StatPersisted
    ) {
        var writer = JuteWriter()
        SnapshotNode.write(path: path, data: data, aclID: aclID, stat: stat, to: &writer)
        nodes += writer.copy()
    }
}
