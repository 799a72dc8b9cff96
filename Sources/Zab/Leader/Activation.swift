import ZooKeeperProtocol

/// A configuration that was proposed and is not committed yet.
struct PendingReconfiguration: Sendable {
    var zxid: Zxid
    var configuration: QuorumConfiguration
}

/// A configuration that came into force under this leader.
struct Activated: Sendable {
    var zxid: Zxid
    var designatedLeader: ServerID
}

/// Changes of the configuration, on the side of the leader (docs/protocol/quorum-protocol.md section 15).
extension Leader {
    /// A reconfiguration was proposed: from here on every decision needs both quorums.
    func propose(
        _ configuration: QuorumConfiguration,
        at zxid: Zxid,
        state: inout PeerState,
        into output: inout ZabOutput
    ) {
        invariant(reconfiguration == nil, "a reconfiguration at \(zxid) while another is under way")
        reconfiguration = PendingReconfiguration(zxid: zxid, configuration: configuration)
        state.configurations.add(configuration)
        requirements.add(configuration, from: zxid)
        output.upcalls.append(.configuration(configuration, isCommitted: false))
    }

    /// A reconfiguration has its quorums.
    ///
    /// A leader that the new configuration does not want, or has elsewhere, tells everybody who is to lead and commits
    /// nothing more: what it has proposed behind this the next one finds in its own log.
    func activate(
        _ pending: PendingReconfiguration,
        acked: [(ServerID, Zxid)],
        state: inout PeerState,
        at time: Int64,
        into output: inout ZabOutput
    ) throws(RoleEnd) {
        let leader = designatedLeader(under: pending.configuration, zxid: pending.zxid, acked: acked, state: state)
        reconfiguration = nil
        committed = pending.zxid
        requirements.activateNext()
        activations.append(Activated(zxid: pending.zxid, designatedLeader: leader))
        state.activate(pending.configuration, into: &output)
        state.apply(upTo: pending.zxid, into: &output)
        // Who leads next has to be told; the links end with it, and what is expected on them.
        if leader != state.me { for index in links.indices { links[index].expectNoSync() } }
        pumpAll(state: state, at: time, into: &output)
        if leader != state.me {
            let reason = "configuration \(pending.configuration.versionText) is led by \(leader)"
            throw RoleEnd(reason, level: .info, successor: leader)
        }
    }

    /// This server if the new configuration has it where it is; else whichever of its voters has acknowledged most.
    private func designatedLeader(
        under configuration: QuorumConfiguration,
        zxid: Zxid,
        acked: [(ServerID, Zxid)],
        state: borrowing PeerState
    ) -> ServerID {
        let me = state.me
        if configuration.isVoter(me),
            configuration.member(me)?.addresses == state.configurations.current.member(me)?.addresses
        {
            return me
        }
        let candidates = acked.filter { $0.0 != me && $0.1 >= zxid && configuration.isVoter($0.0) }
        return candidates.max { ($0.1, $1.0) < ($1.1, $0.0) }?.0 ?? me
    }

    /// Who leads under the configuration that `zxid` activated, for a learner that was in sync before.
    func designatedLeader(activatedBy zxid: Zxid, for link: LearnerLink) -> ServerID? {
        guard zxid > link.historyEnd else { return nil }
        return activations.last { $0.zxid == zxid }?.designatedLeader
    }

    // MARK: Beginning of an epoch

    /// A configuration from a file that no reconfiguration has touched gets a version, so that all have the same
    /// (section 2.6).
    func proposeFirstConfiguration(state: inout PeerState, into output: inout ZabOutput) {
        guard state.options.reconfigEnabled, state.configurations.current.version == 0,
            state.configurations.proposed == nil
        else { return }
        let configuration = state.configurations.current.with(version: epoch.newLeaderZxid.rawValue)
        state.configurations.add(configuration)
        output.upcalls.append(.configuration(configuration, isCommitted: false))
    }

    /// A quorum has NEWLEADER, and with it the configuration that this named: it comes into force.
    func activateFirstConfiguration(state: inout PeerState, into output: inout ZabOutput) throws(RoleEnd) {
        guard let configuration = state.configurations.proposed else { return }
        state.activate(configuration, into: &output)
        requirements = Requirements(configuration)
        guard configuration.isVoter(state.me) else {
            throw RoleEnd("configuration \(configuration.versionText) does not let this server lead", level: .info)
        }
    }
}
