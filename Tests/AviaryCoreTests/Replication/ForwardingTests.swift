import AviaryCore
import Testing
import ZooKeeperProtocol

@Suite("Writes by way of a learner")
struct ForwardingTests {
    @Test("Every form of reply is that of a standalone server")
    func replies() {
        let ensemble = Ensemble(firstEpoch: 0)
        let alone = CoreHarness()
        let here = ensemble.learners[0].connect()
        let there = alone.connect()
        func same(_ work: (Client) -> Client.Reply, sourceLocation: SourceLocation = #_sourceLocation) {
            let (got, expected) = (work(here), work(there))
            #expect(got.xid == expected.xid && got.zxid == expected.zxid, sourceLocation: sourceLocation)
            #expect(got.error == expected.error && got.body == expected.body, sourceLocation: sourceLocation)
        }
        same { $0.create("/a", "data") }
        same { $0.create("/b", "data", as: .create2) }
        same { $0.create("/c", flags: 4, as: .createContainer) }
        same { $0.create("/t", flags: 5, as: .createTTL, ttl: 1000) }
        same { $0.create("/a/s-", flags: 2) }
        same { $0.create("/a/s-", flags: 2, as: .create2) }
        same { $0.create("/e", flags: 1) }
        same { $0.create("/a") }
        same { $0.create("/nobody/there") }
        same { $0.create("/bad", flags: 9) }
        same { $0.set("/a", "other") }
        same { $0.set("/a", "other", version: 7) }
        same { client in
            client.call(.setACL) {
                $0.string("/b")
                ACL.write([ACL(31, "ip", "127.0.0.1")], to: &$0)
                $0.int32(-1)
            }
        }
        same { $0.delete("/a") }
        same { $0.delete("/b", version: 4) }
        same { $0.delete("/b") }
        same { client in
            client.call(.multi) { writer in
                MultiHeader.write(type: Operation.create2.rawValue, to: &writer)
                writer.string("/m")
                writer.string("x")
                ACL.write(ACL.open, to: &writer)
                writer.int32(0)
                MultiHeader.write(type: Operation.setData.rawValue, to: &writer)
                writer.string("/m")
                writer.string("y")
                writer.int32(0)
                MultiHeader.write(type: Operation.check.rawValue, to: &writer)
                writer.string("/m")
                writer.int32(1)
                MultiHeader.writeEnd(to: &writer)
            }
        }
        same { client in
            client.call(.multi) { writer in
                MultiHeader.write(type: Operation.delete.rawValue, to: &writer)
                writer.string("/m")
                writer.int32(-1)
                MultiHeader.write(type: Operation.delete.rawValue, to: &writer)
                writer.string("/m")
                writer.int32(-1)
                MultiHeader.writeEnd(to: &writer)
            }
        }
        same { client in client.call(.multi) { $0.int32(14) } }
        same { client in client.call(.setData) { $0.string("/m") } }
        same { client in client.call(.createSession) }
        same { $0.read(.getData, "/m") }
        same { $0.call(.closeSession) }
        #expect(here.isClosed && there.isClosed)
        ensemble.expectEqual()
        #expect(ensemble.leader.core.treeDigest == alone.core.treeDigest)
    }

    @Test("Reads behind a write see it, and replies come in the order of the requests")
    func order() {
        let ensemble = Ensemble()
        let learner = ensemble.learners[0]
        let client = learner.connect()
        client.create("/a", "0")
        ensemble.isHeld = true
        for round in 1...20 {
            client.post(.setData) {
                $0.string("/a")
                $0.string("\(round)")
                $0.int32(-1)
            }
            client.post(.getData) {
                $0.string("/a")
                $0.bool(false)
            }
        }
        client.post(.setData) { $0.string("/a") }
        client.post(.ping)
        #expect(client.next() == nil)
        ensemble.isHeld = false
        ensemble.settle()
        var zxid: Int64 = 0
        for round in 1...20 {
            let write = client.next()
            #expect(write?.error == .ok && write?.xid == Int32(2 * round))
            #expect(write?.zxid ?? 0 > zxid)
            zxid = write?.zxid ?? 0
            let read = client.next()
            #expect(read?.xid == Int32(2 * round + 1) && read?.string == "\(round)")
            #expect(read?.zxid ?? 0 >= zxid)
        }
        #expect(client.next()?.error == .marshallingError)
        #expect(client.next()?.xid == -2)
        #expect(learner.core.outstandingRequests == 0)
    }

