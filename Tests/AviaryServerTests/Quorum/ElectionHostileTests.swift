import NIOCore
import Testing
import ZooKeeperProtocol

@testable import AviaryServer

@Suite("Nobody can take the election port from the others")
struct ElectionHostileTests {
    private func with(_ node: ElectionNode, body: (ElectionNode) async throws -> Void) async throws {
        do {
            try await body(node)
        } catch {
            await node.stop()
            throw error
        }
        await node.stop()
    }

    /// A server with a larger id comes in and is heard.
    private func expectService(_ node: ElectionNode, _ id: Int64 = 9) async throws {
        let connection = try TestClient(port: node.port)
        try connection.send(Introduction.bytes(id, "127.0.0.1:3888"))
        try connection.sendText("still there? \(id)")
        #expect(try await node.receives("still there? \(id)", from: id))
    }

    static let messages: [[UInt8]] = [
        Array("GET / HTTP/1.1\r\nHost: zoo\r\n\r\n".utf8),
        TestClient.int64(-1) + TestClient.int64(2),
        TestClient.int64(.min) + TestClient.int64(2),
        TestClient.int64(-65534) + TestClient.int64(2) + TestClient.string("zoo:3888"),
        Introduction.bytes(2, "127.0.0.1:99999"),
        Introduction.bytes(2, "127.0.0.1:-1"),
        Introduction.bytes(2, "127.0.0.1"),
        Introduction.bytes(2, ":::::"),
        Introduction.bytes(2, "\0\0\0:1"),
        Introduction.bytes(2, "zoo:1|", version: Introduction.v2),
        Introduction.bytes(2, ""),
        TestClient.int64(Introduction.v1) + TestClient.int64(2) + TestClient.int32(2049),
        TestClient.int64(Introduction.v1) + TestClient.int64(2) + TestClient.int32(-1),
        TestClient.int64(Introduction.v1) + TestClient.int64(2) + TestClient.int32(.max),
        Introduction.bytes(2, "zoo:3888") + TestClient.int32(0),
        Introduction.bytes(2, "zoo:3888") + TestClient.int32(-1),
        Introduction.bytes(2, "zoo:3888") + TestClient.int32(524_289),
        Introduction.bytes(2, "zoo:3888") + TestClient.int32(.max),
    ]

    @Test("Garbage ends the connection that it came on and nothing else", arguments: messages)
    func garbage(bytes: [UInt8]) async throws {
        try await with(try await ElectionNode(1)) { node in
            let other = try TestClient(port: node.port)
            try other.send(Introduction.bytes(3, "127.0.0.1:3888"))
            let hostile = try TestClient(port: node.port)
            try hostile.send(bytes)
            #expect((try? hostile.readToEnd()) == [])
            #expect(node.log.count(containing: "closing an election connection") == 1)
            try other.sendText("undisturbed")
            #expect(try await node.receives("undisturbed", from: 3))
            try await expectService(node)
        }
    }

    @Test("Anything may end anywhere")
    func prefixes() async throws {
        try await with(try await ElectionNode(1)) { node in
            let bytes = Introduction.bytes(2, "zoo:3888") + TestClient.frame(Array("a vote".utf8))
            for count in 0..<bytes.count {
                let connection = try TestClient(port: node.port)
                try connection.send(Array(bytes[..<count]))
            }
            try await expectService(node)
            #expect(!node.messages.contains { $0.sender == 2 })
        }
    }

    @Test("Bytes may come one by one, and many messages at once")
    func pieces() async throws {
        try await with(try await ElectionNode(1)) { node in
            let connection = try TestClient(port: node.port)
            for byte in Introduction.bytes(2, "zoo:3888") + TestClient.frame(Array("slowly".utf8)) {
                try connection.send([byte])
                await node.run { _ in }
            }
            #expect(try await node.receives("slowly", from: 2))
            try connection.send((1...50).flatMap { TestClient.frame(Array("vote \($0)".utf8)) })
            #expect(try await node.receives("vote 50", from: 2))
            #expect(node.messages.count == 51)
            let long = String(repeating: "x", count: ElectionConnection.maximumFrameBytes)
            try connection.sendText(long)
            #expect(try await node.receives(long, from: 2))
        }
    }

    @Test("Thirty silent connections keep nobody out, nor do a hundred", arguments: [30, 100])
    func silent(count: Int) async throws {
        try await with(try await ElectionNode(1)) { node in
            let silent = try (0..<count).map { _ in try TestClient(port: node.port) }
            try await expectService(node)
            #expect(try node.onLoop { $0.unfinishedCount } <= 64)
            withExtendedLifetime(silent) {}
        }
    }

    @Test("A connection has to say in time who it is")
    func deadline() async throws {
        let node = try await ElectionNode(1, adjust: { $0.introductionTimeout = .milliseconds(50) })
        try await with(node) { node in
            let silent = try TestClient(port: node.port)
            let halting = try TestClient(port: node.port)
            try halting.send(TestClient.int64(Introduction.v1))
            #expect(silent.isClosed())
            #expect(halting.isClosed())
            try await expectService(node)
        }
    }

    @Test("A message that has begun has to be whole in time")
    func frameDeadline() async throws {
        try await with(try await ElectionNode(1, adjust: { $0.frameTimeout = .milliseconds(50) })) { node in
            let halting = try TestClient(port: node.port)
            try halting.send(Introduction.bytes(2, "zoo:3888") + TestClient.int32(100) + [1, 2, 3])
            #expect(halting.isClosed())
            try await expectService(node)
        }
    }

