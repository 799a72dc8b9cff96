import Testing

@testable import AviaryServer

@Suite("Limits of clients")
struct LimitTests {
    @Test("More connections from one address than allowed are closed without a byte, until one goes")
    func perAddress() async throws {
        try await TestServer.with {
            $0.clients.maximumConnectionsPerAddress = 2
        } _: { server in
            let first = try server.open()
            let second = try server.open()
            #expect(try server.connect().isClosed())
            first.disconnect()
            let isFree = try await TestServer.eventually { (try? server.open()) != nil }
            #expect(isFree)
            #expect(try second.ping().error == 0)
            #expect(server.log.count(containing: "maxClientCnxns") == 1)
        }
    }

    @Test("More connections in total than allowed are closed without a byte")
    func total() async throws {
        try await TestServer.with {
            $0.clients.maximumConnections = 1
        } _: { server in
            let client = try server.open()
            #expect(try server.connect().isClosed())
            #expect(try client.ping().error == 0)
        }
    }

    @Test("The token bucket closes connections whose session would be one too many")
    func tokens() async throws {
        try await TestServer.with {
            $0.connectionThrottle.tokens = 2
            $0.connectionThrottle.fillTime = .seconds(3600)
        } _: { server in
            let clients = [try server.open(), try server.open()]
            let third = try server.connect()
            try third.send(TestClient.connectRequest(timeoutMilliseconds: 10_000))
            #expect(third.isClosed())
            for client in clients { #expect(try client.ping().error == 0) }
        }
    }

    @Test("More requests than may be outstanding are not refused, only read later")
    func outstanding() async throws {
        try await TestServer.with {
            $0.limits.outstandingRequests = 10
        } _: { server in
            let client = try server.open()
            #expect(try client.create("/n").error == 0)
            var bytes: [UInt8] = []
            for _ in 0..<1000 { bytes += client.setDataRequest("/n", data: [1]) }
            try client.send(bytes)
            for index in 0..<1000 { #expect(try client.readReply().xid == Int32(index + 2)) }
            #expect(Int(try server.metric("request_throttle_wait_count") ?? "") ?? 0 > 0)
        }
    }

    @Test("Requests that wait are bounded in bytes, too")
    func unanswered() async throws {
        try await TestServer.with { server in
            let client = try server.connect()
            // They all come before the session exists.
            var bytes = TestClient.connectRequest(timeoutMilliseconds: 10_000)
            let data = [UInt8](repeating: 1, count: 500_000)
            bytes += client.createRequest("/n", data: data)
            for _ in 0..<29 { bytes += client.setDataRequest("/n", data: data) }
            try client.send(bytes)
            _ = try client.readConnectResponse()
            for xid in 1...30 {
                let reply = try client.readReply()
                #expect(reply.xid == Int32(xid))
                #expect(reply.error == 0)
            }
        }
    }

    @Test("Large requests beyond their total are refused, the smaller ones are not")
    func largeRequests() async throws {
        try await TestServer.with {
            $0.limits.largeRequestThreshold = 10_000
            $0.limits.largeRequestMaximumTotal = 30_000
        } _: { server in
            let client = try server.open()
            #expect(try client.create("/a", data: [UInt8](repeating: 1, count: 20_000)).error == 0)
            #expect(try client.create("/b", data: [UInt8](repeating: 1, count: 20_000)).error == 0)
            try client.send(client.createRequest("/c", data: [UInt8](repeating: 1, count: 40_000)))
            #expect(client.isClosed())
            #expect(try server.metric("large_requests_rejected") == "1")
        }
    }

    @Test("A client that does not read is not read from, and does not take the server's memory")
    func slowReader() async throws {
        try await TestServer.with { server in
            let client = try server.open()
            #expect(try client.create("/big", data: [UInt8](repeating: 1, count: 1_000_000)).error == 0)
            let slow = try TestClient(port: server.port, receiveBufferBytes: 4096)
            try slow.openSession(timeoutMilliseconds: 600_000)
            let before = Int(try server.metric("response_bytes") ?? "") ?? 0
            // A gigabyte of answers.
            var bytes: [UInt8] = []
            for _ in 0..<1000 { bytes += slow.getDataRequest("/big") }
            try slow.send(bytes)
            #expect(try client.ping().error == 0)
            let isPaused = try await TestServer.eventually { try server.ask("cons").contains("[4](") }
            #expect(isPaused)
            let answered = Int(try server.metric("response_bytes") ?? "") ?? 0 - before
            #expect(answered < 64 << 20)
            for _ in 0..<20 { #expect(try slow.readReply().body.count > 1_000_000) }
            #expect(try client.ping().error == 0)
        }
    }

    @Test("A client that lets notifications pile up is closed")
    func stuckWatcher() async throws {
        try await TestServer.with(
            limits: TestServer.LimitChange {
                $0.pauseUnsentBytes = 4 << 10
                $0.resumeUnsentBytes = 1 << 10
                $0.maximumUnsentBytes = 64 << 10
            }
        ) { server in
            let stuck = try TestClient(port: server.port, receiveBufferBytes: 4096)
            try stuck.openSession(timeoutMilliseconds: 600_000)
            // addWatch, persistent and recursive, on the root.
            try stuck.send(
                TestClient.frame(
                    TestClient.int32(1) + TestClient.int32(106) + TestClient.string("/") + TestClient.int32(1)
                )
            )
            #expect(try stuck.readReply().error == 0)
            let client = try server.open()
            let path = "/" + String(repeating: "n", count: 30_000)
            #expect(try client.create(path).error == 0)
            // The kernel's buffers hold some megabytes.
            var isClosed = false
            for _ in 0..<2000 where !isClosed {
                var bytes: [UInt8] = []
                for _ in 0..<20 { bytes += client.setDataRequest(path, data: []) }
                try client.send(bytes)
                for _ in 0..<20 { #expect(try client.readReply().error == 0) }
                isClosed = server.log.count(containing: "does not read what it is sent") > 0
            }
            #expect(isClosed)
            #expect(try client.ping().error == 0)
        }
    }
}

@Suite("Counting connections at the door")
struct AdmissionTests {
    private let address = Peer.AddressKey(high: 0, low: 1)
    private let other = Peer.AddressKey(high: 0, low: 2)

    @Test("Addresses are counted apart, and released")
    func addresses() {
        var admission = Admission(maximumPerAddress: 1, maximumTotal: nil, maximumDescriptors: 10)
        let verdicts = [address, address, other].map { admission.admit($0) }
        #expect(verdicts == [nil, .tooManyFromAddress, nil])
        admission.release(address)
        let verdict = admission.admit(address)
        #expect(verdict == nil)
    }

    @Test("The last descriptors are not for clients")
    func descriptors() {
        var admission = Admission(maximumPerAddress: nil, maximumTotal: nil, maximumDescriptors: 2)
        let verdicts = (0..<3).map { _ in admission.admit(address) }
        #expect(verdicts == [nil, nil, .tooManyDescriptors])
    }
}

@Suite("The token bucket")
struct ConnectionThrottleTests {
    @Test("Without tokens nobody gets in until time has filled the bucket")
    func fills() {
        var settings = ServerConfiguration.ConnectionThrottle()
        settings.tokens = 2
        settings.fillTime = .milliseconds(100)
        var throttle = ConnectionThrottle(settings, nowMilliseconds: 0)
        let verdicts = [0, 0, 50, 101, 101].map {
            throttle.admits(renewsSession: false, nowMilliseconds: $0, chance: 1)
        }
        #expect(verdicts == [true, true, false, true, false])
    }

    @Test("A new session weighs more than one that is renewed")
    func weights() {
        var settings = ServerConfiguration.ConnectionThrottle()
        settings.tokens = 2
        settings.isWeighted = true
        settings.fillTime = .seconds(3600)
        var throttle = ConnectionThrottle(settings, nowMilliseconds: 0)
        // Six tokens: one new session of three, one renewal of two.
        let verdicts = [false, true, true].map {
            throttle.admits(renewsSession: $0, nowMilliseconds: 0, chance: 1)
        }
        #expect(verdicts == [true, true, false])
    }

    @Test("While the bucket is empty the probability of dropping rises")
    func probability() {
        var settings = ServerConfiguration.ConnectionThrottle()
        settings.tokens = 1
        settings.fillTime = .seconds(3600)
        settings.freezeTime = .milliseconds(10)
        settings.dropIncrease = 0.5
        var throttle = ConnectionThrottle(settings, nowMilliseconds: 0)
        let verdicts = [0, 11].map { throttle.admits(renewsSession: false, nowMilliseconds: $0, chance: 0.9) }
        #expect(verdicts == [true, false])
        #expect(throttle.dropProbability == 0.5)
    }
}
