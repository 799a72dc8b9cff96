import AviaryCore
import Testing
import ZooKeeperProtocol

@Suite("sync")
struct SyncTests {
    private func post(_ client: Client, sync path: String) {
        client.post(.sync) { $0.string(path) }
    }

    @Test("No sync is answered before a quorum has said that the leader leads", arguments: [0, 1])
    func confirmation(member: Int) {
        let ensemble = Ensemble()
        let client = ensemble.members[member].connect()
        ensemble.confirmationsAreHeld = true
        post(client, sync: "/a")
        client.post(.ping)
        #expect(client.next() == nil)
        ensemble.confirmationsAreHeld = false
        ensemble.settle()
        let reply = client.next()
        #expect(reply?.xid == 1 && reply?.error == .ok && reply?.string == "/a")
        #expect(client.next()?.xid == -2)
    }

    @Test("Nobody is told that a session is over before a quorum has said that the leader leads", arguments: [0, 1])
    func refusal(member: Int) {
        let ensemble = Ensemble()
        let client = ensemble.members[member].connect()
        let (session, password) = (client.session, client.password)
        client.post(.closeSession)
        ensemble.settle()
        ensemble.confirmationsAreHeld = true
        let returned = ensemble.members[member].connect(session: session, password: password)
        #expect(!returned.isClosed)
        ensemble.confirmationsAreHeld = false
        ensemble.settle()
        returned.readConnectResponse()
        #expect(returned.isClosed && returned.session == 0)
    }

    @Test("A sync covers what was in flight when it came", arguments: [0, 1])
    func inFlight(member: Int) {
        let ensemble = Ensemble()
        let writer = ensemble.members[2].connect()
        let client = ensemble.members[member].connect()
        ensemble.commitsAreHeld = true
        writer.postCreate("/a")
        post(client, sync: "/")
        client.post(.exists) {
            $0.string("/a")
            $0.bool(false)
        }
        #expect(client.next() == nil)
        ensemble.commitsAreHeld = false
        ensemble.settle()
        #expect(client.next()?.error == .ok)
        #expect(client.next()?.error == .ok)
    }

    @Test("A learner's sync comes behind the transactions that it waited for")
    func behindCommits() {
        let ensemble = Ensemble()
        let writer = ensemble.leader.connect()
        let client = ensemble.learners[0].connect()
        ensemble.isHeld = true
        for name in ["/a", "/b", "/c"] {
            writer.postCreate(name)
        }
        post(client, sync: "/")
        client.post(.getChildren) {
            $0.string("/")
            $0.bool(false)
        }
        ensemble.isHeld = false
        ensemble.settle()
        #expect(client.next()?.error == .ok)
        #expect(client.next()?.read { try? $0.vectorCount() } == 4)
    }

    @Test("Writes behind a sync are answered behind it, with zxids that do not go back", arguments: [0, 1])
    func order(member: Int) {
        let ensemble = Ensemble()
        let client = ensemble.members[member].connect()
        ensemble.confirmationsAreHeld = true
        client.postCreate("/a", "0")
        var xids: [Int32] = [1]
        for round in 0..<5 {
            post(client, sync: "/")
            for write in 0..<2 {
                client.post(.setData) {
                    $0.string("/a")
                    $0.string("\(round) \(write)")
                    $0.int32(-1)
                }
            }
            client.post(.getData) {
                $0.string("/a")
                $0.bool(false)
            }
            xids += [Int32(xids.count + 1), Int32(xids.count + 2), Int32(xids.count + 3), Int32(xids.count + 4)]
            // Others go on meanwhile.
            ensemble.members[2].connect().create("/other\(round)")
        }
        client.post(.closeSession)
        xids.append(Int32(xids.count + 1))
        client.post(.ping)
        ensemble.confirmationsAreHeld = false
        ensemble.settle()
        var zxid: Int64 = 0
        var data = 0
        for xid in xids {
            let reply = client.next()
            #expect(reply?.xid == xid && reply?.error == .ok)
            #expect(reply?.zxid ?? 0 >= zxid)
            zxid = reply?.zxid ?? 0
            if let text = reply?.string, text.hasSuffix(" 1") { data += 1 }
        }
        #expect(data == 5)
        #expect(client.isClosed && client.next() == nil)
        for member in ensemble.members { #expect(member.core.outstandingRequests == 0) }
        ensemble.expectEqual()
    }

    @Test("A connection that is gone takes nobody else's answer")
    func gone() {
        let ensemble = Ensemble()
        let first = ensemble.learners[0].connect()
        let second = ensemble.learners[0].connect()
        ensemble.confirmationsAreHeld = true
        post(first, sync: "/1")
        post(second, sync: "/2")
        post(first, sync: "/3")
        post(second, sync: "/4")
        first.disconnect()
        ensemble.confirmationsAreHeld = false
        ensemble.settle()
        #expect(second.next()?.string == "/2")
        #expect(second.next()?.string == "/4")
        #expect(first.next() == nil)
    }

    @Test("An exchange that was asked for before says nothing about a sync that came later")
    func late() {
        let ensemble = Ensemble()
        let leader = ensemble.leader
        let client = leader.connect()
        ensemble.confirmationsAreHeld = true
        post(client, sync: "/1")
        post(client, sync: "/2")
        leader.core.leadershipConfirmed(1, at: ensemble.now, into: &leader.output)
        ensemble.endTurn(of: leader)
        #expect(client.next()?.string == "/1")
        #expect(client.next() == nil)
        leader.core.leadershipConfirmed(2, at: ensemble.now, into: &leader.output)
        ensemble.endTurn(of: leader)
        #expect(client.next()?.string == "/2")
    }

    @Test("A standalone server answers at once")
    func alone() {
        let harness = CoreHarness()
        let client = harness.connect()
        #expect(client.call(.sync) { $0.string("/x") }.string == "/x")
        #expect(harness.output.confirmations.isEmpty)
    }
}
