import AviaryCore
import AviaryEnsemble
import AviaryStorage
import ZooKeeperProtocol

/// Loads a data directory as the server does at its start, and looks whether what it made of it holds together.
struct DatabaseLoad {
    let disk: MemoryDisk
    var extendedTypes = false
    var trustsMissingSnapshot = false

    /// Loads, loads again, serves, and writes what was loaded. A directory that is refused stays as it is.
    func run() {
        let before = disk.contents
        guard let first = load() else {
            expect(disk.contents == before, "the files were changed although loading failed")
            return
        }
        // The files are in order now: the next start finds the same, and repairs nothing.
        let repaired = disk.contents
        guard let second = load() else { return expect(false, "what was loaded once is refused") }
        expect(second.report.lastZxid == first.report.lastZxid, "the second load ends elsewhere")
        expect(second.digest == first.digest && second.nodes == first.nodes, "the second load finds another tree")
        expect(second.report.tailCut == nil && disk.contents == repaired, "the second load repairs again")
        writeAndReadBack(first)
        serve(second)
    }

    private final class Loaded {
        var core: ServerCore?
        let report: RecoveryReport
        let digest: UInt64
        let nodes: Int

        init(_ core: consuming ServerCore, _ report: RecoveryReport) {
            digest = core.treeDigest
            nodes = core.nodeCount
            self.core = consume core
            self.report = report
        }

        func take() -> ServerCore? {
            var core: ServerCore?
            swap(&core, &self.core)
            return core
        }
    }

    private var options: CoreOptions {
        var options = FuzzServer.options
        options.extendedTypes = extendedTypes
        return options
    }

    private func load() -> Loaded? {
        let now = Now(wallMilliseconds: 1_700_000_000_000, monotonicMicroseconds: 1_000_000)
        var target = CoreRestorer(ServerCore(options: options, seed: 42, now: now))
        var recoveryOptions = RecoveryOptions()
        recoveryOptions.limits = ReadingLimits(maxBufferBytes: 1 << 20, extendedTypes: extendedTypes)
        recoveryOptions.trustsMissingSnapshot = trustsMissingSnapshot
        let recovery = Recovery(
            disk: disk,
            directories: DataDirectories(data: MemoryDisk.directory),
            gzip: ZlibCodec(),
            options: recoveryOptions
        )
        do {
            let report = try recovery.run(into: &target)
            return Loaded(target.finish(), report)
        } catch {
            // Operators read this: making it must not fail either.
            expect(!error.description.isEmpty, "an error without words")
            return nil
        }
    }

    /// A snapshot of what was loaded holds the same tree.
    private func writeAndReadBack(_ loaded: Loaded) {
        guard var core = loaded.take() else { return }
        let other = MemoryDisk()
        var writer = SnapshotWriter(disk: other, directory: MemoryDisk.versionFolder, gzip: ZlibCodec())
        do {
            let head = core.beginSnapshot()
            try writer.begin(zxid: Zxid(1), sessions: head.sessions, acls: head.acls)
            var nodes = JuteWriter()
            while core.continueSnapshot(maxBytes: 1 << 16, into: &nodes) {}
            try nodes.withBytes { (bytes) throws(StorageError) in try writer.append(nodes: bytes) }
            try writer.finish(digest: nil, lastProcessed: true)
        } catch {
            return expect(false, "a snapshot cannot be written: \(error)")
        }
        guard let again = DatabaseLoad(disk: other, extendedTypes: extendedTypes).load() else {
            return expect(false, "what was written cannot be read")
        }
        expect(again.nodes == loaded.nodes, "\(loaded.nodes) nodes were written, \(again.nodes) read")
        expect(again.digest == loaded.digest, "the tree was written otherwise than it is read")
    }

    /// Clients come, write, and a day passes.
    private func serve(_ loaded: Loaded) {
        guard let core = loaded.take() else { return }
        let server = FuzzServer(core, options, lastZxid: loaded.report.lastZxid)
        defer { server.close() }
        let client = server.connect()
        server.request(.create, xid: 1, on: client) {
            $0.string("/fuzz-")
            $0.string("x")
            ACL.write(ACL.open, to: &$0)
            $0.int32(3)
        }
        for operation in [Operation.getChildren2, .getData, .getACL] {
            server.request(operation, xid: 2, on: client) {
                $0.string("/")
                $0.bool(true)
            }
        }
        for _ in 0..<4 { server.advance(milliseconds: 61_000) }
        server.settle()
    }
}
