import AviaryCore
import Testing
import ZooKeeperProtocol

@Suite("What comes behind writes in flight")
struct InFlightTests {
    private func postCreate(_ client: Client, _ path: String, flags: Int32 = 0) {
        client.post(.create) {
            $0.string(path)
            $0.string("")
            ACL.write(ACL.open, to: &$0)
            $0.int32(flags)
        }
    }

    private func postDelete(_ client: Client, _ path: String) {
        client.post(.delete) {
            $0.string(path)
            $0.int32(-1)
        }
    }

    @Test("The end of a session leaves alone what others have put in the place of its ephemerals")
    func replacedEphemerals() {
        let harness = CoreHarness()
        let owner = harness.connect()
        let other = harness.connect()
        owner.create("/e", flags: 1)
        owner.create("/f", flags: 1)
        harness.isDiskHeld = true
        postDelete(other, "/e")
        postCreate(other, "/e")
        postDelete(other, "/f")
        postCreate(other, "/f", flags: 1)
        postCreate(owner, "/g", flags: 1)
        postDelete(other, "/g")
        postCreate(other, "/g")
        owner.post(.closeSession)
        harness.releaseDisk()
        while let reply = other.next() { #expect(reply.error == .ok) }
        #expect(other.children("/").sorted() == ["e", "f", "g", "zookeeper"])
        #expect(other.read(.exists, "/f").stat?.ephemeralOwner == other.session)
        #expect(harness.core.digestMismatchCount == 0)
    }

    @Test("A read that waited too long is refused, if that is asked for; pings are answered whenever they come")
    func throttledReads() {
        let harness = CoreHarness { $0.throttledOpWaitMilliseconds = 100 }
        let client = harness.connect()
        harness.isDiskHeld = true
        postCreate(client, "/a")
        client.post(.exists) {
            $0.string("/a")
            $0.bool(false)
        }
        client.post(.ping, xid: -2)
        harness.advance(milliseconds: 200)
        client.post(.exists) {
            $0.string("/a")
            $0.bool(false)
        }
        harness.releaseDisk()
        let replies = (0..<4).compactMap { _ in client.next() }
        #expect(replies.map(\.error) == [.ok, .throttledOp, .ok, .ok])
        #expect(replies.map(\.xid) == [1, 2, -2, 4])
        #expect(replies[1].zxid == replies[0].zxid)
    }

    @Test("How many nodes are below is right for every node, whatever came and went")
    func descendants() {
        let harness = CoreHarness()
        let client = harness.connect()
        func count(_ path: String) -> [UInt8] { client.call(.getAllChildrenNumber) { $0.string(path) }.body }
        for path in ["/a", "/a/b", "/a/b/c", "/a/d", "/a/b/e"] { client.create(path) }
        #expect(count("/a") == [0, 0, 0, 4])
        #expect(count("/a/b") == [0, 0, 0, 2])
        client.delete("/a/b/c")
        client.delete("/a/d")
        #expect(count("/a") == [0, 0, 0, 2])
        #expect(count("/a/b/e") == [0, 0, 0, 0])
        #expect(count("/") == [0, 0, 0, 6])
        #expect(count("") == [0, 0, 0, 7])
    }
}
