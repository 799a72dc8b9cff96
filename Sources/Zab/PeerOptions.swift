package import ZooKeeperProtocol

/// What a peer is told once.
package struct PeerOptions: Sendable {
    package var me: ServerID
    /// Milliseconds; the unit of the three limits.
    package var tickMilliseconds: Int
    /// Ticks that a learner may take to connect and synchronize, and a leader to find its quorum.
    package var initLimit: Int
    /// Ticks that a learner and its leader may be out of touch.
    package var syncLimit: Int
    /// Ticks that a learner tries to connect; nil means `initLimit`. Apache's `connectToLearnerMasterLimit`.
    package var connectToLeaderLimit: Int?
    /// Newest transactions that are kept for learners that are behind, see `History.Bound`.
    package var recentCount = 500
    package var recentBytes = 32 << 20
    /// How soon an unanswered vote is sent again; doubles up to the maximum.
    package var minNotificationMilliseconds = 200
    package var maxNotificationMilliseconds = 60_000
    /// How long a quorum of equal votes waits for a better one.
    package var finalizeMilliseconds = 200
    /// The most that an observer waits before it looks for a leader again.
    package var observerElectionDelayMilliseconds = 200
    /// Whether configurations of others are adopted.
    package var reconfigEnabled = false
    /// `observerMasterPort`: whether a follower serves observers as the leader would, and an observer asks followers first.
    package var hasObserverMasters = false
    /// Whether every learner that is behind gets a snapshot. Apache's `forceSnapshotSync`.
    package var forceSnapshotSync = false

    package init(me: ServerID, tickMilliseconds: Int, initLimit: Int, syncLimit: Int) {
        self.me = me
        self.tickMilliseconds = tickMilliseconds
        self.initLimit = initLimit
        self.syncLimit = syncLimit
    }

    // MARK: Microseconds, as in `Now`

    var tick: Int64 { Int64(tickMilliseconds) * 1000 }
    var initTime: Int64 { Int64(initLimit) * tick }
    var syncTime: Int64 { Int64(syncLimit) * tick }
    var connectTime: Int64 { Int64(connectToLeaderLimit ?? initLimit) * tick }
    var finalizeTime: Int64 { Int64(finalizeMilliseconds) * 1000 }
    /// Between two attempts to connect to the leader.
    var reconnectTime: Int64 { 100_000 }
}
