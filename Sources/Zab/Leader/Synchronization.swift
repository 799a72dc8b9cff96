import ZooKeeperProtocol

/// Bringing learners to the leader's history (docs/protocol/quorum-protocol.md section 9).
extension Leader {
    // MARK: The beginning

    /// Decides what a learner is sent first (`LeaderSyncFollower`).
    func synchronize(
        _ link: LinkID,
        state: borrowing PeerState,
        at time: Int64,
        into output: inout ZabOutput
    ) {
        guard let index = index(of: link) else { return }
        links[index].heardAt = time
        guard !isAhead(links[index]) else { return }
        if state.options.forceSnapshotSync, links[index].lastZxid != historyForLearners {
            return requestSnapshot(index, into: &output)
        }
        let plan = SyncPlan.plan(peer: links[index].lastZxid, end: historyForLearners, history: state.history)
        switch plan {
        case .diff, .truncate:
            open(index, with: plan, state: state, into: &output)
            enterHistory(index, state: state)
            pump(link, state: state, at: time, into: &output)
        case .readLog:
            requestRecords(index, isFirst: true, state: state, into: &output)
        case .snapshot:
            requestSnapshot(index, into: &output)
        }
    }

    /// Whether an observer comes to a master with what the leader of this epoch has sent and the master does not know to
    /// be committed. It has that from another master, which was told earlier: it would be wrong to take it back, so the
    /// observer waits (`syncHeldBack`).
    private func isAhead(_ link: LearnerLink) -> Bool {
        isMaster && link.lastZxid.epoch == epoch && link.lastZxid.counter != 0 && link.lastZxid > historyForLearners
    }

    /// More is committed: brings those up to date that waited for it.
    func syncHeldBack(state: borrowing PeerState, at time: Int64, into output: inout ZabOutput) {
        for link in links where link.phase == .acknowledged && !isAhead(link) {
            synchronize(link.id, state: state, at: time, into: &output)
        }
    }

    /// The packet that says what the learner has to do with its own log.
    private func open(
        _ index: Int,
        with plan: SyncPlan,
        state: borrowing PeerState,
        into output: inout ZabOutput
    ) {
        let id = links[index].id
        syncs.transactions += 1
        switch plan {
        case .diff:
            links[index].readThrough = links[index].lastZxid
            output.send(.diff, zxid: historyForLearners, on: id)
        case .truncate(let zxid, _):
            links[index].readThrough = zxid
            output.send(.trunc, zxid: zxid, on: id)
        case .readLog, .snapshot:
            break
        }
        output.note(
            .info,
            "synchronizing a learner",
            [("peer", "\(links[index].server)"), ("zxid", "\(links[index].lastZxid)"), ("plan", plan.name)]
        )
    }

    /// From here on the learner is served from memory, and misses nothing any more.
    ///
    /// NEWLEADER follows everything that is committed at this moment: what comes later finds the learner registered
    /// (ZOOKEEPER-3104).
    private func enterHistory(_ index: Int, state: borrowing PeerState) {
        guard let position = state.history.position(after: links[index].readThrough) else { return }
        links[index].nextProposal = position
        links[index].nextCommit = position
        links[index].historyEnd = historyForLearners
        links[index].phase = .synchronizing
    }

    // MARK: From the disk

    private func requestRecords(
        _ index: Int,
        isFirst: Bool,
        state: borrowing PeerState,
        into output: inout ZabOutput
    ) {
        links[index].phase = .readingLog
        if isFirst { links[index].readThrough = links[index].lastZxid }
        // No further than what is certainly in the log, and certainly stays there.
        let through = min(historyForLearners, state.durable.storedZxid)
        let request = HistoryRequest.records(
            after: links[index].readThrough,
            through: through,
            maxBytes: max(min(links[index].credit, 1 << 20), 16 << 10),
            isFirst: isFirst
        )
        links[index].readLimit = through
        links[index].isFirstRead = isFirst
        links[index].isReading = true
        output.links.append(.readHistory(links[index].id, request))
    }

    private func requestSnapshot(_ index: Int, into output: inout ZabOutput) {
        syncs.snapshots += 1
        links[index].phase = .receivingSnapshot
        links[index].isReading = true
        output.links.append(.readHistory(links[index].id, .snapshot))
        output.note(
            .info,
            "synchronizing a learner",
            [("peer", "\(links[index].server)"), ("zxid", "\(links[index].lastZxid)"), ("plan", "SNAP")]
        )
    }

