internal import Logging
internal import NIOCore
internal import ZooKeeperProtocol

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// Carries the messages of the election: at most one connection for each pair of servers, and for each server at most one
/// message that waits.
///
/// Any server may open a connection; it is kept if the opener has the larger id. Who has the smaller one says who he is,
/// closes, and is connected to. The other side drops what it still has of an earlier connection first: without that a
/// server that was restarted could not be reached until the system gives the dead connection up.
///
/// The messages are the newest of their sender only: one that was not sent makes room for the next, and the last one is
/// sent again on a fresh connection. So the first message on it may be old, and each may come twice.
///
/// Nothing here waits for anybody: an unreachable server costs some attempts in a few seconds, a name that cannot be found
/// is looked for again, garbage ends the connection that it came on, and connections that say nothing are bounded.
///
/// `@unchecked Sendable`: touched on `eventLoop` alone. Callbacks come on it, too, and never while `send`, `connectAll` or
/// `update` run.
///
/// - Source: docs/protocol/quorum-protocol.md section 4.
final class ElectionTransport: @unchecked Sendable {
    struct Options: Sendable {
        var me: ServerID
        var connecting = ConnectAttempt.Options()
        /// How long a connection that comes in may take to say who it is (`quorumCnxnTimeoutMs`).
        var introductionTimeout = TimeAmount.seconds(5)
        /// How long a message may take to arrive once it has begun.
        var frameTimeout = TimeAmount.seconds(10)
        /// `multiAddress.enabled`: whether the initial message names more than one address.
        var announcesAllAddresses = false
        /// `quorumListenOnAllIPs`.
        var listensOnAllAddresses = false
        /// Connections that have not said who they are.
        var maximumUnfinished = 64
        /// Servers that no line of the configuration names. There is no check of who somebody is, so they are let in as
        /// Apache does (who is to be added later has to learn who leads), but not without end.
        var maximumStrangers = 256

        init(me: ServerID) {
            self.me = me
            // What was sent into a broken network must not keep a connection that nothing comes through any more: the
            // system would try again at intervals that grow with the outage, and find the other side minutes after it.
            connecting.unacknowledgedTimeout = .seconds(10)
        }
    }

    /// Bytes of messages that are not complete, of all connections.
    private static let maximumHeldBytes = 16 << 20

    let options: Options
    private let eventLoop: any EventLoop
    private let resolver: NameResolver
    private let logger: Logger

    /// A message without its length, lent for the call.
    var received: (_ message: UnsafeRawBufferPointer, _ sender: ServerID) -> Void = { _, _ in }
    /// There is a connection to a server (also: a fresh one in place of another), or it broke, or none can be made.
    var linkChanged: (_ server: ServerID, _ isUp: Bool) -> Void = { _, _ in }

    private var listener: PeerListener?
    private var members: [QuorumMember] = []
    private var ownAddresses: [NetworkAddress] = []
    private var peers: [ServerID: ElectionPeer] = [:]
    private var strangers = 0
    private var unfinished: UnfinishedConnections<ElectionConnection>
    private var heldBytes = 0
    /// The id of the next server that has none.
    private var nextNameless: Int64 = -1
    private var isClosed = false
    private var complaints = LogLimiter<String>(interval: .seconds(600))

    init(options: Options, eventLoop: any EventLoop, resolver: NameResolver, logger: Logger) {
        self.options = options
        self.eventLoop = eventLoop
        self.resolver = resolver
        self.logger = logger
        unfinished = UnfinishedConnections(capacity: options.maximumUnfinished)
    }

    // MARK: - What the owner wants

    /// Begins to listen, and knows the members from now on.
    ///
    /// - Parameter claimed: sockets that are bound already (`PeerListener.claim`).
    func start(members: [QuorumMember], claimed: [NetworkAddress: [BoundSocket]] = [:]) {
        listener = PeerListener(
            purpose: .election,
            eventLoop: eventLoop,
            resolver: resolver,
            logger: logger
        ) { [self] channel in try accept(channel) }
        take(members, claimed: claimed)
    }

