import AviaryCore
import ZooKeeperProtocol

/// Drives a core as a shell would, on a clock of its own and a disk that is fast, or held back.
final class CoreHarness {
    var core: ServerCore
    var output = Output()
    var now = Now(wallMilliseconds: 1_700_000_000_000, monotonicMicroseconds: 1_000_000)
    /// Frames sent to each connection and not yet looked at, without their lengths.
    var inbox: [ConnectionID: [[UInt8]]] = [:]
    var closed: Set<ConnectionID> = []
    /// What an operator was told.
    var notes: [CoreNote] = []
    /// Payloads in the log.
    var log: [[UInt8]] = []
    /// While true nothing becomes durable by itself.
    var isDiskHeld = false
    /// Whether what is left to be done at leisure is done at once.
    var clearsLeftovers = true
    private var lastLogged: Zxid?
    /// Of a member: where its turns end and time passes.
    weak var ensemble: Ensemble?

    init(_ configure: (inout CoreOptions) -> Void = { _ in }) {
        core = ServerCore(options: Self.options(configure), seed: 42, now: now)
        core.start(lastZxid: .zero, at: now, into: &output)
        carryOut()
    }

    /// A member of an ensemble, without a role yet.
    init(memberOf ensemble: Ensemble, id: Int64, _ configure: (inout CoreOptions) -> Void) {
        var options = Self.options(configure)
        options.serverID = id
        core = ServerCore(options: options, seed: UInt64(id), now: now, role: .looking)
        self.ensemble = ensemble
    }

    private static func options(_ configure: (inout CoreOptions) -> Void) -> CoreOptions {
        var options = CoreOptions(passwordDigest: { bytes in Array(bytes.reversed()) })
        options.tickTimeMilliseconds = 1000
        options.minSessionTimeoutMilliseconds = 2000
        options.maxSessionTimeoutMilliseconds = 20_000
        options.extendedTypes = true
        configure(&options)
        return options
    }

    /// Starts another core on what this one logged.
    func restarted() throws -> CoreHarness {
        let next = CoreHarness()
        next.core.reset()
        next.core.restoreFreshTree()
        for payload in log {
            try next.core.replay(try payload.withUnsafeBytes { try Txn(payload: $0) })
        }
        try next.core.finishReplay()
        next.now = now
        next.log = log
        next.core.start(lastZxid: core.lastProcessedZxid, at: now, into: &next.output)
        next.carryOut()
        return next
    }

    // MARK: Turns

    func carryOut() {
        if let ensemble { return ensemble.endTurn(of: self) }
        repeat {
            deliver()
            output.logBytes.withBytes { bytes in
                for record in output.log {
                    log.append([UInt8](bytes[record.range]))
                    lastLogged = record.zxid
                }
            }
            notes += output.notes
            output.reset()
            if !isDiskHeld, let zxid = lastLogged {
                lastLogged = nil
                core.durable(upTo: zxid, at: now, into: &output)
            }
        } while !output.isEmpty
        while clearsLeftovers, core.hasLeftovers { core.clearLeftovers() }
    }

    /// What clients are sent.
    func deliver() {
        output.clientBytes.withBytes { bytes in
            for action in output.clients {
                switch action {
                case .send(let id, let range): split(bytes[range], to: id)
                case .close(let id): closed.insert(id)
                }
            }
        }
    }

    private func split(_ bytes: Slice<UnsafeRawBufferPointer>, to id: ConnectionID) {
        var rest = bytes
        while rest.count >= 4 {
            let length = rest.prefix(4).reduce(0) { $0 << 8 | Int($1) }
            inbox[id, default: []].append([UInt8](rest.dropFirst(4).prefix(length)))
            rest = rest.dropFirst(4 + length)
        }
    }

    func releaseDisk() {
        isDiskHeld = false
        carryOut()
        guard let zxid = lastLogged else { return }
        lastLogged = nil
        core.durable(upTo: zxid, at: now, into: &output)
        carryOut()
    }

    func advance(milliseconds: Int64) {
        if let ensemble { return ensemble.advance(milliseconds: milliseconds) }
        now.wallMilliseconds += milliseconds
        now.monotonicMicroseconds += milliseconds * 1000
        core.advance(to: now, into: &output)
        carryOut()
    }

    func send(_ frame: [UInt8], on id: ConnectionID) {
        frame.withUnsafeBytes { core.receive($0, from: id, at: now, into: &output) }
        carryOut()
    }

    // MARK: A client

    /// Opens a session.
    func connect(
        timeout: Int32 = 10_000,
        session: Int64 = 0,
        password: [UInt8] = [UInt8](repeating: 0, count: 16),
        lastZxid: Int64 = 0,
        address: String = "127.0.0.1",
        readOnly: Bool = false
    ) -> Client {
        let id = core.accept(PeerAddress(text: address, port: 1), at: now)
        var writer = JuteWriter()
        writer.int32(0)
        writer.int64(lastZxid)
        writer.int32(timeout)
        writer.int64(session)
        writer.buffer(password)
        writer.bool(readOnly)
        send(writer.copy(), on: id)
        let client = Client(harness: self, id: id)
        client.readConnectResponse()
        return client
    }
}

