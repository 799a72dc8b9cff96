import AviaryCore
import Testing
import ZooKeeperProtocol

@Suite("Sessions across servers")
struct MovingSessionTests {
    @discardableResult
    private func ephemeral(_ client: Client, _ path: String) -> Client.Reply {
        client.create(path, flags: 1)
    }

    @Test("A session moves with its ephemerals, from learner to learner to leader and back")
    func moves() {
        let ensemble = Ensemble()
        var client = ensemble.members[1].connect()
        #expect(ephemeral(client, "/e").error == .ok)
        for index in [2, 0, 1, 0, 2] {
            client.disconnect()
            let next = ensemble.members[index].connect(
                timeout: 4000,
                session: client.session,
                password: client.password
            )
            #expect(next.session == client.session && next.timeout == 4000)
            #expect(next.set("/e", "\(index)").error == .ok)
            client = next
        }
        #expect(client.call(.closeSession).error == .ok)
        #expect(ensemble.leader.connect().read(.exists, "/e").error == .noNode)
        ensemble.expectEqual()
    }

    @Test("A wrong password is refused without asking, and disturbs nobody")
    func wrongPassword() {
        let ensemble = Ensemble()
        let client = ensemble.members[1].connect()
        ensemble.isHeld = true
        for member in ensemble.members {
            let thief = member.connect(session: client.session, password: [UInt8](repeating: 1, count: 16))
            #expect(thief.isClosed && thief.session == 0 && thief.timeout == 0)
        }
        #expect(ensemble.possible.isEmpty)
        ensemble.isHeld = false
        #expect(client.create("/a").error == .ok)
    }

    @Test("A session that nobody has is refused by the leader's word", arguments: [0, 1])
    func unknown(index: Int) {
        let ensemble = Ensemble()
        let client = ensemble.members[2].connect()
        client.call(.closeSession)
        let late = ensemble.members[index].connect(session: client.session, password: client.password)
        #expect(late.isClosed && late.session == 0)
    }

    @Test("What comes by the old way ends the old connection, and changes nothing", arguments: [0, 1], [0, 1, 2])
    func moved(from: Int, to: Int) {
        guard from != to else { return }
        let ensemble = Ensemble()
        let old = ensemble.members[from].connect()
        old.create("/a")
        let new = ensemble.members[to].connect(session: old.session, password: old.password)
        #expect(new.create("/b").error == .ok)
        #expect(old.read(.exists, "/a").error == .ok)
        #expect(!old.isClosed)
        old.post(.delete) {
            $0.string("/a")
            $0.int32(-1)
        }
        #expect(old.isClosed && old.next() == nil)
        #expect(new.read(.exists, "/a").error == .ok)
        #expect(!new.isClosed)
        ensemble.expectEqual()
    }

    @Test("A list and the end of the session that come by the old way end nothing else", arguments: [0, 1])
    func movedListsAndEnds(from: Int) {
        for operation in [Operation.multi, .closeSession] {
            let ensemble = Ensemble()
            let old = ensemble.members[from].connect()
            let new = ensemble.members[2].connect(session: old.session, password: old.password)
            old.post(operation) { writer in
                guard operation == .multi else { return }
                MultiHeader.write(type: Operation.create.rawValue, to: &writer)
                writer.string("/late")
                writer.string("")
                ACL.write(ACL.open, to: &writer)
                writer.int32(0)
                MultiHeader.writeEnd(to: &writer)
            }
            #expect(old.isClosed && old.next() == nil)
            #expect(new.read(.exists, "/late").error == .noNode)
            #expect(new.create("/b").error == .ok)
            // It can come back.
            let again = ensemble.members[from].connect(session: old.session, password: old.password)
            #expect(again.create("/c").error == .ok)
        }
    }

