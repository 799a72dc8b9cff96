import AviaryCore
import Testing
import ZooKeeperProtocol

@Suite("Limits: nobody takes more than his share")
struct LimitTests {
    @Test("A connection whose watches take too much memory is closed; what others watch stays")
    func watches() {
        let harness = CoreHarness { $0.maxWatchBytes = 100_000 }
        let greedy = harness.connect()
        let modest = harness.connect()
        modest.read(.exists, "/a", watch: true)
        // Setting one again takes nothing more, and what has fired or was removed is given back.
        for round in 0..<2000 {
            greedy.read(.exists, "/a", watch: true)
            greedy.call(.addWatch) {
                $0.string("/r\(round)")
                $0.int32(1)
            }
            greedy.call(.removeWatches) {
                $0.string("/r\(round)")
                $0.int32(3)
            }
        }
        #expect(!greedy.isClosed)
        for round in 0..<2000 where !greedy.isClosed { greedy.read(.exists, "/w\(round)", watch: true) }
        #expect(greedy.isClosed)
        modest.create("/a")
        _ = modest.next()
        #expect(modest.events.map(\.kind) == [.nodeCreated])
        #expect(harness.core.watchCount == 0)
    }

    @Test("setWatches is held to the same bound")
    func rearmedWatches() {
        let harness = CoreHarness { $0.maxWatchBytes = 100_000 }
        let client = harness.connect()
        client.post(.setWatches) {
            $0.int64(0)
            $0.int32(0)
            $0.int32(2000)
            for index in 0..<2000 { $0.string("/w\(index)") }
            $0.int32(0)
        }
        #expect(client.isClosed)
        #expect(harness.core.watchCount == 0)
    }

