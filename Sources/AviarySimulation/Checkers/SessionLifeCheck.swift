internal import ZooKeeperProtocol

/// Ephemerals are there exactly as long as their session, and a session ends only by its client or by a transaction of the
/// leader (P8).
package enum SessionLifeCheck {
    package static func check(_ history: History, _ committed: CommittedHistory) throws(Violation) {
        for entry in committed.entries {
            try checkOwners(entry, committed)
        }
        for (entry, time) in zip(history.entries, history.times) {
            switch entry {
            case .attached(_, let session, _, _, _, _):
                guard committed.sessions[session] != nil else {
                    throw Violation(.wrongSessions, "\(session) was accepted, but nobody opened it")
                }
            case .expired(_, let session):
                guard committed.isOver(session, by: time) else {
                    throw Violation(.wrongSessions, "\(session) was refused, although nothing ended it")
                }
            case .invoked, .replied, .lost, .event, .detached:
                break
            }
        }
    }

    private static func checkOwners(
        _ entry: CommittedHistory.Entry,
        _ committed: CommittedHistory
    ) throws(Violation) {
        let session = entry.txn.header.session
        switch entry.txn.body {
        case .create(let txn) where txn.isEphemeral:
            guard committed.hasSession(session, at: entry.zxid) else {
                throw Violation(
                    .wrongSessions,
                    "\(entry.zxid): \(String(decoding: txn.path, as: UTF8.self)) belongs to \(session), which is over"
                )
            }
        case .multi(let parts):
            for part in parts {
                if case .create(let txn) = part, txn.isEphemeral, !committed.hasSession(session, at: entry.zxid) {
                    throw Violation(.wrongSessions, "\(entry.zxid): an ephemeral of \(session), which is over")
                }
            }
        case .closeSession(let paths):
            for path in (paths ?? []).map({ String(decoding: $0, as: UTF8.self) }) {
                guard let node = committed.node(path, before: entry.zxid), node.stat.ephemeralOwner != session.rawValue
                else { continue }
                throw Violation(.wrongSessions, "\(entry.zxid): \(path) goes with \(session), and is not of it")
            }
        case .create, .createSession, .error, .delete, .setData, .setACL, .check:
            break
        }
    }
}
