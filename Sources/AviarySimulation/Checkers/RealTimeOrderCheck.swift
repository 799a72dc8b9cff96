internal import ZooKeeperProtocol

/// Writes, and reads behind a sync, take effect between their request and their reply (P1, P9).
///
/// The order of effects is that of zxids. So it is enough that a write gets a zxid above everything that anybody was told
/// of before it was asked for, and that a read behind a sync shows at least what anybody was told of before that sync.
package enum RealTimeOrderCheck {
    package static func check(_ history: History, _ committed: CommittedHistory) throws(Violation) {
        // Counts transactions: a new leader answers with the zxid of its epoch before it has one of its own.
        var seen = 0
        var seenAtInvocation = [Int](repeating: 0, count: history.operations.count)
        for entry in history.entries {
            switch entry {
            case .invoked(let index):
                seenAtInvocation[index] = seen
            case .replied(let index):
                guard let reply = history.operations[index].reply, reply.zxid.rawValue > 0 else { continue }
                seen = max(seen, committed.position(of: reply.zxid))
            case .lost, .event, .attached, .detached, .expired:
                break
            }
        }
        try checkWrites(history, committed, seenAtInvocation)
        try checkSyncedReads(history, committed, seenAtInvocation)
    }

    private static func checkWrites(
        _ history: History,
        _ committed: CommittedHistory,
        _ seenAtInvocation: [Int]
    ) throws(Violation) {
        for (index, operation) in history.operations.enumerated() where operation.request.isWrite {
            guard let reply = operation.reply, let header = committed.entry(at: reply.zxid)?.txn.header,
                header.cxid == operation.xid, header.session == operation.session
            else { continue }
            guard committed.position(of: reply.zxid) > seenAtInvocation[index] else {
                throw Violation(
                    .notLinearizable,
                    "xid \(operation.xid) of \(operation.session) got \(reply.zxid), which somebody had been told of before"
                )
            }
        }
    }

    private static func checkSyncedReads(
        _ history: History,
        _ committed: CommittedHistory,
        _ seenAtInvocation: [Int]
    ) throws(Violation) {
        for (read, sync) in syncedReads(history) {
            let operation = history.operations[read]
            let floor = seenAtInvocation[sync]
            guard let reply = operation.reply, committed.position(of: reply.zxid) < floor else { continue }
            throw Violation(
                .notLinearizable,
                "xid \(operation.xid) of \(operation.session) read \(reply.zxid) behind a sync, before which "
                    + "somebody had been told of \(committed.entries[floor - 1].zxid)"
            )
        }
    }

    /// Reads that were answered behind a sync on the same connection that went well, by index, with the last such sync.
    static func syncedReads(_ history: History) -> [(read: Int, sync: Int)] {
        struct Connection: Hashable {
            var session: SessionID
            var number: Int
        }
        var syncs: [Connection: Int] = [:]
        var reads: [(read: Int, sync: Int)] = []
        for (index, operation) in history.operations.enumerated() {
            guard let reply = operation.reply else { continue }
            let connection = Connection(session: operation.session, number: operation.connection)
            if case .sync = operation.request {
                if reply.error == .ok { syncs[connection] = index }
            } else if operation.request.isRead, reply.error == .ok || reply.error == .noNode,
                let sync = syncs[connection]
            {
                reads.append((index, sync))
            }
        }
        return reads
    }
}
