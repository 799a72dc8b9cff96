import NIOCore
import Synchronization
import Testing
import ZooKeeperProtocol

@testable import AviaryServer

@Suite("One election connection for each pair of servers")
struct ElectionTransportTests {
    /// Runs `body` with nodes that are stopped afterwards.
    private func with(_ nodes: ElectionNode..., body: () async throws -> Void) async throws {
        do {
            try await body()
        } catch {
            for node in nodes { await node.stop() }
            throw error
        }
        for node in nodes { await node.stop() }
    }

    @Test("Messages go both ways, whoever begins", arguments: [true, false])
    func bothWays(smallerBegins: Bool) async throws {
        let one = try await ElectionNode(1)
        let two = try await ElectionNode(2, members: [(1, "127.0.0.1", one.port)])
        try await with(one, two) { () async throws in
            await one.update([(2, "127.0.0.1", two.port)])
            let (first, second) = smallerBegins ? (one, two) : (two, one)
            await first.send("from the first", to: second.id.rawValue)
            #expect(try await second.receives("from the first", from: first.id.rawValue))
            await second.send("from the second", to: first.id.rawValue)
            #expect(try await first.receives("from the second", from: second.id.rawValue))
            #expect(one.links == [.init(server: 2, isUp: true)])
            #expect(two.links == [.init(server: 1, isUp: true)])
        }
    }

    @Test("A server with a smaller id is turned away and connected to, where it says that it is")
    func smallerKnocks() async throws {
        let listener = try TestListener()
        let two = try await ElectionNode(2)
        try await with(two) {
            let knock = try TestClient(port: two.port)
            try knock.send(Introduction.bytes(1, "127.0.0.1:\(listener.port)"))
            #expect(knock.isClosed())
            let connection = try #require(listener.accept())
            let introduction = try connection.readIntroduction()
            #expect(introduction.version == Introduction.v1)
            #expect(introduction.server == 2)
            #expect(introduction.addresses == "127.0.0.1:\(two.port)")
            await two.send("hello", to: 1)
            #expect(try connection.readText() == "hello")
            try connection.sendText("hello yourself")
            #expect(try await two.receives("hello yourself", from: 1))
        }
    }

    @Test("Where a member is not that its line names, it is where it says")
    func announcedElsewhere() async throws {
        let (listener, gone) = (try TestListener(), try TestListener().port)
        let two = try await ElectionNode(2, members: [(1, "127.0.0.1", gone)])
        try await with(two) {
            try TestClient(port: two.port).send(
                Introduction.bytes(1, "0.0.0.0:1|127.0.0.1:\(listener.port)", version: Introduction.v2)
            )
            #expect(try listener.accept()?.readIntroduction().server == 2)
        }
    }

    @Test("A server that believes that it is at a wildcard address is where its line says")
    func wildcard() async throws {
        let listener = try TestListener()
        let two = try await ElectionNode(2, members: [(1, "127.0.0.1", listener.port)])
        try await with(two) {
            try TestClient(port: two.port).send(Introduction.bytes(1, "0.0.0.0:3888"))
            #expect(try listener.accept()?.readIntroduction().server == 2)
        }
    }

    @Test("A server with a larger id is only told who wants to talk to it")
    func knocks() async throws {
        let listener = try TestListener()
        let one = try await ElectionNode(1, members: [(2, "127.0.0.1", listener.port)])
        try await with(one) {
            await one.send("a vote", to: 2)
            let knock = try #require(listener.accept())
            #expect(try knock.readIntroduction().server == 1)
            #expect(knock.isClosed())
            // It connects, and gets the message.
            let connection = try TestClient(port: one.port)
            try connection.send(Introduction.bytes(2, "127.0.0.1:\(listener.port)"))
            #expect(try connection.readText() == "a vote")
        }
    }

    @Test("Every form of the first message is understood", arguments: [0, 1, 2])
    func forms(form: Int) async throws {
        let one = try await ElectionNode(1)
        try await with(one) {
            let connection = try TestClient(port: one.port)
            switch form {
            case 0: try connection.send(TestClient.int64(7))
            case 1: try connection.send(Introduction.bytes(7, "zoo7:3888"))
            default:
                try connection.send(Introduction.bytes(7, "[::1]:3888|zoo7:3888", version: Introduction.v2))
            }
            try connection.sendText("seven")
            #expect(try await one.receives("seven", from: 7))
        }
    }

    @Test("All addresses are announced where there may be several")
    func announcesAll() async throws {
        let listener = try TestListener()
        let two = try await ElectionNode(2, adjust: { $0.announcesAllAddresses = true })
        try await with(two) {
            await two.run { transport in
                let own = QuorumMember(
                    id: ServerID(2),
                    addresses: [
                        ServerAddress(host: "127.0.0.1", quorumPort: 1, electionPort: two.port),
                        ServerAddress(host: "127.0.0.2", quorumPort: 1, electionPort: two.port),
                    ]
                )
                transport.update(members: [own] + ElectionNode.members([(1, "127.0.0.1", listener.port)]))
            }
            await two.connectAll()
            let introduction = try #require(try listener.accept()?.readIntroduction())
            #expect(introduction.version == Introduction.v2)
            #expect(introduction.addresses == "127.0.0.1:\(two.port)|127.0.0.2:\(two.port)")
        }
    }

