package import AviaryCore
package import ZooKeeperProtocol

/// One client: what it has asked for, and whether what it is told is true.
package final class SimulatedClient {
    package enum Phase: Sendable {
        case disconnected
        /// A ConnectRequest is on its way.
        case connecting(renews: Bool)
        case connected
    }

    /// What a reply is about.
    package enum Expectation: Sendable {
        case create(tellsStat: Bool)
        case delete
        case setData(String)
        case setACL(String)
        case multi
        case getData(String)
        case exists(String)
        case getChildren(String)
        case getACL(String)
        case closeSession
        /// Nothing but that it was done.
        case done

        /// With what a write may be refused, depending on the tree.
        fileprivate var refusals: Set<ErrorCode> {
            switch self {
            case .create: [.noNode, .nodeExists, .noAuth, .noChildrenForEphemerals]
            case .delete: [.noNode, .notEmpty, .noAuth, .badVersion]
            case .setData, .setACL: [.noNode, .noAuth, .badVersion]
            // What a part of a multi is refused with.
            case .multi: [.noNode, .nodeExists, .notEmpty, .noAuth, .badVersion, .noChildrenForEphemerals]
            case .getData, .exists, .getChildren, .getACL, .closeSession, .done: []
            }
        }
    }

    package let address: String
    package private(set) var phase = Phase.disconnected
    package private(set) var connection: ConnectionID?
    /// 0: none.
    package private(set) var session: Int64 = 0
    private var password = [UInt8](repeating: 0, count: 16)
    package private(set) var lastZxidSeen = Zxid.zero
    private var xid: Int32 = 0
    private var outstanding: [(xid: Int32, expected: Expectation)] = []
    /// Writes that were answered without an error.
    package private(set) var doneWrites = 0

    package init(address: String) { self.address = address }

    package var hasOutstanding: Bool { !outstanding.isEmpty }

    // MARK: - Asking

    /// The frame that opens a session, or goes on with the one it has.
    package func connect(as connection: ConnectionID, timeoutMilliseconds: Int32) -> [UInt8] {
        self.connection = connection
        phase = .connecting(renews: session != 0)
        outstanding = []
        var writer = JuteWriter()
        writer.int32(0)
        writer.int64(lastZxidSeen.rawValue)
        writer.int32(timeoutMilliseconds)
        writer.int64(session)
        writer.buffer(password)
        writer.bool(false)
        return writer.copy()
    }

    package func request(_ operation: Operation, _ expected: Expectation, _ body: [UInt8]) -> [UInt8] {
        xid += 1
        outstanding.append((xid, expected))
        var writer = JuteWriter()
        writer.int32(xid)
        writer.int32(operation.rawValue)
        body.withUnsafeBytes { writer.raw($0) }
        return writer.copy()
    }

    /// The connection is gone: what was not answered may have happened or not.
    package func disconnect() {
        phase = .disconnected
        connection = nil
        outstanding = []
    }

    // MARK: - Being told

    /// - Parameter refusesWrites: whether there was a reason to write nothing: the disk is full.
    package func receive(_ frame: [UInt8], _ ledger: inout Ledger, refusesWrites: Bool) throws(Violation) {
        do {
            try frame.withUnsafeBytes { bytes in
                var reader = JuteReader(bytes)
                switch phase {
                case .connecting(let renews): try readConnectResponse(&reader, renews: renews, &ledger)
                case .connected: try readReply(&reader, &ledger, refusesWrites: refusesWrites)
                case .disconnected: break
                }
            }
        } catch let violation as Violation {
            throw violation
        } catch {
            throw Violation(.wrongReply, "a frame that cannot be read: \(error)")
        }
    }

    private func readConnectResponse(_ reader: inout JuteReader, renews: Bool, _ ledger: inout Ledger) throws {
        _ = try reader.int32()
        _ = try reader.int32()
        let id = try reader.int64()
        let newPassword = try reader.bytes() ?? []
        if id == 0 {
            // Only a session that has ended may be refused.
            guard renews, ledger.closed.contains(session) else {
                throw Violation(.wrongSessions, "\(SessionID(session)) was refused, although nothing ended it")
            }
            phase = .disconnected
            return forgetSession()
        }
        if renews, id != session { throw Violation(.wrongSessions, "asked for \(session), got \(id)") }
        try ledger.see(session: id)
        session = id
        password = newPassword
        phase = .connected
    }

    private func forgetSession() {
        session = 0
        password = [UInt8](repeating: 0, count: 16)
    }

    private func readReply(_ reader: inout JuteReader, _ ledger: inout Ledger, refusesWrites: Bool) throws {
        let replyXid = try reader.int32()
        let zxid = Zxid(try reader.int64())
        let code = ErrorCode(try reader.int32())
        if replyXid == -1 { return try ledger.see(zxid) }
        guard !outstanding.isEmpty else { throw Violation(.wrongReply, "xid \(replyXid), nothing was asked for") }
        let (xid, expected) = outstanding.removeFirst()
        guard replyXid == xid else { throw Violation(.wrongReply, "xid \(replyXid) before \(xid)") }
        if zxid.rawValue > 0 {
            guard zxid >= lastZxidSeen else {
                throw Violation(.zxidWentBack, "a reply of \(zxid) after one of \(lastZxidSeen)")
            }
            lastZxidSeen = zxid
            try ledger.see(zxid)
        }
        switch expected {
        case .create, .delete, .setData, .setACL, .multi, .closeSession:
            // Refused before it got a zxid.
            if code == .systemError, refusesWrites { return }
            try checkWrite(expected, code, xid, zxid, &reader, ledger)
        case .getData, .exists, .getChildren, .getACL:
            try checkRead(expected, code, zxid, &reader, ledger)
        case .done:
            guard code == .ok else { throw Violation(.falseError, "\(code.rawValue) to xid \(xid)") }
        }
    }

    // MARK: - Writes

    private func checkWrite(
        _ expected: Expectation,
        _ code: ErrorCode,
        _ xid: Int32,
        _ zxid: Zxid,
        _ reader: inout JuteReader,
        _ ledger: Ledger
    ) throws {
        // The zxid of a write's reply is that of the very transaction that it asked for, be it done or refused.
        guard let txn = ledger.txn(at: zxid), txn.header.session.rawValue == session, txn.header.cxid == xid else {
            throw Violation(.wrongReply, "\(zxid) is not what xid \(xid) of \(SessionID(session)) has written")
        }
        guard code == .ok else {
            guard case .error(code) = txn.body, expected.refusals.contains(code) else {
                throw Violation(.falseError, "\(code.rawValue) to xid \(xid), committed \(txn.body.type) \(zxid)")
            }
            return
        }
        switch expected {
        case .create(let tellsStat):
            let path = try reader.string() ?? ""
            guard let node = ledger.tree.nodes[path], node.stat.czxid == zxid else {
                throw Violation(.wrongReply, "\(path) was created by \(zxid), but is not there")
            }
            if tellsStat { try checkStat(path, try Stat(from: &reader), node, zxid, ledger) }
        case .setData(let path), .setACL(let path):
            guard let node = ledger.tree.nodes[path] else {
                throw Violation(.wrongReply, "\(path) was set by \(zxid), but is not there")
            }
            try checkStat(path, try Stat(from: &reader), node, zxid, ledger)
        case .multi:
            try checkParts(try Answer(to: .multi([]), from: &reader), txn, expected.refusals)
        case .closeSession:
            guard ledger.tree.sessions[session] == nil else {
                throw Violation(.wrongSessions, "\(SessionID(session)) was closed, but is there")
            }
            forgetSession()
        case .delete, .getData, .exists, .getChildren, .getACL, .done:
            break
        }
        doneWrites += 1
    }

    /// All parts were done, or one was refused and none was done.
    private func checkParts(_ answer: Answer, _ txn: Txn, _ refusals: Set<ErrorCode>) throws(Violation) {
        guard case .multi(let answers) = answer, case .multi(let parts) = txn.body, answers.count == parts.count else {
            throw Violation(.wrongReply, "\(answer) for \(txn.body.type) \(txn.header.zxid)")
        }
        let refused = parts.firstIndex { if case .error(let code) = $0 { code != .ok } else { false } }
        for (index, (answer, part)) in zip(answers, parts).enumerated() {
            guard WriteCheck.matches(answer, part, hasFailed: refused != nil) else {
                throw Violation(.wrongReply, "\(txn.header.zxid): \(answer) for \(part)")
            }
            guard let refused, index >= refused, case .error(let code) = part else { continue }
            guard index == refused ? refusals.contains(code) : code == .runtimeInconsistency else {
                throw Violation(.falseError, "\(code.rawValue) for part \(index) of \(txn.header.zxid)")
            }
        }
    }

    // MARK: - Reads

    private func checkRead(
        _ expected: Expectation,
        _ code: ErrorCode,
        _ zxid: Zxid,
        _ reader: inout JuteReader,
        _ ledger: Ledger
    ) throws {
        switch expected {
        case .getData(let path):
            guard let node = try node(path, code, zxid, needed: Permissions.read, ledger) else { return }
            let data = try reader.bytes()
            guard data == node.data else { throw Violation(.wrongReply, "the data of \(path) at \(zxid)") }
            try checkStat(path, try Stat(from: &reader), node, zxid, ledger)
        case .exists(let path):
            guard let node = try node(path, code, zxid, needed: Permissions.read, ledger) else { return }
            try checkStat(path, try Stat(from: &reader), node, zxid, ledger)
        case .getACL(let path):
            let needed = Permissions.read | Permissions.admin
            guard let node = try node(path, code, zxid, needed: needed, ledger) else { return }
            let acl = try ACL.list(from: &reader)
            // Whoever may not change a list does not see whose passwords are in it.
            let hidden = (node.acl ?? []).contains { $0.identity.scheme == "digest" }
            guard hidden || acl == node.acl else { throw Violation(.wrongReply, "the ACL of \(path) at \(zxid)") }
            try checkStat(path, try Stat(from: &reader), node, zxid, ledger)
        case .getChildren(let path):
            guard try node(path, code, zxid, needed: Permissions.read, ledger) != nil else { return }
            var names: [String] = []
            for _ in 0..<(try reader.vectorCount() ?? 0) { names.append(try reader.string() ?? "") }
            names.sort()
            let expected = ledger.tree.children(of: path)
            guard names == expected else {
                throw Violation(.wrongReply, "the children of \(path) at \(zxid): \(names), expected \(expected)")
            }
        case .create, .delete, .setData, .setACL, .multi, .closeSession, .done:
            break
        }
    }

    /// The node that a read has found; nil when it was refused, and rightly.
    ///
    /// - Parameter needed: any of these permissions is enough.
    private func node(
        _ path: String,
        _ code: ErrorCode,
        _ zxid: Zxid,
        needed: Int32,
        _ ledger: Ledger
    ) throws(Violation) -> NaiveTree.Node? {
        let node = ledger.tree.nodes[path]
        guard zxid == ledger.seen else {
            throw Violation(.wrongReply, "\(path) was read at \(zxid), but \(ledger.seen) has come by")
        }
        switch code {
        case .ok:
            guard let node else { throw Violation(.wrongReply, "\(path) was read at \(zxid), but is not there") }
            guard grants(node, needed) else {
                throw Violation(.wrongReply, "\(path) was read at \(zxid) by \(address), which may not")
            }
            return node
        case .noNode:
            guard node == nil else { throw Violation(.wrongReply, "\(path) is missing at \(zxid)") }
        case .noAuth:
            guard let node, !grants(node, needed) else {
                throw Violation(.falseError, "\(path) was kept from \(address) at \(zxid)")
            }
        default:
            throw Violation(.falseError, "\(code.rawValue) to a read of \(path) at \(zxid)")
        }
        return nil
    }

    /// Whether the ACL lets this client read. Users of the scheme "digest" are only in lists that let everybody do so.
    private func grants(_ node: NaiveTree.Node, _ needed: Int32) -> Bool {
        (node.acl ?? []).contains { entry in
            guard entry.permissions & needed != 0 else { return false }
            let isInside = entry.identity.scheme == "ip" && address.hasPrefix("10.")
            return entry.identity.scheme == "world" || isInside
        }
    }

    private func checkStat(
        _ path: String,
        _ stat: Stat,
        _ node: NaiveTree.Node,
        _ zxid: Zxid,
        _ ledger: Ledger
    ) throws(Violation) {
        let children = ledger.tree.childCount(of: path)
        guard node.shows(stat, childCount: children) else {
            throw Violation(.wrongReply, "\(path) at \(zxid): \(stat), expected \(node.stat), \(children) children")
        }
    }
}
