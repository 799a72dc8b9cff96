package import ZooKeeperProtocol

/// The order within a session (P2, P3): replies come in the order of requests, zxids never go back over any number of
/// servers, effects are in the order of requests, and what took effect is a prefix of what was asked for on a connection.
package enum SessionOrderCheck {
    package static func check(_ history: History, _ committed: CommittedHistory) throws(Violation) {
        try checkReplies(history)
        for (session, operations) in writes(of: history).sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
            try checkEffects(session, operations, history, committed)
        }
    }

    private static func writes(of history: History) -> [SessionID: [History.Operation]] {
        var writes: [SessionID: [History.Operation]] = [:]
        for operation in history.operations where operation.request.isWrite {
            writes[operation.session, default: []].append(operation)
        }
        return writes
    }

    private static func checkReplies(_ history: History) throws(Violation) {
        struct Seen {
            var zxid = Zxid.zero
            var connection = 0
            /// The operation that was answered last on this connection.
            var index = -1
        }
        var sessions: [SessionID: Seen] = [:]
        for entry in history.entries {
            switch entry {
            case .replied(let index):
                let operation = history.operations[index]
                guard let reply = operation.reply else { continue }
                var seen = sessions[operation.session] ?? Seen()
                if operation.connection != seen.connection { seen.index = -1 }
                guard operation.connection >= seen.connection, index > seen.index else {
                    throw Violation(
                        .sessionOrder,
                        "xid \(operation.xid) of \(operation.session) was answered behind xid "
                            + "\(history.operations[max(seen.index, 0)].xid)"
                    )
                }
                seen.connection = operation.connection
                seen.index = index
                if reply.zxid.rawValue > 0 {
                    try check(reply.zxid, after: seen.zxid, operation.session)
                    seen.zxid = reply.zxid
                }
                sessions[operation.session] = seen
            case .event(_, let session, let event):
                guard event.zxid.rawValue > 0 else { continue }
                try check(event.zxid, after: sessions[session]?.zxid ?? .zero, session)
                sessions[session, default: Seen()].zxid = event.zxid
            case .invoked, .lost, .attached, .detached, .expired:
                break
            }
        }
    }

    private static func check(_ zxid: Zxid, after last: Zxid, _ session: SessionID) throws(Violation) {
        guard zxid >= last else { throw Violation(.zxidWentBack, "\(session) was told of \(zxid) after \(last)") }
    }

    private static func checkEffects(
        _ session: SessionID,
        _ operations: [History.Operation],
        _ history: History,
        _ committed: CommittedHistory
    ) throws(Violation) {
        var zxids: [Int32: Zxid] = [:]
        var lastXid: Int32 = 0
        for entry in committed.entries(of: session) where entry.txn.header.cxid != 0 {
            let header = entry.txn.header
            zxids[header.cxid] = header.zxid
            if case .error = entry.txn.body { continue }
            guard header.cxid > lastXid else {
                throw Violation(.sessionOrder, "xid \(header.cxid) of \(session) took effect behind xid \(lastXid)")
            }
            lastXid = header.cxid
        }
        // The first write of a connection that nothing became of.
        var missing: History.Operation?
        var connection = 0
        for operation in operations {
            if operation.connection != connection {
                connection = operation.connection
                missing = nil
            }
            if zxids[operation.xid] == nil {
                if operation.reply == nil, missing == nil, !history.mayBeRefused(operation) { missing = operation }
            } else if let missing {
                throw Violation(
                    .sessionOrder,
                    "xid \(operation.xid) of \(session) took effect, xid \(missing.xid) in front of it did not"
                )
            }
        }
    }
}
