internal import AviaryStorage
package import ZooKeeperProtocol

/// What was written and who knows of it: the other side of every check.
///
/// It follows the server from outside. Transactions come in as they are handed to the log; the naive tree follows what
/// clients are told, so that each reply can be held against the tree of its moment; and after a crash recovery has to come
/// out somewhere between the last zxid that anybody knows of and the last that was handed over.
package struct Ledger {
    /// All transactions of the history that counts, from zxid 1 on.
    private(set) var txns: [Txn] = []
    /// The tree after `seen`.
    package private(set) var tree: NaiveTree
    /// The highest zxid that any client was told of.
    package private(set) var seen = Zxid.zero
    /// Sessions whose end was handed to the log.
    private(set) var closed: Set<Int64> = []
    /// Paths of sequential nodes that some client was told of.
    private var sequenceNames: Set<String> = []

    package init() {
        tree = NaiveTree()
        tree.restoreFreshTree()
    }

    /// The last transaction handed to the log.
    package var lastSubmitted: Zxid { Zxid(Int64(txns.count)) }

    package func txn(at zxid: Zxid) -> Txn? {
        let index = Int(zxid.rawValue) - 1
        return txns.indices.contains(index) ? txns[index] : nil
    }

    package mutating func submit(_ txn: Txn) throws(Violation) {
        guard txn.header.zxid == lastSubmitted.next else {
            throw Violation(.zxidWentBack, "\(txn.header.zxid) was given to a transaction after \(lastSubmitted)")
        }
        guard Ledger.isAsked(txn) else {
            throw Violation(.inventedWrite, "\(txn.header.zxid) is a \(txn.body.type) that nobody asked for")
        }
        if case .closeSession = txn.body { closed.insert(txn.header.session.rawValue) }
        txns.append(txn)
    }

    /// Whether a client has asked for it (its cxid is none of 0), or it is of those that a server writes by itself.
    private static func isAsked(_ txn: Txn) -> Bool {
        switch txn.body {
        case .createSession, .delete(_, byContainerCheck: true): txn.header.cxid == 0
        case .closeSession: true
        case .error, .create, .delete, .setData, .setACL, .check, .multi: txn.header.cxid != 0
        }
    }

    /// A client was told something that is true as of `zxid`.
    package mutating func see(_ zxid: Zxid) throws(Violation) {
        guard zxid > seen else { return }
        guard zxid <= lastSubmitted else {
            throw Violation(.inventedWrite, "a client was told of \(zxid), the last transaction is \(lastSubmitted)")
        }
        seen = zxid
        try advance(to: zxid)
    }

    /// A client was told that its session exists.
    package mutating func see(session: Int64) throws(Violation) {
        guard tree.sessions[session] == nil else { return }
        let creation = txns[Int(seen.rawValue)...].first { txn in
            guard txn.header.session.rawValue == session, case .createSession = txn.body else { return false }
            return true
        }
        guard let creation else {
            throw Violation(.wrongSessions, "\(SessionID(session)) was accepted, but nobody opened it")
        }
        try see(creation.header.zxid)
    }

    /// How many transactions are in `tree`.
    private var applied = 0

    private mutating func advance(to zxid: Zxid) throws(Violation) {
        while applied < Int(zxid.rawValue) {
            try checkRemovals(txns[applied])
            do throws(RestoreError) { try tree.replay(txns[applied]) } catch {
                throw Violation(.wrongTree, "transaction \(applied + 1) cannot be applied: \(error)")
            }
            try noteSequenceNames(txns[applied].body)
            applied += 1
        }
    }

    /// What goes although nobody deletes it: ephemerals with their own session only, containers and TTL nodes only when
    /// they are empty.
    private func checkRemovals(_ txn: Txn) throws(Violation) {
        switch txn.body {
        case .closeSession(let paths):
            for path in paths ?? [] {
                let path = String(decoding: path, as: UTF8.self)
                guard let node = tree.nodes[path] else { continue }
                guard node.stat.ephemeralOwner == txn.header.session.rawValue else {
                    throw Violation(
                        .wrongSessions,
                        "\(txn.header.zxid): \(path) goes with \(txn.header.session), but is of "
                            + "\(SessionID(node.stat.ephemeralOwner))"
                    )
                }
            }
        case .delete(let path, byContainerCheck: true):
            let path = String(decoding: path, as: UTF8.self)
            guard let node = tree.nodes[path], node.mayGoByItself, tree.childCount(of: path) == 0 else {
                throw Violation(.inventedWrite, "\(txn.header.zxid): \(path) goes by itself, which it may not")
            }
        case .createSession, .error, .create, .delete, .setData, .setACL, .check, .multi:
            break
        }
    }

    /// Under parents that are never deleted no sequence number comes twice, whatever became of the node.
    private mutating func noteSequenceNames(_ body: TxnBody) throws(Violation) {
        switch body {
        case .create(let txn):
            let path = String(decoding: txn.path, as: UTF8.self)
            guard WorkloadGenerator.isSequenceName(path) else { return }
            guard sequenceNames.insert(path).inserted else { throw Violation(.sequenceReused, path) }
        case .multi(let parts):
            guard !parts.contains(where: { if case .error = $0 { true } else { false } }) else { return }
            for part in parts { try noteSequenceNames(part) }
        case .createSession, .closeSession, .error, .delete, .setData, .setACL, .check:
            return
        }
    }

    // MARK: - After a crash

    /// Recovery came out at `zxid`: holds what it loaded against what was written, and forgets what is lost for good.
    package mutating func recovered(at zxid: Zxid, _ found: NaiveTree, digest: UInt64?) throws(Violation) {
        guard zxid >= seen else {
            throw Violation(.acknowledgedLost, "recovered up to \(zxid), a client knows of \(seen)")
        }
        guard zxid <= lastSubmitted else {
            throw Violation(.inventedWrite, "recovered up to \(zxid), nothing was written after \(lastSubmitted)")
        }
        // It is served from now on.
        seen = zxid
        try advance(to: zxid)
        txns.removeLast(txns.count - Int(zxid.rawValue))
        closed = []
        for case let txn in txns {
            if case .closeSession = txn.body { closed.insert(txn.header.session.rawValue) }
        }
        try compare(found, digest: digest)
    }

    /// Holds a tree against the one at `seen`.
    package func compare(_ found: NaiveTree, digest: UInt64?) throws(Violation) {
        if found.sessions != tree.sessions {
            throw Violation(
                .wrongSessions,
                "sessions \(found.sessionsInWords), expected \(tree.sessionsInWords)"
            )
        }
        if let difference = found.difference(from: tree) {
            throw Violation(.wrongTree, "at \(seen): \(difference)")
        }
        if let digest, digest != tree.digest {
            throw Violation(.wrongDigest, "at \(seen): 0x\(String(digest, radix: 16))")
        }
        for (path, node) in tree.nodes.sorted(by: { $0.key < $1.key }) where node.isEphemeral {
            guard tree.sessions[node.stat.ephemeralOwner] != nil else {
                throw Violation(.wrongSessions, "\(path) outlives \(SessionID(node.stat.ephemeralOwner))")
            }
        }
    }
}
