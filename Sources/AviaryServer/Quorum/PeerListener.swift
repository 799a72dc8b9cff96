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

/// A port for other servers, on all addresses that this server has by its own `server.N` line: accepts in every role, and
/// goes on whatever goes wrong.
///
/// A name that does not resolve, an address that is another machine's for the moment, a socket that the system closes:
/// each is tried again every second, for as long as it takes (ZOOKEEPER-2836, 3320).
///
/// `@unchecked Sendable`: touched on `eventLoop` alone.
final class PeerListener: @unchecked Sendable {
    private static let retryTime = TimeAmount.seconds(1)
    /// Of tries that fail, every so many is told.
    private static let triesPerLine = 60
    /// Connections that the system holds until they are accepted.
    private static let backlog: CInt = 128

    let purpose: BoundSocket.Purpose
    private let eventLoop: any EventLoop
    private let resolver: NameResolver
    private let logger: Logger
    /// Throws to turn a connection away.
    private let accept: @Sendable (any Channel) throws -> Void

    private var places: [Place] = []
    private var isClosed = false

    /// One configured address and what listens for it.
    private final class Place: @unchecked Sendable {
        let address: NetworkAddress
        var channels: [any Channel] = []
        var failures = 0
        var isWanted = true

        init(_ address: NetworkAddress) {
            self.address = address
        }
    }

    /// - Parameter accept: adds the handler to a channel that has come in, on the loop.
    init(
        purpose: BoundSocket.Purpose,
        eventLoop: any EventLoop,
        resolver: NameResolver,
        logger: Logger,
        accept: @escaping @Sendable (any Channel) throws -> Void
    ) {
        self.purpose = purpose
        self.eventLoop = eventLoop
        self.resolver = resolver
        self.logger = logger
        self.accept = accept
    }

    /// Ports that are open, as the system has given them.
    var ports: [Int] { places.flatMap { $0.channels.compactMap(\.localAddress?.port) } }

    /// Changes what is listened on. What stays the same goes on undisturbed.
    ///
    /// - Parameter claimed: sockets that are bound already, by address (`claim`).
    func listen(on addresses: [NetworkAddress], claimed: [NetworkAddress: [BoundSocket]] = [:]) {
        guard !isClosed else { return }
        for place in places where !addresses.contains(place.address) { abandon(place) }
        places.removeAll { !$0.isWanted }
        for address in addresses where !places.contains(where: { $0.address == address }) {
            let place = Place(address)
            places.append(place)
            if let sockets = claimed[address], !sockets.isEmpty {
                for socket in sockets { open(socket, for: place) }
            } else {
                bind(place)
            }
        }
    }

    func close() {
        isClosed = true
        for place in places { abandon(place) }
        places = []
    }

    private func abandon(_ place: Place) {
        place.isWanted = false
        for channel in place.channels { channel.close(promise: nil) }
        place.channels = []
    }

    // MARK: - Binding

    /// What an address is bound as where all addresses of the machine are to be listened on (`quorumListenOnAllIPs`).
    static func onAllAddresses(_ addresses: [NetworkAddress]) -> [NetworkAddress] {
        var ports: [Int] = []
        for address in addresses where !ports.contains(address.port) { ports.append(address.port) }
        return ports.map { NetworkAddress(host: "::", port: $0) }
    }

    /// Claims the ports before anything else is done, so that whoever starts a server hears at once that one is taken.
    /// Blocks while names are looked up.
    ///
    /// - Returns: the sockets; none for a name that is not known, or not as this machine's, yet: `listen` goes on trying.
    /// - Throws: for a port that is taken or forbidden, and for an address in digits that is not this machine's.
    static func claim(
        _ addresses: [NetworkAddress],
        for purpose: BoundSocket.Purpose,
        lookup: NameResolver.Lookup = { NameResolver.system($0) }
    ) throws(StartError) -> [NetworkAddress: [BoundSocket]] {
        var claimed: [NetworkAddress: [BoundSocket]] = [:]
        for address in addresses {
            let numeric = try? SocketAddress(ipAddress: address.host, port: address.port)
            var found = numeric.map { [$0] } ?? lookup(address.host)
            for index in found.indices { found[index].port = address.port }
            let (sockets, refusal) = bind(found)
            claimed[address] = sockets
            guard sockets.isEmpty, let refusal, numeric != nil || !refusal.isForeign else { continue }
            throw BoundSocket.failure(refusal.code, address.host, address.port, of: purpose)
        }
        return claimed
    }

