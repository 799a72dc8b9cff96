import AviaryCore
import Testing
import ZooKeeperProtocol

@Suite("Recovery: what files hold is taken as it is")
struct RecoveryTests {
    /// A core filled with a snapshot's nodes below those of a fresh tree, not started yet.
    private func loaded(
        _ nodes: [(path: String, data: String, stat: StatPersisted)],
        sessions: [(Int64, Int32)] = []
    ) throws -> CoreHarness {
        let harness = CoreHarness { $0.containerMaxNeverUsedMilliseconds = 1 }
        harness.core.reset()
        for (id, timeout) in sessions { harness.core.restore(session: SessionID(id), timeoutMilliseconds: timeout) }
        let system = ["", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"].map {
            (path: $0, data: "", stat: StatPersisted.zero)
        }
        for node in system + nodes {
            try Array(node.path.utf8).withUnsafeBytes { path in
                try Array(node.data.utf8).withUnsafeBytes { data in
                    try harness.core.restore(path: path, data: data, aclID: SnapshotNode.openACL, stat: node.stat)
                }
            }
        }
        try harness.core.finishSnapshot()
        return harness
    }

    private func stat(_ zxid: Int64, owner: Int64 = 0, mtime: Int64 = 0, pzxid: Int64? = nil) -> StatPersisted {
        StatPersisted(
            czxid: Zxid(zxid),
            mzxid: Zxid(zxid),
            ctime: 0,
            mtime: mtime,
            ephemeralOwner: owner,
            pzxid: Zxid(pzxid ?? zxid)
        )
    }

    private func txn(_ zxid: Int64, _ body: TxnBody, session: Int64 = 1) -> Txn {
        Txn(header: TxnHeader(session: SessionID(session), cxid: 0, zxid: Zxid(zxid), time: 0), body: body, digest: nil)
    }

    private func create(_ path: String) -> TxnBody {
        .create(
            TxnBody.CreateTxn(
                kind: .create2,
                path: Array(path.utf8),
                data: [1],
                acl: ACL.open,
                isEphemeral: false,
                parentCVersion: 1
            )
        )
    }

    private func start(_ harness: CoreHarness, _ zxid: Int64) -> Client {
        harness.core.start(lastZxid: Zxid(zxid), at: harness.now, into: &harness.output)
        harness.carryOut()
        return harness.connect()
    }

    @Test("The end of a session marks the parents of its ephemerals, also of those that a snapshot ahead lacks")
    func closeSessionOverSnapshotThatIsAhead() throws {
        let harness = try loaded([("/p", "", stat(2)), ("/q", "", stat(3))])
        try harness.core.replay(txn(9, .closeSession(paths: [Array("/p/e".utf8), Array("/q/e".utf8)])))
        try harness.core.finishReplay()
        let client = start(harness, 9)
        #expect(client.read(.exists, "/p").stat?.pzxid == Zxid(9))
        #expect(client.read(.exists, "/q").stat?.pzxid == Zxid(9))
    }

    @Test("What is replayed of an earlier node of a path does not stick to the later one that a snapshot ahead has")
    func laterNodeOfTheSamePath() throws {
        let later = StatPersisted(
            czxid: Zxid(8),
            mzxid: Zxid(8),
            ctime: 0,
            mtime: 0,
            ephemeralOwner: 2,
            pzxid: Zxid(8)
        )
        let harness = try loaded([("/e", "new", later)], sessions: [(1, 5000), (2, 5000)])
        let path = Array("/e".utf8)
        try harness.core.replay(txn(5, .setData(path: path, data: Array("old".utf8), version: 7, isReconfig: false)))
        try harness.core.replay(txn(6, .setACL(path: path, acl: ACL.readable, version: 3)))
        // The old form, without a list: it cannot say that the earlier node went.
        try harness.core.replay(txn(7, .closeSession(paths: nil)))
        let create = TxnBody.CreateTxn(
            kind: .create,
            path: path,
            data: Array("new".utf8),
            acl: ACL.open,
            isEphemeral: true,
            parentCVersion: 2
        )
        try harness.core.replay(txn(8, .create(create), session: 2))
        try harness.core.finishReplay()
        let client = start(harness, 8)
        let reply = client.read(.getData, "/e")
        #expect(reply.string == "new")
        #expect(reply.stat?.version == 0)
        #expect(reply.stat?.aversion == 0)
        #expect(reply.stat?.mzxid == Zxid(8))
    }

    @Test("A node made in a parent that a snapshot ahead no longer has is passed over; a parent lost otherwise is not")
    func missingParent() throws {
        let ahead = try loaded([])
        try ahead.core.replay(txn(5, create("/gone/child")))
        try ahead.core.replay(txn(6, .delete(path: Array("/gone/child".utf8), byContainerCheck: false)))
        try ahead.core.replay(txn(8, .delete(path: Array("/gone".utf8), byContainerCheck: false)))
        try ahead.core.finishReplay()
        try ahead.core.replay(txn(9, create("/lost/child")))
        #expect(throws: RestoreFailure.missingParent(path: "/lost/child")) { try ahead.core.finishReplay() }
    }

