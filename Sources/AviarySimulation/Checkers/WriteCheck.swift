package import ZooKeeperProtocol

/// Every acknowledged write is in the history, once, as it was asked for and at its zxid; every error is true; nothing is
/// there that nobody asked for (P1, P4, P6, P10, P11).
///
/// A write whose reply was lost may be in the history or not; if it is, it is what was asked for.
package enum WriteCheck {
    package static func check(_ history: History, _ committed: CommittedHistory) throws(Violation) {
        var asked: [SessionID: [Int32: History.Operation]] = [:]
        for operation in history.operations where operation.request.isWrite {
            asked[operation.session, default: [:]][operation.xid] = operation
        }
        var done: [SessionID: [Int32: CommittedHistory.Entry]] = [:]
        for entry in committed.entries {
            let header = entry.txn.header
            guard header.cxid != 0 else {
                try checkOwn(entry, committed)
                continue
            }
            guard let operation = asked[header.session]?[header.cxid] else {
                throw Violation(
                    .inventedWrite,
                    "\(header.zxid): nobody asked for xid \(header.cxid) of \(header.session)"
                )
            }
            if let first = done[header.session]?[header.cxid] {
                throw Violation(
                    .writtenTwice,
                    "xid \(header.cxid) of \(header.session): \(first.zxid) and \(entry.zxid)"
                )
            }
            done[header.session, default: [:]][header.cxid] = entry
            try check(entry, operation, history, committed)
        }
        for operation in history.operations where operation.request.isWrite {
            guard let reply = operation.reply else { continue }
            try check(operation, reply, done[operation.session]?[operation.xid], history, committed)
        }
    }

    // MARK: - Replies

    private static func name(_ operation: History.Operation) -> String {
        "xid \(operation.xid) of \(operation.session)"
    }

    private static func check(
        _ operation: History.Operation,
        _ reply: History.Reply,
        _ entry: CommittedHistory.Entry?,
        _ history: History,
        _ committed: CommittedHistory
    ) throws(Violation) {
        guard let entry else {
            guard reply.error != .ok else {
                throw Violation(
                    .acknowledgedLost,
                    "\(name(operation)) was acknowledged at \(reply.zxid), and is not there"
                )
            }
            // Refused before it got a zxid: the disk is full, or the session is not what it was.
            let isTrue: Bool =
                switch reply.error {
                case .systemError: history.mayBeRefused(operation)
                case .sessionExpired: committed.isOver(operation.session, by: history.times[reply.position])
                case .sessionMoved: true
                default: false
                }
            guard isTrue else {
                throw Violation(.falseError, "\(name(operation)): \(reply.error.rawValue) without a transaction")
            }
            return
        }
        guard reply.zxid == entry.zxid else {
            throw Violation(.wrongReply, "\(name(operation)) was answered at \(reply.zxid), but is \(entry.zxid)")
        }
        if case .error(let code) = entry.txn.body {
            guard reply.error == code else {
                throw Violation(.wrongReply, "\(name(operation)): \(reply.error.rawValue), committed \(code.rawValue)")
            }
            return
        }
        guard reply.error == .ok else {
            throw Violation(.falseError, "\(name(operation)) was answered \(reply.error.rawValue), but was done")
        }
        try checkAnswer(operation, reply, entry, committed)
    }

    private static func checkAnswer(
        _ operation: History.Operation,
        _ reply: History.Reply,
        _ entry: CommittedHistory.Entry,
        _ committed: CommittedHistory
    ) throws(Violation) {
        switch (reply.answer, entry.txn.body) {
        case (.created(let path, let stat), .create(let create)):
            guard Array(path.utf8) == create.path else { throw Violation(.wrongReply, "\(name(operation)): \(path)") }
            try ReadCheck.check(stat, of: path, at: entry.zxid, committed)
        case (.stat(let stat), .setData(let path, _, _, _)):
            try ReadCheck.check(stat, of: String(decoding: path, as: UTF8.self), at: entry.zxid, committed)
        case (.multi(let answers), .multi(let parts)):
            guard answers.count == parts.count else {
                throw Violation(.wrongReply, "\(name(operation)): \(answers.count) results of \(parts.count)")
            }
            let hasFailed = parts.contains { if case .error = $0 { true } else { false } }
            for (answer, part) in zip(answers, parts) where !matches(answer, part, hasFailed: hasFailed) {
                throw Violation(.wrongReply, "\(name(operation)): \(answer) for \(part)")
            }
        case (.nothing, .delete), (.nothing, .closeSession):
            break
        case (.data(let told, _), .setData(_, let text, _, isReconfig: true)) where told == text:
            break
        default:
            throw Violation(.wrongReply, "\(name(operation)): \(reply.answer) for \(entry.txn.body.type)")
        }
    }

    /// Of a multi that fails, those in front of the part that failed are told that they would have gone well.
    static func matches(_ answer: Answer.Part, _ part: TxnBody, hasFailed: Bool) -> Bool {
        switch (answer, part) {
        case (.failed(let told), .error(let code)): told == code
        case (.failed(.ok), _): hasFailed
        case (.created(let path), .create(let create)): !hasFailed && Array(path.utf8) == create.path
        case (.set, .setData): !hasFailed
        case (.done, .delete), (.done, .check): !hasFailed
        default: false
        }
    }

    // MARK: - Transactions

    /// What leaders do by themselves: sessions begin and end, and containers and TTL nodes that are done with go.
    private static func checkOwn(_ entry: CommittedHistory.Entry, _ committed: CommittedHistory) throws(Violation) {
        let session = entry.txn.header.session
        switch entry.txn.body {
        case .createSession:
            guard committed.sessions[session]?.created == entry.zxid else {
                throw Violation(.inventedWrite, "\(entry.zxid): \(session) begins once more")
            }
        case .closeSession:
            guard committed.sessions[session]?.closed == entry.zxid else {
                throw Violation(.inventedWrite, "\(entry.zxid): \(session) ends, and was not there")
            }
        case .error:
            return
        case .delete(let path, byContainerCheck: true):
            let path = String(decoding: path, as: UTF8.self)
            guard World(committed, before: entry.zxid).isSpent(path, at: entry.txn.header.time) else {
                throw Violation(.inventedWrite, "\(entry.zxid): \(path) is deleted, and nobody asked for that")
            }
        case .create, .delete, .setData, .setACL, .check, .multi:
            throw Violation(.inventedWrite, "\(entry.zxid): nobody asked for \(entry.txn.body)")
        }
    }

    /// What was committed is what was asked for, and could be done, or is the error that it had to be.
    private static func check(
        _ entry: CommittedHistory.Entry,
        _ operation: History.Operation,
        _ history: History,
        _ committed: CommittedHistory
    ) throws(Violation) {
        let request = operation.request
        var world = World(committed, before: entry.zxid)
        switch (request, entry.txn.body) {
        case (.closeSession, .closeSession):
            return
        case (.reconfigure, .setData(_, _, _, isReconfig: true)):
            return
        case (.reconfigure, .error(let code)) where EnsembleRun.refusesReconfiguration(code):
            return
        case (.multi(let requests), .multi(let parts)):
            try checkMulti(requests, parts, entry, &world)
        case (_, .error(let code)):
            // These are about the session or the leader's disk, not about the tree.
            let isTrue: Bool =
                switch code {
                case .sessionMoved: true
                case .sessionExpired: !committed.hasSession(operation.session, at: entry.zxid)
                case .systemError: history.mayBeRefused(operation)
                default: false
                }
            if isTrue { return }
            let expected = world.refusal(of: request)
            guard expected == code else {
                throw Violation(
                    .falseError,
                    "\(entry.zxid): \(code.rawValue) for \(request), expected \(expected?.rawValue ?? 0)"
                )
            }
        default:
            try checkDone(request, entry.txn.body, entry.zxid, &world)
        }
    }

    private static func checkMulti(
        _ requests: [Request],
        _ parts: [TxnBody],
        _ entry: CommittedHistory.Entry,
        _ world: inout World
    ) throws(Violation) {
        guard requests.count == parts.count else {
            throw Violation(.wrongTree, "\(entry.zxid): a multi of \(parts.count) parts, asked for \(requests.count)")
        }
        for (request, part) in zip(requests, parts) {
            if case .error(let code) = part {
                let expected = world.refusal(of: request)
                guard expected == code else {
                    throw Violation(
                        .falseError,
                        "\(entry.zxid): \(code.rawValue) for \(request), expected \(expected?.rawValue ?? 0)"
                    )
                }
                return
            }
            try checkDone(request, part, entry.zxid, &world)
        }
    }

    private static func checkDone(
        _ request: Request,
        _ body: TxnBody,
        _ zxid: Zxid,
        _ world: inout World
    ) throws(Violation) {
        if let refusal = world.refusal(of: request) {
            throw Violation(.notLinearizable, "\(zxid): \(request) was done, but had to fail with \(refusal.rawValue)")
        }
        guard world.isResult(body, of: request) else {
            throw Violation(.wrongTree, "\(zxid): \(body) is not what \(request) asks for")
        }
        world.apply(body)
    }
}