/// One connection with what it was told.
final class Client {
    let harness: CoreHarness
    let id: ConnectionID
    private(set) var session: Int64 = 0
    private(set) var timeout: Int32 = 0
    private(set) var password: [UInt8] = []
    private(set) var isReadOnly = false
    private var xid: Int32 = 0
    /// Events in the order in which they came.
    var events: [Event] = []

    struct Event: Equatable {
        var kind: WatcherEvent.Kind
        var path: String
        var zxid: Int64 = 0
    }

    struct Reply {
        var xid: Int32
        var zxid: Int64
        var error: ErrorCode
        var body: [UInt8]

        func read<R>(_ body: (inout JuteReader) throws -> R) rethrows -> R {
            try self.body.withUnsafeBytes { bytes in
                var reader = JuteReader(bytes)
                return try body(&reader)
            }
        }

        /// The stat at the end of the body.
        var stat: Stat? {
            guard body.count >= Stat.encodedSize else { return nil }
            return body.suffix(Stat.encodedSize).withUnsafeBytes { bytes in
                var reader = JuteReader(bytes)
                return try? Stat(from: &reader)
            }
        }

        var string: String? { read { try? $0.string() } ?? nil }
    }

    init(harness: CoreHarness, id: ConnectionID) {
        self.harness = harness
        self.id = id
    }

    var isClosed: Bool { harness.closed.contains(id) }

    func readConnectResponse() {
        guard let frame = harness.inbox[id]?.first else { return }
        harness.inbox[id]?.removeFirst()
        frame.withUnsafeBytes { bytes in
            var reader = JuteReader(bytes)
            _ = try? reader.int32()
            timeout = (try? reader.int32()) ?? 0
            session = (try? reader.int64()) ?? 0
            password = ((try? reader.bytes()) ?? nil) ?? []
            isReadOnly = (try? reader.bool()) ?? false
        }
    }

    func disconnect() {
        harness.core.closed(id, at: harness.now, into: &harness.output)
        harness.carryOut()
    }

    /// Sends a request and does not look for its reply.
    func post(_ operation: Operation, xid explicit: Int32? = nil, _ write: (inout JuteWriter) -> Void = { _ in }) {
        xid += 1
        var writer = JuteWriter()
        writer.int32(explicit ?? xid)
        writer.int32(operation.rawValue)
        write(&writer)
        harness.send(writer.copy(), on: id)
    }

    /// Asks for a node that everybody may use, and does not look for the reply.
    func postCreate(_ path: String, _ data: String = "", flags: Int32 = 0) {
        post(.create) {
            $0.string(path)
            $0.string(data)
            ACL.write(ACL.open, to: &$0)
            $0.int32(flags)
        }
    }

    /// The next reply; events before it go to `events`.
    func next() -> Reply? {
        while let frame = harness.inbox[id]?.first {
            harness.inbox[id]?.removeFirst()
            let reply = frame.withUnsafeBytes { bytes -> Reply in
                var reader = JuteReader(bytes)
                return Reply(
                    xid: (try? reader.int32()) ?? 0,
                    zxid: (try? reader.int64()) ?? 0,
                    error: ErrorCode((try? reader.int32()) ?? 0),
                    body: [UInt8](reader.rest)
                )
            }
            guard reply.xid == -1 else { return reply }
            reply.read { reader in
                if let kind = WatcherEvent.Kind(rawValue: (try? reader.int32()) ?? 0) {
                    _ = try? reader.int32()
                    events.append(Event(kind: kind, path: ((try? reader.string()) ?? nil) ?? "", zxid: reply.zxid))
                }
            }
        }
        return nil
    }

    @discardableResult
    func call(_ operation: Operation, _ write: (inout JuteWriter) -> Void = { _ in }) -> Reply {
        post(operation, write)
        return next() ?? Reply(xid: 0, zxid: 0, error: ErrorCode(-4), body: [])
    }

    @discardableResult
    func create(
        _ path: String,
        _ data: String = "",
        flags: Int32 = 0,
        acl: [ACL] = ACL.open,
        as operation: Operation = .create,
        ttl: Int64? = nil
    ) -> Reply {
        call(operation) {
            $0.string(path)
            $0.string(data)
            ACL.write(acl, to: &$0)
            $0.int32(flags)
            if let ttl { $0.int64(ttl) }
        }
    }

    @discardableResult
    func set(_ path: String, _ data: String, version: Int32 = -1) -> Reply {
        call(.setData) {
            $0.string(path)
            $0.string(data)
            $0.int32(version)
        }
    }

    @discardableResult
    func delete(_ path: String, version: Int32 = -1) -> Reply {
        call(.delete) {
            $0.string(path)
            $0.int32(version)
        }
    }

    @discardableResult
    func read(_ operation: Operation, _ path: String, watch: Bool = false) -> Reply {
        call(operation) {
            $0.string(path)
            $0.bool(watch)
        }
    }

    func children(_ path: String) -> [String] {
        read(.getChildren, path).read { reader in
            let count = ((try? reader.vectorCount()) ?? nil) ?? 0
            return (0..<count).compactMap { _ in (try? reader.string()) ?? nil }
        }
    }
}