    @Test("Identities are bounded in bytes, and lists made of them in entries; a record can always be read back")
    func identities() {
        let harness = CoreHarness { $0.maxBufferBytes = 20_000 }
        let client = harness.connect()
        func auth(_ name: String) -> ErrorCode? {
            client.post(.auth, xid: -4) {
                $0.int32(0)
                $0.string("digest")
                $0.string(name)
            }
            return client.next()?.error
        }
        for index in 0..<20 { #expect(auth(String(repeating: "u", count: 1000) + "\(index):p") == .ok) }
        client.create("/a")
        let all = client.call(.setACL) {
            $0.string("/a")
            ACL.write([ACL(31, "auth", "")], to: &$0)
            $0.int32(-1)
        }
        #expect(all.error == .marshallingError)
        let many = client.call(.setACL) {
            $0.string("/a")
            ACL.write((0..<60).map { ACL($0, "auth", "") }, to: &$0)
            $0.int32(-1)
        }
        #expect(many.error == .invalidACL)
        #expect(client.create("/b").error == .ok)
        #expect(harness.log.allSatisfy { $0.count <= 20_000 })
        for index in 0..<60 where !client.isClosed { _ = auth(String(repeating: "v", count: 1000) + "\(index):p") }
        #expect(client.isClosed)
    }

    @Test("A list whose parts grow beyond what can be written is refused whole, however many they are")
    func growingList() {
        let harness = CoreHarness { $0.maxBufferBytes = 100_000 }
        let client = harness.connect()
        for index in 0..<100 {
            client.post(.auth, xid: -4) {
                $0.int32(0)
                $0.string("digest")
                $0.string(String(repeating: "u", count: 100) + "\(index):p")
            }
            #expect(client.next()?.error == .ok)
        }
        func multi(_ count: Int) {
            client.post(.multi) { writer in
                for index in 0..<count {
                    MultiHeader.write(type: Operation.create.rawValue, to: &writer)
                    writer.string("/grown-\(index)")
                    writer.int32(0)
                    ACL.write([ACL(31, "auth", "")], to: &writer)
                    writer.int32(0)
                }
                MultiHeader.writeEnd(to: &writer)
            }
        }
        // A part is one of 40 bytes and becomes one of 14,000: after eight of them the rest is not looked at.
        for count in [8, 2000] {
            multi(count)
            #expect(client.next()?.error == .marshallingError, "\(count) parts")
        }
        #expect(client.read(.exists, "/grown-0").error == .noNode)
        multi(3)
        #expect(client.next()?.error == .ok)
        #expect(client.read(.exists, "/grown-2").error == .ok)
        #expect(harness.log.allSatisfy { $0.count <= 100_000 })
    }

    @Test("Without room on the disk nothing but the end of sessions is logged, and nobody is woken for nothing")
    func diskWithoutRoom() {
        let harness = CoreHarness {
            $0.containerCheckIntervalMilliseconds = 5_000
            $0.containerMaxNeverUsedMilliseconds = 1
            $0.maxSessionTimeoutMilliseconds = 60_000
        }
        let client = harness.connect(timeout: 60_000)
        client.create("/c", as: .createContainer)
        harness.core.setLogRoom(.low, at: harness.now, into: &harness.output)
        harness.carryOut()
        let logged = harness.log.count
        harness.advance(milliseconds: 5_100)
        #expect(harness.core.nextDeadlineMicroseconds > harness.now.monotonicMicroseconds)
        #expect(client.create("/x").error == .systemError)
        #expect(client.call(.createSession).error == .systemError)
        #expect(harness.log.count == logged)
        harness.core.setLogRoom(.plenty, at: harness.now, into: &harness.output)
        harness.carryOut()
        harness.advance(milliseconds: 100)
        #expect(client.read(.exists, "/c").error == .noNode)
    }

    @Test("Tens of thousands of ephemerals in one flight, made, and gone with their session")
    func manyEphemeralsInFlight() {
        let harness = CoreHarness()
        let client = harness.connect()
        client.create("/e")
        harness.isDiskHeld = true
        for batch in 0..<20 {
            client.post(.multi) { writer in
                for index in 0..<2000 {
                    MultiHeader.write(type: Operation.create.rawValue, to: &writer)
                    writer.string("/e/\(batch)-\(index)")
                    writer.int32(0)
                    ACL.write(ACL.open, to: &writer)
                    writer.int32(1)
                }
                MultiHeader.writeEnd(to: &writer)
            }
        }
        client.post(.closeSession)
        harness.releaseDisk()
        #expect(client.isClosed)
        #expect(harness.core.ephemeralCount == 0)
        #expect(harness.core.nodeCount == 6)
        #expect(harness.core.digestMismatchCount == 0)
    }

    @Test("Counting traffic by namespace keeps no name of any length")
    func longNamespaces() {
        let harness = CoreHarness()
        let client = harness.connect()
        for length in [255, 256, 257, 5000] {
            let name = String(repeating: "n", count: length)
            client.create("/" + name)
            client.create("/" + name + "/below")
        }
        var lengths: [Int] = []
        harness.core.forEachNamespaceTraffic { name, _, _ in lengths.append(name.utf8.count) }
        #expect(lengths.sorted() == [255, 256])
    }

    @Test("Before it is authenticated a connection is told so, whatever it asks for")
    func unknownOperationBeforeAuthentication() {
        let harness = CoreHarness { $0.requiredAuthSchemes = ["digest"] }
        let client = harness.connect()
        harness.send([0, 0, 0, 7, 0, 0, 3, 231], on: client.id)
        #expect(client.next()?.error == .sessionClosedRequireAuth)
        #expect(client.isClosed)
    }

    @Test("Every connection has the identity of its address")
    func addressSatisfiesRequiredSchemes() {
        let harness = CoreHarness { $0.requiredAuthSchemes = ["digest", "ip"] }
        #expect(harness.connect().create("/a").error == .ok)
    }

    @Test("A session that is still being created cannot be taken over")
    func attachBeforeCreated() {
        let harness = CoreHarness()
        let first = harness.connect()
        harness.isDiskHeld = true
        let second = harness.connect()
        var password = JuteWriter()
        // The next id; its password follows from it and is no secret.
        PasswordOracle.write(for: first.session + 1, to: &password)
        let thief = harness.connect(session: first.session + 1, password: password.copy())
        #expect(thief.isClosed)
        harness.releaseDisk()
        second.readConnectResponse()
        #expect(second.session == first.session + 1)
        #expect(!second.isClosed)
        #expect(second.password == password.copy())
    }
}
