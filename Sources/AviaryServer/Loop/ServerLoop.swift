internal import AviaryCore
internal import AviaryEnsemble
internal import AviaryStorage
internal import Logging
internal import NIOCore
internal import ZooKeeperProtocol

/// The one thread that owns clients and core, and carries out what the core wants done.
///
/// A turn is everything that was ready at once: frames of any number of connections, a report of the log thread, the
/// timer. It has one reading of the clock, one batch for the log thread, and one write per connection. Group commit and
/// batching of replies come from that and from nothing else.
///
/// `@unchecked Sendable`: every member but the constants is touched on `eventLoop` alone. Others reach it through
/// `eventLoop.execute`.
final class ServerLoop: @unchecked Sendable {
    let eventLoop: any EventLoop
    let threads: LoopThreads
    let logger: Logger
    let configuration: ServerConfiguration
    let limits: Limits
    let directories: Directories
    /// Bytes in the data and the log directory.
    let directorySizes: @Sendable () -> (data: Int64, log: Int64)

    @exclusivity(unchecked) var core: ServerCore
    /// What the current turn has collected.
    @exclusivity(unchecked) var output = Output()
    /// What is being carried out. Closing a channel calls back into the core at once, which must find an `output` that
    /// nobody is reading.
    @exclusivity(unchecked) private var outgoing = Output()
    @exclusivity(unchecked) private(set) var now: Now
    @exclusivity(unchecked) private var isTurnOpen = false
    @exclusivity(unchecked) private var isCarryingOut = false
    private var endTurnTask: @Sendable () -> Void = {}

    /// By slot of the connection's id.
    @exclusivity(unchecked) private(set) var handlers: [ClientHandler?] = []
    /// Have something to be flushed in this turn.
    @exclusivity(unchecked) private var touched: [ClientHandler] = []
    /// Wait until fewer requests are outstanding.
    @exclusivity(unchecked) private var throttled: [ClientHandler] = []
    /// Wait until their own requests are answered.
    @exclusivity(unchecked) private var busy: [ClientHandler] = []
    /// Go on reading at the end of this turn.
    @exclusivity(unchecked) private var resumed: [ClientHandler] = []
    /// Have been answered a lot, and wait until others were looked at. The longest first.
    @exclusivity(unchecked) private var yielded: [ClientHandler] = []
    @exclusivity(unchecked) private var isStepBooked = false
    /// Have large requests that are not answered yet.
    @exclusivity(unchecked) private var large: [ClientHandler] = []
    @exclusivity(unchecked) var largeBytes = 0
    @exclusivity(unchecked) private var buffers: [ByteBuffer] = []
    /// Bytes handed to clients' channels, altogether.
    @exclusivity(unchecked) private var bytesSent = 0
    /// Bytes that had come and gone when `limitClientMemory` looked last.
    @exclusivity(unchecked) private var bytesWhenLooked = 0

    @exclusivity(unchecked) private var timer: Scheduled<Void>?
    @exclusivity(unchecked) private var timerMicroseconds = Int64.max

    var admission: Admission
    @exclusivity(unchecked) var throttle: ConnectionThrottle
    @exclusivity(unchecked) var metrics = ShellMetrics()
    /// `stmk`; Apache's default. Nothing is traced by it here.
    var traceMask: Int64 = 0x132
    var clientPort = 0
    /// Where clients are let in.
    @exclusivity(unchecked) var clientPorts: ClientPorts?
    let startedMicroseconds: Int64
    /// Equal complaints about clients, for ten minutes.
    private var complaints = LogLimiter<Complaint>(interval: .seconds(600))

    @exclusivity(unchecked) var storage: StorageLink?
    /// Of a member of an ensemble.
    @exclusivity(unchecked) var ensemble: EnsembleLink?
    /// Told once when the disk has failed and this process must end.
    let fatal: @Sendable (StorageError) -> Void
    @exclusivity(unchecked) private(set) var isStopping = false
    private var whenQuiet: (@Sendable () -> Void)?

    init(
        eventLoop: any EventLoop,
        threads: LoopThreads,
        core: consuming ServerCore,
        configuration: ServerConfiguration,
        limits: Limits,
        directories: Directories,
        directorySizes: @escaping @Sendable () -> (data: Int64, log: Int64),
        logger: Logger,
        now: Now,
        fatal: @escaping @Sendable (StorageError) -> Void
    ) {
        self.eventLoop = eventLoop
        self.threads = threads
        self.fatal = fatal
        self.core = core
        self.configuration = configuration
        self.limits = limits
        self.directories = directories
        self.directorySizes = directorySizes
        self.logger = logger
        self.now = now
        startedMicroseconds = now.monotonicMicroseconds
        admission = Admission(
            maximumPerAddress: configuration.clients.maximumConnectionsPerAddress,
            maximumTotal: configuration.clients.maximumConnections,
            maximumDescriptors: limits.maximumConnections
        )
        throttle = ConnectionThrottle(
            configuration.connectionThrottle,
            nowMilliseconds: now.monotonicMilliseconds
        )
        endTurnTask = { [unowned self] in endTurn() }
    }

