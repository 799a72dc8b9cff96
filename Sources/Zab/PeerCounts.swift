package import ZooKeeperProtocol

/// How learners were brought to a leader's history; what an operator watches to see whether they come back cheaply.
package struct SyncCounts: Equatable, Sendable {
    /// With transactions alone (DIFF, TRUNC).
    package var transactions: Int64 = 0
    /// With a snapshot (SNAP).
    package var snapshots: Int64 = 0

    package init() {}
}

/// Who follows a leader.
package struct LearnerCounts: Equatable, Sendable {
    /// Everybody who has a connection, whatever has been agreed on it.
    package var learners = 0
    /// That are up to date: followers, without this server, those of them without a vote, and observers.
    package var followers = 0
    package var nonVotingFollowers = 0
    package var observers = 0

    package init() {}
}

extension Peer {
    /// Since `resetSyncs`; of all epochs that this server has led.
    package var syncs: SyncCounts {
        var counts = pastSyncs
        counts.transactions += leading?.syncs.transactions ?? 0
        counts.snapshots += leading?.syncs.snapshots ?? 0
        return counts
    }

    package mutating func resetSyncs() {
        pastSyncs = SyncCounts()
        leading?.syncs = SyncCounts()
    }

    /// Nil unless this server leads.
    package var learners: LearnerCounts? {
        guard let leading else { return nil }
        var counts = LearnerCounts()
        counts.learners = leading.links.count
        for link in leading.links where link.phase >= .synchronized {
            if link.isObserver {
                counts.observers += 1
            } else {
                counts.followers += 1
                if !configurations.current.isVoter(link.server) { counts.nonVotingFollowers += 1 }
            }
        }
        return counts
    }
}
