import ZooKeeperProtocol

/// Why a server gives up what it is and looks for a leader.
struct RoleEnd: Error {
    var reason: String
    var level = ZabNote.Level.warning
    /// Set when it is known who leads next: no election.
    var successor: ServerID?

    init(_ reason: String, level: ZabNote.Level = .warning, successor: ServerID? = nil) {
        self.reason = reason
        self.level = level
        self.successor = successor
    }
}

/// A server that was elected: it finds a quorum, forms an epoch with it, brings everybody to its own history, and then
/// broadcasts (docs/protocol/quorum-protocol.md sections 7 to 11).
///
/// Each step of the epoch needs a quorum, this server included: of those that say which epochs they accepted
/// (`discovery`), of those that accept the new one (`electing`), of those that have the history (`synchronization`).
///
/// A class, because it is large and asked for something with every packet; nobody but its `Peer` holds it, or the
/// `ObserverMaster` of a peer.
final class Leader {
    enum Phase: Int, Comparable, Sendable {
        /// Waits for a quorum of FOLLOWERINFO.
        case discovery
        /// Stores the new epoch as accepted.
        case accepting
        /// Waits for a quorum of ACKEPOCH.
        case electing
        /// Stores the new epoch as current, and whatever of the log is not durable yet.
        case storing
        /// Waits for a quorum that has the history and NEWLEADER.
        case synchronization
        /// Serves.
        case broadcast

        static func < (left: Phase, right: Phase) -> Bool { left.rawValue < right.rawValue }
    }

    /// Which of this server's roles this is.
    let role: UInt64
    /// Where the log ended when this server was elected: the history that the epoch begins with.
    let historyEnd: Zxid
    /// The epoch that this history belongs to.
    let historyEpoch: Epoch

    @exclusivity(unchecked) var phase = Phase.discovery
    @exclusivity(unchecked) var phaseDeadline: Int64
    @exclusivity(unchecked) var epoch = Epoch.zero
    /// In order of arrival.
    @exclusivity(unchecked) var links: [LearnerLink]
    /// Known to be on a quorum.
    @exclusivity(unchecked) var committed = Zxid.zero
    @exclusivity(unchecked) var requirements: Requirements
    @exclusivity(unchecked) var confirmations = Confirmations()
    /// When the next PINGs are due.
    @exclusivity(unchecked) var pingAt: Int64
    /// Since when the followers are no quorum.
    @exclusivity(unchecked) var aloneSince: Int64?
    /// Voters that look for a leader, and were not heard of as followers since.
    @exclusivity(unchecked) var deserters: Set<ServerID> = []
    /// Proposed by this leader and not committed yet.
    @exclusivity(unchecked) var reconfiguration: PendingReconfiguration?
    /// Reconfigurations that have been committed, for learners that are still to hear of it.
    @exclusivity(unchecked) var activations: [Activated] = []
    /// How learners were brought up to date.
    @exclusivity(unchecked) var syncs = SyncCounts()
    /// In the batch that is under way something was proposed or acknowledged.
    @exclusivity(unchecked) var owesBatch = false
    /// Another server leads; this one hands on to observers what it learns (`ObserverMaster`).
    let isMaster: Bool

    /// Elected: opens discovery with the learners that came before we knew (`LeaderDiscovery`).
    init(state: borrowing PeerState, links: [LearnerLink], at time: Int64) {
        role = state.role
        historyEnd = state.history.logged
        historyEpoch = state.durable.currentEpoch
        phaseDeadline = time + state.options.initTime
        requirements = Requirements(state.configurations.current)
        pingAt = time + state.options.tick / 2
        self.links = links
        isMaster = false
    }

    /// Follows a leader of `epoch`, and does for observers what that would do.
    init(masterIn epoch: Epoch, state: borrowing PeerState, at time: Int64) {
        role = state.role
        historyEnd = state.history.applied
        historyEpoch = epoch
        phase = .broadcast
        phaseDeadline = .max
        self.epoch = epoch
        committed = state.history.applied
        requirements = Requirements(state.configurations.current)
        pingAt = time + state.options.tick / 2
        links = []
        isMaster = true
    }

