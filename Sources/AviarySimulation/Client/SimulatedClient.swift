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
        case create
        case getData(String)
        case exists(String)
        case getChildren(String)
        case getACL(String)
        case closeSession
        /// A write whose reply says nothing that is looked at but its zxid.
        case write
        /// Whatever the answer is.
        case any
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

    package func receive(_ frame: [UInt8], _ ledger: inout Ledger) throws(Violation) {
        do {
            try frame.withUnsafeBytes { bytes in
                var reader = JuteReader(bytes)
                switch phase {
                case .connecting(let renews): try readConnectResponse(&reader, renews: renews, &ledger)
                case .connected: try readReply(&reader, &ledger)
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

    private func readReply(_ reader: inout JuteReader, _ ledger: inout Ledger) throws {
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
        try check(expected, code, xid, zxid, &reader, &ledger)
    }

    private func check(
        _ expected: Expectation,
        _ code: ErrorCode,
        _ xid: Int32,
        _ zxid: Zxid,
        _ reader: inout JuteReader,
        _ ledger: inout Ledger
    ) throws {
        switch expected {
        case .create:
            guard code == .ok else { return }
            try checkOwnTxn(xid, zxid, ledger)
            let path = try reader.string() ?? ""
            guard let node = ledger.tree.nodes[path], node.stat.czxid == zxid else {
                throw Violation(.wrongReply, "\(path) was created by \(zxid), but is not there")
            }
        case .write:
            if code == .ok { try checkOwnTxn(xid, zxid, ledger) }
        case .closeSession:
            guard code == .ok else { return }
            try checkOwnTxn(xid, zxid, ledger)
            guard ledger.tree.sessions[session] == nil else {
                throw Violation(.wrongSessions, "\(SessionID(session)) was closed, but is there")
            }
            forgetSession()
        case .getData(let path):
            guard let node = try node(path, code, zxid, ledger) else { return }
            let data = try reader.bytes()
            guard data == node.data else { throw Violation(.wrongReply, "the data of \(path) at \(zxid)") }
            try checkStat(path, try Stat(from: &reader), node, zxid)
        case .exists(let path):
            guard let node = try node(path, code, zxid, ledger) else { return }
            try checkStat(path, try Stat(from: &reader), node, zxid)
        case .getACL(let path):
            guard let node = try node(path, code, zxid, ledger) else { return }
            let acl = try ACL.list(from: &reader)
            // Whoever may not change a list does not see whose passwords are in it.
            let hidden = (node.acl ?? []).contains { $0.identity.scheme == "digest" }
            guard hidden || acl == node.acl else { throw Violation(.wrongReply, "the ACL of \(path) at \(zxid)") }
            try checkStat(path, try Stat(from: &reader), node, zxid)
        case .getChildren(let path):
            guard try node(path, code, zxid, ledger) != nil else { return }
            var names: Set<String> = []
            for _ in 0..<(try reader.vectorCount() ?? 0) { names.insert(try reader.string() ?? "") }
            let prefix = path + "/"
            let expected = Set(
                ledger.tree.nodes.keys.lazy.filter { $0.hasPrefix(prefix) }.map { String($0.dropFirst(prefix.count)) }
                    .filter { !$0.contains("/") }
            )
            guard names == expected else {
                throw Violation(.wrongReply, "the children of \(path) at \(zxid): \(names), expected \(expected)")
            }
        case .any:
            break
        }
    }

    /// The zxid of a write's reply is that of the very transaction that it asked for.
    private func checkOwnTxn(_ xid: Int32, _ zxid: Zxid, _ ledger: Ledger) throws(Violation) {
        guard let header = ledger.txn(at: zxid)?.header, header.session.rawValue == session, header.cxid == xid else {
            throw Violation(.wrongReply, "\(zxid) is not what xid \(xid) of \(SessionID(session)) has written")
        }
    }

    /// The node that a read has found; nil when it may not tell.
    private func node(
        _ path: String,
        _ code: ErrorCode,
        _ zxid: Zxid,
        _ ledger: Ledger
    ) throws(Violation) -> NaiveTree.Node? {
        let node = ledger.tree.nodes[path]
        switch code {
        case .ok:
            guard let node, zxid == ledger.seen else {
                throw Violation(.wrongReply, "\(path) was read at \(zxid), but is not there")
            }
            return node
        case .noNode where node != nil && zxid == ledger.seen:
            throw Violation(.wrongReply, "\(path) is missing at \(zxid)")
        default:
            return nil
        }
    }

    private func checkStat(_ path: String, _ stat: Stat, _ node: NaiveTree.Node, _ zxid: Zxid) throws(Violation) {
        let stored = node.stat
        let isSame =
            stat.czxid == stored.czxid && stat.mzxid == stored.mzxid && stat.pzxid == stored.pzxid
            && stat.ctime == stored.ctime && stat.mtime == stored.mtime && stat.version == stored.version
            && stat.aversion == stored.aversion && Int(stat.dataLength) == node.data?.count ?? 0
            && stat.ephemeralOwner == max(stored.ephemeralOwner, 0)
        guard isSame else { throw Violation(.wrongReply, "\(path) at \(zxid): \(stat), expected \(stored)") }
    }
}
