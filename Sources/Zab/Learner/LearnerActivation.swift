import ZooKeeperProtocol

/// Changes of the configuration, on the side of a learner (docs/protocol/quorum-protocol.md section 15).
extension Learner {
    /// A transaction may propose a configuration: it is known from here on, and in force once it is committed.
    func note(
        configurationIn payload: UnsafeRawBufferPointer,
        state: inout PeerState,
        into output: inout ZabOutput
    ) {
        guard let configuration = ReconfigurationTxn.configuration(in: payload) else { return }
        state.propose(configuration, into: &output)
    }

    /// UPTODATE: a quorum has the history that the epoch began with, and so the configuration that NEWLEADER named is in
    /// force, unless it was proposed behind that and is not committed yet; then the one in front of it is.
    func activateAnnounced(state: inout PeerState, into output: inout ZabOutput) {
        let committed = max(state.history.zxid(before: nextCommit), epoch.newLeaderZxid)
        state.activateProposals(upTo: committed, into: &output)
    }

    /// Ends the role when the configuration in force gives it to somebody else: no election is needed for that.
    func checkRole(designatedLeader: ServerID?, state: borrowing PeerState) {
        guard refusal == nil, state.options.reconfigEnabled else { return }
        let successor = designatedLeader ?? leader
        guard successor != leader || state.isObserver != isObserver else { return }
        refusal = RoleEnd("the configuration in force changes roles", level: .info, successor: successor)
    }
}

/// Finds the configuration in a transaction of type reconfig.
enum ReconfigurationTxn {
    static func configuration(in payload: UnsafeRawBufferPointer) -> QuorumConfiguration? {
        // Session, cxid, zxid, time, then the type (section 17.1); nearly all are of another type.
        let typeOffset = 28
        guard payload.count >= typeOffset + 4,
            Int32(bigEndian: payload.loadUnaligned(fromByteOffset: typeOffset, as: Int32.self))
                == Operation.reconfig.rawValue,
            let txn = try? Txn(payload: payload), case .setData(_, let data?, _, _) = txn.body
        else { return nil }
        return try? QuorumConfiguration.parse(utf8: data)
    }
}