    /// The folders that data is in, as `conf` shows them.
    struct Directories: Sendable {
        var data: String
        var log: String
    }

    /// A client that was told off, so that it is not told again.
    private struct Complaint: Hashable {
        let kind: Kind
        let address: Peer.AddressKey?

        enum Kind: Hashable {
            case protocolGuess(WrongProtocol), frameLength, largeRequest, refusal(Admission.Refusal), throttled
            case stuck, memory
            case note(String)
        }
    }

    /// How long a client with too much unsent may take nothing of it.
    static let stuckMicroseconds: Int64 = 10_000_000
    /// How long a client that is being closed may take to read what it was sent last.
    static let lingerTime = TimeAmount.seconds(5)
    /// Replies that gather before they are sent in the middle of a turn: a few bytes of requests can ask for gigabytes.
    static let drainBytes = 1 << 20
    /// Bytes put together for clients before they are flushed: one event may go to very many.
    private static let flushBytes = 4 << 20
    /// How long after a turn the next client with much to be answered goes on, at least.
    private static let stepTime = TimeAmount.microseconds(10)

    // MARK: - Turns

    /// Opens a turn unless one is open: reads the clock and books the turn's end behind all that is ready now.
    @inline(__always)
    func beginTurn() {
        if !isTurnOpen { openTurn() }
    }

    private func openTurn() {
        isTurnOpen = true
        now = SystemClock.now()
        eventLoop.execute(endTurnTask)
    }

    private func endTurn() {
        if !large.isEmpty { releaseLargeRequests() }
        if !busy.isEmpty { resumeAnswered() }
        if !throttled.isEmpty, core.outstandingRequests < limits.outstandingRequests, !isLogBehind { resumeThrottled() }
        if !resumed.isEmpty { readOn() }
        carryOut()
        if isLookDue { limitClientMemory() }
        // Closing a connection may have given the core more to say, and a leader has more to apply than fits a turn.
        guard output.isEmpty, resumed.isEmpty, ensemble?.hasMore != true else {
            now = SystemClock.now()
            armTimer()
            return eventLoop.execute(endTurnTask)
        }
        isTurnOpen = false
        armTimer()
        if !yielded.isEmpty || core.hasLeftovers, !isStepBooked { bookStep() }
        if isStopping { checkQuiet() }
    }

    /// Hands one frame to the core.
    @inline(__always)
    func receive(_ frame: UnsafeRawBufferPointer, from handler: ClientHandler) {
        guard let id = handler.id else { return }
        if handler.isFirstFrame, !admitsSession(frame, handler) { return }
        core.receive(frame, from: id, at: now, into: &output)
        if output.clientBytes.count >= ServerLoop.drainBytes { carryOut() }
        if core.outstandingRequests >= limits.outstandingRequests { throttle(handler, id) }
        if !core.overfull.isEmpty { holdOverfull() }
    }

    /// Whether as many bytes wait for the disk as may: the space that is reserved for a full disk has to hold them.
    private var isLogBehind: Bool { unstoredBytes + output.logBytes.count >= limits.unstoredBytes }

    /// Bytes of transactions handed over to the disk and not reported durable.
    var unstoredBytes: Int { ensemble?.member.unstoredBytes ?? storage?.unstoredBytes ?? 0 }

    /// Whether a frame may be handed to the core now. A write that the log has no room for waits with its connection;
    /// reads of other connections go on.
    @inline(__always)
    func mayTake(_ frame: UnsafeRawBufferPointer, from handler: ClientHandler) -> Bool {
        guard isLogBehind, core.isWrite(frame) else { return true }
        metrics.throttleWaits += 1
        handler.pause(.outstanding)
        throttled.append(handler)
        return false
    }

