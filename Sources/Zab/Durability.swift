import ZooKeeperProtocol

/// What the disk holds, and what it has been told to hold.
///
/// Orders are carried out one after the other, and answered in that order. A server speaks of epochs as soon as they are
/// ordered (a promise may be kept too early), but whatever a message promises to others waits for the answer.
struct Durability: Sendable {
    /// The newest transaction that is certainly in the log.
    private(set) var storedZxid: Zxid
    /// Leaders of earlier epochs are refused: `acceptedEpoch`, as ordered.
    private(set) var acceptedEpoch: Epoch
    /// The epoch that the history belongs to: `currentEpoch`, as ordered.
    private(set) var currentEpoch: Epoch
    /// False after the data directory was lost: whatever this server promised, it does not know of it.
    private(set) var remembersAll: Bool

    private var acceptedOrders = 0
    /// The roles that ordered a `currentEpoch` which is not stored yet, oldest first.
    private var currentOrders: [UInt64] = []
    private var truncations: [Zxid] = []
    private(set) var snapshot: LinkID?

    init(lastZxid: Zxid, acceptedEpoch: Epoch, currentEpoch: Epoch, remembersAll: Bool) {
        storedZxid = lastZxid
        self.acceptedEpoch = acceptedEpoch
        self.currentEpoch = currentEpoch
        self.remembersAll = remembersAll
    }

    /// Whether it is known what the log ends with: not while it is cut, or replaced by a snapshot.
    var isSettled: Bool { truncations.isEmpty && snapshot == nil }

    // MARK: Orders

    mutating func order(accepted epoch: Epoch, into output: inout ZabOutput) {
        invariant(epoch > acceptedEpoch, "accepting epoch \(epoch) after \(acceptedEpoch)")
        acceptedEpoch = epoch
        acceptedOrders += 1
        output.storage.append(.storeAccepted(epoch))
    }

    mutating func order(current epoch: Epoch, role: UInt64, into output: inout ZabOutput) {
        invariant(epoch <= acceptedEpoch, "epoch \(epoch) becomes current, but \(acceptedEpoch) was accepted")
        currentEpoch = epoch
        currentOrders.append(role)
        output.storage.append(.storeCurrent(epoch))
    }

    mutating func order(truncationAfter zxid: Zxid, into output: inout ZabOutput) {
        truncations.append(zxid)
        output.storage.append(.truncate(after: zxid))
    }

    mutating func order(snapshotFrom link: LinkID) {
        snapshot = link
    }

    // MARK: Answers

    /// Reports that were on their way while the log was being cut speak of a log that is no more (H7).
    mutating func stored(upTo zxid: Zxid) -> Bool {
        guard isSettled, zxid > storedZxid else { return false }
        storedZxid = zxid
        return true
    }

    /// - Returns: whether no order for an accepted epoch is under way any more.
    mutating func acceptedStored() -> Bool {
        invariant(acceptedOrders > 0, "an acceptedEpoch was stored that nobody ordered")
        acceptedOrders -= 1
        return acceptedOrders == 0
    }

    /// - Returns: the role that had ordered it.
    mutating func currentStored() -> UInt64 {
        invariant(!currentOrders.isEmpty, "a currentEpoch was stored that nobody ordered")
        return currentOrders.removeFirst()
    }

    /// The history of a leader is on disk, and its epoch: what was forgotten is replaced.
    mutating func synchronized(upTo zxid: Zxid) {
        remembersAll = true
        storedZxid = max(storedZxid, zxid)
    }

    /// - Returns: where the log was to end.
    mutating func truncated(to zxid: Zxid) -> Zxid {
        invariant(!truncations.isEmpty, "the log was cut after \(zxid), which nobody ordered")
        storedZxid = zxid
        return truncations.removeFirst()
    }

    mutating func snapshotInstalled(_ zxid: Zxid) {
        storedZxid = zxid
        snapshot = nil
    }

    mutating func snapshotFailed() {
        snapshot = nil
    }

    /// The log turned out to end before what was promised.
    mutating func lostMemory() {
        remembersAll = false
    }
}
