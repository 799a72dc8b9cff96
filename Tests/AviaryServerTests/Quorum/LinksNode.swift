import NIOCore
import ZooKeeperProtocol

@testable import AviaryServer

/// One server's quorum links on a loop of its own, and what they have told.
final class LinksNode: Sendable {
    enum Told: Equatable {
        case accepted(UInt64)
        case connected(UInt64)
        case connectFailed(UInt64)
        case closed(UInt64)
    }

    let port: Int
    let log = RecordingLog()
    let loop: any EventLoop
    private let group: any EventLoopGroup
    private let links: QuorumLinks
    private let told = Guarded<(events: [Told], received: [UInt64: [UInt8]], credits: [UInt64: [Int]])>(([], [:], [:]))

    init(
        lookup: @escaping NameResolver.Lookup = { NameResolver.system($0) },
        adjust: (inout QuorumLinks.Options) -> Void = { _ in }
    ) async throws {
        var options = QuorumLinks.Options()
        // A test may have to wait for all others between two lines.
        options.firstByteTimeout = .hours(1)
        options.lingerTime = .hours(1)
        adjust(&options)
        group = LoopGroup.start()
        loop = group.next()
        links = QuorumLinks(
            options: options,
            eventLoop: loop,
            resolver: NameResolver(eventLoop: loop, threads: LoopThreads(eventLoop: loop), lookup: lookup),
            logger: log.logger
        )
        let socket = try BoundSocket.bind(try SocketAddress(ipAddress: "127.0.0.1", port: 0))
        port = socket.port
        let address = NetworkAddress(host: "127.0.0.1", port: port)
        try await loop.submit { [self] in
            links.handle = { [self] event in note(event) }
            links.listen(on: [address], claimed: [address: [socket]])
        }.get()
        let own = port
        _ = try await TestServer.eventually { try self.onLoop { $0.ports == [own] } }
    }

    private func note(_ event: QuorumLinks.Event) {
        told.withLock { told in
            switch event {
            case .accepted(let id, _): told.events.append(.accepted(id.rawValue))
            case .connected(let id): told.events.append(.connected(id.rawValue))
            case .connectFailed(let id, _): told.events.append(.connectFailed(id.rawValue))
            case .closed(let id, _): told.events.append(.closed(id.rawValue))
            case .received(let id, let bytes): told.received[id.rawValue, default: []] += bytes
            case .writable(let id, let credit): told.credits[id.rawValue, default: []].append(credit)
            }
        }
    }

    func stop() async {
        await run { $0.close() }
        try? await group.shutdownGracefully()
    }

    func run(_ body: @escaping @Sendable (QuorumLinks) -> Void) async {
        try? await loop.submit { [links] in body(links) }.get()
    }

    func onLoop<R: Sendable>(_ body: @escaping @Sendable (QuorumLinks) -> R) throws -> R {
        try loop.submit { [links] in body(links) }.wait()
    }

    func connect(_ id: UInt64, to ports: Int...) async {
        let addresses = ports.map { NetworkAddress(host: "127.0.0.1", port: $0) }
        await run { $0.connect(LinkID(id), to: addresses) }
    }

    func send(_ bytes: [UInt8], on id: UInt64) async {
        await run { links in
            bytes.withUnsafeBytes { links.send($0, on: LinkID(id)) }
            links.flush()
        }
    }

    var events: [Told] { told.withLock { $0.events } }
    var credits: [UInt64: [Int]] { told.withLock { $0.credits } }

    func received(on id: UInt64) -> [UInt8] { told.withLock { $0.received[id] ?? [] } }

    func tells(_ event: Told) async throws -> Bool {
        try await TestServer.eventually { events.contains(event) }
    }
}
