import Logging
import NIOCore
import ZooKeeperProtocol

@testable import AviaryServer

/// One server's election transport on a loop of its own, and what it has told.
final class ElectionNode: Sendable {
    struct Message: Equatable {
        var sender: Int64
        var text: String
    }

    struct Link: Equatable {
        var server: Int64
        var isUp: Bool
    }

    let id: ServerID
    let port: Int
    let log = RecordingLog()
    let loop: any EventLoop
    private let group: any EventLoopGroup
    private let transport: ElectionTransport
    private let told = Guarded<(messages: [Message], links: [Link])>(([], []))

    /// - Parameters:
    ///   - members: of the other servers, the ports; 127.0.0.1 unless `host` says otherwise.
    init(
        _ id: Int64,
        members: [(id: Int64, host: String, port: Int)] = [],
        lookup: @escaping NameResolver.Lookup = { NameResolver.system($0) },
        adjust: (inout ElectionTransport.Options) -> Void = { _ in }
    ) async throws {
        self.id = ServerID(id)
        var options = ElectionTransport.Options(me: self.id)
        // A test may have to wait for all others between two lines.
        options.introductionTimeout = .hours(1)
        options.frameTimeout = .hours(1)
        adjust(&options)
        group = LoopGroup.start()
        loop = group.next()
        transport = ElectionTransport(
            options: options,
            eventLoop: loop,
            resolver: NameResolver(eventLoop: loop, threads: LoopThreads(eventLoop: loop), lookup: lookup),
            logger: log.logger
        )
        let socket = try BoundSocket.bind(try SocketAddress(ipAddress: "127.0.0.1", port: 0))
        port = socket.port
        let all = ElectionNode.members(members + [(id, "127.0.0.1", port)])
        let claimed = [NetworkAddress(host: "127.0.0.1", port: port): [socket]]
        let own = port
        try await loop.submit { [self] in
            transport.received = { [self] bytes, sender in
                let text = String(decoding: bytes, as: UTF8.self)
                told.withLock { $0.messages.append(Message(sender: sender.rawValue, text: text)) }
            }
            transport.linkChanged = { [self] server, isUp in
                told.withLock { $0.links.append(Link(server: server.rawValue, isUp: isUp)) }
            }
            transport.start(members: all, claimed: claimed)
        }.get()
        _ = try await TestServer.eventually { try self.onLoop { $0.ports == [own] } }
    }

    static func members(_ list: [(id: Int64, host: String, port: Int)]) -> [QuorumMember] {
        list.map { entry in
            QuorumMember(
                id: ServerID(entry.id),
                addresses: [ServerAddress(host: entry.host, quorumPort: 1, electionPort: entry.port)]
            )
        }
    }

    func stop() async {
        await run { $0.close() }
        try? await group.shutdownGracefully()
    }

    func run(_ body: @escaping @Sendable (ElectionTransport) -> Void) async {
        try? await loop.submit { [transport] in body(transport) }.get()
    }

    /// For polling from outside the loop.
    func onLoop<R: Sendable>(_ body: @escaping @Sendable (ElectionTransport) -> R) throws -> R {
        try loop.submit { [transport] in body(transport) }.wait()
    }

    func update(_ members: [(id: Int64, host: String, port: Int)], ownPort: Int? = nil) async {
        let all = ElectionNode.members(members + [(id.rawValue, "127.0.0.1", ownPort ?? port)])
        await run { $0.update(members: all) }
    }

    func send(_ text: String, to server: Int64) async {
        await run { transport in
            TestClient.frame(Array(text.utf8)).withUnsafeBytes { transport.send(frame: $0, to: ServerID(server)) }
        }
    }

    func connectAll() async {
        await run { $0.connectAll() }
    }

    var messages: [Message] { told.withLock { $0.messages } }
    var links: [Link] { told.withLock { $0.links } }

    func receives(_ text: String, from server: Int64) async throws -> Bool {
        try await TestServer.eventually { messages.contains(Message(sender: server, text: text)) }
    }

    func hears(of server: Int64, isUp: Bool) async throws -> Bool {
        try await TestServer.eventually { links.last { $0.server == server } == Link(server: server, isUp: isUp) }
    }
}

/// The initial messages of the protocol, by hand.
enum Introduction {
    static let v1: Int64 = -65536
    static let v2: Int64 = -65535

    static func bytes(_ server: Int64, _ addresses: String, version: Int64 = v1) -> [UInt8] {
        TestClient.int64(version) + TestClient.int64(server) + TestClient.string(addresses)
    }
}

extension TestClient {
    /// What a server says first, in pieces: version, id, addresses.
    func readIntroduction() throws -> (version: Int64, server: Int64, addresses: String) {
        let head = try read(20)
        let addresses = try read(Int(TestClient.integer(head[16..<20])))
        return (
            TestClient.integer(head[0..<8]), TestClient.integer(head[8..<16]),
            String(decoding: addresses, as: UTF8.self)
        )
    }

    func readText() throws -> String {
        String(decoding: try readFrame(), as: UTF8.self)
    }

    func sendText(_ text: String) throws {
        try send(TestClient.frame(Array(text.utf8)))
    }
}
