internal import Logging
internal import NIOCore
internal import NIOPosix

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// The port that clients connect to, on one of its addresses: accepts, and goes on accepting whatever goes wrong.
///
/// `@unchecked Sendable`: touched on the loop alone, which is where its channel is.
final class ClientListener: @unchecked Sendable {
    private let loop: ServerLoop
    private let group: any EventLoopGroup
    private var channel: (any Channel)?
    private var isClosed = false

    init(loop: ServerLoop, group: any EventLoopGroup) {
        self.loop = loop
        self.group = group
    }

    /// Begins to accept on a socket. On the loop.
    ///
    /// - Returns: the channel that accepts.
    func listen(on socket: BoundSocket) -> EventLoopFuture<any Channel> {
        let clients = loop.configuration.clients
        let descriptor = socket.release()
        let place = Peer.join(socket.address.ipAddress ?? "?", socket.port)
        return bootstrap(place).withBoundSocket(descriptor).flatMapThrowing { [self] channel in
            self.channel = channel
            if isClosed { channel.close(promise: nil) }
            // NIO has begun to listen, with its own idea of a backlog: calling again changes that.
            systemListen(descriptor, CInt(clamping: clients.listenBacklog ?? Int(SOMAXCONN)))
            channel.closeFuture.whenComplete { [self] _ in
                guard !loop.isStopping, !isClosed else { return }
                loop.logger.error(
                    "the port was closed by an error of the system; opening it again",
                    metadata: ["address": "\(place)"]
                )
                reopen(socket.address)
            }
            return channel
        }
    }

    /// Lets nobody in any more. On the loop.
    func close() -> EventLoopFuture<Void> {
        isClosed = true
        return channel?.close() ?? loop.eventLoop.makeSucceededVoidFuture()
    }

    private func reopen(_ address: SocketAddress) {
        loop.eventLoop.scheduleTask(in: .seconds(1)) { [self] in
            guard !loop.isStopping, !isClosed else { return }
            do throws(StartError) {
                let addresses = ServerConfiguration.ListenAddresses.only([address.ipAddress ?? ""])
                for socket in try BoundSocket.bind(addresses, port: address.port ?? 0) {
                    listen(on: socket).whenFailure { [self] _ in reopen(address) }
                }
            } catch {
                loop.logger.error("\(error)")
                reopen(address)
            }
        }
    }

    private func bootstrap(_ place: String) -> ServerBootstrap {
        let loop = loop
        return ServerBootstrap(group: group)
            // Few at a time: who is served already waits while a flood of connections is taken in.
            .serverChannelOption(.maxMessagesPerRead, value: 4)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let handler = AcceptFailureHandler(logger: loop.logger, place: place)
                    try channel.pipeline.syncOperations.addHandler(handler)
                }
            }
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try ClientListener.configure(channel, loop)
                    guard let peer = channel.remoteAddress.flatMap({ Peer($0) }), loop.admit(peer) else {
                        throw ConnectionRefused()
                    }
                    try channel.pipeline.syncOperations.addHandler(ClientHandler(loop: loop, peer: peer))
                }
            }
    }

    /// Sets the options of an accepted connection. As child options of the bootstrap each would be a future and a search
    /// for its type, together a tenth of what a connection costs.
    private static func configure(_ channel: any Channel, _ loop: ServerLoop) throws {
        guard let options = channel.syncOptions else { return }
        try options.setOption(.tcpOption(.tcp_nodelay), value: 1)
        // A call for every connection, and off is how the system gives them.
        if loop.configuration.clients.sendsTCPKeepAlive {
            try options.setOption(.socketOption(.so_keepalive), value: 1)
        }
        // One buffer of requests, then the next connection has its turn.
        try options.setOption(.maxMessagesPerRead, value: 1)
        try options.setOption(.allowRemoteHalfClosure, value: true)
        try options.setOption(
            .writeBufferWaterMark,
            value: .init(low: loop.limits.resumeUnsentBytes, high: loop.limits.pauseUnsentBytes)
        )
        // A connection keeps its buffer while it is idle: small ones, for the many that say little. The largest takes
        // sixteen writes of a kilobyte at once.
        try options.setOption(
            .recvAllocator,
            value: AdaptiveRecvByteBufferAllocator(minimum: 64, initial: 64, maximum: 1 << 15)
        )
    }

    /// Lets the accepting channel close what it accepted.
    private struct ConnectionRefused: Error {}
}

@discardableResult
private func systemListen(_ descriptor: CInt, _ backlog: CInt) -> CInt {
    listen(descriptor, backlog)
}
