import Testing

@testable import AviaryServer

@Suite("Frames on a client's connection")
struct FramingTests {
    @Test("A handshake and a request may arrive byte by byte")
    func bytewise() async throws {
        try await TestServer.with { server in
            let client = try server.connect()
            for byte in TestClient.connectRequest(timeoutMilliseconds: 10_000) { try client.send([byte]) }
            #expect(try client.readConnectResponse() == 10_000)
            for byte in client.createRequest("/a", data: [1, 2, 3]) { try client.send([byte]) }
            #expect(try client.readReply().error == 0)
        }
    }

    @Test("Requests may come in one piece, also behind the ConnectRequest, and are answered in order")
    func pipelined() async throws {
        try await TestServer.with { server in
            let client = try server.connect()
            var bytes = TestClient.connectRequest(timeoutMilliseconds: 10_000)
            bytes += client.createRequest("/a", data: Array("x".utf8))
            for _ in 0..<200 { bytes += client.setDataRequest("/a", data: Array("y".utf8)) }
            bytes += client.getDataRequest("/a")
            try client.send(bytes)
            #expect(try client.readConnectResponse() == 10_000)
            for xid in 1...202 {
                let reply = try client.readReply()
                #expect(reply.xid == Int32(xid))
                #expect(reply.error == 0)
            }
        }
    }

    @Test("Large frames are put together from pieces of any size", arguments: [1_000, 16_384, 65_537])
    func pieces(size: Int) async throws {
        try await TestServer.with { server in
            let client = try server.open()
            let data = (0..<900_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            var rest = (client.createRequest("/big", data: data) + client.getDataRequest("/big"))[...]
            while !rest.isEmpty {
                try client.send(Array(rest.prefix(size)))
                rest = rest.dropFirst(size)
            }
            #expect(try client.readReply().error == 0)
            let reply = try client.readReply()
            #expect(Array(reply.body[4..<(4 + data.count)]) == data)
        }
    }

    @Test("A frame of jute.maxbuffer bytes is taken, one byte more is not")
    func maximum() async throws {
        try await TestServer.with { server in
            let client = try server.open()
            let overhead = client.createRequest("/m").count - 4
            let data = [UInt8](repeating: 7, count: 1_048_575 - overhead)
            #expect(try client.create("/m", data: data).error == 0)
            try client.send(TestClient.int32(1_048_576))
            #expect(client.isClosed())
            #expect(server.log.count(containing: "frame length is 1048576, above jute.maxbuffer 1048575") == 1)
        }
    }

    @Test("What no frame can begin with ends the connection", arguments: [Int32(-1), .min, 0, 1_048_576])
    func badFirstLength(length: Int32) async throws {
        try await TestServer.with { server in
            let client = try server.connect()
            try client.send(TestClient.int32(length))
            #expect(client.isClosed())
            let other = try server.open()
            #expect(try other.create("/after").error == 0)
        }
    }

    @Test("A length alone takes no memory: thousands of announced megabytes are nothing")
    func announced() async throws {
        try await TestServer.with { server in
            var clients: [TestClient] = []
            for _ in 0..<200 {
                let client = try server.open()
                try client.send(TestClient.int32(1_000_000) + [0, 0])
                clients.append(client)
            }
            let answer = try server.ask("srvr")
            #expect(answer.contains("Connections: 201\n"))
        }
    }

    @Test("A four letter word on an established connection is a length")
    func lateWord() async throws {
        try await TestServer.with { server in
            let client = try server.open()
            try client.send(Array("ruok".utf8))
            #expect(client.isClosed())
        }
    }
}

@Suite("Bytes that wait")
struct HeldBytesTests {
    @Test("Pieces come out as they went in")
    func order() {
        var held = HeldBytes()
        for piece in [[1, 2, 3], [4], [], [5, 6]] as [[UInt8]] { piece.withUnsafeBytes { held.append($0) } }
        #expect(Array(held.bytes) == [1, 2, 3, 4, 5, 6])
        held.removeFirst(2)
        #expect(Array(held.bytes) == [3, 4, 5, 6])
        held.removeFirst(4)
        #expect(held.count == 0)
    }
}