    var isEstablished: Bool { phase == .broadcast }

    /// The last transaction that learners are told is committed. Before the epoch is established that is a promise for
    /// the moment when it will be: no learner serves before.
    var historyForLearners: Zxid { max(committed, historyEnd) }

    /// The first position that a learner has yet to be sent. One that is sent what the disk has needs whatever follows
    /// that, and would come too late if only a little were left of it.
    var neededFrom: Int {
        var first = Int.max
        for index in links.indices {
            switch links[index].phase {
            case .arrived, .introduced, .electing, .acknowledged: continue
            case .readingLog, .receivingSnapshot: return 0
            case .synchronizing, .storing, .synchronized, .serving:
                first = min(first, links[index].nextCommit, links[index].nextProposal)
            }
        }
        return first
    }

    // MARK: Links

    func index(of link: LinkID) -> Int? { links.firstIndex { $0.id == link } }

    func drop(_ link: LinkID, _ reason: String, level: ZabNote.Level = .warning, into output: inout ZabOutput) {
        guard let index = index(of: link) else { return }
        output.links.append(.close(link))
        let server = links[index].server
        forget(link, into: &output)
        output.note(
            level,
            "closing the link of a learner: \(reason)",
            [("link", "\(link)")] + (server == .none ? [] : [("peer", "\(server)")])
        )
    }

    /// A link is gone.
    func forget(_ link: LinkID, into output: inout ZabOutput) {
        guard let index = index(of: link) else { return }
        if links[index].phase == .serving { output.upcalls.append(.learnerGone(link)) }
        links.remove(at: index)
    }

    /// The followers that have come at least as far as `phase`, and this server: what is asked whether it is a quorum.
    func servers(from phase: LearnerLink.Phase, state: borrowing PeerState) -> Set<ServerID> {
        var servers: Set<ServerID> = [state.me]
        for link in links where link.phase >= phase && counts(link, state: state) { servers.insert(link.server) }
        return servers
    }

    /// Whether a learner counts as one of those who decide.
    ///
    /// One that comes as an observer may be a voter, of a configuration that it has not heard of: until there is a leader
    /// it cannot, and without it there may be none. What it says of epochs and that it has a history holds like anybody's;
    /// to acknowledge proposals it has to come back as a follower. One that has heard of all and observes never will.
    func counts(_ link: LearnerLink, state: borrowing PeerState) -> Bool {
        guard !link.isForgetful else { return false }
        let isUnaware = link.configurationVersion < state.configurations.lastSeen.version
        return link.isFollower || isUnaware && !isEstablished
    }

    // MARK: Packets

    /// A packet of a learner. What does not belong where the learner is ends its link.
    func process(
        _ packet: QuorumPacket,
        on link: LinkID,
        state: inout PeerState,
        at time: Int64,
        into output: inout ZabOutput
    ) throws(RoleEnd) {
        guard let index = index(of: link) else { return }
        links[index].heardAt = time
        switch (links[index].phase, packet.kind) {
        case (.arrived, .followerInfo), (.arrived, .observerInfo):
            try process(introduction: packet, index, state: &state, at: time, into: &output)
        case (.electing, .ackEpoch):
            try process(ackEpoch: packet, index, state: &state, at: time, into: &output)
        case (.storing, .ack):
            try process(newLeaderAck: packet, index, state: &state, at: time, into: &output)
        case (.synchronized, _), (.serving, _):
            try process(broadcast: packet, index, state: &state, at: time, into: &output)
        default:
            drop(link, "packet type \(packet.type) while \(links[index].phase)", into: &output)
        }
    }

    func writable(
        _ link: LinkID,
        credit: Int,
        state: borrowing PeerState,
        at time: Int64,
        into output: inout ZabOutput
    ) {
        guard let index = index(of: link) else { return }
        if credit > 0, links[index].phase < .storing { links[index].heardAt = time }
        links[index].credit = credit
        pump(link, state: state, at: time, into: &output)
    }
}
