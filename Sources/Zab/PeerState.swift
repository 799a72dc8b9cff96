package import ZooKeeperProtocol

/// What a server has on disk when it starts.
package struct DurableState: Sendable {
    /// The end of the log.
    package var lastZxid: Zxid
    package var acceptedEpoch: Epoch
    package var currentEpoch: Epoch
    /// False when its data was lost: it has no vote until a leader that others follow has synchronized it.
    package var remembersAll: Bool
    /// How far the log reached that a leader's snapshot took the place of, if no more than that is forgotten: it may not
    /// be elected, but it has a vote for whoever has as much.
    package var promised: HistoryEnd?

    package init(
        lastZxid: Zxid,
        acceptedEpoch: Epoch,
        currentEpoch: Epoch,
        remembersAll: Bool = true,
        promised: HistoryEnd? = nil
    ) {
        self.lastZxid = lastZxid
        self.acceptedEpoch = acceptedEpoch
        self.currentEpoch = currentEpoch
        self.remembersAll = remembersAll
        self.promised = promised
    }
}

/// What a peer keeps from role to role.
struct PeerState: ~Copyable {
    let options: PeerOptions
    var configurations: JointConfiguration
    var history: History
    var durable: Durability
    var links = ElectionLinks()
    /// Voters that said when they were last heard of that they have lost their memory.
    var abstainers: Set<ServerID> = []
    /// The latest epoch that a member had accepted when it came to follow an earlier one of this server: the next that
    /// this server proposes is later, whether or not that member is there in time.
    var latestAccepted = Epoch.zero
    /// The newest configuration that this server gave leadership away for.
    var latestConfigurationVersion: Int64 = 0
    var random: SplitMix64
    /// Counts roles, so that what the disk answers to one is not taken for an answer to the next.
    var role: UInt64 = 0
    /// Where the log ended when a snapshot began to replace it, and what was proposed in it.
    private var logBeforeSnapshot = Zxid.zero
    private var proposalsBeforeSnapshot: [QuorumConfiguration] = []
    /// Where the snapshot ends that is being received.
    private(set) var snapshotZxid = Zxid.zero
    /// More inputs come at once (`Peer.beginBatch`).
    var isInBatch = false
    /// Takes part in nothing, as if it did not run.
    var isWithdrawn = false
    private var lastLink: UInt64 = 1 << 63

    init(options: PeerOptions, configuration: QuorumConfiguration, durable: DurableState, seed: UInt64) {
        self.options = options
        configurations = JointConfiguration(current: configuration)
        history = History(
            last: durable.lastZxid,
            bound: History.Bound(count: options.recentCount, bytes: options.recentBytes)
        )
        self.durable = Durability(durable)
        random = SplitMix64(seed: seed)
    }

    var me: ServerID { options.me }
    var isVoter: Bool { configurations.isVoter(me) }

    /// Observers are those that the configuration in force calls so; who is in no configuration takes part without a
    /// vote, as a follower does (section 15, 4).
    var isObserver: Bool { configurations.current.observers.contains(me) }

    var electorate: Electorate { Electorate(configurations: configurations, links: links) }

    /// What this server may do in an election.
    var standing: Election.Standing {
        switch durable.memory {
        // Others may take it for a voter that does not take itself for one.
        case .complete where !isVoter, .promised where !isVoter: return .onlooker
        case .complete: return .candidate(HistoryEnd(epoch: durable.currentEpoch, zxid: history.logged))
        case .promised(let end): return .elector(end)
        case .lost: return .latecomer
        }
    }

    /// The epoch that a leader has to have formed for this server to follow it; nil when it may help to form one.
    ///
    /// Whoever does not know what it promised must not be one of the quorum that decides what was not decided: it may
    /// be asked for the one copy that it has lost.
    func requiredEpoch(under vote: Vote) -> Epoch? {
        switch standing {
        case .candidate, .onlooker: nil
        case .elector(let end):
            HistoryEnd(epoch: vote.peerEpoch, zxid: vote.zxid) >= end ? nil : vote.peerEpoch
        case .latecomer: vote.peerEpoch
        }
    }

    /// Whom an observer asks: followers in any order, so that they share the work, and the leader where none of them
    /// answers. Twice, because one that is not in sync with its leader yet closes the link.
    mutating func masters(under leader: ServerID) -> [ServerID] {
        let followers = configurations.current.voters.filter { $0 != leader }.shuffled(using: &random)
        return followers + followers + [leader]
    }

    /// A name for a connection that this side opens; the listener's have the high bit clear.
    mutating func nextLink() -> LinkID {
        lastLink += 1
        return LinkID(lastLink)
    }

    /// Hands the log everything that has been received.
    mutating func logAll(into output: inout ZabOutput) {
        log(to: history.end, into: &output)
    }

    mutating func log(to position: Int, into output: inout ZabOutput) {
        var next = history.loggedEnd
        while next < position {
            output.storage.append(.append(history.zxid(at: next)))
            next += 1
        }
        if position > history.loggedEnd { history.markLogged(to: position) }
    }

    // MARK: Snapshots of a leader

