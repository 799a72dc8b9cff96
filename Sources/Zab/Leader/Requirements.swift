import ZooKeeperProtocol

/// Which configurations have to agree to which proposals.
///
/// While another configuration is proposed, its own transaction and everything behind needs a quorum of both. Once that
/// transaction is committed, nothing needs the former one any more, not even what was proposed while both counted: its
/// members may have left, or turned into observers, and would be waited for in vain. That is safe, because a quorum of the
/// former configuration has the transaction. Whoever is elected by one therefore has it, and needs a quorum of the new
/// configuration, too, which has met everything that is committed.
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