    /// Does everything in `output`: the log first, then clients. Nothing depends on that order; it only starts the disk
    /// a little earlier.
    func carryOut() {
        guard !isCarryingOut else { return }
        if let ensemble { settle(ensemble) }
        guard !output.isEmpty else { return }
        isCarryingOut = true
        swap(&output, &outgoing)
        if ensemble != nil {
            if outgoing.isSnapshotDue, ensemble?.member.isServing == true { beginSnapshot() }
        } else if !outgoing.log.isEmpty || outgoing.isSnapshotDue {
            submitLog()
        }
        var gathered = 0
        for index in outgoing.clients.indices {
            switch outgoing.clients[index] {
            case .send(let id, let range):
                guard let handler = handler(of: id) else { continue }
                if outgoing.clientBytes.withBytes(in: range, { handler.append($0) }) { touched.append(handler) }
                gathered += range.count
                if gathered > ServerLoop.flushBytes {
                    bytesSent += gathered
                    gathered = 0
                    flushTouched()
                    if isLookDue { limitClientMemory() }
                }
            case .close(let id):
                guard let handler = handler(of: id) else { continue }
                if handler.closeAfterFlush() { touched.append(handler) }
            }
        }
        bytesSent += gathered
        flushTouched()
        for note in outgoing.notes { log(note) }
        outgoing.reset()
        isCarryingOut = false
    }

    private func flushTouched() {
        for handler in touched { handler.flush() }
        touched.removeAll(keepingCapacity: true)
    }

    private func submitLog() {
        guard let storage else { return }
        let batch = storage.takeBatch()
        swap(&batch.bytes, &outgoing.logBytes)
        swap(&batch.records, &outgoing.log)
        storage.unstoredBytes += batch.storedBytes
        batch.rollsAfter = outgoing.isSnapshotDue
        batch.submittedMicroseconds = now.monotonicMicroseconds
        storage.log.submit(.append(batch))
        if outgoing.isSnapshotDue { beginSnapshot() }
    }

    private func armTimer() {
        let deadline = min(core.nextDeadlineMicroseconds, ensemble?.member.nextDeadlineMicroseconds ?? .max)
        guard deadline < timerMicroseconds else { return }
        timer?.cancel()
        timerMicroseconds = deadline
        let delay = TimeAmount.microseconds(max(deadline - now.monotonicMicroseconds, 0) + 1)
        timer = eventLoop.scheduleTask(in: delay) { [unowned self] in timerFired() }
    }

    private func timerFired() {
        timer = nil
        timerMicroseconds = .max
        beginTurn()
        core.advance(to: now, into: &output)
        ensemble?.member.advance(&core, to: now, into: &output)
    }

    private func log(_ note: CoreNote) {
        let level: Logger.Level =
            switch note.level {
            case .debug: .debug
            case .info: .info
            case .warning: .warning
            case .error: .error
            }
        guard level >= logger.logLevel else { return }
        if note.isLimited {
            // By what it is about: the first thing that it names.
            let about = note.message + (note.metadata.first?.value ?? "")
            let complaint = Complaint(kind: .note(about), address: nil)
            guard complaints.allows(complaint, at: now.monotonicMicroseconds) else { return }
        }
        var metadata: Logger.Metadata = [:]
        for (key, value) in note.metadata { metadata[key] = .string(value) }
        logger.log(level: level, "\(note.message)", metadata: metadata)
    }

    // MARK: - Connections

    /// The handler of a connection, unless it is gone.
    @inline(__always)
    func handler(of id: ConnectionID) -> ClientHandler? {
        let slot = Int(id.slot)
        guard slot < handlers.count, let handler = handlers[slot], handler.id == id else { return nil }
        return handler
    }

    /// Whether a connection may come in; it is closed without a byte otherwise.
    func admit(_ peer: Peer) -> Bool {
        guard !isStopping, ensemble?.takesClients != false else { return false }
        guard let refusal = admission.admit(peer.key) else { return true }
        beginTurn()
        metrics.connectionsRejected += 1
        let remedy =
            switch refusal {
            case .tooManyFromAddress: "too many connections from one address; maxClientCnxns is the limit"
            case .tooManyInTotal: "too many connections; maxCnxns is the limit"
            case .tooManyDescriptors: "out of file descriptors for connections; raise the limit (ulimit -n)"
            }
        complain(.refusal(refusal), refusal == .tooManyFromAddress ? peer : nil, "refusing a connection: \(remedy)")
        return false
    }

    func connected(_ handler: ClientHandler) {
        beginTurn()
        let id = core.accept(handler.peer.address, at: now)
        let slot = Int(id.slot)
        while handlers.count <= slot { handlers.append(nil) }
        handlers[slot] = handler
        handler.attach(id)
    }

    func disconnected(_ handler: ClientHandler) {
        beginTurn()
        admission.release(handler.peer.key)
        guard let id = handler.id else { return }
        handlers[Int(id.slot)] = nil
        core.closed(id, at: now, into: &output)
    }

