import AviarySimulation
import AviaryStorage
import Testing
import ZooKeeperProtocol

/// Directories that Apache's servers wrote load to the tree that Apache's servers load.
@Suite("Golden data directories")
struct GoldenRecoveryTests {
    @Test(
        "Every sound directory gives its tree, its sessions and its digest",
        arguments: [
            "a2-fresh-snapshot0-and-log", "b-snapshots-and-logs", "c-features", "c2-features-snapshot",
            "d-truncated-last-record", "d2-zero-length-tail-log", "d3-torn-tail-then-next-log", "f2-snappy-snapshot",
            "g-ensemble-epochs/s1", "g-ensemble-epochs/s2", "g-ensemble-epochs/s3", "g-ensemble-epochs/s4",
            "h-debian-3.8.0", "j-no-digest-old-style", "k-fuzzy-snapshot",
        ]
    )
    func sound(_ name: String) throws {
        let disk = SimulatedDisk()
        try Golden.install(name, on: disk)
        var tree = NaiveTree()
        let report = try recover(disk, into: &tree)
        let expected = try Golden.expected(name)
        compare(tree, report, expected, comparesDigest: name != "j-no-digest-old-style")
        #expect(report.snapshot == expected.snapshotUsed)
        #expect(report.alarms.isEmpty, "\(report.alarms)")
    }

    @Test("The same tree comes from any of its snapshots")
    func fromAnySnapshot() throws {
        let expected = try Golden.expected("b-snapshots-and-logs")
        for snapshot in ["snapshot.29", "snapshot.20", "snapshot.16", "snapshot.9", "snapshot.0"] {
            let disk = SimulatedDisk()
            try Golden.install("b-snapshots-and-logs", on: disk)
            let limit = try #require(FileNames.snapshotZxid(snapshot)?.zxid)
            for name in disk.files(in: "data/version-2").keys {
                if let zxid = FileNames.snapshotZxid(name)?.zxid, zxid > limit {
                    try disk.remove("data/version-2/" + name)
                }
            }
            var tree = NaiveTree()
            let report = try recover(disk, into: &tree)
            #expect(report.snapshot == snapshot)
            compare(tree, report, expected)
        }
    }

