package import AviaryCore
internal import Zab
package import ZooKeeperProtocol

/// A member whose disk is full leaves the work to others, and says so.
///
/// Not all can: where every disk is full somebody has to lead, so that at least reads go on. Hence a leader hands over
/// once, to whoever is elected while it keeps still, and leads without writes when it comes to lead again. Whose reserve
/// is used up as well takes part in nothing: it could not even log an epoch.
extension Member {
    /// What the log can still take.
    package func setLogRoom(_ room: LogRoom, _ core: inout ServerCore, at now: Now, into output: inout Output) {
        core.setLogRoom(room, at: now, into: &output)
        logRoom = room
        if room == .plenty { hasHandedOver = false }
        tell(&core, at: now, into: &output) { _, _ in }
    }

    /// Draws the consequences of `logRoom` for the role that the peer has.
    func heedRoom(at now: Now) {
        guard logRoom != .plenty || isWithdrawn, peer.configurations.current.voters.count > 1 else { return }
        switch (logRoom, peer.role) {
        case (.plenty, _):
            if isWithdrawn { comeBack(at: now) }
        case (.low, .leading(isEstablished: true)), (.exhausted, .leading):
            guard !hasHandedOver else { return }
            hasHandedOver = true
            peer.resign(
                "the disk of its log is full, and another server may have room",
                restMilliseconds: Member.restMilliseconds,
                at: now,
                into: &zab
            )
        case (.low, _):
            if isWithdrawn { comeBack(at: now) }
        case (.exhausted, .following), (.exhausted, .observing), (.exhausted, .looking):
            guard !isWithdrawn else { return }
            isWithdrawn = true
            note(
                .error,
                "nothing more fits on the disk of the transaction log: this server takes no part in the ensemble until there is room again"
            )
            peer.withdraw("the disk of its log is full", at: now, into: &zab)
        }
    }

    private func comeBack(at now: Now) {
        isWithdrawn = false
        note(.info, "the disk of the transaction log has room again: this server looks for a leader")
        peer.comeBack(at: now, into: &zab)
    }

    /// Long enough for the others to agree.
    static let restMilliseconds = 1_000
}
