import Testing

@testable import AviaryServer

/// Clients that take more than their share: what is held for them is bounded, and nobody else is disconnected.
@Suite("Hostile clients on the wire")
struct HostileClientTests {
    /// Bounds low enough to be reached by a test.
    private static let tight = TestServer.LimitChange { $0.maximumClientBytes = 8 << 20 }

    @Test("Many that do not read: together they are held within the bound, and those that read lose nothing")
    func unreadAnswers() async throws {
        try await TestServer.with(limits: Self.tight) { server in
            let client = try server.open()
            #expect(try client.create("/big", data: [UInt8](repeating: 1, count: 1_000_000)).error == 0)
            var stuck: [TestClient] = []
            for _ in 0..<30 {
                let one = try TestClient(port: server.port, receiveBufferBytes: 4096)
                try one.openSession(timeoutMilliseconds: 600_000)
                var bytes: [UInt8] = []
                for _ in 0..<20 { bytes += one.getDataRequest("/big") }
                _ = try? one.sendSome(bytes)
                stuck.append(one)
                // Large answers to somebody who takes them.
                try client.send(client.getDataRequest("/big"))
                #expect(try client.readReply().body.count > 1_000_000)
            }
            let isTold = try await TestServer.eventually { server.log.count(containing: "aviary.maxClientBytes") > 0 }
            #expect(isTold)
            #expect(try client.ping().error == 0)
            #expect(Int(try server.metric("connection_drop_count") ?? "") ?? 0 > 0)
            #expect(server.log.count(containing: "all clients together") == 1)
        }
    }

    @Test("Many frames that never end are held within the bound; whole ones go on")
    func unfinishedFrames() async throws {
        try await TestServer.with(limits: Self.tight) { server in
            let client = try server.open()
            var halves: [TestClient] = []
            for round in 0..<30 {
                let one = try server.open(timeoutMilliseconds: 600_000)
                let request = one.createRequest("/never", data: [UInt8](repeating: 1, count: 1_000_000))
                _ = try? one.sendSome(Array(request.dropLast(100_000)))
                halves.append(one)
                #expect(try client.create("/n\(round)", data: [UInt8](repeating: 1, count: 500_000)).error == 0)
            }
            let isTold = try await TestServer.eventually { server.log.count(containing: "aviary.maxClientBytes") > 0 }
            #expect(isTold)
            #expect(try client.ping().error == 0)
            #expect(try !client.exists("/never"))
        }
    }

    @Test("Who waits for the disk is not taken for somebody who does nothing")
    func waitingForTheDisk() async throws {
        let disk = FaultDisk()
        // One frame alone is too much, all the while it arrives.
        let limits = TestServer.LimitChange { $0.maximumClientBytes = 128 << 10 }
        try await TestServer.with(disk: disk, limits: limits) { server in
            let client = try server.open()
            let one = try server.open(timeoutMilliseconds: 600_000)
            let gate = Gate()
            disk.hold(gate)
            try client.send(client.createRequest("/n", data: [1, 2, 3]))
            _ = try? one.sendSome(one.createRequest("/never", data: [UInt8](repeating: 1, count: 1_000_000)))
            let isTold = try await TestServer.eventually { server.log.count(containing: "aviary.maxClientBytes") > 0 }
            #expect(isTold)
            gate.open()
            #expect(try client.readReply().error == 0)
            #expect(one.isClosed())
        }
    }

    @Test("A frame that does not end does not keep its session alive")
    func frameDeadline() async throws {
        try await TestServer.with { server in
            let client = try server.open()
            let slow = try server.open(timeoutMilliseconds: 400)
            try slow.send(Array(slow.createRequest("/slow", data: [1, 2, 3]).dropLast(2)))
            #expect(slow.isClosed())
            #expect(try client.ping().error == 0)
            #expect(try !client.exists("/slow"))
        }
    }

    @Test("A connection that does not say who it is, or says half of it, is closed in time")
    func handshakeDeadline() async throws {
        try await TestServer.with {
            $0.clients.sessionlessTimeout = .milliseconds(300)
        } _: { server in
            let client = try server.open()
            let silent = try server.connect()
            let half = try server.connect()
            try half.send(Array(TestClient.connectRequest(timeoutMilliseconds: 10_000).dropLast(1)))
            #expect(silent.isClosed())
            #expect(half.isClosed())
            #expect(try client.ping().error == 0)
            #expect(try server.metric("sessionless_connections_expired") == "2")
        }
    }

    @Test("Who is answered a lot yields after each turn; order and content stay, between writes too")
    func turns() async throws {
        try await TestServer.with(limits: TestServer.LimitChange { $0.turnReplyBytes = 1 }) { server in
            let client = try server.open()
            let other = try server.open()
            #expect(try client.create("/n", data: [UInt8](repeating: 1, count: 2000)).error == 0)
            var bytes: [UInt8] = []
            for round in 0..<400 {
                bytes +=
                    round % 10 == 9
                    ? client.setDataRequest("/n", data: [UInt8](repeating: 2, count: 2000 + round))
                    : client.getDataRequest("/n")
            }
            try client.send(bytes)
            #expect(try other.ping().error == 0)
            var length = 2000
            for round in 0..<400 {
                let reply = try client.readReply()
                #expect(reply.xid == Int32(round + 2))
                #expect(reply.error == 0)
                if round % 10 == 9 { length = 2000 + round } else { #expect(reply.body.count == 4 + length + 68) }
            }
        }
    }

    @Test("Whoever goes away while it waits for its turn, or is told to stop, is gone")
    func turnsEnd() async throws {
        try await TestServer.with(limits: TestServer.LimitChange { $0.turnReplyBytes = 1 }) { server in
            let other = try server.open()
            for _ in 0..<20 {
                let client = try server.open()
                var bytes: [UInt8] = []
                for _ in 0..<200 { bytes += client.getDataRequest("/zookeeper") }
                try client.send(bytes)
                client.disconnect()
            }
            let isAlone = try await TestServer.eventually { try server.metric("num_alive_connections") == "2" }
            #expect(isAlone)
            #expect(try other.ping().error == 0)
        }
    }

    @Test("One event with a very long path goes to all who watch, in portions")
    func longEvent() async throws {
        try await TestServer.with { server in
            var watchers: [TestClient] = []
            for _ in 0..<12 {
                let watcher = try server.open()
                // addWatch, persistent and recursive, on the root.
                try watcher.send(
                    TestClient.frame(
                        TestClient.int32(1) + TestClient.int32(106) + TestClient.string("/") + TestClient.int32(1)
                    )
                )
                #expect(try watcher.readReply().error == 0)
                watchers.append(watcher)
            }
            let client = try server.open()
            #expect(try client.create("/" + String(repeating: "n", count: 900_000)).error == 0)
            for watcher in watchers { #expect(try watcher.readFrame().count > 900_000) }
        }
    }
}