    @Test("What was on its way when the session moved is refused if it comes to the leader later")
    func overtaken() {
        let ensemble = Ensemble()
        let old = ensemble.members[1].connect()
        ensemble.isHeld = true
        old.postCreate("/late")
        let new = ensemble.members[2].connect(session: old.session, password: old.password)
        while ensemble.possible.contains(.toLeader(2)) { ensemble.happen(.toLeader(2)) }
        while ensemble.possible.contains(.toLearner(2)) { ensemble.happen(.toLearner(2)) }
        new.readConnectResponse()
        #expect(new.session == old.session)
        ensemble.isHeld = false
        ensemble.settle()
        #expect(new.read(.exists, "/late").error == .noNode)
        #expect(old.isClosed && old.next() == nil)
    }

    @Test("Questions about a session that come to the leader in the wrong order end no session")
    func askedOutOfOrder() {
        let ensemble = Ensemble()
        let old = ensemble.members[1].connect()
        ensemble.commitsAreHeld = true
        old.postCreate("/a")
        old.disconnect()
        ensemble.isHeld = true
        let given = ensemble.members[1].connect(session: old.session, password: old.password)
        given.disconnect()
        let new = ensemble.members[2].connect(session: old.session, password: old.password)
        while ensemble.possible.contains(.toLeader(2)) { ensemble.happen(.toLeader(2)) }
        ensemble.isHeld = false
        ensemble.commitsAreHeld = false
        ensemble.settle()
        new.readConnectResponse()
        #expect(new.session == old.session && !new.isClosed)
        // Whoever asked last has the session: the client has to come once more.
        let again = ensemble.members[2].connect(session: old.session, password: old.password)
        #expect(again.create("/b").error == .ok)
        #expect(again.read(.exists, "/a").error == .ok)
        ensemble.expectEqual()
    }

    @Test("Whoever takes a session to a server behind this one has its connections here ended")
    func movedBehind() {
        let ensemble = Ensemble()
        let member = ensemble.members[1]
        let client = member.connect()
        client.create("/a")
        ensemble.commitsAreHeld = true
        for path in ["/a/b", "/a/c"] {
            client.postCreate(path)
            client.post(.exists) {
                $0.string("/a")
                $0.bool(false)
            }
        }
        member.core.moved(SessionID(client.session), into: &member.output)
        ensemble.commitsAreHeld = false
        ensemble.settle()
        #expect(client.isClosed)
        let last = ensemble.leader.core.lastProcessedZxid
        client.postCreate("/late")
        ensemble.settle()
        #expect(ensemble.leader.core.lastProcessedZxid == last)
        let coming = member.connect(session: client.session, password: client.password)
        #expect(!coming.isClosed)
        ensemble.isHeld = true
        let late = member.connect(session: client.session, password: client.password)
        member.core.moved(SessionID(client.session), into: &member.output)
        ensemble.isHeld = false
        ensemble.settle()
        #expect(late.isClosed && coming.isClosed)
        ensemble.expectEqual()
    }

    @Test("While the end of a session is in flight nobody is told that it has ended")
    func ending() {
        let ensemble = Ensemble()
        let client = ensemble.members[1].connect(timeout: 2000)
        ephemeral(client, "/e")
        ensemble.commitsAreHeld = true
        client.disconnect()
        ensemble.advance(milliseconds: 4000)
        #expect(ensemble.proposals.count == 1)
        let atLearner = ensemble.members[2].connect(session: client.session, password: client.password)
        #expect(!atLearner.isClosed && atLearner.timeout == 0)
        let atLeader = ensemble.leader.connect(session: client.session, password: client.password)
        #expect(atLeader.isClosed && ensemble.leader.inbox[atLeader.id]?.isEmpty ?? true)
        ensemble.commitsAreHeld = false
        ensemble.settle()
        atLearner.readConnectResponse()
        #expect(atLearner.isClosed && atLearner.session == 0)
        ensemble.expectEqual()
    }

