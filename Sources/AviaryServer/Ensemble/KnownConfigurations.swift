internal import ZooKeeperProtocol

/// What a member takes up when it starts: the newest configuration that is known to be in force, and one that may be.
///
/// The files of a reconfiguration are written behind its transaction, or not at all where nobody may write them. So the
/// data counts, too, and the highest version wins. A version is the zxid of its transaction; what stands at the end of a
/// log need not be committed, and then it is only proposed: until it is known, decisions need the quorums of both.
///
/// - Source: `docs/protocol/quorum-protocol.md` sections 2.6, 3 and 15.
struct KnownConfigurations {
    let current: QuorumConfiguration
    let proposed: QuorumConfiguration?

    /// - Parameters:
    ///   - file: of the `zoo.cfg` and the dynamic file that it names.
    ///   - next: of `<cfg>.dynamic.next`.
    ///   - stored: what `/zookeeper/config` holds.
    ///   - lastZxid: of the last transaction of the log.
    ///   - isReconfigEnabled: without that the file alone counts, as in Apache.
    init(
        file: QuorumConfiguration,
        next: QuorumConfiguration?,
        stored: [UInt8]?,
        lastZxid: Zxid,
        isReconfigEnabled: Bool
    ) {
        guard isReconfigEnabled else {
            current = file
            proposed = nil
            return
        }
        var current = file
        var candidates = next.map { [$0] } ?? []
        if let stored, let stored = try? QuorumConfiguration.parse(utf8: stored), stored.version > file.version {
            // The leader of a later epoch has this in its history, and had a quorum for that before it made transactions.
            if Zxid(stored.version).epoch < lastZxid.epoch { current = stored } else { candidates.append(stored) }
        }
        let proposed = candidates.max { $0.version < $1.version }
        self.current = current
        self.proposed = proposed.flatMap { $0.version > current.version ? $0 : nil }
    }
}