    @Test("Logs without a snapshot are refused, and with trust give the whole tree")
    func logsOnly() throws {
        let disk = SimulatedDisk()
        try Golden.install("a-logs-only", on: disk)
        var tree = NaiveTree()
        #expect(throws: StorageError.logsWithoutSnapshot(directory: "data/version-2", firstLog: "log.1")) {
            try recover(disk, into: &tree)
        }
        let report = try recover(disk, into: &tree) { $0.trustsMissingSnapshot = true }
        compare(tree, report, try Golden.expected("a-logs-only"))
        #expect(report.snapshot == nil)
        #expect(report.warnings.count == 1)
    }

    @Test("A record that is damaged in the middle is refused with file, offset and last good zxid")
    func corruptMiddle() throws {
        let disk = SimulatedDisk()
        try Golden.install("e-corrupt-middle", on: disk)
        let before = disk.files(in: "data/version-2")
        var tree = NaiveTree()
        let error = #expect(throws: StorageError.self) { try recover(disk, into: &tree) }
        guard case .damagedLog(let damage) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(damage.file == "data/version-2/log.1")
        #expect(damage.offset == 744)
        #expect(damage.lastGoodZxid == Zxid(7))
        #expect(disk.files(in: "data/version-2") == before)
    }

    @Test("A torn record is cut, and what is cut is on disk before anything is served")
    func tornTail() throws {
        let disk = SimulatedDisk()
        try Golden.install("d-truncated-last-record", on: disk)
        var tree = NaiveTree()
        let report = try recover(disk, into: &tree)
        let cut = try #require(report.tailCut)
        #expect(cut.file == "log.1")
        #expect(cut.offset == 1329)
        #expect(cut.zxid == Zxid(0xe))
        #expect(cut.reason == "the record is incomplete")
        disk.restart(.everythingUnsynced)
        #expect(disk.contents("data/version-2/log.1")?.count == 1329)
        let again = try recover(disk, into: &tree)
        #expect(again.lastZxid == Zxid(0xd))
        #expect(again.tailCut == nil)
        #expect(again.warnings.isEmpty)
    }

    @Test("A log that never got a record is removed")
    func emptyTailLog() throws {
        let disk = SimulatedDisk()
        try Golden.install("d2-zero-length-tail-log", on: disk)
        var tree = NaiveTree()
        let report = try recover(disk, into: &tree)
        #expect(report.removedLogs == ["log.20"])
        disk.restart(.everythingUnsynced)
        #expect(disk.contents("data/version-2/log.20") == nil)
    }

    @Test("A torn record in an older log is passed over with a word when its zxid was used again")
    func tornTailThenNextLog() throws {
        let disk = SimulatedDisk()
        try Golden.install("d3-torn-tail-then-next-log", on: disk)
        try disk.remove("data/version-2/snapshot.d")
        var tree = NaiveTree()
        let report = try recover(disk, into: &tree)
        compare(tree, report, try Golden.expected("d3-torn-tail-then-next-log"))
        #expect(report.warnings.count == 1)
        #expect(report.warnings.first?.contains("log.1") == true)
    }

    @Test("Without extended types a directory with TTL nodes is refused, from its snapshot and from its log")
    func ttlNodes() throws {
        for name in ["c-features", "c2-features-snapshot"] {
            let disk = SimulatedDisk()
            try Golden.install(name, on: disk)
            var tree = NaiveTree()
            let error = #expect(throws: StorageError.self) {
                try recover(disk, into: &tree) { $0.limits.extendedTypes = false }
            }
            guard case .ttlNodesWithoutExtendedTypes(_, let path) = error else {
                Issue.record("\(String(describing: error))")
                continue
            }
            #expect(path.hasPrefix("/ttl"))
            #expect(error?.description.contains("extendedTypesEnabled=true") == true)
        }
    }

    // MARK: - Comparing

    private func compare(
        _ tree: NaiveTree,
        _ report: RecoveryReport,
        _ expected: Golden.Expected,
        comparesDigest: Bool = true,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(report.lastZxid == Zxid(Golden.number(expected.lastZxid)), sourceLocation: sourceLocation)
        if comparesDigest {
            #expect(
                tree.digest == UInt64(bitPattern: Golden.number(expected.treeDigest)),
                sourceLocation: sourceLocation
            )
        }
        let sessions = Dictionary(uniqueKeysWithValues: expected.sessions.map { (Golden.number($0.id), $0.timeoutMs) })
        #expect(tree.sessions == sessions, sourceLocation: sourceLocation)
        #expect(tree.nodes.count == expected.nodes.count, sourceLocation: sourceLocation)
        for node in expected.nodes { compare(tree, node, sourceLocation) }
        compareOwners(tree, expected, sourceLocation)
    }

    private func compare(_ tree: NaiveTree, _ node: Golden.Expected.Node, _ location: SourceLocation) {
        let path = node.path == "/" ? "" : node.path
        guard let found = tree.nodes[path] else {
            Issue.record("\(node.path) is missing", sourceLocation: location)
            return
        }
        #expect(found.data == node.data.map(Golden.bytes), "\(node.path)", sourceLocation: location)
        let acl = node.acl.map { ACL($0.perms, $0.scheme, $0.id) }
        #expect(found.acl == acl, "\(node.path)", sourceLocation: location)
        let stat = StatPersisted(
            czxid: Zxid(Golden.number(node.stat.czxid)),
            mzxid: Zxid(Golden.number(node.stat.mzxid)),
            ctime: node.stat.ctime,
            mtime: node.stat.mtime,
            version: node.stat.version,
            cversion: node.persisted.cversion,
            aversion: node.stat.aversion,
            ephemeralOwner: Golden.number(node.persisted.ephemeralOwner),
            pzxid: Zxid(Golden.number(node.stat.pzxid))
        )
        #expect(found.stat == stat, "\(node.path)", sourceLocation: location)
        #expect(tree.childCount(of: path) == node.stat.numChildren, "\(node.path)", sourceLocation: location)
    }

    private func compareOwners(_ tree: NaiveTree, _ expected: Golden.Expected, _ location: SourceLocation) {
        var ephemerals: [String: Set<String>] = [:]
        var containers: Set<String> = []
        var ttls: Set<String> = []
        for (path, node) in tree.nodes {
            switch NodeKind(owner: node.stat.ephemeralOwner, extendedTypes: true) {
            case .persistent: break
            case .ephemeral(let session): ephemerals["\(session)", default: []].insert(path)
            case .container: containers.insert(path)
            case .ttl: ttls.insert(path)
            }
        }
        #expect(ephemerals == expected.ephemerals.mapValues { Set($0) }, sourceLocation: location)
        #expect(containers == Set(expected.containers), sourceLocation: location)
        #expect(ttls == Set(expected.ttls), sourceLocation: location)
    }
}
