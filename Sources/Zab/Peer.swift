package import ZooKeeperProtocol

/// What a server is at the moment.
package enum Role: Equatable, Sendable {
    case looking
    /// Established once a quorum has the leader's history: then it serves.
    case leading(isEstablished: Bool)
    /// Synced once the leader has said UPTODATE: then it serves.
    case following(isSynced: Bool)
    case observing(isSynced: Bool)
}

/// One server's part in the agreement of an ensemble: election, discovery, synchronization and broadcast.
///
/// A value without I/O, clock or chance: inputs come one at a time, what is to be done is appended to a `ZabOutput`. A
/// message that depends on the disk is not written before the disk has answered, so the caller may carry out the lists
/// of an output in any order. It owes this: storage orders are carried out in their order, together with the appends of
/// its own transactions, and answered in that order; `history` is read before the output is reset.
package struct Peer: ~Copyable {
    var state: PeerState
    var election = Election()
    var leading: Leader?
    var learning: Learner?
    /// Observers that this follower serves.
    var mastering: ObserverMaster?
    /// Learners that came while this server was looking: it may turn out to be their leader.
    var waiting: [LearnerLink] = []
    /// When an observer begins to look: they do not all ask at once. Or a server that leaves the work to others.
    var lookAt: Int64?
    /// Servers that looked for a leader when they were last heard of, ascending: they hear when there is one.
    var lookers: [ServerID] = []
    /// How this server brought learners up to date in the epochs that it led before.
    var pastSyncs = SyncCounts()
    /// The last role that was announced to them.
    var announcedRole: UInt64 = 0
    /// Voters without memory that an operator was told of, so as not to say it again and again.
    var explainedLoss: Set<ServerID> = []
    /// Answers to notifications, oldest first.
    var answered: [Answered] = []
    /// Servers that may know of a newer configuration than this one, which is no member of its own.
    let acquaintances: [ServerID]
    private(set) var isStarted = false

    /// - Parameters:
    ///   - configuration: the committed one.
    ///   - proposed: the newest that a log or a file knows of, if it is newer; without its transaction it is nothing.
    ///   - acquaintances: whom to ask besides, as long as this server is in no configuration that it knows.
    ///   - durable: what the disk holds; all of the log is in the tree.
    ///   - lastProcessed: the last transaction in the tree; the end of the log, unless the log is empty.
    ///   - seed: for whatever is left to chance.
    package init(
        options: PeerOptions,
        configuration: QuorumConfiguration,
        proposed: QuorumConfiguration? = nil,
        acquaintances: [ServerID] = [],
        durable: DurableState,
        lastProcessed: Zxid,
        seed: UInt64,
        now: Now
    ) {
        let last = durable.lastZxid
        invariant(lastProcessed == last, "the tree ends with \(lastProcessed), the log with \(last)")
        state = PeerState(options: options, configuration: configuration, durable: durable, seed: seed)
        self.acquaintances = acquaintances
        if let proposed, proposed.version > configuration.version, Zxid(proposed.version) <= last {
            state.configurations.add(proposed)
        }
        time = now.monotonicMicroseconds
    }

    /// When the last input came.
    private(set) var time: Int64

    // MARK: What it is

    package var role: Role {
        if let isEstablished = leading?.isEstablished { return .leading(isEstablished: isEstablished) }
        guard let isSynced = learning?.isSynced else { return .looking }
        return learning?.isObserver == true ? .observing(isSynced: isSynced) : .following(isSynced: isSynced)
    }

    /// Who leads, as far as this server knows.
    package var leader: ServerID? { leading != nil ? state.me : learning?.leader }

    /// The epoch that this server takes part in; the one that it last took part in while it looks.
    package var epoch: Epoch {
        if let phase = leading?.phase, phase >= .storing, let epoch = leading?.epoch { return epoch }
        return state.durable.currentEpoch
    }

    /// The last transaction that is known to be committed.
    package var committed: Zxid { max(leading?.committed ?? .zero, state.history.applied) }

    package var configurations: JointConfiguration { state.configurations }

    /// Whether this server knows all that it has ever promised.
    package var remembersAll: Bool { state.durable.remembersAll }

    /// Whether it is known what this server has: no leader's snapshot or cut is under way.
    package var isSettled: Bool { state.durable.isSettled }

    package var history: History {
        _read { yield state.history }
    }

    // MARK: Batches

    /// Whether a batch has begun and not ended.
    package var isInBatch: Bool { state.isInBatch }

    /// Several inputs follow: what they let commit, and what learners are sent of it, waits for `endBatch`.
    package mutating func beginBatch() {
        state.isInBatch = true
    }

    package mutating func endBatch(at now: Now, into output: inout ZabOutput) {
        state.isInBatch = false
        guard leading?.owesBatch == true else { return }
        begin(at: now, output)
        inRole(&output) { peer, output throws(RoleEnd) in
            try peer.leading?.endBatch(state: &peer.state, at: peer.time, into: &output)
        }
    }

    // MARK: Turns

    /// To be called at the beginning of every input.
    mutating func begin(at now: Now, _ output: borrowing ZabOutput) {
        time = max(time, now.monotonicMicroseconds)
        // Nobody holds a zxid whose bytes would be missed.
        guard state.history.isLarge, !output.namesHistory else { return }
        let needed = leading?.neededFrom ?? mastering?.serving.neededFrom ?? .max
        state.history.forget(stored: state.durable.storedZxid, needed: needed)
    }

    package mutating func start(at now: Now, into output: inout ZabOutput) {
        begin(at: now, output)
        invariant(!isStarted, "a peer is started once")
        isStarted = true
        look(into: &output)
    }

    /// When `advance` is due, in microseconds as in `Now`; nil while nothing waits.
    package var nextDeadlineMicroseconds: Int64? {
        var deadline = min(election.nextDeadline, lookAt ?? .max)
        deadline = min(deadline, leading?.pingAt ?? .max, leading?.phaseDeadline ?? .max)
        deadline = min(deadline, learning?.nextDeadline(options: state.options) ?? .max)
        deadline = min(deadline, mastering?.serving.pingAt ?? .max)
        for link in waiting { deadline = min(deadline, link.heardAt + patienceWithWaiting) }
        return deadline == .max ? nil : deadline
    }

    /// Does what time alone makes due.
    package mutating func advance(to now: Now, into output: inout ZabOutput) {
        begin(at: now, output)
        if let due = lookAt, time >= due {
            lookAt = nil
            beginElection(into: &output)
        }
        advanceElection(into: &output)
        expireWaiting(into: &output)
        inRole(&output) { peer, output throws(RoleEnd) in
            try peer.leading?.advance(state: &peer.state, at: peer.time, into: &output)
            try peer.learning?.advance(state: &peer.state, at: peer.time, into: &output)
            try peer.mastering?.serving.advance(state: &peer.state, at: peer.time, into: &output)
        }
    }

    /// Runs what may end the role, and ends it.
    mutating func inRole(
        _ output: inout ZabOutput,
        _ body: (inout Peer, inout ZabOutput) throws(RoleEnd) -> Void
    ) {
        do throws(RoleEnd) {
            try body(&self, &output)
            closeWaitingInVain(into: &output)
            keepMaster(into: &output)
            announceEpoch(into: &output)
        } catch {
            end(error, into: &output)
        }
    }
}
