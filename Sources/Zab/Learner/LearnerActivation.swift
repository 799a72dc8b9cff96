import ZooKeeperProtocol

/// Changes of the configuration, on the side of a learner (docs/protocol/quorum-protocol.md section 15).
extension Learner {
    /// A transaction may propose a configuration: it is known from here on, and in force once it is committed.
    mutating func note(
        configurationIn payload: UnsafeRawBufferPointer,
        state: inout PeerState,
        into output: inout ZabOutput
    ) {
        guard let configuration = ReconfigurationTxn.configuration(in: payload) else { return }
        proposal = configuration
        state.propose(configuration, into: &output)
    }

    /// COMMITANDACTIVATE: the configuration of the transaction comes into force.
    mutating func activateProposal(state: inout PeerState, into output: inout ZabOutput) {
        guard let configuration = proposal else { return }
        proposal = nil
        guard state.adopts(configuration) else { return }
        state.activate(configuration, into: &output)
    }

    /// UPTODATE: the configuration that NEWLEADER named is in force, unless the transaction that proposes it is not
    /// committed yet; so is one that was committed meanwhile.
    mutating func activateAnnounced(state: inout PeerState, into output: inout ZabOutput) {
        let committed = max(state.history.zxid(before: nextCommit), epoch.newLeaderZxid)
        if let configuration = announced {
            announced = nil
            if Zxid(configuration.version) > committed {
                proposal = configuration
            } else if state.adopts(configuration) {
                state.activate(configuration, into: &output)
            }
        }
        if let configuration = proposal, Zxid(configuration.version) <= committed {
            activateProposal(state: &state, into: &output)
        }
    }

    /// Ends the role when the configuration in force gives it to somebody else: no election is needed for that.
    mutating func checkRole(designatedLeader: ServerID?, state: borrowing PeerState) {
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
