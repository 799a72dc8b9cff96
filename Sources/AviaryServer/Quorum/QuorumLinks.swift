internal import Logging
internal import NIOCore
internal import ZooKeeperProtocol

/// The connections between learners and leaders: bytes in, bytes out, and how many more a connection takes.
///
/// The port is open in every role. A learner that is faster than its leader finds an open port and waits there for an
/// answer, instead of knocking ten times a second.
///
/// Nothing queues here without end. A link takes as many bytes as its credit says; who sends more has them queued all the
/// same (a packet is not to be torn), but should wait for the next report of credit. A link whose owner is behind is not
/// read from (`setReading`), and then it is the system that makes the other side wait.
///
/// Links that this side opens are named by the owner, those that come in here, with the high bit of the id clear.
///
/// `@unchecked Sendable`: touched on `eventLoop` alone. Callbacks come on it, and never while a method of this class runs.
///
/// - Source: docs/protocol/quorum-protocol.md sections 6 and 7.
final class QuorumLinks: @unchecked Sendable {
    struct Options: Sendable {
        var connecting = ConnectAttempt.Options()
        /// `quorumListenOnAllIPs`.
        var listensOnAllAddresses = false
        /// How long a connection that comes in may keep silent (`initLimit` ticks).
        var firstByteTimeout = TimeAmount.seconds(30)
        /// Connections that came in and have not said a word.
        var maximumSilent = 128
        /// Connections that came in, altogether.
        var maximumAccepted = 2048
        /// Bytes that a link takes while the system does not.
        var window = 1 << 20
        /// How long the last bytes of a link that is being closed may take.
        var lingerTime = TimeAmount.seconds(5)
    }

    /// What happens to a link, in this order: `accepted` or `connected`, any number of the others, and at last `closed`,
    /// unless the owner closed it; or nothing but `connectFailed`.
    enum Event {
        case accepted(LinkID, from: Peer?)
        case connected(LinkID)
        case connectFailed(LinkID, reason: String)
        /// Lent for the call. Where packets end is not known here.
        case received(LinkID, UnsafeRawBufferPointer)
        /// How many bytes the link takes now.
        case writable(LinkID, credit: Int)
        case closed(LinkID, reason: String)
    }

    let options: Options
    let eventLoop: any EventLoop
    private let resolver: NameResolver
    private let logger: Logger

    var handle: (Event) -> Void = { _ in }

    private var listener: PeerListener?
    private var links: [LinkID: QuorumLink] = [:]
    private var attempts: [LinkID: ConnectAttempt] = [:]
    private var silent: UnfinishedConnections<QuorumLink>
    private var accepted = 0
    private var lastAccepted: UInt64 = 0
    private var isClosed = false
    /// Links with bytes of this turn.
    private var touched: [QuorumLink] = []
    private var complaints = LogLimiter<String>(interval: .seconds(600))

    init(options: Options, eventLoop: any EventLoop, resolver: NameResolver, logger: Logger) {
        self.options = options
        self.eventLoop = eventLoop
        self.resolver = resolver
        self.logger = logger
        silent = UnfinishedConnections(capacity: options.maximumSilent)
    }

    // MARK: - Listening

    /// Listens on these addresses, from now on and in every role; what was listened on before goes on if it is among them.
    ///
    /// - Parameter claimed: sockets that are bound already (`PeerListener.claim`).
    func listen(on addresses: [NetworkAddress], claimed: [NetworkAddress: [BoundSocket]] = [:]) {
        guard !isClosed else { return }
        let listener =
            self.listener
            ?? PeerListener(
                purpose: .quorum,
                eventLoop: eventLoop,
                resolver: resolver,
                logger: logger
            ) { [self] channel in try accept(channel) }
        self.listener = listener
        listener.listen(
            on: options.listensOnAllAddresses ? PeerListener.onAllAddresses(addresses) : addresses,
            claimed: claimed
        )
    }

    /// Ports that are listened on.
    var ports: [Int] { listener?.ports ?? [] }

    private func accept(_ channel: any Channel) throws {
        let peer = channel.remoteAddress.flatMap { Peer($0) }
        guard !isClosed, accepted < options.maximumAccepted else {
            complain("turning away a connection to the quorum port: there are \(accepted) already", peer)
            throw Refused()
        }
        lastAccepted += 1
        let link = QuorumLink(owner: self, id: LinkID(lastAccepted), peer: peer, isAccepted: true)
        try QuorumLinks.configure(channel)
        if options.connecting.sendsKeepAlive {
            try channel.syncOptions?.setOption(.socketOption(.so_keepalive), value: 1)
        }
        try channel.pipeline.syncOperations.addHandler(link)
        accepted += 1
        if let evicted = silent.enter(link, from: peer?.key) {
            complain("closing a connection to the quorum port: too many do not say who they are", evicted.peer)
            evicted.fail("too many connections that do not say a word")
        }
    }