    /// The client goes on reading what it holds, and from its socket, when the turn ends.
    func resumeLater(_ handler: ClientHandler) {
        beginTurn()
        resumed.append(handler)
    }

    private func readOn() {
        let handlers = resumed
        resumed.removeAll(keepingCapacity: true)
        for handler in handlers { handler.goOn() }
    }

    /// The client has been answered a lot in this turn and has asked for more: it goes on when the sockets of the others
    /// have been looked at.
    func yieldTurn(_ handler: ClientHandler) {
        yielded.append(handler)
    }

    /// The next of those that wait for their turn, and of what is left to be done at leisure. Through `execute`, or booked earlier than at the end of a turn, it
    /// would come before the loop has looked at its sockets.
    private func bookStep() {
        isStepBooked = true
        eventLoop.scheduleTask(in: ServerLoop.stepTime) { [unowned self] in
            isStepBooked = false
            beginTurn()
            if core.hasLeftovers { core.clearLeftovers() }
            if !yielded.isEmpty { yielded.removeFirst().resume(.turn) }
        }
    }

    /// Too much is in flight: this connection waits if it has a part in that (`globalOutstandingLimit`), or in any case
    /// (`request_throttle_max_requests`).
    private func throttle(_ handler: ClientHandler, _ id: ConnectionID) {
        let outstanding = core.outstandingRequests
        let exceeds = outstanding > configuration.limits.outstandingRequests && core.isOutstanding(id)
        if exceeds || outstanding >= configuration.requestThrottle.maximumRequests ?? .max {
            metrics.throttleWaits += 1
            handler.pause(.outstanding)
            throttled.append(handler)
        }
    }

    /// The connection has sent a lot; whether all of it is answered was not looked at until now.
    func checkUnanswered(_ handler: ClientHandler) {
        guard let id = handler.id else { return }
        guard core.isOutstanding(id) else {
            handler.unansweredBytes = 0
            return
        }
        handler.pause(.unanswered)
        busy.append(handler)
    }

    /// What is waiting already will fill a client's buffer.
    private func holdOverfull() {
        for id in core.overfull {
            guard let handler = handler(of: id), core.isOutstanding(id), !handler.isPaused(.unanswered) else {
                continue
            }
            handler.pause(.unanswered)
            busy.append(handler)
        }
        core.overfull.removeAll(keepingCapacity: true)
    }

    private func resumeAnswered() {
        busy.removeAll { handler in
            if let id = handler.id, core.isOutstanding(id) { return false }
            handler.unansweredBytes = 0
            handler.resume(.unanswered)
            return true
        }
    }

    private func resumeThrottled() {
        let handlers = throttled
        throttled.removeAll(keepingCapacity: true)
        for handler in handlers { handler.resume(.outstanding) }
    }

    /// A buffer for what one client is sent in this turn; its memory is reused once the socket has taken it.
    func takeBuffer(capacity: Int) -> ByteBuffer {
        guard var buffer = buffers.popLast() else { return ByteBufferAllocator().buffer(capacity: max(capacity, 512)) }
        // Copies nothing: it takes new memory if the channel still holds the old.
        buffer.clear(minimumCapacity: max(capacity, 512))
        return buffer
    }

    func giveBack(_ buffer: ByteBuffer) {
        if buffers.count < 32, buffer.capacity <= 1 << 16 { buffers.append(buffer) }
    }

    // MARK: - Refusals

    /// The token bucket looks at a ConnectRequest before the core does.
    private func admitsSession(_ frame: UnsafeRawBufferPointer, _ handler: ClientHandler) -> Bool {
        guard throttle.isOn else { return true }
        // protocolVersion, lastZxidSeen and timeOut come before the session's id.
        let renews = frame.count >= 24 && frame.loadUnaligned(fromByteOffset: 16, as: Int64.self) != 0
        let isAdmitted = throttle.admits(
            renewsSession: renews,
            nowMilliseconds: now.monotonicMilliseconds,
            chance: .random(in: 0..<1)
        )
        metrics.tokenDeficit.add(Int64(throttle.deficit))
        guard !isAdmitted else { return true }
        metrics.connectionsRejected += 1
        complain(
            .throttled,
            nil,
            "closing new connections: more sessions are asked for than connection_throttle allows"
        )
        handler.abort()
        return false
    }

    /// A length that no frame may have.
    func refused(_ handler: ClientHandler, length: Int, guess: WrongProtocol?) {
        metrics.connectionsDropped += 1
        if let guess {
            complain(.protocolGuess(guess), handler.peer, "closing a connection: \(guess.explanation)")
        } else {
            let limit = "jute.maxbuffer \(limits.maximumFrameBytes)"
            let text = length < 0 ? "negative" : "\(length), above \(limit)"
            complain(.frameLength, handler.peer, "closing a connection: frame length is \(text)")
        }
    }

