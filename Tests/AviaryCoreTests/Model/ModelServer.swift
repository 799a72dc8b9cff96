import AviaryCore
import ZooKeeperProtocol

/// A server as docs/protocol/client-protocol.md describes it, without anything clever: writes wait in one queue until
/// the disk has them and are then executed one after the other; nothing is computed ahead.
final class ModelServer {
    struct Settings {
        var rules = ModelTree.Rules()
        var tick: Int64 = 1000
        var minTimeout: Int64 = 2000
        var maxTimeout: Int64 = 20_000
        var containerInterval: Int64 = 3000
        var containerMaxNeverUsed: Int64 = 0
        var requiresDigest = false
    }

    /// What a connection is sent, in this order.
    enum Sent {
        case connected(timeout: Int32, session: Int64)
        /// Header and body, with lists of names in canonical order.
        case reply([UInt8], ModelReplyShape)
        /// Events of an unordered group may come in any order among themselves.
        case event(WatcherEvent.Kind, String, zxid: Int64, isUnordered: Bool)
    }

    final class Connection {
        enum Phase { case handshake, opening, attached, closed }

        var phase = Phase.handshake
        var session: Int64 = 0
        var identities: [Identity]
        var queue: [Waiting] = []
        var sent: [Sent] = []
        /// The server has closed it.
        var isClosedByServer = false

        init(address: String) {
            identities = [Identity(scheme: "ip", id: address)]
        }
    }

    enum Waiting {
        case write(zxid: Int64)
        case read(ModelRequest, xid: Int32, identities: [Identity])
        case refusal(xid: Int32, ErrorCode)
        case frame(ModelRequest, xid: Int32)
    }

    struct Session {
        var timeout: Int32
        /// As it was created: what a snapshot has.
        var recordedTimeout: Int32
        var deadline: Int64
        var isClosing = false
        var isCreated = false
        var connection: Int?
    }

    struct Watch: Hashable {
        enum Kind { case data, child, persistent, recursive }
        var connection: Int
        var path: String
        var kind: Kind
    }

    struct Txn {
        enum Kind {
            case request(ModelRequest)
            case createSession(Int32)
            case closeSession(byClient: Bool)
            case reap(String)
        }

        var zxid: Int64
        var time: Int64
        var session: Int64
        var xid: Int32
        var identities: [Identity]
        var connection: Int?
        var kind: Kind
    }

    let settings: Settings
    var tree = ModelTree()
    var connections: [Connection] = []
    var sessions: [Int64: Session] = [:]
    var watches: Set<Watch> = []
    var inFlight: [Txn] = []
    /// Every transaction ever made.
    var log: [Txn] = []
    var lastApplied: Int64 = 0
    var lastMade: Int64 = 0
    var now: Now
    var room = LogRoom.plenty
    /// In which order the ends of sessions take their ephemerals away: nobody's promise, hence the core's choice.
    var closeOrders: [Int64: [String]] = [:]
    /// Those that do not list exactly the ephemerals of their sessions.
    private(set) var wrongCloseOrders: [Int64] = []
    private var nextContainerCheck: Int64
    /// What any check has found worth removing.
    private(set) var reapable: Set<String> = []

    init(_ settings: Settings, now: Now) {
        self.settings = settings
        self.now = now
        tree.rules = settings.rules
        nextContainerCheck = now.monotonicMilliseconds + settings.containerInterval
    }

    // MARK: Connections and sessions

    /// - Parameter newSession: the id that a new session gets.
    func connect(
        _ index: Int,
        session: Int64,
        knowsPassword: Bool,
        timeout: Int32,
        lastZxid: Int64,
        newSession: Int64?
    ) {
        let connection = connections[index]
        guard lastZxid <= lastApplied else { return closeByServer(index) }
        let timeout = Int32(min(max(Int64(timeout), settings.minTimeout), settings.maxTimeout))
        if session == 0 {
            guard room != .exhausted, let id = newSession else { return closeByServer(index) }
            sessions[id] = Session(
                timeout: timeout,
                recordedTimeout: timeout,
                deadline: deadline(timeout),
                connection: index
            )
            connection.session = id
            connection.phase = .opening
            make(.createSession(timeout), session: id, xid: 0, connection: index)
            return
        }
        guard knowsPassword, let known = sessions[session], known.isCreated, !known.isClosing else {
            connection.sent.append(.connected(timeout: 0, session: 0))
            return closeByServer(index)
        }
        if let old = known.connection { closeByServer(old) }
        sessions[session]?.connection = index
        sessions[session]?.timeout = timeout
        sessions[session]?.deadline = deadline(timeout)
        connection.session = session
        connection.phase = .attached
        connection.sent.append(.connected(timeout: timeout, session: session))
    }

