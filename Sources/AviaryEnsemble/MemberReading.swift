internal import AviaryCore
internal import Zab
internal import ZooKeeperProtocol

/// Serving clients that are content to read what may be old, while there is no leader (`readonlymode.enabled`,
/// docs/protocol/client-protocol.md section 17).
extension Member {
    /// To be called when the peer may have begun or ended to look for a leader.
    func serveReadOnly(_ core: inout ServerCore, at now: Now, into output: inout Output) {
        guard let delay = options.readOnlyAfterMilliseconds else { return }
        // Who has lost its memory would show what is not so.
        guard peer.role == .looking, peer.isSettled, peer.remembersAll, afterReload == nil else {
            readOnlyAt = nil
            if core.role == .readOnly { core.stopServing(at: now, into: &output) }
            return
        }
        guard core.role == .looking else { return }
        let due = readOnlyAt ?? now.monotonicMicroseconds + Int64(delay) * 1000
        readOnlyAt = due
        guard now.monotonicMicroseconds >= due else { return }
        note(.warning, "no leader was found for \(delay) ms: clients that only read are served")
        readOnlyAt = nil
        core.serveReadOnly(at: now, into: &output)
    }
}
