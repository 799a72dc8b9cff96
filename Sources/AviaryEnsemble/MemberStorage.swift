package import AviaryCore
package import AviaryStorage
internal import Zab
package import ZooKeeperProtocol

/// What the disk says.
extension Member {
    /// A report of the storage worker, in the order of the orders.
    ///
    /// How much room there is on the disk is the caller's to tell the core.
    package func storageReported(
        _ report: StorageReport,
        _ core: inout ServerCore,
        at now: Now,
        into output: inout Output
    ) {
        switch report {
        case .durable(let log):
            giveBack(log.batches)
            tell(&core, at: now, into: &output) { peer, zab in peer.stored(upTo: log.durable, at: now, into: &zab) }
        case .acceptedEpochStored(let epoch):
            tell(&core, at: now, into: &output) { peer, zab in
                peer.epochStored(accepted: epoch, at: now, into: &zab)
            }
        case .currentEpochStored(let epoch):
            tell(&core, at: now, into: &output) { peer, zab in
                peer.epochStored(current: epoch, at: now, into: &zab)
            }
        case .truncated(let zxid, _, _):
            guard core.lastProcessedZxid <= zxid else { return reload(.truncated(zxid)) }
            tell(&core, at: now, into: &output) { peer, zab in peer.truncated(to: zxid, at: now, into: &zab) }
        case .snapshotBytesWritten(let piece):
            giveBack(piece)
        case .snapshotInstalled(let zxid):
            incoming = nil
            core.restored(upTo: zxid)
            let configuration = core.storedConfiguration.flatMap { try? QuorumConfiguration.parse(utf8: $0) }
            tell(&core, at: now, into: &output) { peer, zab in
                peer.snapshotInstalled(zxid, configuration: configuration, at: now, into: &zab)
            }
        case .snapshotFailed(let error):
            note(.error, "the leader's snapshot cannot be stored", [("reason", "\(error)")])
            guard incoming != nil else { return }
            incoming = nil
            reload(.snapshotFailed)
        case .warning:
            break
        }
    }

    /// What the peer is told once the tree is as the disk has it.
    enum AfterReload {
        case truncated(Zxid)
        case snapshotFailed
    }

    /// The tree holds what the disk does not: it must be loaded again.
    func reload(_ reason: AfterReload) {
        invariant(afterReload == nil, "two reloads at a time")
        afterReload = reason
        orders.wantsReload = true
    }

    /// The tree was loaded again.
    ///
    /// - Parameter lastZxid: what recovery found last.
    package func reloaded(
        upTo lastZxid: Zxid,
        _ core: inout ServerCore,
        at now: Now,
        into output: inout Output
    ) {
        guard let reason = afterReload else { return }
        afterReload = nil
        core.restored(upTo: lastZxid)
        tell(&core, at: now, into: &output) { peer, zab in
            switch reason {
            case .truncated(let zxid): peer.truncated(to: min(zxid, lastZxid), at: now, into: &zab)
            case .snapshotFailed: peer.snapshotFailed(at: now, into: &zab)
            }
        }
    }
}
