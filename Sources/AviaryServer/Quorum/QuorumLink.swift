internal import NIOCore
internal import ZooKeeperProtocol

/// One connection between a learner and its leader: the only handler of its channel.
final class QuorumLink: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    let id: LinkID
    let peer: Peer?
    let isAccepted: Bool
    private let owner: QuorumLinks

    private var context: ChannelHandlerContext?
    private var socket: ClientSocket?
    /// The channel has something to write that the system did not take at once, or had.
    private var isChannelWriting = false
    private(set) var isReading = true
    /// What this turn sends; nil when nothing.
    private var pending: ByteBuffer?
    private var isClosing = false
    private var firstByte: Scheduled<Void>?
    private var hasSpoken = false
    /// What is left of the credit that the owner was told, as it must count.
    private var told = 0
    private var isCreditBooked = false
    private var reason = "closed by the other side"

    init(owner: QuorumLinks, id: LinkID, peer: Peer?, isAccepted: Bool) {
        self.owner = owner
        self.id = id
        self.peer = peer
        self.isAccepted = isAccepted
        hasSpoken = !isAccepted
    }

    // MARK: - The channel

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if context.channel.isActive { begin(context) }
    }

    func channelActive(context: ChannelHandlerContext) {
        begin(context)
    }

    private func begin(_ context: ChannelHandlerContext) {
        guard socket == nil else { return }
        socket = ClientSocket(context)
        if isAccepted {
            firstByte = context.eventLoop.assumeIsolated().scheduleTask(in: owner.options.firstByteTimeout) {
                [self] in
                fail("it has not said a word")
            }
        }
        owner.began(self)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard owner.isOpen(self) else { return }
        if !hasSpoken {
            hasSpoken = true
            firstByte?.cancel()
            owner.spoke(self)
        }
        let buffer = Self.unwrapInboundIn(data)
        buffer.withUnsafeReadableBytes { owner.handle(.received(id, $0)) }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { bookCredit() }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        reason = "\(error)"
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        end()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        // A connection that failed before it became active is counted all the same.
        end()
    }

    // MARK: - Sending

    /// - Returns: whether these are the first bytes of the turn, so that a flush has to follow.
    func append(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let context, !isClosing else { return false }
        told -= bytes.count
        guard pending == nil else {
            pending?.writeBytes(bytes)
            return false
        }
        var buffer = context.channel.allocator.buffer(capacity: bytes.count)
        buffer.writeBytes(bytes)
        pending = buffer
        return true
    }

    func flush() {
        guard let context, var buffer = pending else { return }
        pending = nil
        if !sendAtOnce(&buffer) { context.writeAndFlush(Self.wrapOutboundOut(buffer), promise: nil) }
        // The owner counts down what it was told, though the system has taken everything: it is told again in time.
        if told < owner.options.window / 2 { bookCredit() }
    }

    /// - Returns: whether nothing of it is left.
    private func sendAtOnce(_ buffer: inout ByteBuffer) -> Bool {
        if isChannelWriting {
            guard unsentBytes == 0 else { return false }
            isChannelWriting = false
        }
        buffer.moveReaderIndex(forwardBy: buffer.withUnsafeReadableBytes { socket?.send($0) ?? 0 })
        isChannelWriting = buffer.readableBytes > 0
        return !isChannelWriting
    }

    /// Bytes that wait in this process because the system takes no more.
    private var unsentBytes: Int {
        guard let context else { return 0 }
        return (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
    }

    // MARK: - Credit

    var credit: Int { owner.options.window - unsentBytes - (pending?.readableBytes ?? 0) }

    /// At the beginning of a link, which takes a whole window.
    func grantCredit() {
        guard let context, owner.isOpen(self) else { return }
        let window = owner.options.window
        try? context.channel.syncOptions?.setOption(
            .writeBufferWaterMark,
            value: .init(low: window / 4, high: window / 2)
        )
        told = credit
        owner.handle(.writable(id, credit: told))
    }

    /// Tells the owner what the link takes, at the end of what is going on, if that is much more than it knows.
    private func bookCredit() {
        guard let context, !isCreditBooked, !isClosing else { return }
        isCreditBooked = true
        context.eventLoop.assumeIsolated().execute { [self] in
            isCreditBooked = false
            let credit = credit
            guard self.context != nil, owner.isOpen(self), credit - told >= owner.options.window / 4 else { return }
            told = credit
            owner.handle(.writable(id, credit: credit))
        }
    }

    // MARK: - Reading and closing

    /// Of a connection that this side opened, which is not read from before its owner knows of it.
    func beginReading() {
        guard isReading, let context else { return }
        try? context.channel.syncOptions?.setOption(.autoRead, value: true)
    }

    func setReading(_ isReading: Bool) {
        guard self.isReading != isReading, let context else { return }
        self.isReading = isReading
        try? context.channel.syncOptions?.setOption(.autoRead, value: isReading)
    }

    /// Ends at once, and is reported.
    func fail(_ reason: String) {
        self.reason = reason
        context?.close(promise: nil)
    }

    /// After everything that was sent, if that does not take too long. Nothing is read any more.
    func closeAfterFlush() {
        flush()
        guard let context, !isClosing else { return }
        isClosing = true
        guard unsentBytes > 0 else { return context.close(promise: nil) }
        setReading(false)
        context.writeAndFlush(Self.wrapOutboundOut(ByteBuffer())).assumeIsolated().whenComplete { [self] _ in
            self.context?.close(promise: nil)
        }
        context.eventLoop.assumeIsolated().scheduleTask(in: owner.options.lingerTime) { [self] in
            self.context?.close(promise: nil)
        }
    }

    private func end() {
        guard context != nil else { return }
        context = nil
        pending = nil
        firstByte?.cancel()
        owner.ended(self, reason)
    }
}
