import AviaryCore
import ZooKeeperProtocol

/// A core with the client port's rules in front of it and a log behind it that is fast, or held back.
final class FuzzServer {
    /// One connection: bytes arrive in any pieces and leave as whole frames, as in `ClientHandler`.
    final class Connection {
        let id: ConnectionID
        fileprivate(set) var isClosed = false
        /// What came back in answer to the handshake.
        fileprivate(set) var session = SessionID.none
        fileprivate(set) var password: [UInt8] = []
        fileprivate(set) var replies = 0
        fileprivate(set) var lastReplyXid: Int32 = 0
        fileprivate var held = HeldBytes()
        fileprivate var isFirstFrame = true

        fileprivate init(_ id: ConnectionID) { self.id = id }
    }

    /// `jute.maxbuffer` as it is by default.
    static let maximumFrameBytes = 0xfffff
    /// More than this no frame may be answered with: `maxReplyBytes`, or one node's data, and what is around it.
    static let maximumAnswerBytes = 4 << 20

    let options: CoreOptions
    var core: ServerCore
    var output = Output()
    var now = Now(wallMilliseconds: 1_700_000_000_000, monotonicMicroseconds: 1_000_000)
    /// Payloads of all transactions.
    private(set) var log: [[UInt8]] = []
    var isDiskHeld = false
    private var lastLogged: Zxid?
    /// What an operator was told last.
    private var lastError = ""
    private var connections: [ConnectionID: Connection] = [:]

    init(_ configure: (inout CoreOptions) -> Void = { _ in }) {
        var options = FuzzServer.options
        configure(&options)
        self.options = options
        core = ServerCore(options: options, seed: 42, now: now)
        core.start(lastZxid: .zero, at: now, into: &output)
        carryOut()
    }

    /// Serves what a core already holds.
    init(_ core: consuming ServerCore, _ options: CoreOptions, lastZxid: Zxid) {
        self.options = options
        self.core = core
        self.core.start(lastZxid: lastZxid, at: now, into: &output)
        carryOut()
    }

    /// Small enough bounds that an input of some kilobytes reaches them.
    static var options: CoreOptions {
        var options = CoreOptions(passwordDigest: { bytes in Array(bytes.reversed()) })
        options.minSessionTimeoutMilliseconds = 4000
        options.maxSessionTimeoutMilliseconds = 40_000
        options.maxReplyBytes = 1 << 20
        options.maxWatchBytes = 64 << 10
        options.containerCheckIntervalMilliseconds = 1000
        options.containerMaxNeverUsedMilliseconds = 5000
        options.snapCount = 50
        // super:test
        options.superDigest = "super:dHNldDpyZXB1cw=="
        return options
    }

    // MARK: Connections

    func accept(_ address: String = "127.0.0.1") -> Connection {
        let connection = Connection(core.accept(PeerAddress(text: address, port: 1), at: now))
        connections[connection.id] = connection
        return connection
    }

    /// Opens a session, or goes on with one.
    func connect(
        session: SessionID = .none,
        password: [UInt8] = [UInt8](repeating: 0, count: 16),
        timeout: Int32 = 20_000
    ) -> Connection {
        let connection = accept()
        var writer = JuteWriter()
        writer.int32(0)
        writer.int64(0)
        writer.int32(timeout)
        writer.int64(session.rawValue)
        writer.buffer(password)
        writer.bool(false)
        send(writer.copy(), on: connection)
        return connection
    }

    func disconnect(_ connection: Connection) {
        guard connections.removeValue(forKey: connection.id) != nil else { return }
        connection.isClosed = true
        core.closed(connection.id, at: now, into: &output)
        carryOut()
    }

    /// Bytes from the socket.
    func receive(_ bytes: UnsafeRawBufferPointer, on connection: Connection) {
        guard !connection.isClosed else { return }
        connection.held.append(bytes)
        if connection.isFirstFrame, connection.held.count >= 4, takeWord(connection) { return }
        // From memory of its own, too.
        _ = [UInt8](connection.held.bytes).withUnsafeBytes { core.fetchAhead(frames: $0) }
        while !connection.isClosed, connection.held.count >= 4 {
            let head = connection.held.bytes
            let length = Int(Int32(bigEndian: head.loadUnaligned(as: Int32.self)))
            guard length >= 0, length <= FuzzServer.maximumFrameBytes else {
                _ = WrongProtocol(head.dropFirst(0)).explanation
                return disconnect(connection)
            }
            guard head.count - 4 >= length else { return }
            // A copy of its own, so that reading beyond its end is found.
            let frame = [UInt8](head[4..<4 + length])
            connection.held.removeFirst(4 + length)
            take(frame, connection)
        }
    }

    /// A four-letter word in place of the first frame: is answered, and ends the connection.
    ///
    /// - Returns: whether it was one, or may yet be.
    private func takeWord(_ connection: Connection) -> Bool {
        let bytes = connection.held.bytes
        guard let word = FourLetterWord(UInt32(bigEndian: bytes.loadUnaligned(as: UInt32.self))) else { return false }
        if word == .stmk, bytes.count < FourLetterWord.traceMaskBytes { return true }
        core.noteFourLetterWord(connection.id)
        let argument = [UInt8](bytes.dropFirst(4))
        argument.withUnsafeBytes { answer(word, argument: $0) }
        disconnect(connection)
        return true
    }

    func isOpen(_ id: ConnectionID) -> Bool { connections[id] != nil }