    @Test("The leader ends sessions of which no learner hears, everywhere at one zxid")
    func expiry() {
        let ensemble = Ensemble()
        let quiet = ensemble.members[1].connect(timeout: 3000)
        let lively = ensemble.members[2].connect(timeout: 3000)
        ephemeral(quiet, "/quiet")
        ephemeral(lively, "/lively")
        let watcher = ensemble.leader.connect(timeout: 20_000)
        watcher.read(.exists, "/quiet", watch: true)
        for _ in 0..<8 {
            ensemble.advance(milliseconds: 1000)
            // Reading is enough.
            lively.read(.exists, "/quiet")
            lively.call(.ping)
        }
        #expect(quiet.isClosed && !lively.isClosed)
        _ = watcher.read(.exists, "/quiet")
        #expect(watcher.events.map(\.kind) == [.nodeDeleted])
        #expect(lively.read(.exists, "/lively").error == .ok)
        ensemble.expectEqual()
    }

    @Test("A session lives through a change of leader, however short its time was")
    func newLeader() {
        let ensemble = Ensemble()
        let client = ensemble.members[1].connect(timeout: 3000)
        ephemeral(client, "/e")
        ensemble.advance(milliseconds: 2500)
        ensemble.elect(2)
        #expect(client.isClosed)
        ensemble.advance(milliseconds: 2000)
        let again = ensemble.members[1].connect(session: client.session, password: client.password)
        #expect(again.session == client.session)
        #expect(again.read(.exists, "/e").error == .ok)
        again.disconnect()
        ensemble.advance(milliseconds: 30_000)
        #expect(ensemble.leader.connect().read(.exists, "/e").error == .noNode)
        ensemble.expectEqual()
    }

    @Test("A learner reports each session once, new ones whoever has them")
    func reports() {
        let ensemble = Ensemble()
        let learner = ensemble.learners[0]
        _ = learner.core.takeTouched()
        let own = learner.connect(timeout: 5000)
        let other = ensemble.learners[1].connect(timeout: 6000)
        #expect(
            Set(learner.core.takeTouched()) == [
                SessionTouch(session: SessionID(own.session), timeoutMilliseconds: 5000),
                SessionTouch(session: SessionID(other.session), timeoutMilliseconds: 6000),
            ]
        )
        #expect(learner.core.takeTouched().isEmpty)
        for _ in 0..<3 { own.call(.ping) }
        other.call(.ping)
        #expect(
            learner.core.takeTouched() == [
                SessionTouch(session: SessionID(own.session), timeoutMilliseconds: 5000)
            ]
        )
    }

    @Test("Ids begin with the server's own, and none is taken twice")
    func ids() {
        let ensemble = Ensemble()
        var all: Set<Int64> = []
        for (index, member) in ensemble.members.enumerated() {
            for _ in 0..<3 {
                let id = member.connect().session
                #expect(id >> 56 == Int64(index + 1))
                #expect(all.insert(id).inserted)
            }
        }
        // Another server has the same number and the same clock: what it finds taken it passes over.
        let twin = CoreHarness(memberOf: ensemble, id: 2) { _ in }
        for (_, payload) in ensemble.committed {
            payload.withUnsafeBytes { payload in
                try? twin.core.applyCommitted(payload, at: ensemble.now, into: &twin.output)
            }
        }
        twin.core.lead(epoch: Epoch(2), lastZxid: .zero, at: ensemble.now, into: &twin.output)
        let id = twin.core.accept(PeerAddress(text: "127.0.0.1", port: 1), at: ensemble.now)
        var writer = JuteWriter()
        writer.int32(0)
        writer.int64(0)
        writer.int32(4000)
        writer.int64(0)
        writer.buffer([UInt8](repeating: 0, count: 16))
        writer.bool(false)
        writer.withBytes { twin.core.receive($0, from: id, at: ensemble.now, into: &twin.output) }
        let payload = twin.output.logBytes.copy()
        let txn = payload.withUnsafeBytes { try? Txn(payload: $0) }
        #expect(txn.map { all.contains($0.header.session.rawValue) } == false)
    }
}
