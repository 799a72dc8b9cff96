package import ZooKeeperProtocol

/// From one role to the next. Between two roles a member is `looking`: `stopServing` brings it there.
///
/// Transactions that become committed while it is looking are applied by `applyCommitted`; to replace everything by
/// another state, `reset` and what follows it at a start do it here too.
extension ServerCore {
    @inline(__always)
    var isStandalone: Bool {
        if case .standalone = role { return true }
        return false
    }

    /// Whether this server decides when a global session is over, and when a container is to go.
    var endsSessions: Bool { role == .standalone || role == .leader }

    /// What was restored from disk or from a leader reaches up to here.
    package mutating func restored(upTo zxid: Zxid) {
        lastProcessedZxid = max(lastProcessedZxid, zxid)
        lastPreparedZxid = lastProcessedZxid
        pending.digest = tree.digest
    }

    /// Leads: a quorum has this server's history, and all of it is applied. Sessions start with their full timeouts, and
    /// ephemerals without a session go.
    ///
    /// - Parameters:
    ///   - epoch: the first transaction has its counter 1.
    ///   - lastZxid: the end of the history.
    package mutating func lead(epoch: Epoch, lastZxid: Zxid, at now: Now, into output: inout Output) {
        if role != .looking { stopServing(at: now, into: &output) }
        role = .leader
        restored(upTo: max(lastZxid, epoch.newLeaderZxid))
        reportMissingParents(into: &output)
        beginPreparing(at: now, into: &output)
    }

    /// Follows or observes: this server has what its leader has committed.
    ///
    /// - Parameter epoch: of the leader. With it, clients that saw the beginning of the epoch at the leader are welcome
    ///   here before its first transaction has come.
    package mutating func learn(
        isObserver: Bool,
        epoch: Epoch? = nil,
        at now: Now,
        into output: inout Output
    ) {
        if role != .looking { stopServing(at: now, into: &output) }
        role = .learner(isObserver: isObserver)
        if let epoch { restored(upTo: epoch.newLeaderZxid) }
        reportMissingParents(into: &output)
    }

    /// Serves clients that are content to read what may be old, without leader.
    package mutating func serveReadOnly(at now: Now, into output: inout Output) {
        if role != .looking { stopServing(at: now, into: &output) }
        role = .readOnly
    }

    /// Serves nobody: closes all connections and forgets what was asked for and is not committed, so that the tree and
    /// the sessions are exactly what the committed transactions made.
    ///
    /// What is in `output` already is the owner's to carry out or not.
    package mutating func stopServing(at now: Now, into output: inout Output) {
        role = .looking
        for connection in connections.all { close(connection.id, into: &output) }
        forgetInFlight()
    }

    mutating func forgetInFlight() {
        inFlight.removeAll()
        statistics.outstandingChangesRemoved += touchedByEarlier
        touchedByEarlier = 0
        pending.removeAll(in: tree.nodes, lists: &tree.accessLists, digest: tree.digest)
        target = Target()
        partTargets = []
        quotaNotes = []
        toldQuotas = []
        lastPreparedZxid = lastProcessedZxid
        sessions.keepCommitted()
        reaper.stop()
        obligations.removeAll()
        postponed.removeAll()
        requested.removeAll()
        sessionBytesWhileLow = 0
    }

    /// While a member is brought up to date over a snapshot that is ahead, a parent may be missing for a while. Not
    /// longer.
    private mutating func reportMissingParents(into output: inout Output) {
        if let child = missingParents.values.min(by: { $0.lexicographicallyPrecedes($1) }) {
            digestMismatchCount += 1
            output.note(
                .error,
                "a node has no parent: this server's tree differs from the others'; remove its data and let it be synchronized",
                [("path", String(decoding: child, as: UTF8.self))]
            )
        }
        missingParents = [:]
    }

    /// No more zxids: nothing more is prepared in this epoch.
    mutating func epochIsExhausted(_ connection: ClientConnection?, into output: inout Output) {
        output.resignation = "the epoch has no more transaction ids"
        target = Target()
        if !partTargets.isEmpty { partTargets = [] }
        // What comes behind must not be answered before it.
        guard let connection else { return }
        connection.waiting.append(.inFlight)
        connections.waitingCount += 1
    }
}

extension Zxid {
    /// The counter that no transaction has (docs/protocol/quorum-protocol.md section 14).
    static let endOfEpoch: Int64 = 0xffff_ffff
}