    /// One frame, without its length.
    func send(_ frame: [UInt8], on connection: Connection) {
        guard !connection.isClosed else { return }
        take(frame, connection)
    }

    private func take(_ frame: [UInt8], _ connection: Connection) {
        frame.withUnsafeBytes { bytes in
            if !connection.isFirstFrame { _ = core.isWrite(bytes) }
            connection.isFirstFrame = false
            core.receive(bytes, from: connection.id, at: now, into: &output)
            expect(
                output.clientBytes.count <= FuzzServer.maximumAnswerBytes,
                "\(output.clientBytes.count) bytes answered"
            )
        }
        core.overfull.removeAll()
        carryOut()
    }

    func request(
        _ operation: Operation,
        xid: Int32,
        on connection: Connection,
        _ body: (inout JuteWriter) -> Void = { _ in }
    ) {
        var writer = JuteWriter()
        writer.int32(xid)
        writer.int32(operation.rawValue)
        body(&writer)
        send(writer.copy(), on: connection)
    }

    // MARK: Turns

    func advance(milliseconds: Int64) {
        now.wallMilliseconds += milliseconds
        now.monotonicMicroseconds += milliseconds * 1000
        core.advance(to: now, into: &output)
        carryOut()
    }

    func releaseDisk() {
        isDiskHeld = false
        carryOut()
    }

    func carryOut() {
        repeat {
            var closing: [ConnectionID] = []
            for action in output.clients {
                switch action {
                case .send(let id, let range): output.clientBytes.withBytes(in: range) { deliver($0, to: id) }
                case .close(let id): closing.append(id)
                }
            }
            output.logBytes.withBytes { bytes in
                for record in output.log {
                    log.append([UInt8](bytes[record.range]))
                    expect(record.zxid > lastLogged ?? .zero, "zxids go back")
                    lastLogged = record.zxid
                }
            }
            for note in output.notes where note.level == .error { lastError = "\(note.message) \(note.metadata)" }
            output.reset()
            for id in closing {
                guard let connection = connections.removeValue(forKey: id) else { continue }
                connection.isClosed = true
                core.closed(id, at: now, into: &output)
            }
            if !isDiskHeld, let zxid = lastLogged, zxid > core.lastProcessedZxid {
                core.durable(upTo: zxid, at: now, into: &output)
            }
        } while !output.isEmpty
    }

    /// Replies are whole frames, whatever was asked.
    private func deliver(_ bytes: UnsafeRawBufferPointer, to id: ConnectionID) {
        guard let connection = connections[id] else { return }
        var rest = bytes
        while rest.count > 0 {
            expect(rest.count >= 4, "a part of a frame is sent")
            let length = Int(Int32(bigEndian: rest.loadUnaligned(as: Int32.self)))
            expect(length >= 16 && rest.count - 4 >= length, "a frame of \(length) bytes in \(rest.count - 4)")
            let frame = UnsafeRawBufferPointer(rebasing: rest[4..<4 + length])
            rest = UnsafeRawBufferPointer(rebasing: rest[(4 + length)...])
            connection.replies += 1
            if connection.replies == 1 {
                var reader = JuteReader(frame)
                reader.skip(8)
                connection.session = SessionID((try? reader.int64()) ?? 0)
                connection.password = ((try? reader.bytes()) ?? nil) ?? []
            } else {
                connection.lastReplyXid = Int32(bigEndian: frame.loadUnaligned(as: Int32.self))
            }
        }
    }

    // MARK: What holds in the end

    /// Lets all connections go: what a core then still holds of them, the leak detector finds.
    func close() {
        for id in connections.keys { core.closed(id, at: now, into: &output) }
        connections = [:]
    }

    /// Nothing waits, the tree is what was prepared, and a new client is served.
    func settle() {
        releaseDisk()
        expect(core.outstandingRequests == 0, "\(core.outstandingRequests) requests are never answered")
        expect(core.digestMismatchCount == 0, "the tree is not as it was prepared: \(lastError)")
        guard options.requiredAuthSchemes == nil else { return }
        let client = connect()
        expect(client.session != .none, "a new client gets no session")
        request(.ping, xid: -2, on: client)
        expect(client.lastReplyXid == -2, "a ping is not answered")
        request(.exists, xid: 1, on: client) {
            $0.string("/")
            // A configuration may leave no room for a single watch: then who asks for one is closed.
            $0.bool(min(options.maxWatchBytes, options.maxTotalWatchBytes) >= 64 << 10)
        }
        expect(client.lastReplyXid == 1 && !client.isClosed, "a read is not answered")
    }

    /// Another core gets to the same tree by the log.
    func replay() {
        var again = ServerCore(options: options, seed: 7, now: now)
        again.reset()
        again.restoreFreshTree()
        do {
            for payload in log {
                let txn = try payload.withUnsafeBytes { try Txn(payload: $0) }
                var writer = JuteWriter()
                txn.write(to: &writer)
                expect(writer.copy() == payload, "a transaction is not read as it was written")
                try again.replay(txn)
            }
            try again.finishReplay()
        } catch {
            expect(false, "what was logged cannot be replayed: \(error)")
        }
        expect(again.treeDigest == core.treeDigest, "the log leads to another tree")
        expect(again.nodeCount == core.nodeCount, "the log leads to \(again.nodeCount) nodes, not \(core.nodeCount)")
    }
}