/// The tree in front of a transaction, with the parts of it that were looked at already.
private struct World {
    private let committed: CommittedHistory
    private let zxid: Zxid
    /// What parts of a multi have changed; nil is gone.
    private var changes: [String: Node?] = [:]

    struct Node {
        var version: Int32
        var createCount: Int32
        var isEphemeral: Bool
    }

    init(_ committed: CommittedHistory, before zxid: Zxid) {
        self.committed = committed
        self.zxid = zxid
    }

    private func node(_ path: String) -> Node? {
        let key = CommittedHistory.key(path)
        if let changed = changes[key] { return changed }
        return committed.node(key, before: zxid).map { node in
            Node(
                version: node.stat.version,
                createCount: node.stat.cversion,
                isEphemeral: node.isEphemeral
            )
        }
    }

    /// Whether a leader may delete it by itself: a container that had children or a TTL node whose time is over, without
    /// children now.
    func isSpent(_ path: String, at time: Int64) -> Bool {
        guard let stat = committed.node(path, before: zxid)?.stat, !hasChildren(path) else { return false }
        return switch NodeKind(owner: stat.ephemeralOwner, extendedTypes: true) {
        case .container: stat.cversion > 0
        case .ttl(let milliseconds): time - stat.mtime > milliseconds
        default: false
        }
    }

