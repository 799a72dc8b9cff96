import ZooKeeperProtocol

/// Removes containers that are empty again and nodes whose TTL is over
/// (docs/protocol/client-protocol.md section 14).
struct Reaper: ~Copyable {
    private let interval: Int64
    private let spacing: Int64
    private var nextCheck = Int64.max
    private var nextReap: Int64 = 0
    fileprivate var candidates = FIFO<[UInt8]>()

    init(options: CoreOptions) {
        interval = max(1, options.containerCheckIntervalMilliseconds)
        // At most so many a minute, evenly spaced.
        spacing = 60_000 / max(1, options.containerMaxPerMinute)
    }

    mutating func start(at milliseconds: Int64) {
        nextCheck = milliseconds + interval
    }

    mutating func stop() {
        nextCheck = Int64.max
        candidates.removeAll()
    }

    /// - Parameter isSpaceLow: candidates wait for room on the disk, not for a time.
    func nextDeadlineMilliseconds(isSpaceLow: Bool) -> Int64 {
        candidates.isEmpty || isSpaceLow ? nextCheck : min(nextCheck, nextReap)
    }

    /// Whether it is time to look for candidates.
    mutating func isCheckDue(at milliseconds: Int64) -> Bool {
        guard milliseconds >= nextCheck else { return false }
        nextCheck = milliseconds + interval
        return candidates.isEmpty
    }

    /// The next candidate whose turn has come.
    mutating func next(at milliseconds: Int64) -> [UInt8]? {
        guard !candidates.isEmpty, milliseconds >= nextReap else { return nil }
        nextReap = max(nextReap + spacing, milliseconds - 100)
        return candidates.popFirst()
    }
}

extension ServerCore {
    mutating func reap(at now: Now, into output: inout Output) {
        if reaper.isCheckDue(at: now.monotonicMilliseconds) { findCandidates(at: now) }
        while !isSpaceLow, let path = reaper.next(at: now.monotonicMilliseconds) {
            guard let body = prepareReap(path, zxid: lastPreparedZxid.next, at: now) else { continue }
            propose(body, session: .none, cxid: 0, from: nil, now: now, into: &output)
        }
    }

    private mutating func findCandidates(at now: Now) {
        for first in [tree.owners.containers, tree.owners.ttls] {
            var handle = first
            while handle != none {
                let node = tree.nodes[handle]
                if isReapable(node.stat, childCount: node.childCount, at: now) {
                    reaper.candidates.append([UInt8](node.path))
                }
                handle = node.nextOwned
            }
        }
    }

    /// Whether a node is empty and done with: a container that had children, or was not used for too long, and a TTL node
    /// whose time is over since it was written last.
    func isReapable(_ stat: StatPersisted, childCount: Int32, at now: Now) -> Bool {
        guard childCount == 0 else { return false }
        // Wrapping: a file may hold any time.
        let age = now.wallMilliseconds &- stat.mtime
        switch tree.owners.kinds.kind(stat.ephemeralOwner) {
        case .container:
            let neverUsed = options.containerMaxNeverUsedMilliseconds
            return stat.cversion > 0 || (neverUsed > 0 && age > neverUsed)
        case .ttl(let ttl):
            return age > ttl
        case .persistent, .ephemeral:
            return false
        }
    }
}
