package import ZooKeeperProtocol

/// A client of an ensemble, as the usual libraries behave (docs/protocol/client-protocol.md section 21): it tries one server
/// after the other, takes its session with it, arms its watches again, and asks for nothing twice.
///
/// What it does and hears goes into the history; what it is told is judged afterwards. Only nonsense is judged at once.
package final class EnsembleClient {
    package enum Phase: Equatable {
        /// Until then it does nothing.
        case idle(until: Int64)
        case connecting(LinkKey, since: Int64)
        case greeting(LinkKey, since: Int64)
        case attached(LinkKey)
    }

    package struct Settings: Sendable {
        package var timeoutMilliseconds: Int32 = 4000
        /// Microseconds between two turns of asking, at most.
        package var pause: Int64 = 100_000
        /// Requests that may wait for their replies.
        package var pipeline = 8
        /// Requests that a session asks for before it is closed; 0 is never.
        package var requestsPerSession = 0

        package init() {}
    }

    private struct Outstanding {
        var xid: Int32
        var index: Int
        var request: Request
    }

    package let number: Int
    package let host: Host
    package private(set) var phase = Phase.idle(until: 0)
    package private(set) var session = SessionID.none
    package private(set) var lastZxidSeen = Zxid.zero
    package private(set) var attachedServer: Host?
    /// No more than what is being said: asks for nothing by itself.
    package var isQuiet = false
    /// Writes that it was told to be done, since the run began: of a multi all of its parts, and no end of a session.
    package private(set) var acknowledgedWrites = 0

    private let network: SimulatedNetwork
    private let recorder: HistoryRecorder
    private let settings: Settings
    private var workload: EnsembleWorkload
    private var random: SeededGenerator
    private var servers: [Host]
    private var nextServer = 0
    private var password = [UInt8](repeating: 0, count: 16)
    private var timeoutMilliseconds: Int32 = 0
    private var connections = 0
    private var xid: Int32 = 0
    private var outstanding: [Outstanding] = []
    private var incoming: [UInt8] = []
    private var lastSent: Int64 = 0
    private var lastHeard: Int64 = 0
    private var nextTurn: Int64 = 0
    private var requestsOfSession = 0
    private var isClosing = false
    private var watches = ClientWatches()
    /// To be asked for before anything else.
    private var urgent: [Request] = []

    package init(
        number: Int,
        host: Host,
        servers: [Host],
        network: SimulatedNetwork,
        recorder: HistoryRecorder,
        settings: Settings,
        workload: EnsembleWorkload,
        random: SeededGenerator
    ) {
        self.number = number
        self.host = host
        self.network = network
        self.recorder = recorder
        self.settings = settings
        self.workload = workload
        self.random = random
        self.servers = servers
        self.servers.shuffle(using: &self.random)
    }

    package var isAttached: Bool { if case .attached = phase { true } else { false } }
    package var hasOutstanding: Bool { !outstanding.isEmpty || !urgent.isEmpty }

    /// Asks for something in the next turn, whatever the workload says.
    package func ask(_ requests: [Request]) { urgent += requests }

    // MARK: - Time

    package var nextDeadline: Int64 {
        switch phase {
        case .idle(let until): until
        case .connecting(_, let since), .greeting(_, let since): since + connectPatience
        case .attached:
            min(lastHeard + readPatience, min(lastSent + readPatience / 2, mayAsk ? nextTurn : .max))
        }
    }

    private var mayAsk: Bool { outstanding.count < settings.pipeline && (!isQuiet || !urgent.isEmpty) && !isClosing }
    private var readPatience: Int64 { Int64(timeoutMilliseconds) * 1000 * 2 / 3 }
    private var connectPatience: Int64 {
        Int64(settings.timeoutMilliseconds) * 1000 / Int64(max(servers.count, 1))
    }

    package func advance(to now: Int64) {
        switch phase {
        case .idle(let until):
            if now >= until { connect(at: now) }
        case .connecting(let link, let since), .greeting(let link, let since):
            guard now >= since + connectPatience else { return }
            network.close(link, .opener)
            disconnected(at: now)
        case .attached(let link):
            if now >= lastHeard + readPatience {
                network.close(link, .opener)
                return disconnected(at: now)
            }
            if mayAsk, now >= nextTurn { takeTurn(link, at: now) }
            if now >= lastSent + readPatience / 2 { send(.ping, xid: -2, on: link, at: now) }
        }
    }

    private func connect(at now: Int64) {
        let server = servers[nextServer % servers.count]
        nextServer += 1
        attachedServer = server
        phase = .connecting(network.connect(from: host, to: server, .client), since: now)
    }

    private func takeTurn(_ link: LinkKey, at now: Int64) {
        nextTurn = now + random.range(1, settings.pause)
        var requests: [Request]
        if urgent.isEmpty {
            requests = workload.next(requests: 1 + (random.oneIn(3) ? random.below(4) : 0))
            if settings.requestsPerSession > 0, requestsOfSession > settings.requestsPerSession {
                requests = [.closeSession]
            }
        } else {
            requests = urgent
            urgent = []
        }
        for request in requests {
            xid += 1
            requestsOfSession += 1
            if request == .closeSession { isClosing = true }
            send(request, xid: xid, on: link, at: now)
        }
    }

    // MARK: - Network

    /// Hears of one of its connections; of others it knows nothing any more.
    ///
    /// - Throws: what no client can make sense of.
    package func take(_ news: LinkNews, at now: Int64) throws(Violation) {
        switch news {
        case .connected(let key):
            guard case .connecting(key, let since) = phase else { return }
            phase = .greeting(key, since: since)
            lastSent = now
            network.send(greeting(), on: key, from: .opener)
        case .refused(let key), .closed(let key):
            switch phase {
            case .connecting(key, _), .greeting(key, _), .attached(key): disconnected(at: now)
            default: return
            }
        case .received(let key, let bytes):
            switch phase {
            case .greeting(key, _), .attached(key): break
            default: return
            }
            lastHeard = now
            incoming += bytes
            try readFrames(key, at: now)
        case .accepted, .writable:
            return
        }
    }

    private func greeting() -> [UInt8] {
        framed { writer in
            writer.int32(0)
            writer.int64(lastZxidSeen.rawValue)
            writer.int32(settings.timeoutMilliseconds)
            writer.int64(session.rawValue)
            writer.buffer(password)
            writer.bool(false)
        }
    }

    private func framed(_ body: (inout JuteWriter) -> Void) -> [UInt8] {
        var writer = JuteWriter()
        writer.int32(0)
        body(&writer)
        writer.patch(Int32(writer.count - 4), at: 0)
        return writer.copy()
    }

    private func send(_ request: Request, xid: Int32, on link: LinkKey, at now: Int64) {
        lastSent = now
        let index = recorder.history.invoke(
            request,
            client: number,
            session: session,
            connection: connections,
            xid: xid,
            at: now
        )
        outstanding.append(Outstanding(xid: xid, index: index, request: request))
        let frame = framed { writer in
            writer.int32(xid)
            writer.int32(request.operation.rawValue)
            request.writeBody(to: &writer)
        }
        network.send(frame, on: link, from: .opener)
    }

    private func disconnected(at now: Int64) {
        for lost in outstanding { recorder.history.lose(lost.index, at: now) }
        outstanding = []
        incoming = []
        if case .attached = phase { recorder.history.detach(client: number, session: session, at: now) }
        if isClosing { forgetSession() }
        attachedServer = nil
        phase = .idle(until: now + random.range(0, random.oneIn(4) ? 1_000_000 : 50_000))
    }

    /// Begins anew, as somebody else.
    private func forgetSession() {
        session = .none
        password = [UInt8](repeating: 0, count: 16)
        lastZxidSeen = .zero
        connections = 0
        xid = 0
        requestsOfSession = 0
        isClosing = false
        watches = ClientWatches()
        workload.forget()
    }

    // MARK: - Being told

    private func readFrames(_ link: LinkKey, at now: Int64) throws(Violation) {
        while incoming.count >= 4 {
            let length = incoming.withUnsafeBytes { Int(Int32(bigEndian: $0.loadUnaligned(as: Int32.self))) }
            guard length >= 0, length < 64 << 20 else { throw Violation(.wrongReply, "a frame of \(length) bytes") }
            guard incoming.count >= 4 + length else { return }
            let frame = Array(incoming[4..<4 + length])
            incoming.removeFirst(4 + length)
            do {
                try read(frame, link, at: now)
            } catch let violation as Violation {
                throw violation
            } catch {
                throw Violation(.wrongReply, "a frame that cannot be read: \(error)")
            }
        }
    }

    private func read(_ frame: [UInt8], _ link: LinkKey, at now: Int64) throws {
        try frame.withUnsafeBytes { bytes in
            var reader = JuteReader(bytes)
            switch phase {
            case .greeting(link, _): try readConnectResponse(&reader, link, at: now)
            case .attached(link): try readReply(&reader, link, at: now)
            default: break
            }
        }
    }

    private func readConnectResponse(_ reader: inout JuteReader, _ link: LinkKey, at now: Int64) throws {
        _ = try reader.int32()
        let timeout = try reader.int32()
        let id = SessionID(try reader.int64())
        let newPassword = try reader.bytes() ?? []
        guard id != .none else {
            guard session != .none else { throw Violation(.wrongSessions, "a new session was refused") }
            recorder.history.expire(client: number, session: session, at: now)
            network.close(link, .opener)
            forgetSession()
            return disconnected(at: now)
        }
        guard session == .none || id == session else {
            throw Violation(.wrongSessions, "asked for \(session), got \(id)")
        }
        let isNew = session == .none
        session = id
        password = newPassword
        timeoutMilliseconds = timeout
        connections += 1
        phase = .attached(link)
        nextTurn = now + random.range(0, 2000)
        if isNew { urgent = workload.foundations() + urgent }
        recorder.history.attach(
            client: number,
            session: id,
            connection: connections,
            server: attachedServer?.rawValue ?? 0,
            isNew: isNew,
            timeoutMilliseconds: timeout,
            at: now
        )
        let armed = watches.request(relative: lastZxidSeen)
        if !armed.isEmpty { send(.setWatches(armed), xid: -8, on: link, at: now) }
    }

    private func readReply(_ reader: inout JuteReader, _ link: LinkKey, at now: Int64) throws {
        let xid = try reader.int32()
        let zxid = Zxid(try reader.int64())
        let code = ErrorCode(try reader.int32())
        if zxid.rawValue > 0 { lastZxidSeen = max(lastZxidSeen, zxid) }
        if xid == -1 {
            guard let kind = WatcherEvent.Kind(rawValue: try reader.int32()) else {
                throw Violation(.wrongEvent, "an event of no kind")
            }
            _ = try reader.int32()
            let event = History.Event(kind, try reader.string() ?? "", zxid)
            watches.hear(event)
            return recorder.history.event(client: number, session: session, event, at: now)
        }
        guard !outstanding.isEmpty else { throw Violation(.wrongReply, "xid \(xid), nothing was asked for") }
        let expected = outstanding.removeFirst()
        guard xid == expected.xid else {
            throw Violation(.sessionOrder, "\(session) was answered xid \(xid) before xid \(expected.xid)")
        }
        let answer = code == .ok ? try Answer(to: expected.request, from: &reader) : .nothing
        recorder.history.reply(to: expected.index, zxid: zxid, error: code, answer, at: now)
        watches.hear(expected.request, code)
        workload.hear(expected.request, code, answer)
        if code == .ok, answer.isDone, expected.request.changesTree { acknowledgedWrites += 1 }
        if expected.request == .closeSession {
            network.close(link, .opener)
            disconnected(at: now)
        }
    }
}