    @Test("Servers that nobody knows are let in up to a number, members always")
    func strangers() async throws {
        let node = try await ElectionNode(1, members: [(5, "127.0.0.1", 1)], adjust: { $0.maximumStrangers = 2 })
        try await with(node) { node in
            var connections: [TestClient] = []
            for id in [20, 21, 22] as [Int64] {
                connections.append(try TestClient(port: node.port))
                try connections[connections.count - 1].send(Introduction.bytes(id, "zoo:3888"))
            }
            #expect(connections[2].isClosed())
            try await expectService(node, 5)
            // One of them goes, and there is room.
            connections[0].disconnect()
            #expect(try await node.hears(of: 20, isUp: false))
            try await expectService(node, 23)
        }
    }
}

@Suite("Names of servers")
struct ElectionNamesTests {
    /// A name service that a test can switch off and hold up.
    private final class Names: Sendable {
        private let known = Guarded<[String: String]>([:])
        private let asked = Guarded(0)

        func set(_ host: String, _ address: String?) { known.withLock { $0[host] = address } }
        var questions: Int { asked.withLock { $0 } }

        @Sendable func lookup(_ host: String) -> [SocketAddress] {
            asked.withLock { $0 += 1 }
            guard let address = known.withLock({ $0[host] }) else { return [] }
            return (try? SocketAddress(ipAddress: address, port: 0)).map { [$0] } ?? []
        }
    }

    private func with(_ node: ElectionNode, body: (ElectionNode) async throws -> Void) async throws {
        do {
            try await body(node)
        } catch {
            await node.stop()
            throw error
        }
        await node.stop()
    }

    @Test("A name that is not known is looked for again, and found")
    func unresolvable() async throws {
        let (names, listener) = (Names(), try TestListener())
        let node = try await ElectionNode(2, members: [(1, "zoo1.test", listener.port)], lookup: names.lookup)
        try await with(node) { node in
            await node.send("a vote", to: 1)
            #expect(try await node.hears(of: 1, isUp: false))
            #expect(try await TestServer.eventually { names.questions >= 3 })
            names.set("zoo1.test", "127.0.0.1")
            let connection = try #require(listener.accept())
            _ = try connection.readIntroduction()
            #expect(try connection.readText() == "a vote")
        }
    }

    @Test("A name is looked up for every attempt, and a server found where it has moved to")
    func moved() async throws {
        let names = Names()
        // Of all addresses that begin with 127 the machine is at home at each.
        names.set("zoo1.test", "127.0.0.77")
        let listener = try TestListener()
        let node = try await ElectionNode(2, members: [(1, "zoo1.test", listener.port)], lookup: names.lookup)
        try await with(node) { node async throws in
            await node.send("a vote", to: 1)
            #expect(try await node.hears(of: 1, isUp: false))
            names.set("zoo1.test", "127.0.0.1")
            #expect(listener.accept() != nil)
        }
    }

    @Test("Museum 38: servers with names beyond ASCII find each other, and say their names so that they are understood")
    func beyondASCII() async throws {
        let (names, listener) = (Names(), try TestListener())
        names.set("zoé.test", "127.0.0.1")
        let node = try await ElectionNode(2, members: [(1, "zoé.test", listener.port)], lookup: names.lookup)
        try await with(node) { node in
            let port = node.port
            await node.run { transport in
                transport.update(
                    members: ElectionNode.members([(2, "動物園.test", port), (1, "zoé.test", listener.port)])
                )
            }
            await node.send("a vote", to: 1)
            let connection = try #require(listener.accept())
            let introduction = try connection.readIntroduction()
            #expect(introduction.addresses == "動物園.test:\(port)")
            #expect(try connection.readText() == "a vote")
        }
    }

    @Test("Museum 38: a server that nobody knows is called back by the name beyond ASCII that it says")
    func announcedBeyondASCII() async throws {
        let (names, listener) = (Names(), try TestListener())
        names.set("ö-1.test", "127.0.0.1")
        let node = try await ElectionNode(2, lookup: names.lookup)
        try await with(node) { node in
            let knock = try TestClient(port: node.port)
            try knock.send(Introduction.bytes(1, "ö-1.test:\(listener.port)"))
            #expect(knock.isClosed())
            let connection = try #require(listener.accept())
            #expect(try connection.readIntroduction().server == 2)
        }
    }

    @Test("A name service that is gone does not matter for who was found before")
    func lastGood() async throws {
        let (names, listener) = (Names(), try TestListener())
        names.set("zoo1.test", "127.0.0.1")
        let node = try await ElectionNode(2, members: [(1, "zoo1.test", listener.port)], lookup: names.lookup)
        try await with(node) { node in
            await node.send("a vote", to: 1)
            let first = try #require(listener.accept())
            #expect(try await node.hears(of: 1, isUp: true))
            names.set("zoo1.test", nil)
            first.disconnect()
            #expect(try await node.hears(of: 1, isUp: false))
            await node.send("a second vote", to: 1)
            let second = try #require(listener.accept())
            _ = try second.readIntroduction()
            #expect(try second.readText() == "a second vote")
        }
    }

    @Test("A name service that is slow for one server does not hold up the others")
    func slow() async throws {
        let listener = try TestListener()
        let gate = Gate()
        let node = try await ElectionNode(
            3,
            members: [(1, "slow.test", 1), (2, "127.0.0.1", listener.port)],
            lookup: { _ in
                gate.wait()
                return []
            }
        )
        try await with(node) { node in
            await node.send("to the slow one", to: 1)
            await node.send("to the other", to: 2)
            let connection = try #require(listener.accept())
            _ = try connection.readIntroduction()
            #expect(try connection.readText() == "to the other")
            gate.open()
        }
    }
}