    @Test("What a quota counts is right after a replay over a snapshot that is ahead")
    func quotaOverSnapshotThatIsAhead() throws {
        // /q/a was deleted and made again, with a child, while the snapshot was written.
        let quota = [
            ("/q", "", stat(1)), ("/q/a", "", stat(6)), ("/q/a/b", "12", stat(7)),
            ("/zookeeper/quota/q", "", stat(2)),
            ("/zookeeper/quota/q/zookeeper_limits", "count=9,bytes=9", stat(3)),
            ("/zookeeper/quota/q/zookeeper_stats", "", stat(4)),
        ]
        let harness = try loaded(quota.map { (path: $0.0, data: $0.1, stat: $0.2) })
        try harness.core.replay(txn(5, .delete(path: Array("/q/a".utf8), byContainerCheck: false)))
        try harness.core.replay(txn(6, create("/q/a")))
        try harness.core.replay(txn(7, create("/q/a/b")))
        try harness.core.finishReplay()
        let client = start(harness, 7)
        #expect(client.read(.getData, "/zookeeper/quota/q/zookeeper_stats").string == "count=3,bytes=2")
    }

    @Test("Ephemerals of sessions that are not there go at the start")
    func orphans() throws {
        let harness = try loaded(
            [("/e", "", stat(1, owner: 99)), ("/f", "", stat(1, owner: 5))],
            sessions: [(5, 9000)]
        )
        let client = start(harness, 1)
        #expect(client.children("/").sorted() == ["f", "zookeeper"])
        #expect(harness.core.digestMismatchCount == 0)
    }

    @Test("A node whose ACL is nowhere is an error, unless what follows says what it is")
    func unknownACL() throws {
        func harness() throws -> CoreHarness {
            let harness = try loaded([])
            try Array("/a".utf8).withUnsafeBytes {
                try harness.core.restore(path: $0, data: nil, aclID: 12, stat: stat(5))
            }
            return harness
        }
        let lost = try harness()
        #expect(throws: RestoreFailure.unknownACL(id: 12, path: "/a")) { try lost.core.finishReplay() }
        let found = try harness()
        try found.core.replay(txn(6, .setACL(path: Array("/a".utf8), acl: ACL.readable, version: 1)))
        try found.core.finishReplay()
        #expect(start(found, 6).set("/a", "x").error == .noAuth)
    }

    @Test("A second attempt finds nothing of the first")
    func reset() throws {
        let harness = try loaded([("/a", "", stat(1))], sessions: [(5, 9000)])
        try harness.core.replay(txn(128, .setData(path: Array("/a".utf8), data: [1], version: 1, isReconfig: false)))
        #expect(harness.core.digestLog.entries.count == 1)
        harness.core.reset()
        harness.core.restoreFreshTree()
        try harness.core.finishReplay()
        #expect(harness.core.digestLog.entries.isEmpty)
        #expect(harness.core.sessionCount == 0)
        #expect(harness.core.nodeCount == 5)
        #expect(harness.core.treeDigest == 0x51c6_d660)
    }

    @Test("Times and timeouts out of all reason stop neither the reaper nor expiry")
    func unreasonableTimes() throws {
        let ttl = NodeKind.ttl(milliseconds: 5).owner
        let harness = try loaded(
            [
                ("/c", "", stat(1, owner: NodeKind.containerOwner, mtime: Int64.min)),
                ("/d", "", stat(1, owner: NodeKind.containerOwner, mtime: Int64.max)),
                ("/t", "", stat(1, owner: ttl, mtime: Int64.min)), ("/u", "", stat(1, owner: ttl, mtime: Int64.max)),
                ("/v", "", stat(1, owner: ttl, mtime: 0)), ("/e", "", stat(1, owner: 77)),
            ],
            sessions: [(77, Int32.min), (78, Int32.max)]
        )
        let client = start(harness, 1)
        for _ in 0..<10 {
            harness.advance(milliseconds: 7_000)
            client.post(.ping, xid: -2)
            _ = client.next()
        }
        #expect(client.read(.exists, "/v").error == .noNode)
        #expect(client.read(.exists, "/e").error == .noNode)
        #expect(harness.core.sessionCount == 2)
    }

    @Test("A snapshot has the timeout that a session was created with, and no session that is still being created")
    func sessionsInSnapshots() {
        let harness = CoreHarness()
        let first = harness.connect(timeout: 10_000)
        let again = harness.connect(timeout: 4_000, session: first.session, password: first.password)
        #expect(again.timeout == 4_000)
        harness.isDiskHeld = true
        _ = harness.connect(timeout: 6_000)
        let head = harness.core.beginSnapshot()
        #expect(head.sessions.map(\.0.rawValue) == [first.session])
        #expect(head.sessions.map(\.1) == [10_000])
    }
}