    /// Another configuration: listens where it says this server is, and knows its members.
    ///
    /// Who is no member any more keeps his connection: he may still have to be told that he is none.
    func update(members: [QuorumMember]) {
        take(members, claimed: [:])
    }

    /// Sends a message to a server as soon as there is a connection, and makes one; takes the place of one that waits.
    ///
    /// - Parameter frame: with its length in front.
    func send(frame: UnsafeRawBufferPointer, to server: ServerID) {
        guard !isClosed, server != options.me, let peer = peers[server] else { return }
        peer.pending = ByteBuffer(bytes: frame)
        deliver(peer)
        if peer.connection == nil { connectSoon(peer) }
    }

    /// Tries to connect to every member that there is no connection to.
    func connectAll() {
        guard !isClosed else { return }
        for member in members {
            if let peer = peers[member.id], peer.connection == nil { connectSoon(peer) }
        }
    }

    /// Ends everything; no callback follows.
    func close() {
        isClosed = true
        received = { _, _ in }
        linkChanged = { _, _ in }
        listener?.close()
        for peer in peers.values {
            peer.attempt?.cancel()
            peer.retry?.cancel()
            peer.connection?.silence()
        }
        peers = [:]
    }

    /// Ports that are listened on.
    var ports: [Int] { listener?.ports ?? [] }

    func isConnected(to server: ServerID) -> Bool { peers[server]?.connection != nil }

    /// Connections that have not said who they are.
    var unfinishedCount: Int { unfinished.count }