    private func deadline(_ timeout: Int32) -> Int64 {
        ((now.monotonicMilliseconds + Int64(timeout)) / settings.tick + 1) * settings.tick
    }

    func closeByServer(_ index: Int) {
        guard connections[index].phase != .closed else { return }
        connections[index].isClosedByServer = true
        forget(index)
    }

    /// The socket is gone.
    func forget(_ index: Int) {
        let connection = connections[index]
        connection.phase = .closed
        connection.queue = []
        if sessions[connection.session]?.connection == index { sessions[connection.session]?.connection = nil }
        watches = watches.filter { $0.connection != index }
    }

    /// The sessions whose time is over, the earliest first.
    var expired: [Int64] {
        if room == .exhausted { return [] }
        return sessions.filter { !$0.value.isClosing && $0.value.deadline <= now.monotonicMilliseconds }
            .sorted { ($0.value.deadline, $0.key) < ($1.value.deadline, $1.key) }.map(\.key)
    }

    func expire(_ session: Int64) {
        sessions[session]?.isClosing = true
        make(.closeSession(byClient: false), session: session, xid: 0, connection: sessions[session]?.connection)
    }

    // MARK: Containers and TTL nodes

    func checkContainers() {
        guard now.monotonicMilliseconds >= nextContainerCheck else { return }
        nextContainerCheck = now.monotonicMilliseconds + settings.containerInterval
        reapable.formUnion(dueForReaping)
    }

    var dueForReaping: [String] {
        tree.nodes.filter { _, node in
            guard node.children.isEmpty else { return false }
            let age = now.wallMilliseconds - node.mtime
            switch node.owner {
            case .container:
                let limit = settings.containerMaxNeverUsed
                return node.creates > 0 || (limit > 0 && age > limit)
            case .ttl(let ttl): return age > ttl
            case .none, .session: return false
            }
        }.map(\.key)
    }

    func reap(_ path: String) {
        make(.reap(path), session: 0, xid: 0, connection: nil)
    }

    // MARK: Requests

    func receive(_ request: ModelRequest, xid: Int32, on index: Int) {
        let connection = connections[index]
        switch connection.phase {
        case .closed, .handshake: return
        case .opening: return connection.queue.append(.frame(request, xid: xid))
        case .attached: break
        }
        guard let session = sessions[connection.session], !session.isClosing else { return }
        sessions[connection.session]?.deadline = deadline(session.timeout)
        if case .auth(let scheme, let credentials) = request {
            return authenticate(scheme, credentials, xid: xid, index)
        }
        if settings.requiresDigest, !connection.identities.contains(where: { $0.scheme == "digest" }) {
            send(.sessionClosedRequireAuth, xid: xid, zxid: 0, to: index)
            return closeByServer(index)
        }
        switch request {
        case .forbidden:
            send(.unimplemented, xid: xid, zxid: -1, to: index)
            closeByServer(index)
        case .closeSession where room == .exhausted:
            refuse(.systemError, xid: xid, index)
        case .closeSession:
            sessions[connection.session]?.isClosing = true
            make(.closeSession(byClient: true), session: connection.session, xid: xid, connection: index)
        case .create, .delete, .setData, .setACL, .multi, .reconfig:
            write(request, xid: xid, index)
        case .undecodable(let operation, _) where operation.isModelWrite:
            write(request, xid: xid, index)
        default:
            if connection.queue.isEmpty {
                answer(request, xid: xid, connection.identities, index)
            } else {
                connection.queue.append(.read(request, xid: xid, identities: connection.identities))
            }
        }
    }

    private func write(_ request: ModelRequest, xid: Int32, _ index: Int) {
        if room != .plenty { return refuse(.systemError, xid: xid, index) }
        switch request {
        case .undecodable(let operation, _) where operation != .multi:
            return refuse(.marshallingError, xid: xid, index)
        case .multi(let parts) where parts.contains(where: \.hasNullACL):
            return refuse(.marshallingError, xid: xid, index)
        default:
            make(.request(request), session: connections[index].session, xid: xid, connection: index)
        }
    }

    private func refuse(_ code: ErrorCode, xid: Int32, _ index: Int) {
        if connections[index].queue.isEmpty {
            send(code, xid: xid, zxid: lastApplied, to: index)
        } else {
            connections[index].queue.append(.refusal(xid: xid, code))
        }
    }

