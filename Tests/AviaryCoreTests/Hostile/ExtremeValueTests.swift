import AviaryCore
import Testing
import ZooKeeperProtocol

/// The largest, the smallest, the deepest and the longest that a frame can hold.
@Suite("Extreme values")
struct ExtremeValueTests {
    private static let numbers: [Int32] = [0, 1, -1, -2, Int32.max, Int32.min, 6, 7]
    private static let deep = String(repeating: "/a", count: 500_000)
    private static let slashes = String(repeating: "/", count: 1_000_000)
    private static let long = "/" + String(repeating: "n", count: 1_000_000)
    private static let dots = String(repeating: "/..", count: 300_000)

    @Test("Paths of half a million components or a million bytes, in everything that takes a path")
    func paths() {
        let harness = CoreHarness()
        let client = harness.connect()
        for path in [Self.deep, Self.slashes, Self.long, Self.dots] {
            #expect(client.create(path).error != .ok || path == Self.long)
            #expect(client.create(path, flags: 2).error != .ok || path == Self.long)
            for operation in [Operation.exists, .getData, .getChildren, .getChildren2] {
                _ = client.read(operation, path, watch: true)
            }
            for operation in [Operation.getACL, .sync, .getEphemerals, .getAllChildrenNumber] {
                _ = client.call(operation) { $0.string(path) }
            }
            for operation in [Operation.addWatch, .checkWatches, .removeWatches] {
                _ = client.call(operation) {
                    $0.string(path)
                    $0.int32(1)
                }
            }
            _ = client.set(path, "")
            _ = client.delete(path)
            _ = client.call(.setACL) {
                $0.string(path)
                ACL.write(ACL.open, to: &$0)
                $0.int32(-1)
            }
            #expect(!client.isClosed)
            #expect(client.read(.exists, "/").error == .ok)
        }
    }

    @Test("A node as deep as any may be, with quotas and recursive watches above it")
    func deepestNode() {
        let harness = CoreHarness { $0.enforceQuota = true }
        let client = harness.connect()
        client.create("/q")
        var path = "/q"
        var depth = 1
        while client.create(path + "/d").error == .ok {
            path += "/d"
            depth += 1
        }
        #expect(depth == 2048)
        client.create("/zookeeper/quota/q")
        client.create("/zookeeper/quota/q/zookeeper_limits", "countHardLimit=3000")
        client.create("/zookeeper/quota/q/zookeeper_stats")
        client.call(.addWatch) {
            $0.string("/q")
            $0.int32(1)
        }
        #expect(client.set(path, "abc").error == .ok)
        #expect(client.call(.getAllChildrenNumber) { $0.string("/q") }.body == [0, 0, 7, 255])
        for _ in 0..<10 {
            #expect(client.delete(path).error == .ok)
            path.removeLast(2)
        }
        #expect(client.events.count == 11)
        #expect(client.read(.getData, "/zookeeper/quota/q/zookeeper_stats").string == "count=2038,bytes=0")
    }

    @Test("Every number that a request has, at its ends")
    func numbers() {
        let harness = CoreHarness()
        for number in Self.numbers {
            let client = harness.connect(timeout: number)
            #expect((2000...20_000).contains(client.timeout))
            for operation in [Operation.create, .create2, .createContainer, .createTTL] {
                for ttl in [Int64.min, -1, 0, 1, 1 << 40, Int64.max] {
                    _ = client.create("/n-", flags: number, as: operation, ttl: ttl)
                }
            }
            client.create("/v")
            _ = client.set("/v", "x", version: number)
            _ = client.delete("/v", version: number)
            _ = client.call(.setACL) {
                $0.string("/v")
                ACL.write([ACL(number, "world", "anyone")], to: &$0)
                $0.int32(number)
            }
            for operation in [Operation.addWatch, .checkWatches, .removeWatches] {
                _ = client.call(operation) {
                    $0.string("/")
                    $0.int32(number)
                }
            }
            for zxid in [Int64.min, -1, 0, Int64.max] {
                client.post(.setWatches2) {
                    $0.int64(zxid)
                    for _ in 0..<5 {
                        $0.int32(1)
                        $0.string("/")
                    }
                }
                _ = client.next()
            }
            // Counts that are not there.
            for operation in [Operation.setWatches, .setWatches2] {
                client.post(operation) {
                    $0.int64(0)
                    $0.int32(number)
                }
                _ = client.next()
            }
            client.call(.create) {
                $0.string("/acl")
                $0.string("")
                $0.int32(number)
            }
            #expect(client.read(.exists, "/").error == .ok)
        }
        for zxid in [Int64.min, -1, Int64.max] { _ = harness.connect(lastZxid: zxid) }
        #expect(harness.connect().read(.exists, "/").error == .ok)
        #expect(harness.core.digestMismatchCount == 0)
    }

    @Test("A wall clock that jumps by centuries, both ways")
    func wallClock() throws {
        let harness = CoreHarness { $0.containerCheckIntervalMilliseconds = 100 }
        let client = harness.connect(timeout: 20_000)
        for wall in [0, Int64.min, Int64.max, -1, 1_700_000_000_000] {
            harness.now.wallMilliseconds = wall
            client.create("/t", flags: 6, as: .createTTL, ttl: 1)
            client.create("/c", as: .createContainer)
            harness.now.monotonicMicroseconds += 200_000
            harness.core.advance(to: harness.now, into: &harness.output)
            harness.carryOut()
            client.post(.ping, xid: -2)
            #expect(client.next()?.xid == -2)
        }
        #expect(try harness.restarted().core.treeDigest == harness.core.treeDigest)
    }

    @Test("The longest ACL lists that fit into a frame, refused or checked in no time")
    func accessLists() {
        let harness = CoreHarness()
        let client = harness.connect()
        let tooMany = (0..<40_000).map { ACL($0, "ip", "::1") }
        #expect(client.create("/a", acl: tooMany).error == .invalidACL)
        let most = (0..<1000).map { ACL(31, "digest", "u\($0):x") }
        #expect(client.create("/a", acl: most).error == .ok)
        for _ in 0..<2000 { #expect(client.read(.getData, "/a").error == .noAuth) }
    }

    @Test("Lists of as many parts as fit into a frame")
    func lists() {
        let harness = CoreHarness()
        let client = harness.connect()
        let checks = client.call(.multi) { writer in
            for _ in 0..<40_000 {
                MultiHeader.write(type: 13, to: &writer)
                writer.string("/")
                writer.int32(-1)
            }
            MultiHeader.writeEnd(to: &writer)
        }
        #expect(checks.error == .ok)
        #expect(checks.body.count == 40_001 * 9)
        let reads = client.call(.multiRead) { writer in
            for _ in 0..<40_000 {
                MultiHeader.write(type: 8, to: &writer)
                writer.string("/")
                writer.bool(false)
            }
            MultiHeader.writeEnd(to: &writer)
        }
        #expect(reads.error == .ok)
        client.create("/big", String(repeating: "b", count: 900_000))
        let amplified = client.call(.multiRead) { writer in
            for _ in 0..<40_000 {
                MultiHeader.write(type: 4, to: &writer)
                writer.string("/big")
                writer.bool(false)
            }
            MultiHeader.writeEnd(to: &writer)
        }
        #expect(amplified.error == .marshallingError)
        #expect(amplified.body.isEmpty)
    }
}
