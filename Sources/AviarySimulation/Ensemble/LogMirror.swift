package import ZooKeeperProtocol

/// What the log of one machine holds, known by having watched: what is stable, and what is not yet.
///
/// It outlives processes, as the disk does, and is never read by anything but checks.
package struct LogMirror: Sendable {
    package struct Entry: Sendable {
        package var zxid: Zxid
        package var fingerprint: UInt64
        package var payload: [UInt8]
    }

    /// Everything up to here is in a snapshot.
    package private(set) var base = Zxid.zero
    package private(set) var entries: [Entry] = []
    /// How many of the entries would survive a power failure.
    package private(set) var durableCount = 0

    package init() {}

    package var last: Zxid { entries.last?.zxid ?? base }
    package var durableLast: Zxid { durableCount > 0 ? entries[durableCount - 1].zxid : base }

    package mutating func append(_ zxid: Zxid, _ payload: [UInt8]) {
        var hash = TraceHash()
        hash.mix(payload)
        entries.append(Entry(zxid: zxid, fingerprint: hash.value, payload: payload))
    }

    /// Everything up to a zxid is stable now.
    package mutating func store(upTo zxid: Zxid) {
        while durableCount < entries.count, entries[durableCount].zxid <= zxid { durableCount += 1 }
    }

    package mutating func cut(after zxid: Zxid) {
        while let last = entries.last, last.zxid > zxid { entries.removeLast() }
        durableCount = min(durableCount, entries.count)
        base = min(base, zxid)
    }

    /// A snapshot took the place of everything.
    package mutating func reset(to zxid: Zxid) {
        base = zxid
        entries = []
        durableCount = 0
    }

    /// A start found this much.
    package mutating func recovered(upTo zxid: Zxid) {
        cut(after: zxid)
        durableCount = entries.count
    }

    /// Whether a transaction is stable here, as it is in the log or as a part of a snapshot.
    package func isDurable(_ zxid: Zxid, fingerprint: UInt64) -> Bool {
        if zxid <= base { return true }
        guard zxid <= durableLast, let entry = entry(at: zxid) else { return false }
        return entry.fingerprint == fingerprint
    }

    package func entry(at zxid: Zxid) -> Entry? {
        let index = index(after: zxid) - 1
        guard index >= 0, entries[index].zxid == zxid else { return nil }
        return entries[index]
    }

    /// The first entry behind a zxid.
    package func index(after zxid: Zxid) -> Int {
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].zxid <= zxid { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
