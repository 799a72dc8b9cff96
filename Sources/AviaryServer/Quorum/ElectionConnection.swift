internal import NIOCore
internal import ZooKeeperProtocol

/// One election connection that is kept: the only handler of its channel.
///
/// What comes in is the initial message, if the other side opened it, and then frames. Whatever else it may be ends this
/// connection and nothing more (ZOOKEEPER-3769). Memory follows what has arrived, and a frame that has begun has to be
/// whole in time.
final class ElectionConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private enum State {
        /// Opened by the other side, which has not said who it is.
        case introducing
        case framing(ServerID)
        case closed
    }

    /// Longer frames are garbage, as in Apache.
    static let maximumFrameBytes = 524_288

    let peer: Peer?
    private let transport: ElectionTransport
    private var state: State
    private var context: ChannelHandlerContext?
    private var held = HeldBytes()
    private var deadline: Scheduled<Void>?

    /// - Parameter server: whom this server has connected to; nil for a connection that has come in.
    init(transport: ElectionTransport, peer: Peer?, server: ServerID?) {
        self.transport = transport
        self.peer = peer
        state = server.map { .framing($0) } ?? .introducing
    }

    /// Who is at the other end, as far as it has said so.
    var server: ServerID? {
        if case .framing(let server) = state { server } else { nil }
    }

    // MARK: - The channel

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if case .introducing = state { expect(within: transport.options.introductionTimeout) }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        end()
        transport.count(heldBytes: -held.count)
        held.removeAll()
    }

    func channelInactive(context: ChannelHandlerContext) {
        end()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let buffer = Self.unwrapInboundIn(data)
        let before = held.count
        buffer.withUnsafeReadableBytes { take($0) }
        transport.count(heldBytes: held.count - before)
        guard transport.holdsTooMuch, held.count > 0 else { return }
        transport.refuse(self, "too much is held for election connections")
    }

    // MARK: - Sending

    /// - Parameter written: called once, when the system has taken the bytes or will not.
    func send(_ bytes: ByteBuffer, written: @escaping () -> Void) {
        guard let context, context.channel.isActive else { return }
        let promise = context.eventLoop.makePromise(of: Void.self)
        promise.futureResult.assumeIsolated().whenComplete { _ in written() }
        context.writeAndFlush(Self.wrapOutboundOut(bytes), promise: promise)
    }

    func close() {
        guard let context else { return }
        context.close(promise: nil)
    }

    // MARK: - Receiving

    private func take(_ bytes: UnsafeRawBufferPointer) {
        let used: Int
        let rest: Int
        if held.count > 0 {
            held.append(bytes)
            used = parse(held.bytes)
            held.removeFirst(used)
            rest = held.count
        } else {
            used = parse(bytes)
            rest = bytes.count - used
            if rest > 0 { held.append(UnsafeRawBufferPointer(rebasing: bytes[used...])) }
        }
        guard case .framing = state else { return }
        if rest == 0 {
            deadline?.cancel()
            deadline = nil
        } else if used > 0 || deadline == nil {
            expect(within: transport.options.frameTimeout)
        }
    }

    /// - Returns: how many bytes were used.
    private func parse(_ bytes: UnsafeRawBufferPointer) -> Int {
        var offset = 0
        while true {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[offset...])
            switch state {
            case .closed: return bytes.count
            case .introducing:
                guard let size = introduction(rest) else { return offset }
                offset += size
            case .framing(let server):
                guard rest.count >= 4 else { return offset }
                let length = Int(Int32(bigEndian: rest.loadUnaligned(as: Int32.self)))
                guard (1...ElectionConnection.maximumFrameBytes).contains(length) else {
                    transport.refuse(self, "a message of \(length) bytes, above 524288 or below 1")
                    return bytes.count
                }
                guard rest.count - 4 >= length else { return offset }
                offset += 4 + length
                transport.received(UnsafeRawBufferPointer(rebasing: rest[4..<(4 + length)]), from: server, on: self)
            }
        }
    }

    /// - Returns: the size of the initial message; nil while it is not complete.
    private func introduction(_ bytes: UnsafeRawBufferPointer) -> Int? {
        do throws(JuteError) {
            guard let (message, size) = try InitialMessage.parse(bytes) else { return nil }
            deadline?.cancel()
            deadline = nil
            if let server = transport.introduced(self, by: message) {
                state = .framing(server)
                transport.adopt(self, as: server)
            }
            return size
        } catch {
            transport.refuse(self, "no message that begins an election connection: \(error)")
            return bytes.count
        }
    }

    private func expect(within time: TimeAmount) {
        deadline?.cancel()
        guard let context else { return }
        deadline = context.eventLoop.assumeIsolated().scheduleTask(in: time) { [self] in
            transport.refuse(self, "what it began to say did not end in time")
        }
    }

    /// No word from this connection counts any more.
    func silence() {
        state = .closed
        close()
    }

    private func end() {
        guard let context else { return }
        _ = context
        self.context = nil
        deadline?.cancel()
        deadline = nil
        let server = server
        state = .closed
        transport.ended(self, server)
    }
}
