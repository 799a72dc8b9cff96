import AviaryCore
import Testing
import ZooKeeperProtocol

@Suite("Local sessions")
struct LocalSessionTests {
    private func ensemble(upgrading: Bool) -> Ensemble {
        Ensemble {
            $0.localSessionsEnabled = true
            $0.localSessionsUpgradingEnabled = upgrading
        }
    }

    private func multi(_ client: Client, _ paths: [(String, Int32)]) -> Client.Reply {
        client.call(.multi) { writer in
            for (path, flags) in paths {
                MultiHeader.write(type: Operation.create.rawValue, to: &writer)
                writer.string(path)
                writer.string("")
                ACL.write(ACL.open, to: &writer)
                writer.int32(flags)
            }
            MultiHeader.writeEnd(to: &writer)
        }
    }

    @Test("They begin and end without a transaction, write, and are on no other server", arguments: 0..<3)
    func stayLocal(index: Int) {
        let ensemble = ensemble(upgrading: false)
        let client = ensemble.members[index].connect()
        #expect(client.session >> 56 == Int64(index + 1))
        #expect(ensemble.committed.isEmpty)
        #expect(client.create("/a").error == .ok)
        #expect(multi(client, [("/b", 0), ("/c", 2)]).error == .ok)
        #expect(ensemble.committed.count == 2)
        for (other, member) in ensemble.members.enumerated() {
            #expect(member.core.sessionCount == (other == index ? 1 : 0))
            guard other != index else { continue }
            let moved = member.connect(session: client.session, password: client.password)
            #expect(moved.isClosed && moved.session == 0)
        }
        // The same server knows it.
        client.disconnect()
        let again = ensemble.members[index].connect(session: client.session, password: client.password)
        #expect(again.session == client.session)
        #expect(again.call(.closeSession).error == .ok)
        #expect(again.isClosed)
        #expect(ensemble.committed.count == 2)
        ensemble.expectEqual()
    }

    @Test("Their server ends them when nothing is heard of them", arguments: 0..<3)
    func expiry(index: Int) {
        let ensemble = ensemble(upgrading: true)
        let client = ensemble.members[index].connect(timeout: 3000)
        client.create("/a")
        ensemble.advance(milliseconds: 2000)
        #expect(!client.isClosed)
        client.call(.ping)
        ensemble.advance(milliseconds: 5000)
        #expect(client.isClosed)
        #expect(ensemble.members[index].core.sessionCount == 0)
        #expect(ensemble.committed.count == 1)
    }

    @Test("The first ephemeral makes one global, alone or in a list", arguments: 0..<3, [false, true])
    func upgrade(index: Int, inMulti: Bool) throws {
        let ensemble = ensemble(upgrading: true)
        let client = ensemble.members[index].connect(timeout: 4000)
        client.create("/a")
        ensemble.isHeld = true
        if inMulti {
            client.post(.multi) { writer in
                for (path, flags) in [("/b", 0), ("/e", 1)] as [(String, Int32)] {
                    MultiHeader.write(type: Operation.create.rawValue, to: &writer)
                    writer.string(path)
                    writer.string("")
                    ACL.write(ACL.open, to: &writer)
                    writer.int32(flags)
                }
                MultiHeader.writeEnd(to: &writer)
            }
        } else {
            client.postCreate("/e", flags: 1)
        }
        // Another one behind it asks for no second upgrade.
        client.postCreate("/f", flags: 3)
        ensemble.isHeld = false
        ensemble.settle()
        #expect(client.next()?.error == .ok)
        #expect(client.next()?.error == .ok)
        let txns = try ensemble.committed.map { try $0.payload.withUnsafeBytes { try Txn(payload: $0) } }
        #expect(txns.count == 4)
        #expect(txns[1].body == .createSession(timeoutMilliseconds: 4000))
        #expect(txns[1].header.session.rawValue == client.session && txns[1].header.cxid == 0)
        for member in ensemble.members { #expect(member.core.sessionCount == 1) }
        // It moves now, and its end is everybody's.
        client.disconnect()
        let moved = ensemble.members[(index + 1) % 3].connect(session: client.session, password: client.password)
        #expect(moved.session == client.session)
        #expect(moved.call(.closeSession).error == .ok)
        #expect(ensemble.leader.connect().read(.exists, "/e").error == .noNode)
        ensemble.expectEqual()
    }

    @Test("One that became global lives by the leader's clock", arguments: 0..<3)
    func upgradedExpiry(index: Int) {
        let ensemble = ensemble(upgrading: true)
        let client = ensemble.members[index].connect(timeout: 3000)
        client.create("/e", flags: 1)
        for _ in 0..<6 {
            ensemble.advance(milliseconds: 1000)
            client.call(.ping)
        }
        #expect(!client.isClosed)
        ensemble.advance(milliseconds: 6000)
        #expect(client.isClosed)
        for member in ensemble.members { #expect(member.core.sessionCount == 0 && member.core.ephemeralCount == 0) }
    }

    @Test("Closed right behind its upgrade: nothing stays")
    func closedWhileUpgrading() {
        for index in 0..<3 {
            let ensemble = ensemble(upgrading: true)
            let client = ensemble.members[index].connect()
            ensemble.isHeld = true
            client.postCreate("/e", flags: 1)
            client.post(.closeSession)
            ensemble.isHeld = false
            ensemble.settle()
            #expect(client.next()?.error == .ok)
            #expect(client.next()?.error == .ok)
            #expect(client.isClosed)
            for member in ensemble.members {
                #expect(member.core.sessionCount == 0 && member.core.ephemeralCount == 0)
            }
            ensemble.expectEqual()
        }
    }

    @Test("Without upgrading the leader's own client is told so, alone and in a list")
    func refusedAtLeader() {
        let ensemble = ensemble(upgrading: false)
        let client = ensemble.leader.connect()
        let zxid = client.create("/a").zxid
        let refused = client.create("/e", flags: 1)
        #expect(refused.error == .ephemeralOnLocalSession && refused.zxid == zxid + 1)
        let list = multi(client, [("/b", 0), ("/e", 1)])
        #expect(list.error == .ok)
        let codes = list.read { reader -> [Int32] in
            (0..<2).map { _ in
                _ = try? MultiHeader(from: &reader)
                return (try? reader.int32()) ?? -1000
            }
        }
        #expect(codes == [0, -120])
        ensemble.expectEqual()
    }

    @Test("Local sessions end with the role")
    func roleChange() {
        let ensemble = ensemble(upgrading: true)
        let clients = ensemble.members.map { $0.connect() }
        clients[1].create("/e", flags: 1)
        ensemble.elect(1)
        for (index, client) in clients.enumerated() {
            #expect(client.isClosed)
            let again = ensemble.members[index].connect(session: client.session, password: client.password)
            #expect((again.session == client.session) == (index == 1))
        }
        for member in ensemble.members { #expect(member.core.sessionCount == 1) }
    }
}
