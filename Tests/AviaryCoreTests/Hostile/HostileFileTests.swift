import AviaryCore
import Testing
import ZooKeeperProtocol

/// Records and nodes that no server wrote: refused, or taken for what they are, but never a stop or an endless loop.
@Suite("Hostile files")
struct HostileFileTests {
    /// A log and a snapshot, out of what clients did in the golden transcripts.
    private static let sound: (log: [[UInt8]], nodes: [[UInt8]], head: SnapshotHead) = {
        let harness = CoreHarness()
        var client = harness.connect()
        for frame in RecordedFrames.sent.requests {
            if client.isClosed { client = harness.connect() }
            harness.send(frame, on: client.id)
        }
        let head = harness.core.beginSnapshot()
        var nodes: [[UInt8]] = []
        var writer = JuteWriter()
        while harness.core.continueSnapshot(maxBytes: 1, into: &writer) {
            nodes.append(writer.copy())
            writer.removeAll()
        }
        nodes.append(writer.copy())
        return (harness.log, nodes, head)
    }()

    private func restore(_ node: [UInt8], into core: inout ServerCore) {
        node.withUnsafeBytes { bytes in
            var reader = JuteReader(bytes)
            guard let path = try? reader.requiredBuffer(), let data = try? reader.buffer(),
                let acl = try? reader.int64(), let stat = try? StatPersisted(from: &reader)
            else { return }
            try? core.restore(path: path, data: data, aclID: acl, stat: stat)
        }
    }

    /// Whatever was loaded is served, goes through a day, and is written and loaded again.
    private func live(_ harness: CoreHarness) {
        harness.core.start(lastZxid: harness.core.lastProcessedZxid, at: harness.now, into: &harness.output)
        harness.carryOut()
        let client = harness.connect()
        client.create("/a/b/c", flags: 2)
        client.create("/new")
        _ = client.set("/", "x")
        for path in client.children("/") { _ = client.read(.getData, "/" + path, watch: true) }
        for _ in 0..<5 { harness.advance(milliseconds: 61_000) }
        #expect(harness.core.outstandingRequests == 0)
        var writer = JuteWriter()
        _ = harness.core.beginSnapshot()
        while harness.core.continueSnapshot(maxBytes: 1 << 16, into: &writer) {}
    }

    @Test("Changed log records", arguments: 0..<HostileFrameTests.rounds)
    func records(seed: Int) {
        var random = ModelRandom(seed: UInt64(seed) + 50)
        let harness = CoreHarness()
        harness.core.reset()
        harness.core.restoreFreshTree()
        for payload in Self.sound.log {
            let bytes = random.oneIn(3) ? random.mutated(payload) : payload
            guard let txn = try? bytes.withUnsafeBytes({ try Txn(payload: $0) }) else { continue }
            try? harness.core.replay(txn)
        }
        try? harness.core.finishReplay()
        live(harness)
    }

    @Test("Changed nodes of a snapshot, and the log over them", arguments: 0..<HostileFrameTests.rounds)
    func nodes(seed: Int) {
        var random = ModelRandom(seed: UInt64(seed) + 500)
        let harness = CoreHarness()
        harness.core.reset()
        for (session, timeout) in Self.sound.head.sessions where !random.oneIn(3) {
            harness.core.restore(
                session: session,
                timeoutMilliseconds: random.oneIn(3) ? random.pick([-1, 0, Int32.max]) : timeout
            )
        }
        for (id, list) in Self.sound.head.acls where !random.oneIn(3) { harness.core.restore(aclID: id, acl: list) }
        for node in Self.sound.nodes { restore(random.oneIn(3) ? random.mutated(node) : node, into: &harness.core) }
        guard (try? harness.core.finishSnapshot()) != nil else { return }
        for payload in Self.sound.log where random.oneIn(2) {
            guard let txn = try? payload.withUnsafeBytes({ try Txn(payload: $0) }) else { continue }
            try? harness.core.replay(txn)
        }
        try? harness.core.finishReplay()
        live(harness)
    }

    @Test("Nodes below an ephemeral go with it, whatever is in flight for them", arguments: [true, false])
    func childrenOfEphemeral(isListed: Bool) throws {
        let harness = CoreHarness { $0.closeSessionTxn = isListed }
        harness.core.reset()
        harness.core.restore(session: SessionID(5), timeoutMilliseconds: 2000)
        for (path, owner) in [("", 0), ("/e", 5), ("/e/c", 0), ("/e/c/d", 0), ("/e/f", 5), ("/e/g", 6)]
            as [(String, Int64)]
        {
            let stat = StatPersisted(
                czxid: Zxid(1),
                mzxid: Zxid(1),
                ctime: 0,
                mtime: 0,
                ephemeralOwner: owner,
                pzxid: Zxid(1)
            )
            try Array(path.utf8).withUnsafeBytes {
                try harness.core.restore(path: $0, data: nil, aclID: SnapshotNode.openACL, stat: stat)
            }
        }
        harness.core.restore(session: SessionID(6), timeoutMilliseconds: 20_000)
        try harness.core.finishSnapshot()
        harness.core.start(lastZxid: Zxid(1), at: harness.now, into: &harness.output)
        harness.carryOut()
        let client = harness.connect(timeout: 20_000)
        harness.isDiskHeld = true
        client.post(.setData) {
            $0.string("/e/c/d")
            $0.string("in flight")
            $0.int32(-1)
        }
        harness.advance(milliseconds: 6000)
        client.post(.setData) {
            $0.string("/e/c")
            $0.string("too late")
            $0.int32(-1)
        }
        client.postCreate("/e/c/new")
        harness.releaseDisk()
        #expect(client.next()?.error == .ok)
        #expect(client.next()?.error == .noNode)
        #expect(client.next()?.error == .noNode)
        #expect(client.children("/") == [])
        #expect(harness.core.digestMismatchCount == 0)
        live(harness)
    }

    @Test("A root that claims to belong to a session, or to be a container, stays", arguments: [5, Int64.min, -5])
    func ownedRoot(owner: Int64) throws {
        let harness = CoreHarness { $0.containerMaxNeverUsedMilliseconds = 1 }
        harness.core.reset()
        let stat = StatPersisted(
            czxid: .zero,
            mzxid: .zero,
            ctime: 0,
            mtime: 0,
            ephemeralOwner: owner,
            pzxid: .zero
        )
        let empty = UnsafeRawBufferPointer(start: nil, count: 0)
        try harness.core.restore(path: empty, data: nil, aclID: SnapshotNode.openACL, stat: stat)
        try harness.core.finishSnapshot()
        live(harness)
        #expect(harness.core.nodeCount >= 2)
    }
}
