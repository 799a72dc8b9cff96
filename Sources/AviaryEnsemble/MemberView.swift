internal import Zab
package import ZooKeeperProtocol

/// What others may know of a member.
extension Member {
    package var epoch: Epoch { peer.epoch }
    /// False when this member has lost what it knew and no leader has brought it back yet: it has no vote.
    package var remembersAll: Bool { peer.remembersAll }
    /// What comes behind this transaction is in memory.
    package var historyFloor: Zxid { peer.history.floor }
}
