internal import AviaryCore
internal import AviaryEnsemble
internal import AviaryStorage
internal import Zab
internal import ZooKeeperProtocol

/// What the history of a run reached.
extension EnsembleRun {
    func countHistory() {
        let committed = observer.committed
        var done: [SessionID: Set<Int32>] = [:]
        for entry in committed.entries { done[entry.txn.header.session, default: []].insert(entry.txn.header.cxid) }
        var synced: Set<SessionID> = []
        for operation in recorder.history.operations {
            counts[.operations] += 1
            if operation.request.isWrite {
                if operation.reply?.error == .ok { counts[.acknowledged] += 1 }
                if operation.reply?.error == .systemError { counts[.writesRefused] += 1 }
                if operation.reply == nil {
                    let isDone = done[operation.session]?.contains(operation.xid) == true
                    counts[isDone ? .ambiguousDone : .ambiguousLost] += 1
                }
            }
            if case .reconfigure = operation.request, let reply = operation.reply, reply.error != .ok {
                counts[.reconfigurationsRefused] += 1
            }
            if case .sync = operation.request { synced.insert(operation.session) }
            if operation.request.isRead, synced.contains(operation.session) { counts[.syncedReads] += 1 }
        }
        for entry in recorder.history.entries {
            switch entry {
            case .event(_, _, let event):
                counts[.eventsTold] += 1
                if event.zxid.rawValue < 0 { counts[.eventsCaughtUp] += 1 }
            case .attached(_, _, _, _, let isNew, _): if !isNew { counts[.sessionsMoved] += 1 }
            case .expired: counts[.sessionsRefused] += 1
            case .invoked, .replied, .lost, .detached: break
            }
        }
        for entry in committed.entries {
            if case .error(.sessionMoved) = entry.txn.body { counts[.sessionMovedErrors] += 1 }
        }
    }
}
