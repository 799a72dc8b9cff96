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

/// A socket that has its address but does not listen yet.
///
/// The port is claimed before the data is read, so that whoever starts a second server hears of it at once; until the
/// data is there, clients are refused and try elsewhere.
final class BoundSocket: @unchecked Sendable {
    // The descriptor has one owner: this object, until `release`, which happens once and on one thread.
    private var descriptor: CInt
    let address: SocketAddress

    fileprivate init(descriptor: CInt, address: SocketAddress) {
        self.descriptor = descriptor
        self.address = address
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
    }

    var port: Int { address.port ?? 0 }

    /// The descriptor, which the caller has to close from now on.
    func release() -> CInt {
        defer { descriptor = -1 }
        return descriptor
    }
}

extension BoundSocket {
    /// Claims a port on all addresses that are asked for.
    ///
    /// - Parameter port: 0 lets the system choose one, the same for all addresses.
    static func bind(
        _ addresses: ServerConfiguration.ListenAddresses,
        port: Int
    ) throws(StartError) -> [BoundSocket] {
        switch addresses {
        case .loopback:
            return try bindLoopback(port)
        case .all:
            // One socket for both families, where there are both.
            if let socket = try bind("::", port, .skipsMissingFamily) { return [socket] }
            return [try bind("0.0.0.0", port)]
        case .only(let hosts):
            var sockets: [BoundSocket] = []
            for host in hosts {
                sockets.append(try bind(host, sockets.first?.port ?? port))
            }
            return sockets
        }
    }

    private static func bindLoopback(_ port: Int) throws(StartError) -> [BoundSocket] {
        // A port that the system chose for one family can be taken in the other.
        for _ in 0..<20 {
            let ipv4 = try bind("127.0.0.1", port)
            do throws(StartError) {
                guard let ipv6 = try bind("::1", ipv4.port, .skipsMissingFamily) else { return [ipv4] }
                return [ipv4, ipv6]
            } catch {
                if port != 0 { throw error }
            }
        }
        return [try bind("127.0.0.1", port)]
    }

    private enum Leniency { case strict, skipsMissingFamily }

    private static func bind(_ host: String, _ port: Int) throws(StartError) -> BoundSocket {
        guard let socket = try bind(host, port, .strict) else {
            throw StartError("cannot listen on \(host)")
        }
        return socket
    }

    /// - Returns: nil where the machine has no such family and that is allowed.
    private static func bind(_ host: String, _ port: Int, _ leniency: Leniency) throws(StartError) -> BoundSocket? {
        let address: SocketAddress
        do {
            address = try SocketAddress.makeAddressResolvingHost(host, port: port)
        } catch {
            throw StartError(
                "cannot find the address of \(host), which clientPortAddress names: correct the name, or give an "
                    + "address of this machine"
            )
        }
        let isIPv6 = address.protocol == .inet6
        let descriptor = socket(isIPv6 ? AF_INET6 : AF_INET, streamType, 0)
        guard descriptor >= 0 else {
            if leniency == .skipsMissingFamily, errno == EAFNOSUPPORT { return nil }
            throw failure(errno, host, port)
        }
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        set(descriptor, SOL_SOCKET, SO_REUSEADDR, 1)
        if isIPv6 { set(descriptor, CInt(IPPROTO_IPV6), IPV6_V6ONLY, host == "::" ? 0 : 1) }
        let result = address.withSockAddr { systemBind(descriptor, $0, socklen_t($1)) }
        guard result == 0 else {
            let code = errno
            close(descriptor)
            if leniency == .skipsMissingFamily, code == EADDRNOTAVAIL { return nil }
            throw failure(code, host, port)
        }
        var bound = address
        bound.port = localPort(of: descriptor) ?? port
        return BoundSocket(descriptor: descriptor, address: bound)
    }

    private static func set(_ descriptor: CInt, _ level: CInt, _ option: CInt, _ value: CInt) {
        var value = value
        setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<CInt>.size))
    }

    private static func localPort(of descriptor: CInt) -> Int? {
        var storage = sockaddr_storage()
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutableBytes(of: &storage) { raw in
            guard let base = raw.baseAddress else { return nil }
            let address = base.assumingMemoryBound(to: sockaddr.self)
            guard getsockname(descriptor, address, &size) == 0 else { return nil }
            // The port lies at the same place in both families.
            return Int(UInt16(bigEndian: base.loadUnaligned(fromByteOffset: 2, as: UInt16.self)))
        }
    }

    static func failure(_ code: CInt, _ host: String, _ port: Int) -> StartError {
        let place = Peer.join(host, port)
        let text =
            switch code {
            case EADDRINUSE:
                "port \(port) is taken: another process listens on \(place). Stop it, or let this server listen on "
                    + "another port (--port, or clientPort in the configuration)"
            case EACCES:
                "this user may not listen on \(place): ports below 1024 are for root. Choose a higher one (--port, or "
                    + "clientPort in the configuration)"
            case EADDRNOTAVAIL:
                "\(host) is no address of this machine: correct clientPortAddress, or leave it out to listen on all "
                    + "addresses"
            case EAFNOSUPPORT:
                "cannot listen on \(place): this machine does not have that family of addresses"
            default:
                "cannot listen on \(place): \(String(cString: strerror(code)))"
            }
        return StartError(text)
    }
}

