import NIOCore
import Testing
import ZooKeeperProtocol

@testable import AviaryServer

@Suite("Connections between learners and leaders")
struct QuorumLinksTests {
    /// As the owner names links that it opens.
    private static let first: UInt64 = 1 << 63

    private func with(_ nodes: LinksNode..., body: () async throws -> Void) async throws {
        do {
            try await body()
        } catch {
            for node in nodes { await node.stop() }
            throw error
        }
        for node in nodes { await node.stop() }
    }

    @Test("Bytes go both ways, and the end is told to both sides that did not make it")
    func bothWays() async throws {
        let learner = try await LinksNode()
        let leader = try await LinksNode()
        try await with(learner, leader) { () async throws in
            await learner.connect(Self.first, to: leader.port)
            #expect(try await learner.tells(.connected(Self.first)))
            #expect(try await leader.tells(.accepted(1)))
            await learner.send([1, 2, 3], on: Self.first)
            await learner.send([4], on: Self.first)
            await leader.send([5, 6], on: 1)
            #expect(try await TestServer.eventually { leader.received(on: 1) == [1, 2, 3, 4] })
            #expect(try await TestServer.eventually { learner.received(on: Self.first) == [5, 6] })
            await learner.run { $0.close(LinkID(Self.first)) }
            #expect(try await leader.tells(.closed(1)))
            #expect(learner.events == [.connected(Self.first)])
            #expect(leader.events == [.accepted(1), .closed(1)])
        }
    }

    @Test("Of several addresses the first that answers is taken")
    func severalAddresses() async throws {
        let learner = try await LinksNode()
        let leader = try await LinksNode()
        let dead = try TestListener().port
        try await with(learner, leader) { () async throws in
            await learner.connect(Self.first, to: dead, leader.port, dead)
            #expect(try await learner.tells(.connected(Self.first)))
            await learner.connect(Self.first + 1, to: dead, dead)
            #expect(try await learner.tells(.connectFailed(Self.first + 1)))
        }
    }

    @Test("A connection that is given up before it is there is not told of")
    func givenUp() async throws {
        let learner = try await LinksNode()
        let leader = try await LinksNode()
        try await with(learner, leader) { () async throws in
            await learner.run { links in
                links.connect(LinkID(Self.first), to: [NetworkAddress(host: "127.0.0.1", port: leader.port)])
                links.close(LinkID(Self.first))
            }
            await learner.connect(Self.first + 1, to: leader.port)
            #expect(try await learner.tells(.connected(Self.first + 1)))
            #expect(learner.events == [.connected(Self.first + 1)])
        }
    }

    @Test("Who does not read is not sent more than the window by an owner that keeps to his credit")
    func backpressure() async throws {
        let window = 64 << 10
        let learner = try await LinksNode()
        let leader = try await LinksNode(adjust: { $0.window = window })
        try await with(learner, leader) { () async throws in
            await learner.connect(Self.first, to: leader.port)
            #expect(try await leader.tells(.accepted(1)))
            await learner.run { $0.setReading(false, on: LinkID(Self.first)) }
            // As much as the system takes on both sides, and then the window.
            let block = [UInt8](repeating: 7, count: 1000)
            var sent = 0
            while try leader.onLoop({ $0.credit(of: LinkID(1)) }) > 0 {
                await leader.send(block, on: 1)
                sent += block.count
                try #require(sent < 256 << 20)
            }
            let told = leader.credits[1] ?? []
            #expect(told.first == window)
            #expect(told.allSatisfy { $0 <= window })
            await learner.run { $0.setReading(true, on: LinkID(Self.first)) }
            let all = sent
            #expect(try await TestServer.eventually { learner.received(on: Self.first).count == all })
            // It has become known that there is room again.
            #expect(try await TestServer.eventually { (leader.credits[1] ?? []).last ?? 0 > window / 2 })
        }
    }

    @Test("An owner that counts down his credit is told in time that everything was taken")
    func creditReports() async throws {
        let window = 16 << 10
        let leader = try await LinksNode(adjust: { $0.window = window })
        try await with(leader) {
            let learner = try TestClient(port: leader.port)
            #expect(try await leader.tells(.accepted(1)))
            for _ in 0..<200 {
                await leader.send([UInt8](repeating: 1, count: 1000), on: 1)
                _ = try learner.read(1000)
            }
            let told = leader.credits[1] ?? []
            // Not with every packet, but before the window is used up.
            #expect(told.count > 200 * 1000 / window)
            #expect(told.count < 100)
        }
    }

    @Test("A link that is closed delivers first what was sent")
    func closeAfterFlush() async throws {
        let leader = try await LinksNode()
        try await with(leader) {
            let learner = try TestClient(port: leader.port)
            #expect(try await leader.tells(.accepted(1)))
            let bytes = [UInt8](repeating: 3, count: 8 << 20)
            await leader.run { links in
                bytes.withUnsafeBytes { links.send($0, on: LinkID(1)) }
                links.close(LinkID(1))
            }
            #expect(try learner.readToEnd().count == bytes.count)
            #expect(leader.events == [.accepted(1)])
        }
    }

