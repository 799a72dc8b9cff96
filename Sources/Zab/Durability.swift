import ZooKeeperProtocol

/// What a server knows of all that it ever acknowledged and promised.
enum Memory: Equatable, Sendable {
    case complete
    /// A leader's snapshot took the place of a log that reached further, as far as this. Whoever is elected has to have
    /// as much; this server itself has not.
    case promised(HistoryEnd)
    /// The data directory is gone, or could not be used: whatever was promised, nobody knows.
    case lost
}

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
    private(set) var memory: Memory

    private var acceptedOrders = 0
    /// The roles that ordered a `currentEpoch` which is not stored yet, oldest first.
    private var currentOrders: [UInt64] = []
    private var truncations: [Zxid] = []
    private(set) var snapshot: LinkID?

    init(_ durable: DurableState) {
        storedZxid = durable.lastZxid
        acceptedEpoch = durable.acceptedEpoch
        currentEpoch = durable.currentEpoch
        if durable.remembersAll {
            memory = .complete
        } else if let promised = durable.promised {
            memory = .promised(promised)
        } else {
            memory = .lost
        }
    }

    var remembersAll: Bool { memory == .complete }

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
        memory = .complete
        storedZxid = max(storedZxid, zxid)
    }

    /// The epoch that a role before this one ordered is stored, and with it the history that it began with.
    ///
    /// - Returns: whether that gives this server its memory back.
    mutating func remember() -> Bool {
        guard !remembersAll, currentOrders.isEmpty, isSettled else { return false }
        memory = .complete
        return true
    }

    /// - Returns: where the log was to end.
    mutating func truncated(to zxid: Zxid) -> Zxid {
        invariant(!truncations.isEmpty, "the log was cut after \(zxid), which nobody ordered")
        storedZxid = zxid
        return truncations.removeFirst()
    }

    /// - Parameter last: where the log ended before. Until the leader has sent that much again, whatever this server
    ///   acknowledged is elsewhere only.
    mutating func snapshotInstalled(_ zxid: Zxid, inPlaceOf last: Zxid) {
        if remembersAll, zxid < last { memory = .promised(HistoryEnd(epoch: currentEpoch, zxid: last)) }
        storedZxid = zxid
        snapshot = nil
    }

    mutating func snapshotFailed() {
        snapshot = nil
    }

    /// The log turned out to end before what was promised.
    mutating func lostMemory() {
        memory = .lost
    }
}
