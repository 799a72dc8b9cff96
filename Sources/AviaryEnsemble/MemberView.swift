package import Zab
package import ZooKeeperProtocol

/// What others may know of a member.
extension Member {
    package var epoch: Epoch { peer.epoch }
    /// False when this member has lost what it knew and no leader has brought it back yet: it has no vote.
    package var remembersAll: Bool { peer.remembersAll }
    /// What comes behind this transaction is in memory.
    package var historyFloor: Zxid { peer.history.floor }
    /// Who follows; nil unless this server leads.
    package var learners: LearnerCounts? { peer.learners }
    /// How this server has brought learners up to date, since `resetStatistics`.
    package var syncs: SyncCounts { peer.syncs }
    package func resetStatistics() { peer.resetSyncs() }
    /// Where a server is, by the newest configuration that names it.
    package func member(_ server: ServerID) -> QuorumMember? {
        peer.configurations.proposed?.member(server) ?? peer.configurations.current.member(server)
    }
}