    /// A name may have several addresses, and not all of them need be this machine's; a port that is taken or forbidden
    /// on one of them is none.
    private static func bind(_ addresses: [SocketAddress]) -> (sockets: [BoundSocket], refusal: BoundSocket.Refusal?) {
        var sockets: [BoundSocket] = []
        var first: BoundSocket.Refusal?
        for address in addresses {
            do throws(BoundSocket.Refusal) {
                // A port that the system chose is the same for the other addresses.
                var address = address
                if address.port == 0, let port = sockets.first?.port { address.port = port }
                sockets.append(try bindOne(address))
            } catch {
                if !error.isMissingFamily { return ([], error) }
                first = first ?? error
            }
        }
        return (sockets, sockets.isEmpty ? first : nil)
    }

    /// `::` is both families, and IPv4 alone where there is no other.
    private static func bindOne(_ address: SocketAddress) throws(BoundSocket.Refusal) -> BoundSocket {
        do throws(BoundSocket.Refusal) {
            return try BoundSocket.bind(address)
        } catch {
            guard error.isMissingFamily, address.ipAddress == "::",
                let ipv4 = try? SocketAddress(ipAddress: "0.0.0.0", port: address.port ?? 0)
            else { throw error }
            return try BoundSocket.bind(ipv4)
        }
    }

    private func bind(_ place: Place) {
        resolver.resolve(place.address, patience: .seconds(5)) { [self] found in
            guard place.isWanted, !isClosed else { return }
            let (sockets, refusal) = PeerListener.bind(found)
            guard !sockets.isEmpty else { return failed(place, refusal) }
            if place.failures > 0 {
                logger.info("the \(purpose.rawValue) port is open", metadata: ["address": "\(place.address)"])
            }
            place.failures = 0
            for socket in sockets { open(socket, for: place) }
        }
    }

    private func failed(_ place: Place, _ refusal: BoundSocket.Refusal?) {
        if place.failures % PeerListener.triesPerLine == 0 {
            let (host, port) = (place.address.host, place.address.port)
            let reason =
                refusal.map { BoundSocket.failure($0.code, host, port, of: purpose).description }
                ?? "\(host) has no address: the name of this server in its server.N line is not known here"
            logger.error(
                "the \(purpose.rawValue) port is closed to the other servers; trying again every second",
                metadata: ["reason": "\(reason)"]
            )
        }
        place.failures += 1
        eventLoop.scheduleTask(in: PeerListener.retryTime) { [self] in
            if place.isWanted, !isClosed { bind(place) }
        }
    }

    private func open(_ socket: BoundSocket, for place: Place) {
        let descriptor = socket.release()
        bootstrap(place).withBoundSocket(descriptor).assumeIsolated().whenComplete { [self] result in
            switch result {
            case .success(let channel):
                guard place.isWanted, !isClosed else { return channel.close(promise: nil) }
                place.channels.append(channel)
                systemListen(descriptor, PeerListener.backlog)
                channel.closeFuture.assumeIsolated().whenComplete { [self] _ in closed(channel, of: place) }
            case .failure(let error):
                logger.error(
                    "the \(purpose.rawValue) port cannot be opened",
                    metadata: ["address": "\(place.address)", "reason": "\(error)"]
                )
                failed(place, nil)
            }
        }
    }

    /// By an error of the system, if it is still wanted.
    private func closed(_ channel: any Channel, of place: Place) {
        place.channels.removeAll { $0 === channel }
        guard place.isWanted, !isClosed, place.channels.isEmpty else { return }
        logger.error(
            "the \(purpose.rawValue) port was closed by an error of the system; opening it again",
            metadata: ["address": "\(place.address)"]
        )
        eventLoop.scheduleTask(in: PeerListener.retryTime) { [self] in
            if place.isWanted, !isClosed { bind(place) }
        }
    }

    private func bootstrap(_ place: Place) -> ServerBootstrap {
        let (accept, logger, text) = (accept, logger, "\(place.address)")
        return ServerBootstrap(group: eventLoop)
            .serverChannelOption(.maxMessagesPerRead, value: 4)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(AcceptFailureHandler(logger: logger, place: text))
                }
            }
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try accept(channel) }
            }
    }
}

@discardableResult
private func systemListen(_ descriptor: CInt, _ backlog: CInt) -> CInt {
    listen(descriptor, backlog)
}
