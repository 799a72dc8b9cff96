package import ZooKeeperProtocol

/// The newest transactions of this server's log, with their bytes: what learners that are behind are sent, and what has
/// been received and is not applied yet.
///
/// Three marks divide it, each at or behind the one before: `last` (received), `logged` (handed to the log), `applied`
/// (handed to the tree). Only what lies before `applied` is ever forgotten, so the tree can be fed from here. Positions
/// count transactions since the history was made and stay valid while transactions before them are forgotten; a cut
/// takes back the positions behind it.
package struct History: ~Copyable {
    /// How much is kept for learners that are behind.
    package struct Bound: Sendable {
        /// Kept even above `bytes`, as long as they are not twice that many: Apache's `commitLogCount`.
        package var count: Int
        /// Payload bytes of transactions already applied.
        package var bytes: Int
        /// As much of `bytes` is kept although nobody waits for it.
        package var idleBytes: Int { bytes / 8 }

        package init(count: Int, bytes: Int) {
            self.count = count
            self.bytes = bytes
        }
    }

    private struct Entry {
        let zxid: Zxid
        let block: PayloadBlock
        let offset: Int
        let size: Int
    }

    private let bound: Bound
    private var entries: [Entry] = []
    /// Entries at the front of `entries` that are forgotten; they go in bulk.
    private var forgotten = 0
    /// The position of the first entry of `entries`, forgotten or not.
    private var base = 0
    private var block: PayloadBlock?
    private var bytes = 0

    /// The transaction before the oldest one here. A learner whose log ends with it can be brought up to date.
    package private(set) var floor: Zxid
    /// Position behind the last transaction that the log has been given.
    private(set) var loggedEnd: Int
    /// Position behind the last transaction that the tree has been given.
    private(set) var appliedEnd: Int

    /// - Parameter last: where the log ends; what it holds is on disk only.
    init(last: Zxid, bound: Bound) {
        self.bound = bound
        floor = last
        loggedEnd = 0
        appliedEnd = 0
    }

    // MARK: What is there

    package var start: Int { base + forgotten }
    package var end: Int { base + entries.count }
    package var isEmpty: Bool { start == end }
    /// There may be something to forget.
    var isLarge: Bool { bytes > bound.idleBytes }
    package var count: Int { end - start }

    /// The newest transaction, logged or not.
    package var last: Zxid { entries.count > forgotten ? entries[entries.count - 1].zxid : floor }
    /// The end of the log, once what it has been given is written.
    package var logged: Zxid { zxid(before: loggedEnd) }
    package var applied: Zxid { zxid(before: appliedEnd) }

    package func zxid(at position: Int) -> Zxid { entries[position - base].zxid }

    /// The transaction in front of a position.
    package func zxid(before position: Int) -> Zxid { position <= start ? floor : zxid(at: position - 1) }

    /// The position behind everything up to `zxid`; nil when that lies before the oldest one here.
    package func position(after zxid: Zxid) -> Int? {
        guard zxid >= floor else { return nil }
        var low = forgotten
        var high = entries.count
        guard low < high else { return base + low }
        let last = entries[high - 1].zxid
        if last <= zxid { return end }
        // Within an epoch they count up by one, so its place is known from the distance to the last.
        let distance = last.rawValue - zxid.rawValue
        if distance < high - low, entries[high - 1 - Int(distance)].zxid == zxid { return base + high - Int(distance) }
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].zxid <= zxid { low = middle + 1 } else { high = middle }
        }
        return base + low
    }

    /// Whether a log that ends with `zxid` can be continued from here.
    package func contains(_ zxid: Zxid) -> Bool {
        guard let position = position(after: zxid) else { return false }
        return self.zxid(before: position) == zxid
    }

    /// The bytes of a transaction as they are in the log and in a PROPOSAL.
    package func withPayload<R, E: Error>(
        at position: Int,
        _ body: (UnsafeRawBufferPointer) throws(E) -> R
    ) throws(E) -> R {
        let entry = entries[position - base]
        return try body(entry.block.bytes(at: entry.offset, size: entry.size))
    }

    /// The bytes of the transaction `zxid`; nil when it is not here.
    package func withPayload<R, E: Error>(
        of zxid: Zxid,
        _ body: (UnsafeRawBufferPointer) throws(E) -> R
    ) throws(E) -> R? {
        guard let position = position(after: zxid), position > start, self.zxid(at: position - 1) == zxid else {
            return nil
        }
        return try withPayload(at: position - 1, body)
    }

    /// Hands out the transactions behind `zxid` up to and including `through`, oldest first.
    package func forEach(
        after zxid: Zxid,
        through: Zxid,
        _ body: (Zxid, UnsafeRawBufferPointer) -> Void
    ) {
        guard var position = position(after: zxid) else { return }
        while position < end, self.zxid(at: position) <= through {
            withPayload(at: position) { body(self.zxid(at: position), $0) }
            position += 1
        }
    }

    // MARK: What comes and goes

    /// Whether a log that ends with `zxid` may go on with `next`: the next counter, or the first of a later epoch (H8).
    static func isContiguous(_ next: Zxid, after zxid: Zxid) -> Bool {
        next.epoch == zxid.epoch ? next.rawValue == zxid.rawValue + 1 : next.epoch > zxid.epoch && next.counter == 1
    }

    mutating func append(_ zxid: Zxid, _ payload: UnsafeRawBufferPointer) {
        invariant(zxid > last, "\(zxid) appended to a history that ends with \(last)")
        let target: PayloadBlock
        if let block, block.hasRoom(for: payload.count) {
            target = block
        } else {
            target = PayloadBlock(capacity: max(PayloadBlock.size, payload.count))
            block = target
        }
        let offset = target.append(payload)
        entries.append(Entry(zxid: zxid, block: target, offset: offset, size: payload.count))
        bytes += payload.count
    }

    /// Everything up to `position` has been handed to the log.
    mutating func markLogged(to position: Int) {
        invariant(position >= loggedEnd && position <= end, "logged up to \(position) of \(start)..<\(end)")
        loggedEnd = position
    }

    /// Everything up to `position` has been handed to the tree.
    mutating func markApplied(to position: Int) {
        invariant(position >= appliedEnd && position <= end, "applied up to \(position) of \(start)..<\(end)")
        appliedEnd = position
    }

    /// Takes back what lies behind `zxid`; all of it, and then some, when that lies before the oldest one here.
    mutating func cut(after zxid: Zxid) {
        guard let position = position(after: zxid) else { return reset(to: zxid) }
        for entry in entries[(position - base)...] { bytes -= entry.size }
        entries.removeSubrange((position - base)...)
        loggedEnd = min(loggedEnd, position)
        appliedEnd = min(appliedEnd, position)
        if isEmpty { block = nil }
    }

    /// Takes back what was received and not handed to the log.
    mutating func cutUnlogged() {
        cut(after: logged)
    }

    /// Starts again behind `zxid`: the log and the tree come from somewhere else.
    mutating func reset(to zxid: Zxid) {
        base = end
        entries.removeAll()
        forgotten = 0
        block = nil
        bytes = 0
        floor = zxid
        loggedEnd = base
        appliedEnd = base
    }

    /// Forgets the oldest ones above the bound, none that the tree has not been given or that the disk may still lose:
    /// what is not here must be in the log, for learners to be sent from there.
    ///
    /// To be called only when nobody is about to read what an `Output` names.
    ///
    /// - Parameter needed: the first position that a connected learner has not been sent.
    mutating func forget(stored: Zxid, needed: Int) {
        let limit = min(loggedEnd, appliedEnd, position(after: stored) ?? start)
        while start < limit {
            let most = start < needed ? bound.idleBytes : bound.bytes
            guard bytes > most, count > bound.count || bytes > 2 * most else { break }
            floor = entries[forgotten].zxid
            bytes -= entries[forgotten].size
            forgotten += 1
        }
        // Entries keep their block alive until they are really gone.
        guard forgotten >= 256, forgotten >= entries.count / 4 else { return }
        entries.removeFirst(forgotten)
        base += forgotten
        forgotten = 0
    }
}