    /// What the disk and the tree hold is about to be replaced; until it is, nobody knows what this server has.
    mutating func beginSnapshot(_ zxid: Zxid, from link: LinkID, into output: inout ZabOutput) {
        logBeforeSnapshot = history.logged
        snapshotZxid = zxid
        proposalsBeforeSnapshot = configurations.takeProposals()
        history.reset(to: zxid)
        durable.order(snapshotFrom: link)
        output.links.append(.receiveSnapshot(link, zxid: zxid))
    }

    /// The snapshot and nothing else is what a restart finds.
    ///
    /// - Parameter configuration: what it holds of the members. That need not be committed: it may be the last that a
    ///   leader found in its own log.
    mutating func snapshotInstalled(
        _ zxid: Zxid,
        configuration: QuorumConfiguration?,
        into output: inout ZabOutput
    ) {
        durable.snapshotInstalled(zxid, inPlaceOf: logBeforeSnapshot)
        // It says itself where it ends; what was announced is only what the leader meant to send.
        if history.floor != zxid { history.reset(to: zxid) }
        let previous = proposalsBeforeSnapshot.last
        proposalsBeforeSnapshot = []
        if let configuration, adopts(configuration), Zxid(configuration.version) <= zxid {
            configurations.add(configuration)
        }
        tellProposal(insteadOf: previous, into: &output)
    }

    /// The disk is as it was, and the tree was loaded from it again: what was proposed may still be decided.
    mutating func snapshotFailed(into output: inout ZabOutput) {
        durable.snapshotFailed()
        history.reset(to: logBeforeSnapshot)
        // What came with the snapshot is in no log of this server.
        let previous = configurations.takeProposals().last
        for configuration in proposalsBeforeSnapshot { configurations.add(configuration) }
        proposalsBeforeSnapshot = []
        configurations.forget(after: history.logged.rawValue)
        tellProposal(insteadOf: previous, into: &output)
    }

    // MARK: Configurations

    /// Whether a configuration that another server knows is to be taken over.
    func adopts(_ configuration: QuorumConfiguration) -> Bool {
        options.reconfigEnabled && configuration.version > configurations.current.version
    }

    /// A newer configuration was proposed: from here on every decision needs its quorum, too.
    mutating func propose(_ configuration: QuorumConfiguration, into output: inout ZabOutput) {
        guard adopts(configuration) else { return }
        configurations.add(configuration)
        output.upcalls.append(.configuration(configurations.lastSeen, isCommitted: false))
    }

    /// The newest configuration that the leader of this epoch knows.
    ///
    /// The leader's history has taken the place of ours, so a later one that only this server knew of is in neither. An
    /// earlier one is in both, and stays until it is known which of them is in force.
    mutating func takeLastSeen(_ configuration: QuorumConfiguration, into output: inout ZabOutput) {
        let previous = configurations.proposed
        configurations.forget(after: configuration.version)
        if adopts(configuration) {
            propose(configuration, into: &output)
        } else {
            tellProposal(insteadOf: previous, into: &output)
        }
    }

    /// A configuration whose transaction is in no log of this server any more was not decided: as a leader this server
    /// must not put it in force, and as a voter not wait for its quorum.
    mutating func forgetLostProposals(into output: inout ZabOutput) {
        let previous = configurations.proposed
        configurations.forget(after: history.logged.rawValue)
        tellProposal(insteadOf: previous, into: &output)
    }

    /// Says what is proposed now, or that nothing is, unless that is known already.
    private func tellProposal(insteadOf previous: QuorumConfiguration?, into output: inout ZabOutput) {
        let proposed = configurations.proposed
        guard proposed?.version != previous?.version else { return }
        output.upcalls.append(
            .configuration(proposed ?? configurations.current, isCommitted: proposed == nil)
        )
    }

    /// The newest configuration up to `zxid` comes into force: all that was proposed up to there is committed.
    mutating func activateProposals(upTo zxid: Zxid, into output: inout ZabOutput) {
        guard let configuration = configurations.proposals.last(where: { Zxid($0.version) <= zxid }) else { return }
        activate(configuration, into: &output)
    }

    /// A configuration comes into force.
    mutating func activate(_ configuration: QuorumConfiguration, into output: inout ZabOutput) {
        configurations.activate(configuration)
        let configurations = self.configurations
        links.keepOnly { configurations.isListed($0) }
        output.upcalls.append(.configuration(configuration, isCommitted: true))
        if let proposed = configurations.proposed {
            output.upcalls.append(.configuration(proposed, isCommitted: false))
        }
    }

    /// Lets the tree apply everything up to `zxid`, unless it already has, or is being replaced.
    mutating func apply(upTo zxid: Zxid, into output: inout ZabOutput) {
        guard durable.isSettled, let position = history.position(after: zxid), position > history.appliedEnd else {
            return
        }
        history.markApplied(to: position)
        output.commit(upTo: history.zxid(before: position))
    }
}

/// Chance from a seed: a run with the same inputs gives the same outputs.
struct SplitMix64: RandomNumberGenerator, Sendable {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}
