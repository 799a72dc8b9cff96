import AviarySimulation
import AviaryStorage
import Synchronization
import Testing
import ZooKeeperProtocol

/// Snapshots sent to learners.
@Suite("Snapshots for learners")
struct SnapshotStreamerTests {
    private static let history: History = {
        var history = History()
        history.createSession(0x10)
        history.createMany(11)
        return history
    }()

    private static var last: Zxid { history.lastZxid }

    /// Snapshots after 0, 4 and 8 transactions, and all of the log.
    private static func disk(compression: SnapshotCompression = .none) throws -> SimulatedDisk {
        let disk = SimulatedDisk.empty()
        for zxid in [0, 4, 8] as [Int64] {
            try disk.writeSnapshot(history.tree(at: Zxid(zxid)), zxid: Zxid(zxid), compression: compression)
        }
        disk.installLog("log.1", Array(history.records[..<6]))
        disk.installLog("log.7", Array(history.records[6...]))
        return disk
    }

    private func stream(
        _ streamer: inout SnapshotStreamer<SimulatedDisk, NoGzip>,
        maxBytes: Int = 64
    ) throws -> [UInt8] {
        var output = JuteWriter()
        while try streamer.read(maxBytes: maxBytes, into: &output) {}
        return output.copy()
    }

    private func tree(_ bytes: [UInt8], zxid: Zxid) throws -> NaiveTree {
        var tree = NaiveTree()
        var scanner = SnapshotStreamScanner(zxid: zxid, limits: ReadingLimits(extendedTypes: true))
        let taken = try bytes.withUnsafeBytes { try scanner.scan($0, into: &tree) }
        #expect(taken == bytes.count)
        let isComplete = scanner.isComplete
        #expect(isComplete)
        return tree
    }

    @Test(
        "The newest one is sent, packed or not, and a learner reads what was in it",
        arguments: [.none, .snappy] as [SnapshotCompression]
    )
    func newest(_ compression: SnapshotCompression) throws {
        let disk = try Self.disk(compression: compression)
        var source = disk.source
        for maxBytes in [1, 64, 1 << 20] {
            var streamer = try source.snapshot(upTo: Self.last)
            let zxid = streamer.zxid
            let byteCount = streamer.byteCount
            let bytes = try stream(&streamer, maxBytes: maxBytes)
            #expect(zxid == Zxid(8))
            #expect(bytes.count == Int(byteCount))
            #expect(bytes == Self.history.tree(at: Zxid(8)).stream())
            #expect(try tree(bytes, zxid: zxid).difference(from: Self.history.tree(at: zxid)) == nil)
            var reader = try source.records(after: zxid, isBase: true)
            let batch = LogBatch()
            while try reader.read(upTo: Self.last, maxBytes: 1000, into: batch) == .more {}
            #expect(batch.records.map(\.zxid) == [Zxid(9), Zxid(10), Zxid(11), Zxid(12)])
        }
    }

    @Test("A damaged one is passed over for an older one, and whatever is damaged, nothing wrong is sent")
    func everyBit() throws {
        let disk = try Self.disk()
        let path = "snapshot.8".inVersionFolder
        let bytes = try #require(disk.contents(path))
        for offset in bytes.indices {
            disk.flipBit(path, offset: offset, bit: offset % 8)
            var source = disk.source
            var streamer = try source.snapshot(upTo: Self.last)
            let zxid = streamer.zxid
            let found = try tree(try stream(&streamer, maxBytes: 1 << 20), zxid: zxid)
            #expect(found.difference(from: Self.history.tree(at: zxid)) == nil)
            // Version and database id are nobody's business, but they are under the seal.
            #expect(zxid == Zxid(4), "\(offset)")
            disk.flipBit(path, offset: offset, bit: offset % 8)
        }
    }

    @Test("H14: a snapshot that the logs do not go on from is not sent; memory may stand in for logs")
    func logs() throws {
        let disk = try Self.disk()
        try disk.remove("log.7".inVersionFolder)
        var source = disk.source
        let error = #expect(throws: HistoryUnavailable.self) { _ = try source.snapshot(upTo: Self.last) }
        #expect(error?.description.contains("snapshot.8") == false)
        var streamer = try source.snapshot(upTo: Self.last, remembered: Zxid(8))
        #expect(try stream(&streamer).count > 100)
        #expect(throws: HistoryUnavailable.self) { _ = try source.snapshot(upTo: Self.last, remembered: Zxid(9)) }
    }