    private func authenticate(_ scheme: String?, _ credentials: String?, xid: Int32, _ index: Int) {
        switch (scheme, credentials) {
        case ("digest", let credentials?):
            let user = String(credentials.prefix { $0 != ":" })
            let id = user + ":" + Self.base64(credentials.utf8.reversed())
            var new = [Identity(scheme: "digest", id: id)]
            if user == "super" { new.insert(Identity(scheme: "super", id: ""), at: 0) }
            for identity in new where !connections[index].identities.contains(identity) {
                connections[index].identities.append(identity)
            }
            send(.ok, xid: xid, zxid: 0, to: index)
        case ("ip", _):
            send(.ok, xid: xid, zxid: 0, to: index)
        default:
            send(.authFailed, xid: xid, zxid: 0, to: index)
            closeByServer(index)
        }
    }

    private static func base64(_ bytes: [UInt8]) -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
        let bits = bytes.flatMap { byte in (0..<8).map { Int(byte >> (7 - $0)) & 1 } }
        var text = ""
        for start in stride(from: 0, to: bits.count, by: 6) {
            text.append(alphabet[(start..<start + 6).reduce(0) { $0 << 1 | ($1 < bits.count ? bits[$1] : 0) }])
        }
        while text.count % 4 != 0 { text.append("=") }
        return text
    }

    private func make(_ kind: Txn.Kind, session: Int64, xid: Int32, connection: Int?) {
        lastMade += 1
        let txn = Txn(
            zxid: lastMade,
            time: now.wallMilliseconds,
            session: session,
            xid: xid,
            identities: connection.map { connections[$0].identities } ?? [],
            connection: connection,
            kind: kind
        )
        inFlight.append(txn)
        log.append(txn)
        if let connection { connections[connection].queue.append(.write(zxid: lastMade)) }
    }

    // MARK: Applying

    func durable(upTo zxid: Int64) {
        while let txn = inFlight.first, txn.zxid <= zxid {
            inFlight.removeFirst()
            apply(txn)
        }
    }

    private func apply(_ txn: Txn) {
        lastApplied = txn.zxid
        var code = ErrorCode.ok
        var body: [UInt8] = []
        switch txn.kind {
        case .createSession(let timeout):
            sessions[txn.session]?.isCreated = true
            sessions[txn.session]?.recordedTimeout = timeout
        case .closeSession:
            let owned = tree.nodes.filter { $0.value.owner == .session(txn.session) }.map(\.key).sorted()
            let order = closeOrders[txn.zxid] ?? owned
            if order.sorted() != owned { wrongCloseOrders.append(txn.zxid) }
            for path in order {
                notify(tree.remove(path, txn.zxid), txn.zxid, isUnordered: true)
            }
            sessions[txn.session] = nil
        case .reap(let path):
            notify(tree.remove(path, txn.zxid), txn.zxid)
        case .request(let request):
            do throws(ErrorCode) {
                body = try execute(request, txn)
            } catch {
                code = error
            }
        }
        guard let index = txn.connection else { return }
        let connection = connections[index]
        guard connection.phase != .closed else { return }
        switch txn.kind {
        case .createSession:
            connection.phase = .attached
            connection.sent.append(
                .connected(timeout: sessions[txn.session]?.timeout ?? 0, session: txn.session)
            )
        case .closeSession(let byClient):
            if byClient { send(.ok, xid: txn.xid, zxid: txn.zxid, to: index) }
            return closeByServer(index)
        case .request, .reap:
            send(code, xid: txn.xid, zxid: txn.zxid, body, to: index)
        }
        connection.queue.removeFirst()
        drain(index)
    }

    private func drain(_ index: Int) {
        let connection = connections[index]
        while connection.phase == .attached, let first = connection.queue.first {
            switch first {
            case .write:
                return
            case .read(let request, let xid, let identities):
                connection.queue.removeFirst()
                answer(request, xid: xid, identities, index)
            case .refusal(let xid, let code):
                connection.queue.removeFirst()
                send(code, xid: xid, zxid: lastApplied, to: index)
            case .frame:
                let frames = connection.queue
                connection.queue = []
                for case .frame(let request, let xid) in frames { receive(request, xid: xid, on: index) }
                return
            }
        }
    }

    private func execute(_ request: ModelRequest, _ txn: Txn) throws(ErrorCode) -> [UInt8] {
        let context = ModelTree.Context(
            zxid: txn.zxid,
            time: txn.time,
            session: txn.session,
            identities: txn.identities
        )
        var writer = JuteWriter()
        switch request {
        case .create(let create):
            let done = try tree.create(create, context)
            notify(done.steps, txn.zxid)
            writer.string(done.path)
            if create.operation != .create { tree.nodes[done.path]?.stat.write(to: &writer) }
        case .delete(let path, let version):
            notify(try tree.delete(path, version, context), txn.zxid)
        case .setData(let path, let data, let version):
            let done = try tree.setData(path, data, version, context)
            notify(done.steps, txn.zxid)
            done.stat.write(to: &writer)
        case .setACL(let path, let acl, let version):
            try tree.setACL(path, acl, version, context).write(to: &writer)
        case .multi(let parts):
            if parts.contains(where: \.isMalformed) { throw .marshallingError }
            switch tree.multi(parts, context) {
            case .done(let results, let steps):
                notify(steps, txn.zxid)
                return results
            case .failed(let results): return results
            case .refused: throw .marshallingError
            }
        case .reconfig:
            throw .reconfigDisabled
        case .undecodable:
            throw .marshallingError
        default:
            throw .unimplemented
        }
        return writer.copy()
    }

    // MARK: Watches

    /// Section 10.3: what is watched where, and one event a step for each connection.
    private func notify(_ steps: [ModelTree.Step], _ zxid: Int64, isUnordered: Bool = false) {
        for step in steps {
            var targets: Set<Int> = []
            for watch in watches {
                let isHere = watch.path == step.path
                switch watch.kind {
                case .data where isHere && step.kind != .nodeChildrenChanged,
                    .child where isHere && (step.kind == .nodeChildrenChanged || step.kind == .nodeDeleted):
                    watches.remove(watch)
                    targets.insert(watch.connection)
                case .persistent where isHere:
                    targets.insert(watch.connection)
                case .recursive where step.kind != .nodeChildrenChanged:
                    // The root's other name, "", is no ancestor.
                    let isBelow = watch.path == "/" || (!watch.path.isEmpty && step.path.hasPrefix(watch.path + "/"))
                    if isHere || isBelow { targets.insert(watch.connection) }
                default:
                    break
                }
            }
            for index in targets where tree.allows(Permissions.read, step.acl, connections[index].identities) {
                connections[index].sent.append(
                    .event(step.kind, step.path, zxid: zxid, isUnordered: isUnordered)
                )
            }
        }
    }

    func rearm(_ rearm: ModelRequest.ModelRearm, _ identities: [Identity], _ index: Int) {
        func look(_ paths: [String], _ kind: Watch.Kind, _ missed: (ModelTree.Node?) -> WatcherEvent.Kind?) {
            for path in paths {
                let node = tree.node(path)
                if let event = missed(node) {
                    if let node, !tree.allows(Permissions.read, node.acl, identities) { continue }
                    connections[index].sent.append(.event(event, path, zxid: -1, isUnordered: false))
                } else {
                    watches.insert(Watch(connection: index, path: path, kind: kind))
                }
            }
        }
        look(rearm.data, .data) { node in
            guard let node else { return .nodeDeleted }
            return node.mzxid > rearm.zxid ? .nodeDataChanged : nil
        }
        look(rearm.exist, .data) { $0 == nil ? nil : .nodeCreated }
        look(rearm.child, .child) { node in
            guard let node else { return .nodeDeleted }
            return node.pzxid > rearm.zxid ? .nodeChildrenChanged : nil
        }
        look(rearm.persistent ?? [], .persistent) { _ in nil }
        look(rearm.recursive ?? [], .recursive) { _ in nil }
    }

    func watchKinds(_ type: Int32) -> Set<Watch.Kind>? {
        switch type {
        case 1: [.child]
        case 2: [.data]
        case 3: [.data, .child, .persistent, .recursive]
        case 4: [.persistent]
        case 5: [.recursive]
        default: nil
        }
    }

    // MARK: Replies

    func send(
        _ code: ErrorCode,
        xid: Int32,
        zxid: Int64,
        _ body: [UInt8] = [],
        _ shape: ModelReplyShape = .plain,
        to index: Int
    ) {
        var writer = JuteWriter()
        writer.int32(xid)
        writer.int64(zxid)
        writer.int32(code.rawValue)
        body.withUnsafeBytes { writer.raw($0) }
        connections[index].sent.append(.reply(writer.copy(), shape))
    }
}

extension ModelRequest.ModelPart {
    /// Refuses the list before anything is looked at, with a transaction.
    var isMalformed: Bool {
        switch self {
        case .create(let create):
            let hasBadFlags = create.operation != .createTTL && !(0...4).contains(create.flags)
            return create.path == nil || hasBadFlags
        case .delete(let path, _), .setData(let path, _, _), .check(let path, _): return path == nil
        case .foreign: return true
        }
    }

    /// Refuses the list without one.
    var hasNullACL: Bool {
        if case .create(let create) = self, case .null = create.acl { return create.operation != .createTTL }
        return false
    }
}

extension Operation {
    var isModelWrite: Bool {
        switch self {
        case .create, .create2, .createContainer, .createTTL, .delete, .setData, .setACL, .multi, .reconfig: true
        default: false
        }
    }
}
