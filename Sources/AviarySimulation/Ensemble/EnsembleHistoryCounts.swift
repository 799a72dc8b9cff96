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
        for operation in recorder.history.operations {
            counts[.operations] += 1
            if operation.request.changesTree {
                counts[.writes] += 1
                if let reply = operation.reply, reply.error == .ok, reply.answer.isDone { counts[.acknowledged] += 1 }
                if operation.reply?.error == .systemError { counts[.writesRefused] += 1 }
                if operation.reply == nil {
                    let isDone = done[operation.session]?.contains(operation.xid) == true
                    counts[isDone ? .ambiguousDone : .ambiguousLost] += 1
                }
            }
            if case .reconfigure = operation.request, let reply = operation.reply, reply.error != .ok {
                counts[.reconfigurationsRefused] += 1
            }
        }
        counts[.syncedReads] += RealTimeOrderCheck.syncedReads(recorder.history).count
        var servers: [SessionID: Int] = [:]
        for entry in recorder.history.entries {
            switch entry {
            case .event(_, _, let event):
                counts[.eventsTold] += 1
                if event.zxid.rawValue < 0 { counts[.eventsCaughtUp] += 1 }
            case .attached(_, let session, _, let server, let isNew, _):
                if !isNew { counts[servers[session] == server ? .sessionsResumed : .sessionsMoved] += 1 }
                servers[session] = server
            case .expired: counts[.sessionsRefused] += 1
            case .invoked, .replied, .lost, .detached: break
            }
        }
        for entry in committed.entries {
            if case .error(.sessionMoved) = entry.txn.body { counts[.sessionMovedErrors] += 1 }
        }
        countWrites()
    }

    /// What became of what was asked for.
    private func countWrites() {
        var asked: [SessionID: [Int32: Request]] = [:]
        for operation in recorder.history.operations where operation.request.changesTree {
            asked[operation.session, default: [:]][operation.xid] = operation.request
        }
        for entry in observer.committed.entries {
            let header = entry.txn.header
            if case .delete(_, byContainerCheck: true) = entry.txn.body { counts[.swept] += 1 }
            guard let request = asked[header.session]?[header.cxid] else { continue }
            if case .error = entry.txn.body { continue }
            switch request {
            case .multi(let parts):
                let hasFailed = CommittedHistory.hasFailed(entry.txn.body)
                counts[hasFailed ? .multisFailed : .multisDone] += 1
                if hasFailed { continue }
                for part in parts { countDone(part) }
            default:
                countDone(request)
            }
            counts[.writesDone] += 1
        }
    }

    private func countDone(_ request: Request) {
        switch request {
        case .create(_, _, let kind):
            counts[.createsDone] += 1
            if kind.isSequential { counts[.sequential] += 1 }
        case .setData(_, _, let version):
            counts[.setsDone] += 1
            if version != -1 { counts[.conditional] += 1 }
        case .delete:
            counts[.deletesDone] += 1
        case .check, .multi, .reconfigure, .closeSession, .getData, .exists, .getChildren, .sync, .setWatches,
            .addWatch, .ping:
            break
        }
    }
}