    @Test("A client hears of a change before it reads it, whoever made it")
    func watches() {
        let ensemble = Ensemble()
        let writer = ensemble.leader.connect()
        writer.create("/a")
        for member in ensemble.members {
            let watcher = member.connect()
            watcher.read(.exists, "/a", watch: true)
            watcher.read(.getChildren, "/", watch: true)
            watcher.call(.addWatch) {
                $0.string("/")
                $0.int32(1)
            }
            writer.set("/a", "new")
            let own = watcher.create("/new")
            #expect(own.error == .ok)
            // What came before the reply to the own write is in front of it.
            #expect(
                watcher.events == [
                    .init(kind: .nodeDataChanged, path: "/a", zxid: own.zxid - 1),
                    .init(kind: .nodeCreated, path: "/new", zxid: own.zxid),
                    .init(kind: .nodeChildrenChanged, path: "/", zxid: own.zxid),
                ]
            )
            writer.delete("/new")
        }
        ensemble.expectEqual()
    }

    @Test("Watches are set again at another server, and what was missed is told first")
    func setWatches() {
        let ensemble = Ensemble()
        let old = ensemble.learners[0].connect()
        let seen = old.create("/a").zxid
        old.read(.exists, "/a", watch: true)
        old.disconnect()
        ensemble.leader.connect().set("/a", "meanwhile")
        let new = ensemble.learners[1].connect(session: old.session, password: old.password, lastZxid: seen)
        new.post(.setWatches) { writer in
            writer.int64(seen)
            writer.int32(1)
            writer.string("/a")
            writer.int32(1)
            writer.string("/b")
            writer.int32(0)
        }
        #expect(new.next()?.error == .ok)
        #expect(new.events == [.init(kind: .nodeDataChanged, path: "/a", zxid: -1)])
        ensemble.leader.connect().create("/b")
        _ = new.next()
        #expect(new.events.last?.path == "/b")
    }

    @Test("A client that has seen more than a learner must try another server")
    func ahead() {
        let ensemble = Ensemble()
        let zxid = ensemble.leader.connect().create("/a").zxid
        #expect(ensemble.learners[0].connect(lastZxid: zxid).session != 0)
        #expect(ensemble.learners[0].connect(lastZxid: zxid + 2).isClosed)
    }

    @Test("What the leader has shown at the beginning of its epoch, a learner has seen too")
    func beginningOfEpoch() {
        let ensemble = Ensemble()
        let client = ensemble.leader.connect()
        ensemble.elect(1)
        let seen = ensemble.members[1].connect(session: client.session, password: client.password)
        let zxid = seen.read(.exists, "/").zxid
        #expect(zxid == 2 << 32)
        seen.disconnect()
        let moved = ensemble.members[2].connect(session: client.session, password: client.password, lastZxid: zxid)
        #expect(moved.session == client.session)
        #expect(moved.read(.exists, "/").zxid >= zxid)
    }

    @Test("Numbers may repeat: what an old connection left behind is no answer to the new one")
    func repeatedNumbers() {
        let ensemble = Ensemble()
        let learner = ensemble.learners[0]
        let old = learner.connect()
        old.create("/a")
        old.create("/b")
        ensemble.commitsAreHeld = true
        old.post(.delete, xid: 7) {
            $0.string("/a")
            $0.int32(-1)
        }
        old.disconnect()
        // The same server, then another one.
        for member in [learner, ensemble.learners[1]] {
            let new = member.connect(session: old.session, password: old.password)
            ensemble.commitsAreHeld = false
            ensemble.settle()
            new.readConnectResponse()
            #expect(new.session == old.session)
            ensemble.commitsAreHeld = true
            new.post(.setData, xid: 7) {
                $0.string("/b")
                $0.string("x")
                $0.int32(-1)
            }
            new.disconnect()
        }
        let last = ensemble.leader.connect(session: old.session, password: old.password)
        ensemble.commitsAreHeld = false
        ensemble.settle()
        #expect(last.read(.exists, "/b").stat?.version == 2)
        ensemble.expectEqual()
    }

    @Test("Behind closeSession nothing is carried out")
    func behindTheEnd() {
        let ensemble = Ensemble()
        let client = ensemble.learners[0].connect()
        ensemble.isHeld = true
        client.post(.closeSession)
        client.postCreate("/late")
        ensemble.isHeld = false
        ensemble.settle()
        #expect(client.next()?.error == .ok)
        #expect(client.next() == nil && client.isClosed)
        #expect(ensemble.leader.connect().read(.exists, "/late").error == .noNode)
    }

    @Test("The last counter of an epoch is never used: the leader asks to be replaced")
    func endOfEpoch() {
        let ensemble = Ensemble()
        let client = ensemble.leader.connect()
        let learner = ensemble.learners[0].connect()
        ensemble.stop()
        // As if four thousand million transactions had been.
        let record = Txn(
            header: TxnHeader(session: .none, cxid: 0, zxid: Zxid(0x1_ffff_fffd), time: 0),
            body: .error(.systemError),
            digest: nil
        )
        for member in ensemble.members {
            member.core.applyCommitted(record, at: ensemble.now, into: &member.output)
        }
        let leader = ensemble.leader
        leader.core.lead(epoch: Epoch(1), lastZxid: Zxid(0x1_ffff_fffd), at: ensemble.now, into: &leader.output)
        for member in ensemble.learners {
            member.core.learn(isObserver: false, at: ensemble.now, into: &member.output)
        }
        let again = leader.connect(session: client.session, password: client.password)
        let last = again.create("/last")
        #expect(last.error == .ok && last.zxid == 0x1_ffff_fffe)
        #expect(ensemble.resignation == nil)
        again.postCreate("/lost", flags: 1)
        again.post(.exists) {
            $0.string("/lost")
            $0.bool(false)
        }
        #expect(ensemble.resignation?.contains("no more transaction ids") == true)
        #expect(again.next() == nil)
        #expect(ensemble.proposals.isEmpty)
        ensemble.elect(1)
        ensemble.expectEqual()
        let after = ensemble.members[0].connect(session: learner.session, password: learner.password)
        #expect(after.create("/next").zxid == 0x2_0000_0001)
    }
}