/// Who writes the history down.
package final class HistoryRecorder {
    package var history = History()

    package init() {}
}

/// What a client knows to be watched for it, over all of its connections.
struct ClientWatches {
    private var data: Set<String> = []
    private var exist: Set<String> = []
    private var child: Set<String> = []
    private var persistent: Set<String> = []
    private var recursive: Set<String> = []

    func request(relative: Zxid) -> Request.Watches {
        Request.Watches(
            relative: relative,
            data: data.sorted(),
            exist: exist.sorted(),
            child: child.sorted(),
            persistent: persistent.sorted(),
            recursive: recursive.sorted()
        )
    }

    mutating func hear(_ request: Request, _ code: ErrorCode) {
        switch (request, code) {
        case (.getData(let path, true), .ok), (.exists(let path, true), .ok): data.insert(path)
        case (.exists(let path, true), .noNode): exist.insert(path)
        case (.getChildren(let path, true), .ok): child.insert(path)
        case (.addWatch(let path, true), .ok): recursive.insert(path)
        case (.addWatch(let path, false), .ok): persistent.insert(path)
        default: break
        }
    }

    mutating func hear(_ event: History.Event) {
        switch event.kind {
        case .nodeCreated, .nodeDataChanged:
            data.remove(event.path)
            exist.remove(event.path)
        case .nodeDeleted:
            data.remove(event.path)
            exist.remove(event.path)
            child.remove(event.path)
        case .nodeChildrenChanged:
            child.remove(event.path)
        }
    }
}
