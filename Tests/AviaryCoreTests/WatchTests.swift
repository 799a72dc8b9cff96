import AviaryCore
import Testing
import ZooKeeperProtocol

@Suite("Watches")
struct WatchTests {
    @Test("An event comes before the reply that could show the change, with its zxid, once")
    func eventBeforeReply() {
        let harness = CoreHarness()
        let client = harness.connect()
        client.create("/a")
        client.read(.getData, "/a", watch: true)
        let reply = client.set("/a", "1")
        #expect(client.events == [.init(kind: .nodeDataChanged, path: "/a", zxid: reply.zxid)])
        client.set("/a", "2")
        #expect(client.events.count == 1)
    }

    @Test("One deletion is one event, however many kinds of watch match it")
    func deduplication() {
        let harness = CoreHarness()
        let client = harness.connect()
        client.create("/a")
        client.read(.getData, "/a", watch: true)
        client.read(.getChildren, "/a", watch: true)
        client.call(.addWatch) {
            $0.string("/")
            $0.int32(1)
        }
        client.delete("/a")
        #expect(client.events.map(\.kind) == [.nodeDeleted])
    }

    @Test("Recursive watches hear of descendants, never of children lists")
    func recursive() {
        let harness = CoreHarness()
        let client = harness.connect()
        client.create("/r")
        client.call(.addWatch) {
            $0.string("/r")
            $0.int32(1)
        }
        client.create("/r/x")
        client.create("/r/x/y")
        client.set("/r/x/y", "1")
        client.delete("/r/x/y")
        #expect(client.events.map(\.path) == ["/r/x", "/r/x/y", "/r/x/y", "/r/x/y"])
        #expect(client.events.map(\.kind) == [.nodeCreated, .nodeCreated, .nodeDataChanged, .nodeDeleted])
    }

    @Test("Who may not read a node does not hear of it, and has used up the watch")
    func permissionFilter() {
        let harness = CoreHarness()
        let watcher = harness.connect(address: "10.0.0.1")
        let owner = harness.connect()
        owner.create("/secret", acl: [ACL(31, "ip", "127.0.0.1")])
        watcher.read(.exists, "/secret", watch: true)
        watcher.read(.exists, "/later", watch: true)
        owner.create("/later", acl: [ACL(31, "ip", "127.0.0.1")])
        owner.set("/later", "1")
        _ = watcher.next()
        #expect(watcher.events.isEmpty)
        #expect(harness.core.watchCount == 0)
    }

    @Test("setWatches tells what was missed before its reply, and arms the rest")
    func setWatches() {
        let harness = CoreHarness()
        let client = harness.connect()
        client.create("/changed")
        client.create("/same")
        let seen = client.read(.exists, "/same").zxid
        client.set("/changed", "1")
        client.post(.setWatches, xid: -8) { writer in
            writer.int64(seen)
            writer.int32(3)
            for path in ["/changed", "/same", "/gone"] { writer.string(path) }
            writer.int32(1)
            writer.string("/missing")
            writer.int32(0)
        }
        #expect(client.next()?.xid == -8)
        #expect(
            client.events == [
                .init(kind: .nodeDataChanged, path: "/changed", zxid: -1),
                .init(kind: .nodeDeleted, path: "/gone", zxid: -1),
            ]
        )
        client.create("/missing")
        client.set("/same", "1")
        #expect(client.events.suffix(2).map(\.kind) == [.nodeCreated, .nodeDataChanged])
    }

    @Test("Watches go with their connection and are found by kind")
    func removing() {
        let harness = CoreHarness()
        let client = harness.connect()
        let code = { (operation: ZooKeeperProtocol.Operation, type: Int32) in
            client.call(operation) {
                $0.string("/w")
                $0.int32(type)
            }.error
        }
        client.create("/w")
        client.read(.getData, "/w", watch: true)
        #expect(code(.checkWatches, 2) == .ok)
        #expect(code(.checkWatches, 1) == .noWatcher)
        #expect(code(.removeWatches, 3) == .ok)
        #expect(code(.removeWatches, 3) == .noWatcher)
        client.read(.getData, "/w", watch: true)
        client.disconnect()
        #expect(harness.core.watchCount == 0)
    }
}