    func refusedLargeRequest(_ handler: ClientHandler, length: Int) {
        metrics.largeRequestsRejected += 1
        metrics.connectionsDropped += 1
        complain(
            .largeRequest,
            handler.peer,
            "closing a connection: with its request of \(length) bytes largeRequestMaxBytes would be exceeded"
        )
    }

    func refusedStuck(_ handler: ClientHandler, unsentBytes: Int) {
        metrics.connectionsDropped += 1
        complain(
            .stuck,
            handler.peer,
            "closing a client that does not read what it is sent: \(unsentBytes) bytes wait for it"
        )
    }

    // MARK: - Memory

    /// Whether enough has come and gone since the last look for the memory of clients to have grown noticeably.
    private var isLookDue: Bool {
        let moved = bytesSent &+ metrics.bytesReceived &- bytesWhenLooked
        return moved >= limits.maximumClientBytes >> 3 || moved < 0
    }

    /// Keeps what is held for all clients together within its bound: above it clients are closed (`HeldShare.victims`).
    private func limitClientMemory() {
        bytesWhenLooked = bytesSent &+ metrics.bytesReceived
        var holders: [ClientHandler] = []
        var shares: [HeldShare] = []
        for case let handler? in handlers {
            let share = handler.look()
            guard share.bytes > 0 else { continue }
            holders.append(handler)
            shares.append(share)
        }
        for index in HeldShare.victims(of: shares, bound: limits.maximumClientBytes) {
            metrics.connectionsDropped += 1
            let bound = "aviary.maxClientBytes \(limits.maximumClientBytes)"
            complain(
                .memory,
                holders[index].peer,
                "closing a client for which \(shares[index].bytes) bytes are held: all clients together are above \(bound)"
            )
            holders[index].abort()
        }
    }

    private func complain(_ kind: Complaint.Kind, _ peer: Peer?, _ text: String) {
        guard complaints.allows(Complaint(kind: kind, address: peer?.key), at: now.monotonicMicroseconds) else {
            return
        }
        logger.warning("\(text)", metadata: peer.map { ["peer": "\($0)"] } ?? [:])
    }

    // MARK: - Large requests

    func watchLargeRequests(of handler: ClientHandler) {
        if !large.contains(where: { $0 === handler }) { large.append(handler) }
    }

    private func releaseLargeRequests() {
        large.removeAll { handler in
            if let id = handler.id, core.isOutstanding(id) { return false }
            handler.releaseLargeRequests()
            return handler.largeBytes == 0
        }
    }

    // MARK: - Beginning and ending

    /// The core may serve: its clients can come.
    ///
    /// - Parameter takesSnapshot: what was replayed shall not be replayed again at the next start.
    func beginService(lastZxid: Zxid, takesSnapshot: Bool) {
        beginTurn()
        core.start(lastZxid: lastZxid, at: now, into: &output)
        if takesSnapshot { beginSnapshot() }
    }

    /// From here on the end is on purpose: ports that close are not opened again.
    func beginStopping() {
        isStopping = true
    }

    /// Reads nothing more, and calls back once everything that was accepted is answered, or patience ends.
    func stopReading(patience: TimeAmount, whenQuiet: @escaping @Sendable () -> Void) {
        beginTurn()
        self.whenQuiet = whenQuiet
        for handler in handlers { handler?.pause(.stopping) }
        eventLoop.scheduleTask(in: patience) { [self] in becomeQuiet() }
    }

    private func checkQuiet() {
        // What a dead log has not stored will never be answered.
        if core.outstandingRequests == 0 || storage?.hasLogEnded == true { becomeQuiet() }
    }

    func becomeQuiet() {
        guard let whenQuiet else { return }
        self.whenQuiet = nil
        whenQuiet()
    }

    /// Lets all clients go, each after what it was sent last, and calls back when they are gone.
    func closeConnections(patience: TimeAmount, whenClosed: @escaping @Sendable () -> Void) {
        timer?.cancel()
        for handler in handlers {
            if let handler, handler.closeAfterFlush() { handler.flush() }
        }
        guard handlers.contains(where: { $0 != nil }) else { return whenClosed() }
        eventLoop.scheduleTask(in: .milliseconds(10)) { [self] in
            if patience.nanoseconds <= 0 { handlers.forEach { $0?.abort() } }
            closeConnections(patience: patience - .milliseconds(10), whenClosed: whenClosed)
        }
    }
}