    /// Lets the accepting channel close what it accepted.
    private struct Refused: Error {}

    private static func configure(_ channel: any Channel) throws {
        guard let options = channel.syncOptions else { return }
        try options.setOption(
            .recvAllocator,
            value: AdaptiveRecvByteBufferAllocator(minimum: 1 << 10, initial: 1 << 13, maximum: 1 << 17)
        )
        // One buffer, then the clients have their turn.
        try options.setOption(.maxMessagesPerRead, value: 1)
    }

    // MARK: - What the owner wants

    /// Connects to a server, at whichever of its addresses answers first: `connected` or `connectFailed` follows.
    func connect(_ id: LinkID, to addresses: [NetworkAddress]) {
        guard !isClosed else { return }
        attempts[id] = ConnectAttempt(
            to: addresses,
            resolver: resolver,
            eventLoop: eventLoop,
            options: options.connecting
        ) { [weak self] result in
            guard let self else {
                if case .success(let channel) = result { channel.close(promise: nil) }
                return
            }
            attempts[id] = nil
            switch result {
            case .success(let channel): connected(id, channel)
            case .failure(let failure): handle(.connectFailed(id, reason: "\(failure)"))
            }
        }
    }

    private func connected(_ id: LinkID, _ channel: any Channel) {
        let link = QuorumLink(
            owner: self,
            id: id,
            peer: channel.remoteAddress.flatMap { Peer($0) },
            isAccepted: false
        )
        do {
            try QuorumLinks.configure(channel)
            links[id] = link
            try channel.pipeline.syncOperations.addHandler(link)
        } catch {
            links[id] = nil
            channel.close(promise: nil)
            return handle(.connectFailed(id, reason: "\(error)"))
        }
        handle(.connected(id))
        link.grantCredit()
        link.beginReading()
    }

    /// Takes bytes for a link, and sends them with `flush`. None for a link that is gone.
    func send(_ bytes: UnsafeRawBufferPointer, on id: LinkID) {
        guard let link = links[id] else { return }
        if link.append(bytes) { touched.append(link) }
    }

    /// Hands everything that was taken to the system: one write for each link.
    func flush() {
        guard !touched.isEmpty else { return }
        for link in touched { link.flush() }
        touched.removeAll(keepingCapacity: true)
    }

    /// Closes a link once everything before is sent. Nothing about it is reported any more.
    func close(_ id: LinkID) {
        attempts.removeValue(forKey: id)?.cancel()
        guard let link = links.removeValue(forKey: id) else { return }
        silent.leave(link)
        link.closeAfterFlush()
    }

    /// Whether a link is read from.
    func setReading(_ isReading: Bool, on id: LinkID) {
        links[id]?.setReading(isReading)
    }

    /// How many bytes a link takes now; 0 for one that is gone, and below 0 for one that got more than it takes.
    func credit(of id: LinkID) -> Int {
        links[id]?.credit ?? 0
    }

    /// The other end of a link.
    func peer(of id: LinkID) -> Peer? { links[id]?.peer }

    var count: Int { links.count }

    /// Connections that came in and are not closed yet.
    var acceptedCount: Int { accepted }

    /// Ends everything; no callback follows.
    func close() {
        isClosed = true
        handle = { _ in }
        listener?.close()
        for attempt in attempts.values { attempt.cancel() }
        attempts = [:]
        for id in Array(links.keys) { close(id) }
    }

    // MARK: - What links tell

    func began(_ link: QuorumLink) {
        guard link.isAccepted else { return }
        links[link.id] = link
        handle(.accepted(link.id, from: link.peer))
        link.grantCredit()
    }

    func spoke(_ link: QuorumLink) {
        silent.leave(link)
    }

    func ended(_ link: QuorumLink, _ reason: String) {
        silent.leave(link)
        if link.isAccepted { accepted -= 1 }
        // Behind what is going on: a write that fails ends the link in the middle of it.
        eventLoop.assumeIsolated().execute { [self] in
            guard links[link.id] === link else { return }
            links[link.id] = nil
            handle(.closed(link.id, reason: reason))
        }
    }

    /// Whether anything about a link is still reported.
    func isOpen(_ link: QuorumLink) -> Bool { links[link.id] === link }

    private func complain(_ text: String, _ peer: Peer?) {
        guard complaints.allows(text + (peer?.text ?? ""), at: SystemClock.monotonicMicroseconds()) else { return }
        logger.warning("\(text)", metadata: ["peer": "\(peer?.description ?? "?")"])
    }
}
