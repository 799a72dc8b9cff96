import ZooKeeperProtocol

/// Finding a new epoch (docs/protocol/quorum-protocol.md section 7).
extension Leader {
    /// FOLLOWERINFO or OBSERVERINFO: who the learner is and which epoch it has accepted (`LeaderProcessFOLLOWERINFO`).
    func process(
        introduction packet: QuorumPacket,
        _ index: Int,
        state: inout PeerState,
        at time: Int64,
        into output: inout ZabOutput
    ) throws(RoleEnd) {
        let link = links[index].id
        if let refusal = links[index].introduce(packet, state: state) {
            try heedConfiguration(of: links[index], state: &state)
            return drop(link, refusal, into: &output)
        }
        try welcome(link, state: &state, at: time, into: &output)
    }

    /// A learner is known: goes on with whatever it can be told by now.
    func welcome(
        _ link: LinkID,
        state: inout PeerState,
        at time: Int64,
        into output: inout ZabOutput
    ) throws(RoleEnd) {
        guard let index = index(of: link) else { return }
        // It may have introduced itself when more was proposed.
        if let refusal = links[index].refusal(state: state) {
            try heedConfiguration(of: links[index], state: &state)
            return drop(link, refusal, into: &output)
        }
        let server = links[index].server
        // One connection a server: whoever comes back knows best that the old one is dead.
        for old in links where old.server == server && old.id != link {
            drop(old.id, "the learner connected anew", level: .info, into: &output)
        }
        deserters.remove(server)
        guard let current = self.index(of: link) else { return }
        if phase >= .electing {
            let accepted = links[current].acceptedEpoch
            if isMaster, accepted > epoch {
                return drop(link, "it has accepted epoch \(accepted), which is later than \(epoch)", into: &output)
            }
            if accepted > epoch, state.configurations.isListed(server) {
                state.latestAccepted = max(state.latestAccepted, accepted)
                // It may never follow this epoch. One voter less is one crash away from none too many, and an observer
                // would be away for as long as this server leads; the next epoch is one for both.
                if isEstablished {
                    throw RoleEnd("member \(server) has accepted epoch \(accepted), which is later than \(epoch)")
                }
            }
            sendLeaderInfo(current, into: &output)
        } else {
            try discover(state: &state, into: &output)
        }
    }

    /// A member has a newer configuration in force than this leader has ever seen: one that gave the members of the
    /// beginning its number, and was started with older files since. Who looks for a leader hears of it, who leads does
    /// not, and the member would be away for as long. It is worth one epoch, once.
    private func heedConfiguration(of link: LearnerLink, state: inout PeerState) throws(RoleEnd) {
        let version = link.configurationVersion
        guard isEstablished, !isMaster, state.options.reconfigEnabled, state.configurations.isListed(link.server),
            version > max(state.configurations.lastSeen.version, state.latestConfigurationVersion)
        else { return }
        state.latestConfigurationVersion = version
        throw RoleEnd("member \(link.server) has the configuration \(Zxid(version)), which is newer than ours")
    }

    /// A learner that waits for LEADERINFO turns out to have its memory.
    func noteMemory(
        of server: ServerID,
        state: inout PeerState,
        into output: inout ZabOutput
    ) throws(RoleEnd) {
        guard let index = links.firstIndex(where: { $0.server == server && $0.isForgetful }),
            links[index].phase == .introduced
        else { return }
        links[index].isForgetful = false
        try discover(state: &state, into: &output)
    }

    /// Proposes an epoch once a quorum has said what it accepted.
    ///
    /// Everybody that came counts for the maximum, voters alone for the quorum.
    func discover(state: inout PeerState, into output: inout ZabOutput) throws(RoleEnd) {
        guard phase == .discovery, state.configurations.isQuorum(servers(from: .introduced, state: state)) else {
            return
        }
        let accepted = links.lazy.filter { $0.phase >= .introduced }.map(\.acceptedEpoch)
        let latest = max(accepted.max() ?? .zero, state.durable.acceptedEpoch, state.latestAccepted)
        guard latest < Epoch.max else { throw RoleEnd("no epoch is left after \(latest)", level: .error) }
        epoch = latest.next
        phase = .accepting
        state.durable.order(accepted: epoch, into: &output)
    }

    /// The new epoch is stored as accepted: nobody hears of it before.
    func epochAccepted(state: inout PeerState, at time: Int64, into output: inout ZabOutput) {
        guard phase == .accepting else { return }
        phase = .electing
        phaseDeadline = time + state.options.initTime
        for index in links.indices where links[index].phase == .introduced {
            sendLeaderInfo(index, into: &output)
        }
        elect(state: &state, into: &output)
    }

