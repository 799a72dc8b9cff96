import AviaryCore
import Testing
import ZooKeeperProtocol

@Suite("Writes")
struct WriteTests {
    @Test("No reply leaves before the transaction is durable, and reads behind it wait")
    func repliesFollowTheDisk() {
        let harness = CoreHarness()
        let client = harness.connect()
        let other = harness.connect()
        harness.isDiskHeld = true
        client.postCreate("/a", "x")
        client.post(.exists) {
            $0.string("/a")
            $0.bool(false)
        }
        #expect(client.next() == nil)
        // Nobody sees what is not durable, and nobody waits for another's write.
        #expect(other.read(.exists, "/a").error == .noNode)
        harness.releaseDisk()
        #expect(client.next()?.string == "/a")
        #expect(client.next()?.stat?.dataLength == 1)
        #expect(other.read(.exists, "/a").error == .ok)
    }

    @Test("Pipelined writes are checked against what is in flight")
    func pipelinedWrites() {
        let harness = CoreHarness()
        let client = harness.connect()
        harness.isDiskHeld = true
        for path in ["/p", "/p/c", "/p/c"] {
            client.postCreate(path)
        }
        client.post(.delete) {
            $0.string("/p")
            $0.int32(-1)
        }
        client.post(.setData) {
            $0.string("/p/c")
            $0.string("v")
            $0.int32(0)
        }
        client.post(.setData) {
            $0.string("/p/c")
            $0.string("w")
            $0.int32(0)
        }
        harness.releaseDisk()
        let codes = (0..<6).map { _ in client.next()?.error }
        #expect(codes == [.ok, .ok, .nodeExists, .notEmpty, .ok, .badVersion])
        #expect(harness.core.digestMismatchCount == 0)
    }

    @Test("A refused write takes a zxid; an undecodable one does not")
    func zxids() {
        let harness = CoreHarness()
        let client = harness.connect()
        let first = client.create("/a").zxid
        #expect(client.create("/a").zxid == first + 1)
        #expect(client.call(.create) { $0.int32(99) }.error == .marshallingError)
        #expect(client.create("/b").zxid == first + 2)
    }

    @Test("Sequential names count creates, not children, and stick at the largest number")
    func sequentialNames() {
        let harness = CoreHarness()
        let client = harness.connect()
        client.create("/s")
        #expect(client.create("/s/n-", flags: 2).string == "/s/n-0000000000")
        client.delete("/s/n-0000000000")
        #expect(client.create("/s/n-", flags: 2).string == "/s/n-0000000001")
        #expect(client.create("/s/x").error == .ok)
        #expect(client.create("/s/", flags: 3).string == "/s/0000000003")
    }

    @Test("A failed multi changes nothing, not even counters; its reply names the failing part")
    func failedMulti() throws {
        let harness = CoreHarness()
        let client = harness.connect()
        client.create("/m")
        let before = client.read(.exists, "/m").stat
        let reply = client.call(.multi) { writer in
            MultiHeader.write(type: 1, error: -1, to: &writer)
            writer.string("/m/s-")
            writer.string("")
            ACL.write(ACL.open, to: &writer)
            writer.int32(3)
            MultiHeader.write(type: 13, error: -1, to: &writer)
            writer.string("/m")
            writer.int32(7)
            MultiHeader.write(type: 2, error: -1, to: &writer)
            writer.string("/m")
            writer.int32(-1)
            MultiHeader.writeEnd(to: &writer)
        }
        #expect(reply.error == .ok)
        try reply.read { reader in
            for expected in [ErrorCode.ok, .badVersion, .runtimeInconsistency] {
                let header = try MultiHeader(from: &reader)
                #expect(header.type == -1)
                #expect(try reader.int32() == expected.rawValue)
            }
            #expect(try MultiHeader(from: &reader).isDone)
        }
        #expect(client.read(.exists, "/m").stat == before)
        #expect(client.create("/m/s-", flags: 2).string == "/m/s-0000000000")
        #expect(harness.core.digestMismatchCount == 0)
    }

