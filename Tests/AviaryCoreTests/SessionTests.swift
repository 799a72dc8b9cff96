import AviaryCore
import Testing
import ZooKeeperProtocol

@Suite("Sessions")
struct SessionTests {
    @Test("A silent session ends with its ephemerals; one that is heard of lives")
    func expiry() {
        let harness = CoreHarness()
        let silent = harness.connect(timeout: 4000)
        let living = harness.connect(timeout: 4000)
        silent.create("/silent", flags: 1)
        living.create("/living", flags: 1)
        for _ in 0..<6 {
            harness.advance(milliseconds: 1500)
            living.post(.ping, xid: -2)
            #expect(living.next()?.xid == -2)
        }
        #expect(silent.isClosed)
        #expect(!living.isClosed)
        #expect(living.children("/").sorted() == ["living", "zookeeper"])
    }

    @Test("A session is taken over by another connection with the right password only")
    func reattach() {
        let harness = CoreHarness()
        let owner = harness.connect()
        owner.create("/e", flags: 1)
        let intruder = harness.connect(session: owner.session, password: [UInt8](repeating: 7, count: 16))
        #expect(intruder.session == 0)
        #expect(intruder.isClosed)
        #expect(!owner.isClosed)
        let again = harness.connect(session: owner.session, password: owner.password)
        #expect(again.session == owner.session)
        #expect(owner.isClosed)
        #expect(again.read(.exists, "/e").stat?.ephemeralOwner == owner.session)
    }

    @Test("closeSession takes ephemerals that are in flight with it, and what comes behind it is dropped")
    func closeTakesWhatIsInFlight() {
        let harness = CoreHarness()
        let client = harness.connect()
        let other = harness.connect()
        harness.isDiskHeld = true
        for path in ["/e1", "/e2"] {
            client.postCreate(path, flags: 1)
        }
        client.post(.delete) {
            $0.string("/e1")
            $0.int32(-1)
        }
        client.post(.closeSession)
        client.postCreate("/late")
        harness.releaseDisk()
        #expect((0..<4).map { _ in client.next()?.error } == [.ok, .ok, .ok, .ok])
        #expect(client.next() == nil)
        #expect(client.isClosed)
        #expect(other.children("/") == ["zookeeper"])
        #expect(harness.core.digestMismatchCount == 0)
    }

    @Test("Requests sent with the ConnectRequest are answered once the session exists")
    func pipelinedHandshake() {
        let harness = CoreHarness()
        harness.isDiskHeld = true
        let client = harness.connect()
        client.post(.exists) {
            $0.string("/")
            $0.bool(false)
        }
        client.postCreate("/a")
        client.post(.exists) {
            $0.string("/a")
            $0.bool(false)
        }
        #expect(client.next() == nil)
        harness.releaseDisk()
        client.readConnectResponse()
        #expect(client.session != 0)
        #expect((0..<3).map { _ in client.next()?.error } == [.ok, .ok, .ok])
    }

    @Test("A connection that never says who it is is closed")
    func silentConnection() {
        let harness = CoreHarness()
        let id = harness.core.accept(PeerAddress(text: "127.0.0.1", port: 9), at: harness.now)
        harness.advance(milliseconds: 10_001)
        #expect(harness.closed.contains(id))
    }

    @Test("Empty containers and nodes whose time is over go; those in use stay")
    func reaping() {
        let harness = CoreHarness()
        let client = harness.connect(timeout: 20_000)
        client.create("/c", as: .createContainer)
        client.create("/c/x")
        client.delete("/c/x")
        client.create("/unused", as: .createContainer)
        client.create("/t", flags: 5, as: .createTTL, ttl: 30_000)
        for _ in 0..<8 {
            harness.advance(milliseconds: 10_000)
            client.post(.ping, xid: -2)
            _ = client.next()
        }
        #expect(client.children("/").sorted() == ["unused", "zookeeper"])
    }

    @Test("A node whose time is over stays where a write to it is in flight, and a container that is made anew")
    func reapingBesideWrites() {
        let harness = CoreHarness { $0.containerCheckIntervalMilliseconds = 5_000 }
        let client = harness.connect(timeout: 20_000)
        client.create("/t", flags: 5, as: .createTTL, ttl: 3_000)
        client.create("/c", as: .createContainer)
        client.create("/c/x")
        client.delete("/c/x")
        harness.advance(milliseconds: 4_000)
        harness.isDiskHeld = true
        client.post(.setData) { writer in
            writer.string("/t")
            writer.buffer([1])
            writer.int32(-1)
        }
        client.post(.delete) { writer in
            writer.string("/c")
            writer.int32(-1)
        }
        client.post(.createContainer) { writer in
            writer.string("/c")
            writer.int32(0)
            ACL.write(ACL.open, to: &writer)
            writer.int32(4)
        }
        harness.advance(milliseconds: 1_100)
        harness.releaseDisk()
        #expect((0..<3).map { _ in client.next()?.error } == [.ok, .ok, .ok])
        #expect(client.children("/").sorted() == ["c", "t", "zookeeper"])
    }
}
