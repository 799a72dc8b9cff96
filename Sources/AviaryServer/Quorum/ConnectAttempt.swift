internal import NIOCore
internal import NIOPosix

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// One attempt to connect to a server that may have several addresses: the first connection wins, the others are closed.
///
/// An address that does not answer does not hold up the others: each gets a head start of some milliseconds, so that
/// nearly always there is one connection and no second one to throw away.
///
/// `@unchecked Sendable`: on the loop only, callbacks included.
final class ConnectAttempt: @unchecked Sendable {
    /// Why there is no connection.
    enum Failure: Error, CustomStringConvertible {
        case noAddress([NetworkAddress])
        /// Nobody listens there: the process of that server is not running.
        case refused(String)
        case timedOut
        case other(String)

        var description: String {
            switch self {
            case .noAddress(let addresses):
                "no address is known for " + addresses.map(\.host).joined(separator: ", ")
            case .refused(let place): "\(place) refuses the connection"
            case .timedOut: "no answer"
            case .other(let text): text
            }
        }
    }

    struct Options: Sendable {
        /// For everything together, the name service included (`cnxTimeout`).
        var timeout = TimeAmount.seconds(5)
        var sendsKeepAlive = false
        /// How long sent bytes may stay unacknowledged before the system gives a connection up; nil leaves it to the
        /// system, which takes a quarter of an hour.
        var unacknowledgedTimeout: TimeAmount?
    }

    /// The head start of an address.
    private static let headStart = TimeAmount.milliseconds(10)
    /// Addresses that are tried in all.
    private static let maximumAddresses = 32

    private let eventLoop: any EventLoop
    private let addresses: [NetworkAddress]
    private let options: Options
    /// Nil once the outcome is known.
    private var completion: ((Result<any Channel, Failure>) -> Void)?
    private var unresolved = 0
    private var candidates: [SocketAddress] = []
    private var started = 0
    /// Connections that are being made.
    private var channels: [ObjectIdentifier: any Channel] = [:]
    private var underway = 0
    private var nextStart: Scheduled<Void>?
    private var deadline: Scheduled<Void>?
    private let deadlineTime: NIODeadline
    private var failure: Failure?

    /// Begins at once.
    ///
    /// - Parameter completion: gets a channel that is active and not read from yet: `take(_:adding:)` makes it somebody's.
    ///   Called once, never before `init` returns, and not at all after `cancel()`.
    init(
        to addresses: [NetworkAddress],
        resolver: NameResolver,
        eventLoop: any EventLoop,
        options: Options,
        completion: @escaping (Result<any Channel, Failure>) -> Void
    ) {
        self.eventLoop = eventLoop
        self.addresses = addresses
        self.options = options
        self.completion = completion
        deadlineTime = .now() + options.timeout
        unresolved = addresses.count
        let isolated = eventLoop.assumeIsolated()
        deadline = isolated.scheduleTask(in: options.timeout) { [self] in finish(.failure(failure ?? .timedOut)) }
        // Behind the return of init: an answer may be there at once, and nobody would know yet whose it is.
        isolated.execute { [self] in
            guard self.completion != nil else { return }
            if addresses.isEmpty { return finish(.failure(.noAddress([]))) }
            for address in addresses {
                resolver.resolve(address, patience: options.timeout / 2) { [self] found in resolved(found) }
            }
        }
    }

    /// Gives up; nothing is reported any more.
    func cancel() {
        completion = nil
        end()
    }

    private func resolved(_ found: [SocketAddress]) {
        unresolved -= 1
        guard completion != nil else { return }
        for address in found where candidates.count < ConnectAttempt.maximumAddresses && !candidates.contains(address) {
            candidates.append(address)
        }
        if nextStart == nil { startNext() }
    }

    private func startNext() {
        nextStart?.cancel()
        nextStart = nil
        guard completion != nil else { return }
        guard started < candidates.count else {
            if underway == 0, unresolved == 0 { finish(.failure(failure ?? .noAddress(addresses))) }
            return
        }
        let address = candidates[started]
        started += 1
        connect(to: address)
        nextStart = eventLoop.assumeIsolated().scheduleTask(in: ConnectAttempt.headStart) { [self] in
            nextStart = nil
            if started < candidates.count { startNext() }
        }
    }

    private func connect(to address: SocketAddress) {
        underway += 1
        let left = max(deadlineTime - .now(), .milliseconds(1))
        var bootstrap = ClientBootstrap(group: eventLoop)
            .connectTimeout(left)
            .channelOption(.autoRead, value: false)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { [self] channel in
                channels[ObjectIdentifier(channel)] = channel
                return channel.eventLoop.makeSucceededVoidFuture()
            }
        if options.sendsKeepAlive {
            bootstrap = bootstrap.channelOption(.socketOption(.so_keepalive), value: 1)
        }
        #if os(Linux)
            if let time = options.unacknowledgedTimeout {
                bootstrap = bootstrap.channelOption(
                    .tcpOption(.unacknowledgedTimeout),
                    value: SocketOptionValue(clamping: time.nanoseconds / 1_000_000)
                )
            }
        #endif
        bootstrap.connect(to: address).assumeIsolated().whenComplete { [self] result in
            underway -= 1
            switch result {
            case .success(let channel):
                channels[ObjectIdentifier(channel)] = nil
                guard completion != nil else { return channel.close(promise: nil) }
                finish(.success(channel))
            case .failure(let error):
                guard completion != nil else { return }
                failure = ConnectAttempt.reason(error, at: address)
                startNext()
            }
        }
    }

    private static func reason(_ error: any Error, at address: SocketAddress) -> Failure {
        let place = "\(address.ipAddress ?? "?"):\(address.port ?? 0)"
        if case ChannelError.connectTimeout? = error as? ChannelError { return .timedOut }
        guard let error = error as? IOError else { return .other("\(place): \(error)") }
        return error.errnoCode == ECONNREFUSED ? .refused(place) : .other("\(place): \(error)")
    }

    private func finish(_ result: Result<any Channel, Failure>) {
        guard let completion else { return }
        self.completion = nil
        end()
        completion(result)
    }

    private func end() {
        deadline?.cancel()
        nextStart?.cancel()
        let losers = channels.values
        channels = [:]
        for channel in losers { channel.close(promise: nil) }
    }

    /// Gives a channel its handler and begins to read from it.
    static func take(_ channel: any Channel, adding handler: some ChannelHandler) throws {
        try channel.pipeline.syncOperations.addHandler(handler)
        try channel.syncOptions?.setOption(.autoRead, value: true)
    }
}

extension NIOBSDSocket.Option {
    #if os(Linux)
        /// `TCP_USER_TIMEOUT`, which has no name here: milliseconds.
        static let unacknowledgedTimeout = NIOBSDSocket.Option(rawValue: 18)
    #endif
}

extension TimeAmount {
    fileprivate static func / (time: TimeAmount, divisor: Int64) -> TimeAmount {
        .nanoseconds(time.nanoseconds / divisor)
    }
}
