import AviaryServer
import AviaryStorage
import Foundation
import Testing
import ZooKeeperProtocol

/// A directory of its own for one test, removed afterwards.
final class ScratchDirectory {
    let path: String

    init() throws {
        let url = FileManager.default.temporaryDirectory.appending(path: "aviary-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: false)
        path = url.path
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func file(_ name: String) -> String { path + "/" + name }
}

@Suite("The disk of this machine")
struct PosixDiskTests {
    private let disk = PosixDisk()

    private func write(_ text: String, to file: PosixFile, at offset: Int64) throws {
        try Array(text.utf8).withUnsafeBytes { try file.write($0, at: offset) }
    }

    private func read(_ file: PosixFile, at offset: Int64, count: Int) throws -> String {
        var bytes = [UInt8](repeating: 0, count: count)
        let found = try bytes.withUnsafeMutableBytes { try file.read(into: $0, at: offset) }
        return String(decoding: bytes[..<found], as: UTF8.self)
    }

    @Test("What is written at an offset is read there; reading stops where the file ends")
    func readAndWrite() throws {
        let scratch = try ScratchDirectory()
        let file = try disk.open(scratch.file("a"), .createNew)
        try write("hello world", to: file, at: 0)
        try write("W", to: file, at: 6)
        try file.syncData()
        #expect(try read(file, at: 6, count: 100) == "World")
        #expect(try read(file, at: 11, count: 100) == "")
        #expect(try file.size() == 11)
        try file.truncate(to: 5)
        try file.syncFile()
        #expect(try read(try disk.open(scratch.file("a"), .read), at: 0, count: 100) == "hello")
    }

    @Test("Opening fails or makes a file as its mode says")
    func openModes() throws {
        let scratch = try ScratchDirectory()
        let path = scratch.file("a")
        for mode in [OpenMode.read, .update] {
            let error = #expect(throws: DiskError.self) { try disk.open(path, mode) }
            #expect(error?.reason == .notFound)
            #expect(error?.description.contains(path) == true)
        }
        try write("old", to: try disk.open(path, .createNew), at: 0)
        let error = #expect(throws: DiskError.self) { try disk.open(path, .createNew) }
        #expect(error?.reason == .exists)
        #expect(try read(try disk.open(path, .update), at: 0, count: 9) == "old")
        #expect(try disk.open(path, .replace).size() == 0)
    }

    @Test("What it makes is for this user alone")
    func modes() throws {
        let scratch = try ScratchDirectory()
        _ = try disk.open(scratch.file("file"), .createNew)
        try disk.makeDirectory(scratch.file("folder"))
        let manager = FileManager.default
        let file = try manager.attributesOfItem(atPath: scratch.file("file"))
        let folder = try manager.attributesOfItem(atPath: scratch.file("folder"))
        #expect(file[.posixPermissions] as? Int == 0o600)
        #expect(folder[.posixPermissions] as? Int == 0o700)
    }

    @Test("Reserved space belongs to the file and reads as zeros")
    func allocate() throws {
        let scratch = try ScratchDirectory()
        let file = try disk.open(scratch.file("a"), .createNew)
        try file.allocate(from: 0, count: 100_000)
        #expect(try file.size() == 100_000)
        var status = stat()
        #expect(stat(scratch.file("a"), &status) == 0)
        #expect(Int64(status.st_blocks) * 512 >= 100_000)
        try file.allocate(from: 100_000, count: 50_000)
        #expect(try file.size() == 150_000)
        #expect(try read(file, at: 99_990, count: 3) == "\0\0\0")
    }

    @Test("A directory is listed with sizes and kinds; a rename replaces, a removal removes")
    func names() throws {
        let scratch = try ScratchDirectory()
        try disk.makeDirectory(scratch.file("folder"))
        try write("12345", to: try disk.open(scratch.file("a"), .createNew), at: 0)
        try write("1", to: try disk.open(scratch.file("b"), .createNew), at: 0)
        try disk.rename(scratch.file("a"), to: scratch.file("b"))
        try disk.sync(directory: scratch.path)
        let expected: Set = [
            DirectoryEntry(name: "b", size: 5), DirectoryEntry(name: "folder", size: 0, isDirectory: true),
        ]
        let found = try disk.list(scratch.path).map {
            DirectoryEntry(name: $0.name, size: $0.isDirectory ? 0 : $0.size, isDirectory: $0.isDirectory)
        }
        #expect(Set(found) == expected)
        #expect(try disk.entry(at: scratch.file("b"))?.size == 5)
        try disk.remove(scratch.file("b"))
        #expect(try disk.entry(at: scratch.file("b")) == nil)
        let error = #expect(throws: DiskError.self) { try disk.remove(scratch.file("b")) }
        #expect(error?.reason == .notFound)
    }

    #if os(Linux)
        @Test("A lock is taken although the disk is too full for the name of its holder")
        func lockOnFullDisk() throws {
            _ = try disk.lock("/dev/full", owner: "pid 17")
        }
    #endif

    @Test("A lock keeps a second holder out and tells who the first is, until it goes away")
    func lock() throws {
        let scratch = try ScratchDirectory()
        var lock: PosixLock? = try disk.lock(scratch.file(FileNames.lock), owner: "pid 17")
        let error = #expect(throws: DiskError.self) { try disk.lock(scratch.file(FileNames.lock), owner: "pid 18") }
        #expect(error?.reason == .locked)
        #expect(error?.detail == "pid 17")
        withExtendedLifetime(lock) {}
        lock = nil
        _ = try disk.lock(scratch.file(FileNames.lock), owner: "pid 18")
    }

    @Test("A second server on the same directory is refused in words, also by another name of it")
    func secondServer() throws {
        let scratch = try ScratchDirectory()
        var first = DataDirectories(data: scratch.file("deep/data"))
        let lock = try first.open(on: disk, creates: true, owner: "pid 17")
        var second = DataDirectories(data: scratch.file("deep/data"))
        let error = #expect(throws: StorageError.self) { try second.open(on: disk, creates: true, owner: "pid 18") }
        #expect(error == .directoryInUse(path: scratch.file("deep/data/version-2"), owner: "pid 17"))
        withExtendedLifetime(lock) {}

        try FileManager.default.createSymbolicLink(
            atPath: scratch.file("logs"),
            withDestinationPath: scratch.file("other")
        )
        try disk.makeDirectory(scratch.file("other"))
        var linked = DataDirectories(data: scratch.file("other"), log: scratch.file("logs"))
        _ = try linked.open(on: disk, creates: true, owner: "pid 19")
        #expect(!linked.isSeparate)
    }
}

@Suite("Storage on the disk of this machine")
struct PosixStorageTests {
    @Test("What was written, flushed and snapshotted is there for the next start")
    func roundTrip() throws {
        let scratch = try ScratchDirectory()
        let disk = PosixDisk()
        var directories = DataDirectories(data: scratch.file("data"))
        let lock = try directories.open(on: disk, creates: true, owner: "test")
        var writer = TxnLogWriter(disk: disk, directory: directories.logs, lastZxid: .zero)
        #expect(try writer.prepare() == .ok)
        for number in 1...100 as ClosedRange<Int64> { append(number, to: &writer) }
        #expect(try writer.flush() == Zxid(100))

        var snapshot = SnapshotWriter(
            disk: disk,
            directory: directories.snapshots,
            compression: .gzip,
            gzip: ZlibCodec()
        )
        try snapshot.begin(zxid: Zxid(60), sessions: [(SessionID(7), 4000)], acls: [])
        var nodes = JuteWriter()
        let noBytes = UnsafeRawBufferPointer(start: nil, count: 0)
        SnapshotNode.write(path: noBytes, data: noBytes, aclID: SnapshotNode.openACL, stat: .zero, to: &nodes)
        try nodes.withBytes { try snapshot.append(nodes: $0) }
        let file = try snapshot.finish(digest: nil, lastProcessed: true)
        #expect(file.name == "snapshot.3c.gz")

        // Not closed: as after kill -9.
        var target = CountingTarget()
        let report = try Recovery(disk: disk, directories: directories, gzip: ZlibCodec()).run(into: &target)
        #expect(report.snapshot == "snapshot.3c.gz")
        #expect(report.lastZxid == Zxid(100))
        #expect(target.replayed == 40)
        #expect(target.sessions == 1)
        withExtendedLifetime(lock) {}
    }

    @Test("A golden directory with gzip snapshots loads, and a purge finds them whole")
    func goldenGzip() throws {
        let scratch = try ScratchDirectory()
        let golden = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "Golden/disk/f-gz-snapshot/version-2")
        try FileManager.default.copyItem(atPath: golden.path, toPath: scratch.file("version-2"))
        let disk = PosixDisk()
        let directories = DataDirectories(data: scratch.path)
        var target = CountingTarget()
        let report = try Recovery(disk: disk, directories: directories, gzip: ZlibCodec()).run(into: &target)
        #expect(report.snapshot == "snapshot.c.gz")
        #expect(report.alarms.isEmpty)
        #expect(report.warnings.isEmpty)
        let reader = SnapshotReader(disk: disk, directory: directories.snapshots, gzip: ZlibCodec())
        let summary = try reader.read("snapshot.c.gz", into: &target)
        #expect(summary.zxid == Zxid(0xc))
        #expect(summary.digest?.value == target.nodeDigests)
        var purge = Purge(disk: disk, directories: directories, gzip: ZlibCodec(), retain: 3)
        while try purge.step() == .more {}
        #expect(purge.report.damaged.isEmpty)
        #expect(purge.report.removed.isEmpty)
    }

    private func append(_ zxid: Int64, to writer: inout TxnLogWriter<PosixDisk>) {
        let header = TxnHeader(session: SessionID(7), cxid: 0, zxid: Zxid(zxid), time: 0)
        let txn = Txn(header: header, body: .error(.noNode), digest: nil)
        var payload = JuteWriter()
        txn.write(to: &payload)
        payload.withBytes { writer.append($0, zxid: Zxid(zxid)) }
    }
}

/// Counts what recovery gives it.
private struct CountingTarget: RecoveryTarget {
    var sessions = 0
    var nodes = 0
    var replayed = 0
    /// The digest of the nodes of the last snapshot.
    var nodeDigests: UInt64 = 0

    /// Nothing here knows the tree after a transaction: recovery then compares what it was told.
    var digest: UInt64 { nodeDigests }

    mutating func reset() { self = CountingTarget() }
    mutating func restoreFreshTree() {}
    mutating func restore(session: SessionID, timeoutMilliseconds: Int32) { sessions += 1 }
    mutating func restore(aclID: Int64, acl: [ACL]) {}
    mutating func finishSnapshot() {}
    mutating func finishReplay() {}

    mutating func restore(
        path: UnsafeRawBufferPointer,
        data: UnsafeRawBufferPointer?,
        aclID: Int64,
        stat: StatPersisted
    ) {
        if nodes == 0 || path.count == 0 { nodeDigests = 0 }
        nodes += 1
        guard NodeDigest.counts(path: path) else { return }
        nodeDigests &+= UInt64(NodeDigest.value(prefix: NodeDigest.prefix(path: path, data: data), stat: stat))
    }

    mutating func replay(_ txn: Txn) {
        replayed += 1
        if let digest = txn.digest { nodeDigests = digest.value }
    }
}