    @Test("But not to somebody who does not read")
    func closeWithoutFlush() async throws {
        let leader = try await LinksNode(adjust: { $0.lingerTime = .milliseconds(50) })
        try await with(leader) {
            let learner = try TestClient(port: leader.port, receiveBufferBytes: 4096)
            #expect(try await leader.tells(.accepted(1)))
            let bytes = [UInt8](repeating: 3, count: 32 << 20)
            await leader.run { links in
                bytes.withUnsafeBytes { links.send($0, on: LinkID(1)) }
                links.close(LinkID(1))
            }
            // The number of connections that came in says when it is gone; only then is anything read.
            #expect(try await TestServer.eventually { try leader.onLoop { $0.acceptedCount } == 0 })
            #expect(try learner.readToEnd().count < bytes.count)
        }
    }

    @Test("Silent connections keep nobody out")
    func silent() async throws {
        let leader = try await LinksNode(adjust: { $0.maximumSilent = 10 })
        try await with(leader) {
            let speaking = try TestClient(port: leader.port)
            try speaking.send([1])
            #expect(try await TestServer.eventually { leader.received(on: 1) == [1] })
            let silent = try (0..<30).map { _ in try TestClient(port: leader.port) }
            let late = try TestClient(port: leader.port)
            try late.send([2])
            #expect(try await TestServer.eventually { leader.received(on: 32) == [2] })
            try speaking.send([3])
            #expect(try await TestServer.eventually { leader.received(on: 1) == [1, 3] })
            #expect(leader.events.filter { if case .closed = $0 { true } else { false } }.count >= 20)
            withExtendedLifetime(silent) {}
        }
    }

    @Test("A connection has to say something in time")
    func firstByte() async throws {
        let leader = try await LinksNode(adjust: { $0.firstByteTimeout = .milliseconds(50) })
        try await with(leader) {
            let silent = try TestClient(port: leader.port)
            #expect(silent.isClosed())
            #expect(try await leader.tells(.closed(1)))
        }
    }

    @Test("Connections have a number that they do not exceed")
    func bounded() async throws {
        let leader = try await LinksNode(adjust: { $0.maximumAccepted = 2 })
        try await with(leader) {
            let clients = try (0..<3).map { _ in try TestClient(port: leader.port) }
            #expect(clients[2].isClosed())
            clients[0].disconnect()
            #expect(try await leader.tells(.closed(1)))
            let next = try TestClient(port: leader.port)
            try next.send([1])
            #expect(try await leader.tells(.accepted(3)))
        }
    }
}

@Suite("Ports for other servers")
struct PeerListenerTests {
    @Test("A port that is taken is told before anything else, with the line to change")
    func taken() throws {
        let other = try TestListener()
        let error = #expect(throws: StartError.self) {
            try PeerListener.claim([NetworkAddress(host: "127.0.0.1", port: other.port)], for: .election)
        }
        #expect(error?.description.contains("port \(other.port) is taken") == true)
        #expect(error?.description.contains("election port in the server.N line") == true)
    }

    @Test("So is an address that this machine does not have")
    func foreign() throws {
        let error = #expect(throws: StartError.self) {
            try PeerListener.claim([NetworkAddress(host: "192.0.2.1", port: 0)], for: .quorum)
        }
        #expect(error?.description.contains("192.0.2.1 is no address of this machine") == true)
        #expect(error?.description.contains("quorumListenOnAllIPs=true") == true)
    }

    @Test("A name that cannot be found yet is no reason not to start, and listened on as soon as it is")
    func unknownName() async throws {
        let isKnown = Guarded(false)
        let node = try await LinksNode(lookup: { _ in
            guard isKnown.withLock({ $0 }), let address = try? SocketAddress(ipAddress: "127.0.0.1", port: 0) else {
                return []
            }
            return [address]
        })
        let address = NetworkAddress(host: "me.test", port: try TestListener().port)
        #expect(try PeerListener.claim([address], for: .quorum, lookup: { _ in [] })[address]?.isEmpty == true)
        await node.run { $0.listen(on: [address]) }
        #expect(try await TestServer.eventually { node.log.count(containing: "me.test has no address") == 1 })
        isKnown.withLock { $0 = true }
        #expect(try await TestServer.eventually { try node.onLoop { $0.ports == [address.port] } })
        await node.stop()
    }

    @Test("All addresses of the machine, each port once")
    func all() {
        let addresses = [
            NetworkAddress(host: "a", port: 1), NetworkAddress(host: "b", port: 1), NetworkAddress(host: "c", port: 2),
        ]
        #expect(PeerListener.onAllAddresses(addresses).map(\.description) == ["[::]:1", "[::]:2"])
    }
}
