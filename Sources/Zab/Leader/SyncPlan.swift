import ZooKeeperProtocol

/// How a learner is brought up to date (docs/protocol/quorum-protocol.md section 9, Apache's `syncFollower`).
enum SyncPlan: Equatable, Sendable {
    /// Its log is a beginning of ours: DIFF, then what is missing from this position on.
    case diff(from: Int)
    /// Its log has an end that ours does not have: TRUNC, then what is missing.
    case truncate(after: Zxid, from: Int)
    /// Nothing can be said without the log on disk.
    case readLog
    case snapshot

    /// - Parameters:
    ///   - peer: where the learner's log ends.
    ///   - end: the last transaction that counts as committed for a learner.
    static func plan(peer: Zxid, end: Zxid, history: borrowing History) -> SyncPlan {
        // Whoever has nothing at all gets a snapshot: a log alone says too little about what a server starts from.
        if peer == .zero, end != .zero { return .snapshot }
        guard let position = history.position(after: peer) else { return .readLog }
        guard let endPosition = history.position(after: end) else { return .snapshot }
        if peer == end { return .diff(from: endPosition) }
        // The zxid of a NEWLEADER is in no log: nothing follows about the transactions in front of it.
        let isNewEpoch = peer.counter == 0
        if peer > end { return isNewEpoch ? .snapshot : .truncate(after: end, from: endPosition) }
        let previous = history.zxid(before: position)
        return plan(peer: peer, previous: previous, next: history.zxid(at: position), from: position)
    }

    /// The same when the transactions around `peer` are known from elsewhere.
    static func plan(peer: Zxid, previous: Zxid, next: Zxid?, from position: Int) -> SyncPlan {
        if previous == peer || peer.counter == 0 { return .diff(from: position) }
        // Cutting inside an epoch is safe: what both have of it they have from its one leader. A divergent end of
        // another epoch says nothing about what is in front of it.
        guard let next, next.epoch == peer.epoch else { return .snapshot }
        return .truncate(after: previous, from: position)
    }
}
