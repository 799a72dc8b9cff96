import AviaryCore
import Testing
import ZooKeeperProtocol

@Suite("From role to role")
struct RoleChangeTests {
    @Test("Stopping in the middle leaves what was committed, to the digest and the last ACL")
    func stopInTheMiddle() {
        let ensemble = Ensemble {
            $0.enforceQuota = true
            $0.superDigest = "super:d3A6cmVwdXM="
        }
        let clients = ensemble.members.map { $0.connect() }
        let secret = [ACL(31, "ip", "127.0.0.1"), ACL(1, "world", "anyone")]
        clients[0].create("/a", "x", acl: secret)
        clients[1].create("/a/b")
        clients[2].create("/e", flags: 1)
        clients[0].create("/zookeeper/quota/a")
        clients[0].create("/zookeeper/quota/a/zookeeper_limits", "count=10,bytes=100")
        clients[0].create("/zookeeper/quota/a/zookeeper_stats", "")
        let before = ensemble.members.map { Ensemble.Picture(of: $0) }
        ensemble.commitsAreHeld = true
        for (index, client) in clients.enumerated() {
            let acl = [ACL(31, "ip", "10.0.0.\(index)")]
            client.post(.create) {
                $0.string("/a/new\(index)")
                $0.string("data")
                ACL.write(acl, to: &$0)
                $0.int32(1)
            }
            client.post(.setACL) {
                $0.string("/a")
                ACL.write(acl + ACL.readable, to: &$0)
                $0.int32(-1)
            }
            client.post(.setData) {
                $0.string("/a")
                $0.string("changed")
                $0.int32(-1)
            }
            client.post(.multi) { writer in
                MultiHeader.write(type: Operation.create.rawValue, to: &writer)
                writer.string("/m\(index)")
                writer.string("")
                ACL.write(acl, to: &writer)
                writer.int32(0)
                MultiHeader.write(type: Operation.delete.rawValue, to: &writer)
                writer.string(index == 0 ? "/a/b" : "/none")
                writer.int32(-1)
                MultiHeader.writeEnd(to: &writer)
            }
            client.post(.closeSession)
        }
        for member in ensemble.members { _ = member.connect() }
        #expect(ensemble.proposals.count > 15)
        // Some of it becomes certain.
        for _ in 0..<2 { ensemble.commitNext() }
        ensemble.settle()
        let half = Ensemble.Picture(of: ensemble.leader)
        ensemble.stop()
        for member in ensemble.members {
            #expect(Ensemble.Picture(of: member) == half)
            #expect(member.core.role == .looking)
            #expect(member.core.outstandingRequests == 0)
        }
        #expect(half != before[0])
        for client in clients { #expect(client.isClosed) }
        ensemble.commitsAreHeld = false
        ensemble.elect(1)
        ensemble.expectEqual()
        // What was closing lives, and what was in flight can be asked for again.
        let again = ensemble.members[0].connect(session: clients[2].session, password: clients[2].password)
        #expect(again.session == clients[2].session)
        #expect(again.read(.exists, "/e").error == .ok)
        #expect(again.create("/m0").error == .ok)
        ensemble.expectEqual()
    }

    @Test("Looking servers serve nobody")
    func looking() {
        let ensemble = Ensemble()
        let member = ensemble.members[1]
        ensemble.stop()
        #expect(member.core.role.modeName == nil)
        let client = member.connect(readOnly: true)
        #expect(client.isClosed && client.session == 0)
    }

    @Test("What was proposed before and is committed after a change of leader is applied once")
    func tail() throws {
        let ensemble = Ensemble()
        let client = ensemble.leader.connect()
        client.create("/a")
        ensemble.commitsAreHeld = true
        client.postCreate("/a/b", flags: 1)
        let tail = ensemble.proposals
        ensemble.stop()
        for member in ensemble.members {
            for (_, payload) in tail {
                for _ in 0..<2 {
                    try payload.withUnsafeBytes {
                        try member.core.applyCommitted($0, at: ensemble.now, into: &member.output)
                    }
                }
            }
            #expect(member.core.lastProcessedZxid == tail[0].zxid)
        }
        ensemble.commitsAreHeld = false
        ensemble.elect(2)
        let again = ensemble.members[0].connect(session: client.session, password: client.password)
        #expect(again.read(.exists, "/a/b").stat?.ephemeralOwner == client.session)
        ensemble.expectEqual()
    }

    @Test("A leader removes ephemerals whose session is gone")
    func orphans() {
        let ensemble = Ensemble(count: 2)
        ensemble.stop()
        let txn = Txn(
            header: TxnHeader(session: SessionID(77), cxid: 1, zxid: Zxid(0x1_0000_0001), time: 5),
            body: .create(
                TxnBody.CreateTxn(
                    kind: .create,
                    path: Array("/orphan".utf8),
                    data: nil,
                    acl: ACL.open,
                    isEphemeral: true,
                    parentCVersion: 1
                )
            ),
            digest: nil
        )
        for member in ensemble.members {
            member.core.applyCommitted(txn, at: ensemble.now, into: &member.output)
        }
        ensemble.elect(0)
        ensemble.settle()
        for member in ensemble.members {
            #expect(member.core.ephemeralCount == 0)
            #expect(member.connect().read(.exists, "/orphan").error == .noNode)
        }
        ensemble.expectEqual()
    }

    @Test("A learner's state can be replaced by the leader's, and it serves again")
    func replaced() throws {
        let ensemble = Ensemble()
        let client = ensemble.leader.connect(timeout: 5000)
        client.create("/a", "x", acl: [ACL(31, "ip", "127.0.0.1")])
        client.create("/e", flags: 1)
        let old = ensemble.members[1].connect()
        old.read(.exists, "/a", watch: true)
        ensemble.stop()
        let member = ensemble.members[1]
        let head = ensemble.leader.core.beginSnapshot()
        var nodes = JuteWriter()
        while ensemble.leader.core.continueSnapshot(maxBytes: 100, into: &nodes) {}
        // It is in the middle of a snapshot of its own.
        _ = member.core.beginSnapshot()
        var half = JuteWriter()
        _ = member.core.continueSnapshot(maxBytes: 10, into: &half)
        #expect(member.core.isSnapshotUnderWay == true)
        member.core.reset()
        #expect(member.core.isSnapshotUnderWay == false)
        for (session, timeout) in head.sessions {
            member.core.restore(session: session, timeoutMilliseconds: timeout)
        }
        for (id, acl) in head.acls { member.core.restore(aclID: id, acl: acl) }
        try nodes.withBytes { bytes in
            var reader = JuteReader(bytes)
            while reader.remaining > 0 {
                let path = try reader.requiredBuffer()
                let data = try reader.buffer()
                let acl = try reader.int64()
                let stat = try StatPersisted(from: &reader)
                try member.core.restore(path: path, data: data, aclID: acl, stat: stat)
            }
        }
        try member.core.finishSnapshot()
        member.core.restored(upTo: head.zxid)
        #expect(member.core.lastProcessedZxid == head.zxid)
        ensemble.elect(0)
        ensemble.expectEqual()
        let again = member.connect(session: client.session, password: client.password)
        #expect(again.set("/a", "y").error == .ok)
        #expect(again.call(.closeSession).error == .ok)
        ensemble.expectEqual()
    }

    @Test("A tree that differs is noticed, and goes on")
    func divergence() {
        let ensemble = Ensemble()
        let client = ensemble.leader.connect()
        client.create("/a")
        let member = ensemble.learners[0]
        let stray = Txn(
            header: TxnHeader(session: .none, cxid: 0, zxid: Zxid(0x1_0000_0003), time: 5),
            body: .setData(path: Array("/a".utf8), data: nil, version: 9, isReconfig: false),
            digest: nil
        )
        ensemble.commitsAreHeld = true
        client.post(.setData) {
            $0.string("/a")
            $0.string("x")
            $0.int32(-1)
        }
        member.core.applyCommitted(stray, at: ensemble.now, into: &member.output)
        ensemble.commitsAreHeld = false
        ensemble.settle()
        client.create("/b")
        #expect(member.core.digestMismatchCount == 1)
        #expect(member.notes.contains { $0.level == .error })
        #expect(member.connect().read(.exists, "/b").error == .ok)
    }

    @Test("The configuration is written into its node, and is in no digest")
    func configuration() {
        let ensemble = Ensemble()
        let member = ensemble.learners[0]
        let digest = member.core.treeDigest
        member.core.setConfiguration(Array("server.1=…\nversion=0".utf8), version: .zero, at: ensemble.now)
        #expect(member.core.treeDigest == digest)
        let reply = member.connect().read(.getData, "/zookeeper/config")
        #expect(reply.string == "server.1=…\nversion=0")
        #expect(reply.stat?.version == -1 && reply.stat?.aversion == -1 && reply.stat?.ctime == 0)
        #expect(reply.stat?.mtime == ensemble.now.wallMilliseconds)
    }

    @Test("A reconfiguration is one transaction, for whom it is allowed")
    func reconfig() {
        let ensemble = Ensemble {
            $0.reconfigEnabled = true
            $0.superDigest = "super:d3A6cmVwdXM="
        }
        var asked: [ReconfigRequest] = []
        ensemble.leader.core.reconfigure = { request, zxid throws(ErrorCode) in
            asked.append(request)
            if request.newMembers == "bad" { throw .newConfigNoQuorum }
            return Array("\(request.newMembers ?? "")\nversion=\(zxid.hex)".utf8)
        }
        let client = ensemble.learners[0].connect()
        let watcher = ensemble.learners[1].connect()
        watcher.read(.getData, "/zookeeper/config", watch: true)
        func reconfig(_ members: String) -> Client.Reply {
            client.call(.reconfig) {
                $0.int32(-1)
                $0.int32(-1)
                $0.string(members)
                $0.int64(-1)
            }
        }
        #expect(reconfig("new").error == .noAuth)
        #expect(asked.isEmpty)
        client.call(.auth) {
            $0.int32(0)
            $0.string("digest")
            $0.string("super:pw")
        }
        #expect(reconfig("bad").error == .newConfigNoQuorum)
        let reply = reconfig("new")
        #expect(reply.error == .ok)
        let version = String(reply.zxid, radix: 16)
        #expect(reply.string == "new\nversion=\(version)")
        #expect(reply.stat?.version == -1 && reply.stat?.mzxid == Zxid(reply.zxid))
        for member in ensemble.members {
            let node = member.connect().read(.getData, "/zookeeper/config")
            #expect(node.string == "new\nversion=\(version)")
        }
        _ = watcher.call(.ping)
        #expect(watcher.events.map(\.path) == ["/zookeeper/config"])
        ensemble.expectEqual()
    }

    @Test("Without enabled reconfiguration, and without anybody who can, it is refused")
    func noReconfig() {
        for (isEnabled, code) in [(false, ErrorCode.reconfigDisabled), (true, .unimplemented)] {
            let ensemble = Ensemble { $0.reconfigEnabled = isEnabled }
            let reply = ensemble.learners[0].connect().call(.reconfig) {
                $0.int32(-1)
                $0.int32(-1)
                $0.string("x")
                $0.int64(-1)
            }
            #expect(reply.error == code)
        }
    }

    @Test("Only reading: old data, no global sessions, and the end of it when there is a leader")
    func readOnly() {
        let ensemble = Ensemble { $0.localSessionsEnabled = true }
        ensemble.leader.connect().create("/a", "x")
        ensemble.elect(0)
        let member = ensemble.members[1]
        ensemble.stop()
        member.core.serveReadOnly(at: ensemble.now, into: &member.output)
        #expect(member.core.role.modeName == "read-only")
        let client = member.connect(readOnly: true)
        #expect(client.isReadOnly)
        #expect(client.read(.getData, "/a").string == "x")
        #expect(client.set("/a", "y").error == .notReadOnly)
        client.disconnect()
        let again = member.connect(session: client.session, password: client.password, readOnly: true)
        #expect(again.session == client.session)
        ensemble.elect(2)
        #expect(again.isClosed)
        #expect(!member.connect(readOnly: true).isReadOnly)
    }

    @Test("Only reading: a session of the ensemble is neither taken nor called expired")
    func readOnlyGlobalSession() {
        let ensemble = Ensemble()
        let client = ensemble.members[1].connect()
        ensemble.stop()
        let member = ensemble.members[1]
        member.core.serveReadOnly(at: ensemble.now, into: &member.output)
        let again = member.connect(session: client.session, password: client.password, readOnly: true)
        #expect(again.isClosed && member.inbox[again.id]?.isEmpty ?? true)
        ensemble.elect(0)
        #expect(
            member.connect(session: client.session, password: client.password).session == client.session
        )
    }

    @Test("Only reading needs local sessions")
    func readOnlyWithoutLocalSessions() {
        let ensemble = Ensemble()
        ensemble.stop()
        let member = ensemble.members[1]
        member.core.serveReadOnly(at: ensemble.now, into: &member.output)
        let client = member.connect(readOnly: true)
        #expect(client.isClosed && member.inbox[client.id]?.isEmpty ?? true)
    }
}