    private func sendLeaderInfo(_ index: Int, into output: inout ZabOutput) {
        links[index].phase = .electing
        output.send(.leaderInfo, zxid: epoch.newLeaderZxid, on: links[index].id) { LeaderInfo().write(to: &$0) }
    }

    /// ACKEPOCH: the learner follows no earlier epoch any more, and says where its history ends
    /// (`LeaderProcessACKEPOCH`).
    func process(
        ackEpoch packet: QuorumPacket,
        _ index: Int,
        state: inout PeerState,
        at time: Int64,
        into output: inout ZabOutput
    ) throws(RoleEnd) {
        let link = links[index].id
        do throws(JuteError) {
            links[index].currentEpoch = try EpochAcknowledgement(data: packet.data).currentEpoch
        } catch {
            return drop(link, "unreadable ACKEPOCH (\(error))", into: &output)
        }
        links[index].lastZxid = packet.zxid
        if links[index].currentEpoch != nil {
            links[index].isForgetful = false
        } else if links[index].acceptedEpoch < epoch {
            links[index].isForgetful = true
        }
        // Until a quorum has agreed, a longer history than ours may hold what is committed.
        if phase == .electing, let currentEpoch = links[index].currentEpoch,
            (currentEpoch, packet.zxid) > (historyEpoch, historyEnd)
        {
            let theirs = "(\(currentEpoch), \(packet.zxid))"
            return drop(link, "its history \(theirs) is ahead of (\(historyEpoch), \(historyEnd))", into: &output)
        }
        links[index].phase = .acknowledged
        if phase >= .synchronization {
            synchronize(link, state: state, at: time, into: &output)
        } else {
            elect(state: &state, into: &output)
        }
    }

    /// Makes the epoch current once a quorum has accepted it from nobody else.
    ///
    /// Who had accepted this number before may have done so from another leader: it does not count.
    private func elect(state: inout PeerState, into output: inout ZabOutput) {
        guard phase == .electing else { return }
        var servers: Set<ServerID> = [state.me]
        for link in links where link.phase >= .acknowledged && counts(link, state: state) && link.currentEpoch != nil {
            servers.insert(link.server)
        }
        guard state.configurations.isQuorum(servers) else { return }
        phase = .storing
        state.durable.order(current: epoch, role: role, into: &output)
    }

    /// The epoch is current and our log is durable: the learners get its history.
    func epochStored(state: inout PeerState, at time: Int64, into output: inout ZabOutput) throws(RoleEnd) {
        guard phase == .storing else { return }
        phase = .synchronization
        phaseDeadline = time + state.options.initTime
        proposeFirstConfiguration(state: &state, into: &output)
        for link in links.filter({ $0.phase == .acknowledged }).map(\.id) {
            synchronize(link, state: state, at: time, into: &output)
        }
        try establish(state: &state, at: time, into: &output)
    }
}

extension LearnerLink {
    /// Takes in what FOLLOWERINFO or OBSERVERINFO says.
    ///
    /// - Returns: why the learner is refused; nil when it is welcome.
    mutating func introduce(_ packet: QuorumPacket, state: borrowing PeerState) -> String? {
        let info: LearnerInfo
        do throws(JuteError) { info = try LearnerInfo(data: packet.data) } catch {
            return "unreadable introduction (\(error))"
        }
        guard info.server != state.me else { return "it calls itself \(info.server), which is this server" }
        guard info.protocolVersion >= LearnerInfo.protocolVersion else {
            return "protocol version \(info.protocolVersion) is older than ZooKeeper 3.4"
        }
        configurationVersion = info.configurationVersion
        server = info.server
        if let refusal = refusal(state: state) { return refusal }
        // The epoch is what others will have to exceed: a senseless one would use up all that are left.
        guard packet.zxid.rawValue >= 0, packet.zxid.epoch < Epoch.max else {
            return "it has accepted epoch \(packet.zxid.epoch), which no leader proposed"
        }
        isObserver = packet.kind == .observerInfo
        acceptedEpoch = packet.zxid.epoch
        isForgetful = state.abstainers.contains(server)
        phase = .introduced
        return nil
    }

    /// Why a learner that has heard of a newer configuration is refused. That the one which it has in force is only
    /// proposed here is no reason: whoever hands over leadership may have told the learner first.
    func refusal(state: borrowing PeerState) -> String? {
        let version = state.configurations.lastSeen.version
        guard configurationVersion > version else { return nil }
        return "its configuration \(Zxid(configurationVersion)) is newer than ours, \(Zxid(version))"
    }
}
