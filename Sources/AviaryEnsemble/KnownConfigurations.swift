package import ZooKeeperProtocol

/// What a member takes up when it starts: the newest configuration that is known to be in force, and one that may be.
///
/// The files of a reconfiguration are written behind its transaction, or not at all where nobody may write them. So the
/// data counts, too, and the highest version wins. A version is the zxid of its transaction; what stands at the end of a
/// log need not be committed, and then it is only proposed: until it is known, decisions need the quorums of both.
///
/// - Source: `docs/protocol/quorum-protocol.md` sections 2.6, 3 and 15.
package struct KnownConfigurations {
    package let current: QuorumConfiguration
    package let proposed: QuorumConfiguration?

    /// - Parameters:
    ///   - file: of the `zoo.cfg` and the dynamic file that it names.
    ///   - next: of `<cfg>.dynamic.next`.
    ///   - stored: what `/zookeeper/config` holds.
    ///   - former: what it held before the log changed it last. That was in force: no leader proposes a configuration
    ///     while another is not.
    ///   - lastZxid: of the last transaction of the log.
    ///   - isReconfigEnabled: without that the file alone counts, as in Apache.
    package init(
        file: QuorumConfiguration,
        next: QuorumConfiguration?,
        stored: [UInt8]?,
        former: [UInt8]?,
        lastZxid: Zxid,
        isReconfigEnabled: Bool
    ) {
        guard isReconfigEnabled else {
            current = file
            proposed = nil
            return
        }
        // All of the log is in the data. What was proposed besides is in no log any more: it was lost with its tail, or a
        // leader had it cut off.
        let stored = stored.flatMap { try? QuorumConfiguration.parse(utf8: $0) }
        guard let newest = stored ?? next, newest.version > file.version else {
            current = file
            proposed = nil
            return
        }
        // The leader of a later epoch has this in its history, and had a quorum for that before it made transactions.
        if stored != nil, Zxid(newest.version).epoch < lastZxid.epoch {
            current = newest
            proposed = nil
            return
        }
        let former = former.flatMap { try? QuorumConfiguration.parse(utf8: $0) }
        current = former.flatMap { $0.version > file.version && $0.version < newest.version ? $0 : nil } ?? file
        proposed = newest
    }
}