    @Test("A long multi is one change; one that fails at its end is none", arguments: [15, 16, 17, 33, 100])
    func longMulti(count: Int) throws {
        let harness = CoreHarness()
        let client = harness.connect()
        client.create("/m")
        func multi(last version: Int32) -> Client.Reply {
            client.call(.multi) { writer in
                for index in 1...count {
                    MultiHeader.write(type: Operation.setData.rawValue, error: -1, to: &writer)
                    writer.string("/m")
                    writer.string("\(index)")
                    writer.int32(index == count ? version : -1)
                }
                MultiHeader.writeEnd(to: &writer)
            }
        }
        #expect(multi(last: 7_000).error == .ok)
        #expect(client.read(.exists, "/m").stat?.version == 0)
        #expect(multi(last: Int32(count) - 1).error == .ok)
        #expect(client.read(.getData, "/m").string == "\(count)")
        #expect(client.read(.exists, "/m").stat?.version == Int32(count))
        #expect(harness.core.digestMismatchCount == 0)
    }

    @Test("The log alone gives the same tree, and its digests agree")
    func replay() throws {
        let harness = CoreHarness()
        let client = harness.connect()
        client.create("/a", "1")
        client.create("/a/b", "22", flags: 1)
        client.create("/c", flags: 4, as: .createContainer)
        client.create("/t", flags: 5, as: .createTTL, ttl: 5000)
        client.set("/a", "333")
        client.delete("/c")
        client.create("/a")
        client.call(.setACL) {
            $0.string("/a")
            ACL.write([ACL(3, "world", "anyone"), ACL(31, "ip", "10.0.0.0/8")], to: &$0)
            $0.int32(-1)
        }
        let second = try harness.restarted()
        #expect(second.core.treeDigest == harness.core.treeDigest)
        #expect(second.core.nodeCount == harness.core.nodeCount)
        #expect(second.core.sessionCount == 1)
        #expect(second.core.ephemeralCount == 1)
        #expect(harness.core.digestMismatchCount == 0)
    }

    @Test("While the disk is full client writes are refused without a zxid, and sessions can still end")
    func fullDisk() {
        let harness = CoreHarness()
        let client = harness.connect()
        client.create("/e", flags: 1)
        let zxid = harness.core.lastProcessedZxid
        harness.core.setLogRoom(.low, at: harness.now, into: &harness.output)
        #expect(client.create("/x").error == .systemError)
        #expect(harness.core.lastProcessedZxid == zxid)
        #expect(client.read(.exists, "/e").error == .ok)
        #expect(client.call(.closeSession).error == .ok)
        #expect(harness.core.ephemeralCount == 0)
        harness.core.setLogRoom(.plenty, at: harness.now, into: &harness.output)
        #expect(harness.connect().create("/x").error == .ok)
    }
}

@Suite("A disk without any room")
struct ExhaustedLogTests {
    @Test("Nothing is logged: sessions neither begin nor end, reads go on, and what is overdue ends once there is room")
    func exhausted() {
        let harness = CoreHarness()
        let silent = harness.connect(timeout: 4000)
        let client = harness.connect(timeout: 20_000)
        silent.create("/e", flags: 1)
        let logged = harness.log.count
        harness.core.setLogRoom(.exhausted, at: harness.now, into: &harness.output)
        #expect(client.create("/x").error == .systemError)
        #expect(client.call(.closeSession).error == .systemError)
        #expect(harness.connect().session == 0)
        harness.advance(milliseconds: 10_000)
        #expect(client.read(.exists, "/e").error == .ok)
        #expect(harness.log.count == logged)
        harness.core.setLogRoom(.plenty, at: harness.now, into: &harness.output)
        harness.advance(milliseconds: 1)
        #expect(client.read(.exists, "/e").error == .noNode)
        #expect(silent.isClosed)
    }
}

@Suite("Traffic by namespace")
struct TrafficTests {
    @Test("Reads and writes are counted below the top-level node that they concern")
    func traffic() {
        let harness = CoreHarness()
        let client = harness.connect()
        client.create("/app", "12345")
        client.create("/app/x", "123")
        client.create("/apple")
        client.read(.getData, "/app/x")
        var seen: [String: (Int64, Int64)] = [:]
        harness.core.forEachNamespaceTraffic { seen[$0] = ($1.sum, $2.sum) }
        #expect(seen["app"]?.0 == 9)
        #expect(seen["app"]?.1 == 18)
        #expect(seen["apple"]?.1 == 6)
    }
}
