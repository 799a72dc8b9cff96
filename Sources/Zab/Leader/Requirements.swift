import ZooKeeperProtocol

/// Which configurations have to agree to which proposals.
///
/// While another configuration is proposed, its own transaction R and everything behind needs a quorum of both. Once R is
/// committed, nothing needs the former one any more, not even what was proposed while both counted: its members may have
/// left, or turned into observers, and would be waited for in vain.
///
/// Nobody can lead without what the new configuration alone has committed since:
///
/// - A log without R needs a quorum of the former configuration, to be elected and again to form an epoch. One member of
///   each such quorum has acknowledged R. Before it accepted the later epoch, because it acknowledges nothing of earlier
///   ones from then on; so R is in its log when it is asked. It votes for no log that ends earlier, and a leader drops
///   whoever says with ACKEPOCH that its history is ahead. With every epoch formed this way being that of a log with R,
///   no log without R gets to belong to a later epoch and look newer.
/// - A log with R knows what R proposes for as long as it holds R (`JointConfiguration`), and needs a quorum of that, too.
///   One member has acknowledged everything that is committed, and for the same reasons the leader has as much.
///
/// - Source: `docs/protocol/quorum-protocol.md` section 15; Shraer, Reed, Malkhi, Junqueira: "Dynamic reconfiguration of
///   primary/backup clusters", section 3.
struct Requirements: Sendable {
    private var current: QuorumConfiguration
    private var next: (configuration: QuorumConfiguration, from: Zxid)?

    init(_ configuration: QuorumConfiguration) {
        current = configuration
    }

    /// Another configuration is proposed by `zxid`: it counts from there on.
    mutating func add(_ configuration: QuorumConfiguration, from zxid: Zxid) {
        next = (configuration, zxid)
    }

    /// The transaction that proposes the other configuration is committed.
    mutating func activateNext() {
        guard let next else { return }
        current = next.configuration
        self.next = nil
    }

    /// The last proposal that may be committed: it and all before it have their quorums.
    ///
    /// - Parameter acked: what each server has durably, up to the last proposal.
    func committable(acked: [(ServerID, Zxid)], lastProposed: Zxid) -> Zxid {
        let reached = min(current.quorumZxid(acked), lastProposed)
        guard let next, reached >= next.from else { return reached }
        // What is in front of its own transaction does not need it.
        return min(reached, max(next.configuration.quorumZxid(acked), Zxid(next.from.rawValue - 1)))
    }
}