    @Test("A message that was not sent makes room for the next one")
    func replacement() async throws {
        let port = try TestListener().port
        let two = try await ElectionNode(2, members: [(1, "127.0.0.1", port)])
        try await with(two) {
            for number in 1...5 { await two.send("vote \(number)", to: 1) }
            #expect(try await two.hears(of: 1, isUp: false))
            let listener = try TestListener(port: port)
            let connection = try #require(listener.accept())
            _ = try connection.readIntroduction()
            #expect(try connection.readText() == "vote 5")
            await two.send("vote 6", to: 1)
            #expect(try connection.readText() == "vote 6")
        }
    }

    @Test("The last message is sent again on a fresh connection, old as it may be")
    func again() async throws {
        let one = try await ElectionNode(1, members: [(2, "127.0.0.1", 1)])
        try await with(one) {
            await one.send("a vote", to: 2)
            for _ in 1...3 {
                let connection = try TestClient(port: one.port)
                try connection.send(Introduction.bytes(2, "127.0.0.1:1"))
                #expect(try connection.readText() == "a vote")
            }
        }
    }

    @Test("A restarted server gets through, though its old connection looks alive", arguments: [1, 3] as [Int64])
    func restart(id: Int64) async throws {
        let listener = try TestListener()
        let two = try await ElectionNode(2, members: [(id, "127.0.0.1", listener.port)])
        try await with(two) {
            func connect() throws -> TestClient {
                let client = try TestClient(port: two.port)
                try client.send(Introduction.bytes(id, "127.0.0.1:\(listener.port)"))
                guard id < 2 else { return client }
                let connection = try #require(listener.accept())
                _ = try connection.readIntroduction()
                return connection
            }
            let old = try connect()
            #expect(try await two.hears(of: id, isUp: true))
            let new = try connect()
            #expect(old.isClosed())
            #expect(try await TestServer.eventually { try two.onLoop { $0.isConnected(to: ServerID(id)) } })
            await two.send("welcome back", to: id)
            #expect(try new.readText() == "welcome back")
            try new.sendText("thanks")
            #expect(try await two.receives("thanks", from: id))
            #expect(!two.links.contains { !$0.isUp })
        }
    }

    @Test("A connection that breaks is told, and one that nobody answers")
    func linkEnds() async throws {
        let port = try TestListener().port
        let one = try await ElectionNode(1, members: [(3, "127.0.0.1", port)])
        try await with(one) {
            await one.connectAll()
            #expect(try await one.hears(of: 3, isUp: false))
            let connection = try TestClient(port: one.port)
            try connection.send(Introduction.bytes(2, "127.0.0.1:1"))
            #expect(try await one.hears(of: 2, isUp: true))
            connection.disconnect()
            #expect(try await one.hears(of: 2, isUp: false))
        }
    }

    @Test("However often it is asked, an absent server costs a few attempts")
    func fewAttempts() async throws {
        let listener = try TestListener()
        let one = try await ElectionNode(1, members: [(2, "127.0.0.1", listener.port)])
        try await with(one) {
            let start = ContinuousClock.now
            for number in 1...500 {
                await one.send("vote \(number)", to: 2)
                await one.connectAll()
            }
            // Each knock is answered by nothing: the next one waits for a tenth of a second, half of it at least, and
            // longer each time, to half a second at least.
            var knocks = 0
            while listener.accept(patienceMilliseconds: knocks == 0 ? 10_000 : 10) != nil { knocks += 1 }
            #expect((1...6 + Int((ContinuousClock.now - start) / .milliseconds(500))).contains(knocks))
        }
    }

    @Test("Its own id, a connection to itself, is let go")
    func itself() async throws {
        let one = try await ElectionNode(1)
        try await with(one) {
            let connection = try TestClient(port: one.port)
            try connection.send(Introduction.bytes(1, "127.0.0.1:\(one.port)"))
            #expect(connection.isClosed())
            #expect(one.links.isEmpty)
        }
    }

    @Test("Another configuration: another port, another place of a member")
    func update() async throws {
        let (before, after) = (try TestListener(), try TestListener())
        let two = try await ElectionNode(2, members: [(1, "127.0.0.1", before.port)])
        try await with(two) {
            await two.connectAll()
            let old = try #require(before.accept())
            _ = try old.readIntroduction()
            let port = try TestListener().port
            await two.update([(1, "127.0.0.1", after.port)], ownPort: port)
            #expect(try await TestServer.eventually { try two.onLoop { $0.ports == [port] } })
            old.disconnect()
            #expect(try await two.hears(of: 1, isUp: false))
            await two.send("you moved", to: 1)
            let new = try #require(after.accept())
            #expect(try new.readIntroduction().addresses == "127.0.0.1:\(port)")
            #expect(try new.readText() == "you moved")
            #expect(throws: TestClient.Failure.self) { try TestClient(port: two.port) }
        }
    }

    @Test("Who is no member any more can still be told so")
    func removed() async throws {
        let one = try await ElectionNode(1, members: [(2, "127.0.0.1", 1)])
        try await with(one) {
            let connection = try TestClient(port: one.port)
            try connection.send(Introduction.bytes(2, "127.0.0.1:1"))
            #expect(try await one.hears(of: 2, isUp: true))
            await one.update([])
            await one.send("you are out", to: 2)
            #expect(try connection.readText() == "you are out")
        }
    }
}