    /// The disk answers.
    func historyRead(
        _ link: LinkID,
        _ answer: HistoryAnswer,
        state: borrowing PeerState,
        at time: Int64,
        into output: inout ZabOutput
    ) {
        guard let index = index(of: link), links[index].isReading else { return }
        links[index].isReading = false
        links[index].heardAt = time
        switch (links[index].phase, answer) {
        case (.readingLog, .records(let previous, let records)):
            guard !links[index].isFirstRead || begin(index, previous: previous, records, state: state, into: &output)
            else { return }
            // A snapshot may end with the zxid of a NEWLEADER, which is in no log: then the record that follows is read,
            // too, to see where to stop. It need not be committed.
            let limit = links[index].readLimit
            for record in records where record.zxid <= limit { send(record, index, into: &output) }
            if let last = records.last, last.zxid > limit { links[index].readThrough = limit }
            continueReading(link, isAtEnd: records.isEmpty, state: state, at: time, into: &output)
        case (.readingLog, .impossible):
            if links[index].isFirstRead, links[index].lastZxid != .zero {
                requestSnapshot(index, into: &output)
            } else {
                drop(link, "the log behind \(links[index].readThrough) cannot be read", into: &output)
            }
        case (.receivingSnapshot, .snapshotStreamed(let zxid)):
            links[index].readThrough = zxid
            continueReading(link, isAtEnd: false, state: state, at: time, into: &output)
        case (.receivingSnapshot, .impossible):
            // An ensemble so young that nobody has written one: then the log reaches back to the beginning.
            guard links[index].lastZxid == .zero else {
                return drop(link, "there is no snapshot to send", level: .error, into: &output)
            }
            requestRecords(index, isFirst: true, state: state, into: &output)
        default:
            drop(link, "the disk's answer does not fit \(links[index].phase)", level: .error, into: &output)
        }
    }

    /// What the log says about the end of the learner's log.
    ///
    /// - Returns: whether its records are what the learner needs.
    private func begin(
        _ index: Int,
        previous: Zxid,
        _ records: [HistoryRecord],
        state: borrowing PeerState,
        into output: inout ZabOutput
    ) -> Bool {
        let peer = links[index].lastZxid
        let oldest = state.history.isEmpty ? nil : state.history.zxid(at: state.history.start)
        let plan = SyncPlan.plan(peer: peer, previous: previous, next: records.first?.zxid ?? oldest, from: 0)
        guard plan != .snapshot else {
            requestSnapshot(index, into: &output)
            return false
        }
        open(index, with: plan, state: state, into: &output)
        return true
    }

    private func send(_ record: HistoryRecord, _ index: Int, into output: inout ZabOutput) {
        guard record.zxid > links[index].readThrough else { return }
        let id = links[index].id
        links[index].credit -= output.send(.proposal, zxid: record.zxid, data: record.payload, on: id)
        links[index].credit -= output.send(.commit, zxid: record.zxid, on: id)
        links[index].readThrough = record.zxid
    }

    /// Goes on in memory where that reaches far enough, or reads on when the link takes more.
    private func continueReading(
        _ link: LinkID,
        isAtEnd: Bool,
        state: borrowing PeerState,
        at time: Int64,
        into output: inout ZabOutput
    ) {
        guard let index = index(of: link) else { return }
        if state.history.position(after: links[index].readThrough) != nil {
            enterHistory(index, state: state)
            pump(link, state: state, at: time, into: &output)
        } else if isAtEnd {
            drop(link, "the log ends with \(links[index].readThrough)", level: .error, into: &output)
        } else {
            links[index].phase = .readingLog
            readOn(index, state: state, into: &output)
        }
    }

    /// Asks for more of the log if the link takes it.
    func readOn(_ index: Int, state: borrowing PeerState, into output: inout ZabOutput) {
        guard links[index].phase == .readingLog, !links[index].isReading, links[index].credit > 0 else { return }
        requestRecords(index, isFirst: false, state: state, into: &output)
    }

    // MARK: The end

    /// ACK of NEWLEADER: the history is durable at the learner, and so is the epoch (`LeaderProcessACKLD`).
    func process(
        newLeaderAck packet: QuorumPacket,
        _ index: Int,
        state: inout PeerState,
        at time: Int64,
        into output: inout ZabOutput
    ) throws(RoleEnd) {
        let link = links[index].id
        guard packet.zxid == epoch.newLeaderZxid else {
            return drop(link, "ACK of \(packet.zxid) in place of \(epoch.newLeaderZxid)", into: &output)
        }
        links[index].phase = .synchronized
        links[index].acked = links[index].historyEnd
        links[index].ackedAt = time
        if isEstablished {
            links[index].isForgetful = false
            serve(index, state: state, into: &output)
            try commit(state: &state, at: time, into: &output)
        } else {
            try establish(state: &state, at: time, into: &output)
        }
    }

    /// Begins to serve once a quorum has the history that the epoch starts with.
    func establish(state: inout PeerState, at time: Int64, into output: inout ZabOutput) throws(RoleEnd) {
        guard phase == .synchronization, state.configurations.isQuorum(servers(from: .synchronized, state: state))
        else { return }
        phase = .broadcast
        phaseDeadline = .max
        committed = historyEnd
        state.apply(upTo: historyEnd, into: &output)
        try activateFirstConfiguration(state: &state, into: &output)
        output.upcalls.append(.lead(epoch))
        for index in links.indices where links[index].phase == .synchronized {
            links[index].isForgetful = false
            serve(index, state: state, into: &output)
        }
    }

    /// UPTODATE: the learner may serve.
    private func serve(_ index: Int, state: borrowing PeerState, into output: inout ZabOutput) {
        links[index].phase = .serving
        output.send(.upToDate, zxid: Zxid(-1), on: links[index].id)
        joinConfirmation(index, state: state, into: &output)
    }
}

extension SyncPlan {
    fileprivate var name: String {
        switch self {
        case .diff: "DIFF"
        case .truncate(let zxid, _): "TRUNC \(zxid)"
        case .readLog: "log"
        case .snapshot: "SNAP"
        }
    }
}