    private func take(_ members: [QuorumMember], claimed: [NetworkAddress: [BoundSocket]]) {
        guard !isClosed else { return }
        self.members = members.filter { $0.id != options.me }
        let byID = Dictionary(self.members.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        for peer in Array(peers.values) where byID[peer.id] == nil && peer.isMember { makeStranger(peer) }
        for (id, member) in byID {
            let addresses = member.electionAddresses
            guard let peer = peers[id] else {
                peers[id] = ElectionPeer(id: id, addresses: addresses, isMember: true)
                continue
            }
            if !peer.isMember { strangers -= 1 }
            peer.isMember = true
            guard peer.addresses != addresses else { continue }
            peer.addresses = addresses
            // What it announced was for where it was.
            peer.announced = []
            guard peer.attempt != nil else { continue }
            peer.attempt?.cancel()
            peer.attempt = nil
            connect(peer)
        }
        // A server that the new list does not name stays where it was.
        guard let own = members.first(where: { $0.id == options.me }) else { return }
        ownAddresses = own.electionAddresses
        let places = options.listensOnAllAddresses ? PeerListener.onAllAddresses(ownAddresses) : ownAddresses
        listener?.listen(on: places, claimed: claimed)
    }

    private func makeStranger(_ peer: ElectionPeer) {
        peer.isMember = false
        peer.addresses = []
        strangers += 1
        if peer.connection == nil { forget(peer) }
    }

    private func forget(_ peer: ElectionPeer) {
        guard peers[peer.id] === peer else { return }
        peer.attempt?.cancel()
        peer.attempt = nil
        peer.retry?.cancel()
        peers[peer.id] = nil
        if !peer.isMember { strangers -= 1 }
    }

    // MARK: - Sending

    private func deliver(_ peer: ElectionPeer) {
        guard let connection = peer.connection, !peer.isWriting, let message = peer.pending else { return }
        peer.pending = nil
        peer.last = message
        peer.isWriting = true
        connection.send(message) { [weak self, weak peer, weak connection] in
            guard let self, let peer, let connection, peer.connection === connection else { return }
            peer.isWriting = false
            deliver(peer)
        }
    }

    // MARK: - Connecting

    /// At once, or as soon as the last attempt is long enough ago.
    private func connectSoon(_ peer: ElectionPeer) {
        guard peer.attempt == nil, peer.retry == nil, !isClosed else { return }
        let wait = peer.notBefore - .now()
        guard wait > .zero else { return connect(peer) }
        peer.retry = eventLoop.assumeIsolated().scheduleTask(in: wait) { [weak self, weak peer] in
            guard let self, let peer else { return }
            peer.retry = nil
            if peer.connection == nil, peer.attempt == nil { connect(peer) }
        }
    }

    private func connect(_ peer: ElectionPeer) {
        guard !isClosed, peers[peer.id] === peer else { return }
        peer.retry?.cancel()
        peer.retry = nil
        peer.backOff()
        peer.attempt = ConnectAttempt(
            to: peer.targets,
            resolver: resolver,
            eventLoop: eventLoop,
            options: options.connecting
        ) { [weak self, weak peer] result in
            guard let self, let peer else {
                if case .success(let channel) = result { channel.close(promise: nil) }
                return
            }
            peer.attempt = nil
            switch result {
            case .success(let channel): connected(peer, channel)
            case .failure(let failure): failed(peer, "\(failure)")
            }
        }
    }

    private func connected(_ peer: ElectionPeer, _ channel: any Channel) {
        let message = introduction()
        guard peer.id < options.me else {
            // Its to keep, ours only to ask for it.
            channel.writeAndFlush(message).whenComplete { _ in channel.close(promise: nil) }
            if peer.pending != nil { connectSoon(peer) }
            return
        }
        let connection = ElectionConnection(
            transport: self,
            peer: channel.remoteAddress.flatMap { Peer($0) },
            server: peer.id
        )
        do {
            try ConnectAttempt.take(channel, adding: connection)
        } catch {
            channel.close(promise: nil)
            return failed(peer, "\(error)")
        }
        // Alone in its write: Apache reads it with one call.
        connection.send(message) {}
        install(connection, for: peer)
    }

    private func failed(_ peer: ElectionPeer, _ reason: String) {
        guard peer.connection == nil else { return }
        report(peer, isUp: false, reason: reason)
        guard peers[peer.id] === peer else { return }
        if !peer.isMember { return forget(peer) }
        if peer.pending != nil, peer.connection == nil { connectSoon(peer) }
    }

    /// The first bytes on a connection that this server opens.
    private func introduction() -> ByteBuffer {
        var addresses: [InitialMessage.Address] = []
        var size = 0
        for address in ownAddresses.prefix(options.announcesAllAddresses ? ownAddresses.count : 1) {
            size += "\(address)|".utf8.count
            guard size <= InitialMessage.maxAddressBytes else { break }
            addresses.append(InitialMessage.Address(host: address.host, port: address.port))
        }
        let form: InitialMessage.Form =
            addresses.isEmpty ? .serverIDAlone : options.announcesAllAddresses ? .v2 : .v1
        var writer = JuteWriter(capacity: 64)
        InitialMessage(form: form, server: options.me, addresses: addresses).write(to: &writer)
        return writer.withBytes(in: 0..<writer.count) { ByteBuffer(bytes: $0) }
    }

    // MARK: - Connections that come in

    private func accept(_ channel: any Channel) throws {
        guard !isClosed else { throw Refused() }
        let connection = ElectionConnection(
            transport: self,
            peer: channel.remoteAddress.flatMap { Peer($0) },
            server: nil
        )
        if options.connecting.sendsKeepAlive {
            try channel.syncOptions?.setOption(.socketOption(.so_keepalive), value: 1)
        }
        #if os(Linux)
            if let time = options.connecting.unacknowledgedTimeout {
                try channel.syncOptions?.setOption(
                    .tcpOption(.unacknowledgedTimeout),
                    value: SocketOptionValue(clamping: time.nanoseconds / 1_000_000)
                )
            }
        #endif
        try channel.pipeline.syncOperations.addHandler(connection)
        if let evicted = unfinished.enter(connection, from: connection.peer?.key) {
            refuse(evicted, "too many connections that do not say who they are")
        }
    }

    /// Lets the accepting channel close what it accepted.
    private struct Refused: Error {}

    /// A connection that came in has said who it is.
    ///
    /// - Returns: whose it is, if it is kept.
    func introduced(_ connection: ElectionConnection, by message: InitialMessage) -> ServerID? {
        unfinished.leave(connection)
        var server = message.server
        let isNameless = server.rawValue == .max
        if isNameless {
            server = ServerID(nextNameless)
            nextNameless -= 1
        }
        guard server != options.me, !isClosed else {
            connection.silence()
            return nil
        }
        guard let peer = peers[server] ?? stranger(server) else {
            refuse(connection, "too many servers that no server.N line names")
            return nil
        }
        // Who has no id cannot be connected to by it.
        if server > options.me || isNameless { return server }
        knocked(peer, at: message.reachableAddresses.map { NetworkAddress(host: $0.host, port: $0.port) })
        connection.silence()
        return nil
    }

    private func stranger(_ server: ServerID) -> ElectionPeer? {
        guard strangers < options.maximumStrangers else { return nil }
        strangers += 1
        let peer = ElectionPeer(id: server, addresses: [], isMember: false)
        peers[server] = peer
        return peer
    }

    /// A server with a smaller id has no connection, whatever this side may believe, and wants one.
    private func knocked(_ peer: ElectionPeer, at announced: [NetworkAddress]) {
        let addresses = announced.filter { $0.port > 0 }
        if let old = peer.connection {
            peer.connection = nil
            peer.isWriting = false
            old.silence()
        }
        if addresses != peer.announced {
            peer.announced = addresses
            peer.attempt?.cancel()
            peer.attempt = nil
            // It may have been waited for where it is not.
            peer.forgetBackoff()
        }
        guard !peer.targets.isEmpty else { return forget(peer) }
        connectSoon(peer)
    }

    func adopt(_ connection: ElectionConnection, as server: ServerID) {
        guard let peer = peers[server] else { return connection.silence() }
        install(connection, for: peer)
    }

    private func install(_ connection: ElectionConnection, for peer: ElectionPeer) {
        let old = peer.connection
        peer.connection = connection
        peer.isWriting = false
        peer.attempt?.cancel()
        peer.attempt = nil
        peer.forgetBackoff()
        old?.silence()
        report(peer, isUp: true, reason: nil)
        guard peer.connection === connection else { return }
        if peer.pending == nil, !peer.isWriting { peer.pending = peer.last }
        deliver(peer)
    }

    // MARK: - What connections tell

    func received(_ message: UnsafeRawBufferPointer, from server: ServerID, on connection: ElectionConnection) {
        guard peers[server]?.connection === connection else { return }
        received(message, server)
    }

    func ended(_ connection: ElectionConnection, _ server: ServerID?) {
        unfinished.leave(connection)
        guard let server, let peer = peers[server], peer.connection === connection else { return }
        peer.connection = nil
        peer.isWriting = false
        // Behind what is going on: a write that fails ends the connection in the middle of it.
        eventLoop.assumeIsolated().execute { [self] in
            guard peers[server] === peer, peer.connection == nil else { return }
            report(peer, isUp: false, reason: "the connection ended")
            guard peers[server] === peer, peer.connection == nil else { return }
            if !peer.isMember, peer.attempt == nil { return forget(peer) }
            if peer.pending != nil { connectSoon(peer) }
        }
    }

    /// Ends a connection that broke the rules, and says so once in a while.
    func refuse(_ connection: ElectionConnection, _ reason: String) {
        unfinished.leave(connection)
        let address = connection.peer?.text ?? "?"
        if complaints.allows(address, at: SystemClock.monotonicMicroseconds()) {
            logger.warning(
                "closing an election connection: \(reason)",
                metadata: ["peer": "\(connection.peer?.description ?? "?")"]
            )
        }
        connection.close()
    }

    func count(heldBytes change: Int) {
        heldBytes += change
    }

    var holdsTooMuch: Bool { heldBytes > ElectionTransport.maximumHeldBytes }

    private func report(_ peer: ElectionPeer, isUp: Bool, reason: String?) {
        let before = peer.isUp
        guard isUp || before != false else { return }
        peer.isUp = isUp
        if isUp {
            if before != true { logger.debug("election connection", metadata: ["server": "\(peer.id)"]) }
        } else {
            logger.debug(
                "no election connection",
                metadata: ["server": "\(peer.id)", "reason": "\(reason ?? "")"]
            )
        }
        linkChanged(peer.id, isUp)
    }
}