#if canImport(Glibc)
    private let streamType = CInt(SOCK_STREAM.rawValue)
#else
    private let streamType = CInt(SOCK_STREAM)
#endif

// The method of the same name hides the function.
private func systemBind(_ descriptor: CInt, _ address: UnsafePointer<sockaddr>, _ size: socklen_t) -> CInt {
    bind(descriptor, address, size)
}

/// The port that clients connect to: accepts on all its addresses, and goes on accepting whatever goes wrong.
final class ClientListener: Sendable {
    private let loop: ServerLoop
    private let group: any EventLoopGroup

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
        return bootstrap(place).withBoundSocket(descriptor).flatMapThrowing { [loop] channel in
            // NIO has begun to listen, with its own idea of a backlog: calling again changes that.
            systemListen(descriptor, CInt(clamping: clients.listenBacklog ?? Int(SOMAXCONN)))
            channel.closeFuture.whenComplete { _ in
                guard !loop.isStopping else { return }
                loop.logger.error(
                    "the port was closed by an error of the system; opening it again",
                    metadata: ["address": "\(place)"]
                )
                self.reopen(socket.address)
            }
            return channel
        }
    }

    private func reopen(_ address: SocketAddress) {
        loop.eventLoop.scheduleTask(in: .seconds(1)) { [self] in
            guard !loop.isStopping else { return }
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
        let limits = loop.limits
        let bootstrap = ServerBootstrap(group: group)
            // Few at a time: who is served already waits while a flood of connections is taken in.
            .serverChannelOption(.maxMessagesPerRead, value: 4)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(AcceptFailureHandler(loop: loop, place: place))
                }
            }
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            // One buffer of requests, then the next connection has its turn.
            .childChannelOption(.maxMessagesPerRead, value: 1)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelOption(
                .writeBufferWaterMark,
                value: .init(low: limits.resumeUnsentBytes, high: limits.pauseUnsentBytes)
            )
            // A connection keeps its buffer while it is idle: small ones, for the many that say little. The largest
            // takes sixteen writes of a kilobyte at once.
            .childChannelOption(
                .recvAllocator,
                value: AdaptiveRecvByteBufferAllocator(minimum: 64, initial: 64, maximum: 1 << 15)
            )
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    guard let peer = channel.remoteAddress.flatMap({ Peer($0) }), loop.admit(peer) else {
                        throw ConnectionRefused()
                    }
                    try channel.pipeline.syncOperations.addHandler(ClientHandler(loop: loop, peer: peer))
                }
            }
        // A call for every connection, and off is how the system gives them.
        guard loop.configuration.clients.sendsTCPKeepAlive else { return bootstrap }
        return bootstrap.childChannelOption(.socketOption(.so_keepalive), value: 1)
    }

    /// Lets the accepting channel close what it accepted.
    private struct ConnectionRefused: Error {}
}

@discardableResult
private func systemListen(_ descriptor: CInt, _ backlog: CInt) -> CInt {
    listen(descriptor, backlog)
}

/// Says why nobody can be accepted, and waits a second before the next try: this is one line a second at most, and the
/// connections wait with the system.
///
/// Reading is switched off for that second. NIO's `AcceptBackoffHandler` only holds back the next `read`, while a socket
/// that is still watched reports the same connection again at once, some ten thousand times a second.
private final class AcceptFailureHandler: ChannelInboundHandler {
    typealias InboundIn = any Channel

    private static let pause = TimeAmount.seconds(1)

    private let loop: ServerLoop
    private let place: String

    init(loop: ServerLoop, place: String) {
        self.loop = loop
        self.place = place
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        let isOutOfDescriptors = (error as? IOError).map { $0.errnoCode == EMFILE || $0.errnoCode == ENFILE } ?? false
        loop.logger.error(
            "accepting connections failed\(isOutOfDescriptors ? ": out of file descriptors; raise the limit (ulimit -n)" : "")",
            metadata: ["address": "\(place)", "reason": "\(error)"]
        )
        let channel = context.channel
        try? channel.syncOptions?.setOption(.autoRead, value: false)
        context.eventLoop.assumeIsolated().scheduleTask(in: Self.pause) {
            guard channel.isActive else { return }
            try? channel.syncOptions?.setOption(.autoRead, value: true)
        }
    }
}
