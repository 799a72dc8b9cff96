internal import AviaryCore
internal import Logging
internal import NIOCore
internal import ZooKeeperProtocol

/// One client's connection: the only handler of its channel.
///
/// Frames are parsed where they were read and handed to the core as views; replies leave in one write and one flush a
/// turn. A pipeline of small handlers would cost some twenty times as much (docs/design/performance-notes.md).
///
/// The bounds are here, too: a frame is refused by its length field alone, and a connection whose client does not read,
/// or that has asked for more than the server can have in flight, is not read from.
final class ClientHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// Why a connection is not read from for the time being.
    struct Pauses: OptionSet {
        let rawValue: UInt8

        /// The client does not take what was sent to it.
        static let unsent = Pauses(rawValue: 1)
        /// Too many requests are waiting in the whole server.
        static let outstanding = Pauses(rawValue: 2)
        /// The server is stopping.
        static let stopping = Pauses(rawValue: 4)
        /// The requests of this connection that are not answered yet take too much memory.
        static let unanswered = Pauses(rawValue: 8)
        /// It has been answered a lot in this turn: others come first.
        static let turn = Pauses(rawValue: 16)
    }

    private enum State {
        /// The first four bytes decide: a frame's length or a four letter word.
        case firstWord
        case frames
        /// `stmk` was read; its eight bytes have not all come.
        case traceMask
        /// Nothing is read any more; what was sent goes out first.
        case closing
        case closed
    }

    let loop: ServerLoop
    let peer: Peer
    /// Set while the core knows this connection.
    @exclusivity(unchecked) private(set) var id: ConnectionID?

    @exclusivity(unchecked) private var context: ChannelHandlerContext?
    @exclusivity(unchecked) private var socket: ClientSocket?
    /// The channel has something to write that the system did not take at once, or had.
    @exclusivity(unchecked) private var isChannelWriting = false
    @exclusivity(unchecked) private var state = State.firstWord
    @exclusivity(unchecked) private var pauses: Pauses = []
    @exclusivity(unchecked) private var held = HeldBytes()
    /// What this turn sends; nil when nothing.
    @exclusivity(unchecked) private var pending: ByteBuffer?
    @exclusivity(unchecked) private var closesAfterFlush = false
    /// The least that was unsent since it became too much, and since when.
    private var leastUnsent = Int.max
    private var stuckSince: Int64 = 0
    /// Bytes that were handed to the channel, altogether.
    @exclusivity(unchecked) private var writtenBytes = 0
    /// How it stood when the loop looked last at what is held for its clients.
    private var lastLook = (taken: -1, held: 0)
    /// The last look at which the client had done something about it, or had nothing to do.
    private var idleSince: Int64 = 0
    private var isAdmitted = true
    /// Bytes of requests since the last time that none was waiting, at most.
    @exclusivity(unchecked) var unansweredBytes = 0
    /// Whether the client has yet to speak the protocol.
    @exclusivity(unchecked) private(set) var isFirstFrame = true
    /// Its session is being created: what it asks for behind that is not looked at yet.
    @exclusivity(unchecked) private var awaitsSession = false
    /// Bytes of large requests that are being received or answered (`largeRequestMaxBytes`).
    @exclusivity(unchecked) private(set) var largeBytes = 0
    /// The frame that is still arriving is counted in `largeBytes`.
    @exclusivity(unchecked) private var isLargeFrameCounted = false

    init(loop: ServerLoop, peer: Peer) {
        self.loop = loop
        self.peer = peer
    }

    // MARK: - The channel

    func channelActive(context: ChannelHandlerContext) {
        self.context = context
        socket = ClientSocket(context)
        loop.connected(self)
    }

    func channelInactive(context: ChannelHandlerContext) {
        end()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        // A connection that failed before it became active is counted at the door all the same.
        end()
        held.removeAll()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let buffer = Self.unwrapInboundIn(data)
        loop.beginTurn()
        loop.metrics.bytesReceived += buffer.readableBytes
        buffer.withUnsafeReadableBytes { take($0) }
    }

    /// The client sends no more. Who asked for a four letter word (`echo mntr | nc`) still gets the whole answer.
    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard case ChannelEvent.inputClosed? = event as? ChannelEvent else {
            return context.fireUserInboundEventTriggered(event)
        }
        if !closesAfterFlush { abort() }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { resume(.unsent) } else { pause(.unsent) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        loop.logger.debug("connection failed", metadata: ["peer": "\(peer)", "reason": "\(error)"])
        abort()
    }

    // MARK: - What the core has for this client

    func attach(_ id: ConnectionID) {
        self.id = id
    }

    /// - Returns: whether these are the first bytes of the turn, so that a flush has to follow.
    @inline(__always)
    func append(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard state != .closed else { return false }
        guard pending == nil else {
            pending?.writeBytes(bytes)
            return false
        }
        var buffer = loop.takeBuffer(capacity: bytes.count)
        buffer.writeBytes(bytes)
        pending = buffer
        return !closesAfterFlush
    }

    /// - Returns: whether a flush has to follow.
    func closeAfterFlush() -> Bool {
        guard state != .closed, !closesAfterFlush else { return false }
        state = .closing
        closesAfterFlush = true
        return pending == nil
    }

    /// One write and one flush of everything that the turn has for this client.
    func flush() {
        guard let context, state != .closed else {
            pending = nil
            return
        }
        guard var buffer = pending else {
            if closesAfterFlush { close(context) }
            return
        }
        pending = nil
        if pauses.contains(.unsent), isStuck() { return abort() }
        writtenBytes += buffer.readableBytes
        if !sendAtOnce(&buffer) { context.writeAndFlush(Self.wrapOutboundOut(buffer), promise: nil) }
        loop.giveBack(buffer)
        if closesAfterFlush { close(context) }
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

    private func close(_ context: ChannelHandlerContext) {
        guard state != .closed else { return }
        guard unsentBytes > 0 else { return context.close(promise: nil) }
        readNothing(context)
        // The peer is slow: closing now would throw away what it was told last. Not for ever, though.
        let sent = context.eventLoop.makePromise(of: Void.self)
        context.writeAndFlush(Self.wrapOutboundOut(ByteBuffer()), promise: sent)
        sent.futureResult.assumeIsolated().whenComplete { [self] _ in abort() }
        context.eventLoop.assumeIsolated().scheduleTask(in: ServerLoop.lingerTime) { [self] in abort() }
    }

    /// Closes at once.
    func abort() {
        guard let context, state != .closed else { return }
        state = .closing
        context.close(promise: nil)
    }

    /// Whether this client takes nothing of what it is sent. What comes on top while it is not read from is
    /// notifications, and those go with it.
    private func isStuck() -> Bool {
        let unsent = unsentBytes
        guard unsent > loop.limits.maximumUnsentBytes else {
            leastUnsent = .max
            return false
        }
        let now = loop.now.monotonicMicroseconds
        if unsent < leastUnsent {
            // It reads, if slowly: one answer alone may be larger than the bound.
            leastUnsent = unsent
            stuckSince = now
        }
        let isPatient = now - stuckSince < ServerLoop.stuckMicroseconds
        if isPatient, unsent < 4 * loop.limits.maximumUnsentBytes { return false }
        loop.refusedStuck(self, unsentBytes: unsent)
        return true
    }

    /// What is held for this client. As often as the loop asks, it is compared with how it stood the last time.
    func look() -> HeldShare {
        let unsent = unsentBytes
        let look = (taken: writtenBytes - unsent, held: held.count)
        // What is held while reading pauses is whole, or waits behind what is: the server has to act.
        let isItsTurn = unsent > 0 || held.count > 0 && pauses.isEmpty
        if look != lastLook || !isItsTurn { idleSince = loop.now.monotonicMicroseconds }
        lastLook = look
        return HeldShare(
            bytes: unsent + (pending?.readableBytes ?? 0) + held.capacity
                + (id.map { loop.core.waitingBytes(of: $0) } ?? 0),
            idleMicroseconds: loop.now.monotonicMicroseconds - idleSince
        )
    }

    /// Bytes that wait in this process because the socket takes no more.
    var unsentBytes: Int {
        guard let context, state != .closed else { return 0 }
        return (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
    }

    /// As Apache's `stat` shows it: 1 while reading, 4 while something waits to be written.
    var interest: Int {
        (state == .closing || state == .traceMask || !pauses.isEmpty ? 0 : 1) | (unsentBytes > 0 ? 4 : 0)
    }

    // MARK: - Pausing

    func pause(_ reason: Pauses) {
        guard let context, state != .closed else { return }
        if pauses.isEmpty { readNothing(context) }
        pauses.insert(reason)
    }

    func isPaused(_ reason: Pauses) -> Bool { pauses.contains(reason) }

    /// Reading goes on at the end of the turn, never in the middle of a call from the channel.
    func resume(_ reason: Pauses) {
        guard pauses.contains(reason) else { return }
        pauses.remove(reason)
        if pauses.isEmpty { loop.resumeLater(self) }
    }

    /// Takes up what is held, then reads on unless that paused it again.
    func goOn() {
        guard pauses.isEmpty, state != .closing, state != .closed, let context else { return }
        let used = parse(held.bytes)
        held.removeFirst(used)
        guard pauses.isEmpty, state != .closing, state != .closed else { return }
        try? context.channel.syncOptions?.setOption(.autoRead, value: true)
    }

    private func readNothing(_ context: ChannelHandlerContext) {
        try? context.channel.syncOptions?.setOption(.autoRead, value: false)
    }

    private func end() {
        guard isAdmitted else { return }
        isAdmitted = false
        state = .closed
        pending = nil
        pauses = []
        context = nil
        countLarge(-largeBytes)
        loop.disconnected(self)
        id = nil
    }

    // MARK: - Frames

    private func take(_ bytes: UnsafeRawBufferPointer) {
        guard state != .closing, state != .closed else { return }
        var rest = bytes
        if pauses.isEmpty {
            if held.count > 0 { rest = completeHeld(with: rest) }
            if held.count == 0 {
                let used = parse(rest)
                rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(used))
            }
        }
        guard !rest.isEmpty, state != .closing, state != .closed else { return }
        // More than this can only come from a peer that has stopped sending: the channel then reads to the end.
        guard held.count + rest.count <= loop.limits.maximumFrameBytes + (1 << 20) else { return abort() }
        held.append(rest)
    }

    /// Adds to the frame that has begun, and hands it over when it is whole.
    ///
    /// - Returns: what is left; nothing is held then, unless reading paused or the connection is closing.
    private func completeHeld(with bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        var rest = bytes
        while held.count > 0 {
            let wanted = held.count < 4 ? 4 : wantedBytes
            if held.count < wanted {
                let part = UnsafeRawBufferPointer(rebasing: rest.prefix(wanted - held.count))
                held.append(part, expected: wanted)
                rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(part.count))
                guard held.count == wanted else { return rest }
            }
            let used = parse(held.bytes)
            if used > 0 { held.removeFirst(used) }
            guard pauses.isEmpty, state != .closing, state != .closed else { return rest }
        }
        return rest
    }

    /// How many bytes `held` has to have until the next step, given that it has four.
    private var wantedBytes: Int {
        state == .traceMask ? FourLetterWord.traceMaskBytes : 4 + Int(max(ClientHandler.word(held.bytes, at: 0), 0))
    }

    /// Hands all whole frames to the core.
    ///
    /// - Returns: how many bytes were used. The rest is an incomplete frame, or reading has paused, or ended.
    private func parse(_ bytes: UnsafeRawBufferPointer) -> Int {
        var offset = 0
        let maximum = loop.limits.maximumFrameBytes
        guard !awaitsSession || hasSession() else { return 0 }
        var turnStart = loop.output.clientBytes.count
        // Frames that the core has looked ahead at.
        var fetched = 0
        while pauses.isEmpty, bytes.count - offset >= 4 {
            if state != .frames {
                guard state == .firstWord || state == .traceMask, takeFirstWord(bytes) else { break }
            }
            let length = Int(ClientHandler.word(bytes, at: offset))
            guard length >= 0, length <= maximum else {
                refuse(length: length, bytes, offset)
                break
            }
            if length >= loop.limits.largeRequestBytes, !countLargeFrame(length) { break }
            guard bytes.count - offset - 4 >= length else { break }
            let frame = UnsafeRawBufferPointer(rebasing: bytes[(offset + 4)..<(offset + 4 + length)])
            guard isFirstFrame || loop.mayTake(frame, from: self) else { break }
            isLargeFrameCounted = false
            if fetched == 0, bytes.count - offset > 4 + length {
                fetched = loop.core.fetchAhead(frames: UnsafeRawBufferPointer(rebasing: bytes[offset...]))
            }
            fetched = max(fetched - 1, 0)
            offset += 4 + length
            loop.receive(frame, from: self)
            if isFirstFrame {
                isFirstFrame = false
                awaitsSession = true
                guard offset == bytes.count || hasSession() else { break }
            }
            unansweredBytes += length
            if unansweredBytes > loop.limits.maximumUnansweredBytes { loop.checkUnanswered(self) }
            guard state == .frames else { break }
            let answered = loop.output.clientBytes.count
            // Answers that gathered were sent in between.
            if answered < turnStart { turnStart = 0 }
            if answered - turnStart > loop.limits.turnReplyBytes, offset < bytes.count {
                pause(.turn)
                loop.yieldTurn(self)
            }
        }
        return offset
    }

    /// Whether the session exists, or nobody waits for it. If not, reading pauses until then: the core would keep all that
    /// comes, and have to answer it at once.
    private func hasSession() -> Bool {
        loop.checkUnanswered(self)
        guard pauses.isEmpty else { return false }
        awaitsSession = false
        return true
    }

    @inline(__always)
    private static func word(_ bytes: UnsafeRawBufferPointer, at offset: Int) -> Int32 {
        Int32(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Int32.self))
    }

    /// - Returns: whether what follows are frames.
    private func takeFirstWord(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let word = FourLetterWord(UInt32(bitPattern: ClientHandler.word(bytes, at: 0))) else {
            state = .frames
            return true
        }
        guard let id else { return false }
        if word == .stmk, bytes.count < FourLetterWord.traceMaskBytes, loop.allows(word) {
            state = .traceMask
            return false
        }
        loop.core.noteFourLetterWord(id)
        loop.logger.debug("four letter word", metadata: ["peer": "\(peer)", "word": "\(word.rawValue)"])
        state = .closing
        // At once: a peer that has shut down its side already would be gone by the end of the turn.
        let answer = loop.answer(word, argument: UnsafeRawBufferPointer(rebasing: bytes.dropFirst(4)))
        _ = answer.withUnsafeBytes { append($0) }
        closesAfterFlush = true
        flush()
        return false
    }

    private func refuse(length: Int, _ bytes: UnsafeRawBufferPointer, _ offset: Int) {
        loop.refused(self, length: length, guess: !isFirstFrame ? nil : WrongProtocol(bytes.dropFirst(offset)))
        abort()
    }

    // MARK: - Large requests

    /// - Returns: false when it is one too many; the connection is being closed then.
    private func countLargeFrame(_ length: Int) -> Bool {
        guard !isLargeFrameCounted else { return true }
        guard loop.largeBytes + length <= loop.limits.largeRequestTotalBytes else {
            loop.refusedLargeRequest(self, length: length)
            abort()
            return false
        }
        isLargeFrameCounted = true
        countLarge(length)
        loop.watchLargeRequests(of: self)
        return true
    }

    /// All requests of this connection are answered, and none is arriving.
    func releaseLargeRequests() {
        guard !isLargeFrameCounted else { return }
        countLarge(-largeBytes)
    }

    private func countLarge(_ bytes: Int) {
        largeBytes += bytes
        loop.largeBytes += bytes
    }
}