    private func hasChildren(_ path: String) -> Bool {
        let before = committed.children(of: path, at: Zxid(zxid.rawValue - 1)).map { path + "/" + $0 }
        if before.contains(where: { node($0) != nil }) { return true }
        return changes.contains { $0.value != nil && NaiveTree.parent(of: $0.key) == path }
    }

    /// The path that a create comes to.
    private func path(of path: String, _ kind: Request.Kind) -> String {
        guard kind.isSequential else { return path }
        let count = String(node(NaiveTree.parent(of: path))?.createCount ?? 0)
        return path + String(repeating: "0", count: max(10 - count.count, 0)) + count
    }

    /// Why a request has to fail; nil when it has to be done (docs/protocol/client-protocol.md section 8).
    func refusal(of request: Request) -> ErrorCode? {
        switch request {
        case .create(let asked, _, let kind):
            guard let parent = node(NaiveTree.parent(of: asked)) else { return .noNode }
            if node(path(of: asked, kind)) != nil { return .nodeExists }
            return parent.isEphemeral ? .noChildrenForEphemerals : nil
        case .delete(let path, let version):
            guard let node = node(path) else { return .noNode }
            if version != -1, version != node.version { return .badVersion }
            return hasChildren(path) ? .notEmpty : nil
        case .setData(let path, _, let version), .check(let path, let version):
            guard let node = node(path) else { return .noNode }
            return version != -1 && version != node.version ? .badVersion : nil
        case .multi, .reconfigure, .closeSession, .getData, .exists, .getChildren, .sync, .setWatches, .addWatch, .ping:
            return nil
        }
    }

    func isResult(_ body: TxnBody, of request: Request) -> Bool {
        switch (request, body) {
        case (.create(let asked, let data, let kind), .create(let txn)):
            let isKind: Bool =
                switch (kind, txn.kind) {
                case (.container, .container): true
                case (.ttl(let asked), .ttl(let given)): asked == given
                case (.plain, .create2), (.ephemeral, .create2): true
                case (.sequential, .create2), (.ephemeralSequential, .create2): true
                default: false
                }
            return isKind && txn.data == data && txn.isEphemeral == kind.isEphemeral
                && String(decoding: txn.path, as: UTF8.self) == path(of: asked, kind)
        case (.delete(let path, _), .delete(let deleted, false)):
            return Array(path.utf8) == deleted
        case (.setData(let path, let data, _), .setData(let set, let given, let version, false)):
            return Array(path.utf8) == set && given == data && version == (node(path)?.version ?? 0) &+ 1
        case (.check(let path, _), .check(let checked, _)):
            return Array(path.utf8) == checked
        default:
            return false
        }
    }

    mutating func apply(_ body: TxnBody) {
        switch body {
        case .create(let txn):
            let path = String(decoding: txn.path, as: UTF8.self)
            let parent = NaiveTree.parent(of: path)
            if var node = node(parent) {
                node.createCount += 1
                changes[parent] = node
            }
            changes[path] = Node(version: 0, createCount: 0, isEphemeral: txn.isEphemeral)
        case .delete(let path, _):
            changes.updateValue(nil, forKey: String(decoding: path, as: UTF8.self))
        case .setData(let path, _, let version, _):
            let key = CommittedHistory.key(String(decoding: path, as: UTF8.self))
            guard var node = node(key) else { return }
            node.version = version
            changes[key] = node
        case .createSession, .closeSession, .error, .setACL, .check, .multi:
            break
        }
    }
}
