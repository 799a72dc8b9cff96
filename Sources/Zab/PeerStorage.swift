package import ZooKeeperProtocol

/// What the disk answers.
extension Peer {
    /// Everything in the log up to `zxid` is durable.
    package mutating func stored(upTo zxid: Zxid, at now: Now, into output: inout ZabOutput) {
        begin(at: now, output)
        guard state.durable.stored(upTo: zxid) else { return }
        learning?.stored(state: state, into: &output)
        inRole(&output) { peer, output throws(RoleEnd) in
            try peer.leading?.commit(state: &peer.state, at: peer.time, into: &output)
        }
    }

    package mutating func epochStored(accepted epoch: Epoch, at now: Now, into output: inout ZabOutput) {
        begin(at: now, output)
        // One that an earlier role ordered says nothing about ours.
        guard state.durable.acceptedStored() else { return }
        leading?.epochAccepted(state: &state, at: time, into: &output)
        learning?.epochAccepted(state: state, into: &output)
    }

    package mutating func epochStored(current epoch: Epoch, at now: Now, into output: inout ZabOutput) {
        begin(at: now, output)
        guard state.durable.currentStored() == state.role else { return rememberLate(into: &output) }
        learning?.epochStored(state: &state, into: &output)
        inRole(&output) { peer, output throws(RoleEnd) in
            guard let end = peer.leading?.historyEnd else { return }
            peer.state.durable.synchronized(upTo: end)
            try peer.leading?.epochStored(state: &peer.state, at: peer.time, into: &output)
        }
    }

    /// An epoch is stored that a role before this one ordered: it came too late for that role, but not for the memory.
    private mutating func rememberLate(into output: inout ZabOutput) {
        guard state.durable.remember(), election.isLooking else { return }
        beginElection(into: &output)
    }

    /// The log is cut, and the tree holds nothing behind the cut.
    ///
    /// - Parameter zxid: where the log ends now: before what was ordered if too little was left to go back to.
    package mutating func truncated(to zxid: Zxid, at now: Now, into output: inout ZabOutput) {
        begin(at: now, output)
        let ordered = state.durable.truncated(to: zxid)
        guard zxid == ordered else {
            state.durable.lostMemory()
            output.note(.error, "the log was to be cut to \(ordered), but ends with \(zxid): its memory is lost")
            state.history.reset(to: zxid)
            endLearning("the log cannot be cut to \(ordered)", into: &output)
            return settled(into: &output)
        }
        learning?.settle(state: &state, into: &output)
        settled(into: &output)
    }

    /// A leader's snapshot is durable, the tree is loaded from it, and whatever was there before is set aside.
    ///
    /// - Parameter configuration: what `/zookeeper/config` holds in it.
    package mutating func snapshotInstalled(
        _ zxid: Zxid,
        configuration: QuorumConfiguration? = nil,
        at now: Now,
        into output: inout ZabOutput
    ) {
        begin(at: now, output)
        guard state.durable.snapshot != nil else { return }
        let announced = state.snapshotZxid
        state.snapshotInstalled(zxid, configuration: configuration, into: &output)
        if zxid != announced { endLearning("the snapshot ends with \(zxid), not \(announced)", into: &output) }
        learning?.settle(state: &state, into: &output)
        settled(into: &output)
    }

    /// A leader's snapshot could not be read, or was given up: the disk is unchanged, and the tree as the disk has it.
    package mutating func snapshotFailed(at now: Now, into output: inout ZabOutput) {
        begin(at: now, output)
        guard state.durable.snapshot != nil else { return }
        state.snapshotFailed(into: &output)
        endLearning("the snapshot could not be taken over", into: &output)
        settled(into: &output)
    }

    private mutating func endLearning(_ reason: String, into output: inout ZabOutput) {
        guard learning != nil else { return }
        end(RoleEnd(reason), into: &output)
    }

    /// The answer to a `.readHistory`.
    package mutating func historyRead(
        _ link: LinkID,
        _ answer: HistoryAnswer,
        at now: Now,
        into output: inout ZabOutput
    ) {
        begin(at: now, output)
        leading?.historyRead(link, answer, state: state, at: time, into: &output)
        mastering?.serving.historyRead(link, answer, state: state, at: time, into: &output)
    }
}
