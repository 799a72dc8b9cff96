internal import AviaryCore
internal import AviaryEnsemble
internal import AviaryStorage
internal import Zab
internal import ZooKeeperProtocol

/// Planted mistakes between a member and whatever is around it.
extension MemberProcess {
    /// A request as it reaches the core.
    func plantedFrame(_ frame: [UInt8]) -> [UInt8] {
        guard frame.count >= 8 else { return frame }
        switch run.planted {
        case .staleServerWelcomes where frame.count >= 28 && frame[0..<4].allSatisfy({ $0 == 0 }):
            // A ConnectRequest: version 0, then the last zxid that was seen.
            return Array(frame[..<4]) + [UInt8](repeating: 0, count: 8) + Array(frame[12...])
        case .watchesForgotten where frame[4..<8] == [0, 0, 0, 105]:
            return Array(frame[..<16]) + [UInt8](repeating: 0, count: 20)
        default:
            return frame
        }
    }

    /// The epoch that a member is told it has accepted.
    static func plantedAccepted(_ state: MemberState, _ planted: EnsemblePlantedFault?) -> Epoch {
        guard planted == .epochReused else { return state.accepted }
        return max(Epoch(state.accepted.rawValue - 1), state.report.lastZxid.epoch, .zero)
    }

    /// What leaves on a connection to a leader.
    func plantedSent(_ bytes: [UInt8], _ open: QuorumLink) -> [UInt8] {
        guard run.planted == .epochReused, open.end == .opener, machine.mirror.last.epoch < acceptedEpoch else {
            return bytes
        }
        return PlantedPackets.understate(bytes, currentEpoch: currentEpoch)
    }

    func planted(inPackets bytes: [UInt8], _ peer: ServerID?) -> [UInt8] {
        guard run.planted == .proposalsSwapped || run.planted == .proposalDamaged else { return bytes }
        guard member.isServing, run.random.oneIn(4) else { return bytes }
        return PlantedPackets.spoil(bytes, swaps: run.planted == .proposalsSwapped)
    }

    func plantTurn(at now: Now) {
        guard run.planted == .followerExpires, case .following(isSynced: true) = member.role else { return }
        plantedTurns += 1
        guard plantedTurns % 20 == 0, let client = clients.values.map(\.connection).min(by: { $0.slot < $1.slot })
        else {
            return
        }
        let close: [UInt8] = [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xf5]
        close.withUnsafeBytes { core.receive($0, from: client, at: now, into: &output) }
    }

    func plantOrder(_ order: StorageOrder) {
        switch order {
        case .storeAccepted(let epoch): acceptedEpoch = epoch
        case .storeCurrent(let epoch): currentEpoch = epoch
        default: break
        }
        switch (order, run.planted) {
        case (.storeCurrent, .epochStoredEarly):
            // In front of everything that has not begun.
            storageQueue.removeLast()
            storageQueue.insert(order, at: 0)
        case (.storeCurrent(let epoch), .newLeaderAckedEarly):
            if let last = machine.mirror.entries.last { promise(upTo: last.zxid) }
            // It is stored all the same; that report is kept back.
            unreported.append(.currentEpochStored(epoch))
        default:
            break
        }
    }
}