    @Test("H9: one that is ahead of what is durable, by name or by a node, is not sent")
    func ahead() throws {
        let disk = try Self.disk()
        try disk.writeSnapshot(Self.history.tree, zxid: Zxid(10))
        var source = disk.source
        let next = try source.snapshot(upTo: Zxid(11))
        var zxid = next.zxid
        #expect(zxid == Zxid(8))
        let older = try source.snapshot(upTo: Zxid(7))
        zxid = older.zxid
        #expect(zxid == Zxid(4))
    }

    @Test("One that is purged under way is sent to its end")
    func purged() throws {
        let disk = try Self.disk()
        var source = disk.source
        var streamer = try source.snapshot(upTo: Self.last)
        var output = JuteWriter()
        _ = try streamer.read(maxBytes: 50, into: &output)
        try disk.remove("snapshot.8".inVersionFolder)
        while try streamer.read(maxBytes: 50, into: &output) {}
        #expect(try tree(output.copy(), zxid: Zxid(8)).difference(from: Self.history.tree(at: Zxid(8))) == nil)
    }

    @Test("One that changes after it was checked is not signed")
    func changed() throws {
        let disk = try Self.disk()
        var source = disk.source
        _ = try source.snapshot(upTo: Self.last)
        disk.flipBit("snapshot.8".inVersionFolder, offset: 300)
        var streamer = try source.snapshot(upTo: Self.last)
        var output = JuteWriter()
        #expect(throws: HistoryUnavailable.self) {
            while try streamer.read(maxBytes: 100, into: &output) {}
        }
        #expect(!String(decoding: output.copy(), as: UTF8.self).contains("BenWasHere"))
    }

    @Test("Several learners cost one check")
    func checkedOnce() throws {
        let disk = try Self.disk()
        var source = disk.source
        _ = try source.snapshot(upTo: Self.last, remembered: Self.last)
        let reads = Reads()
        disk.setReadFilter { path, bytes in
            if path.hasSuffix("snapshot.8") { reads.add() }
            return bytes
        }
        _ = try source.snapshot(upTo: Self.last, remembered: Zxid(8))
        #expect(reads.count == 0)
    }

    @Test("Without a snapshot there is none, and why is said")
    func none() {
        var source = SimulatedDisk.empty().source
        let error = #expect(throws: HistoryUnavailable.self) { _ = try source.snapshot(upTo: Zxid(5)) }
        #expect(error?.description == "data/version-2: no snapshot to send: there is none")
    }

    @Test(
        "Golden: snapshots of Apache's servers, packed or not, ahead of themselves or not",
        arguments: [
            ("b-snapshots-and-logs", 0x33), ("f2-snappy-snapshot", 0x10), ("k-fuzzy-snapshot", 0x6ff),
            ("g-ensemble-epochs/s2", 0x2_0000_0004),
        ] as [(String, Int64)]
    )
    func golden(_ name: String, _ zxid: Int64) throws {
        let disk = SimulatedDisk()
        try Golden.install(name, on: disk)
        let last = Zxid(Golden.number(try Golden.expected(name).lastZxid))
        var source = disk.source
        var streamer = try source.snapshot(upTo: last)
        let found = streamer.zxid
        #expect(found == Zxid(zxid))
        // A learner that takes it, and the records behind it, has the same tree.
        let learner = SimulatedDisk.empty()
        var worker = try learner.worker(after: Zxid(-1))
        var driver = TestDriver()
        var reader = try source.records(after: found, isBase: true)
        let batch = LogBatch()
        while try reader.read(upTo: last, maxBytes: 1000, into: batch) == .more {}
        try worker.perform(
            [
                .beginSnapshot(found), .snapshotBytes(try stream(&streamer)), .finishSnapshot(digest: nil),
                .append(batch),
            ],
            &driver
        )
        learner.restart(.everythingUnsynced)
        var (mine, theirs) = (NaiveTree(), NaiveTree())
        #expect(try learner.startMember(into: &mine).report.lastZxid == last)
        _ = try recover(disk, into: &theirs)
        #expect(mine.difference(from: theirs) == nil)
    }
}

private final class Reads: Sendable {
    private let reads = Mutex(0)

    var count: Int { reads.withLock { $0 } }

    func add() { reads.withLock { $0 += 1 } }
}
