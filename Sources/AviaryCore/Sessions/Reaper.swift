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
            guard let body = prepareReap(path, zxid: lastPreparedZxid.next) else { continue }
            propose(body, session: .none, cxid: 0, from: nil, now: now, into: &output)
        }
    }

    private mutating func findCandidates(at now: Now) {
        var handle = tree.owners.containers
        while handle != none {
            let node = tree.nodes[handle]
            // Wrapping: a file may hold any time.
            let age = now.wallMilliseconds &- node.stat.mtime
            let neverUsed = options.containerMaxNeverUsedMilliseconds
            if node.childCount == 0, node.stat.cversion > 0 || (neverUsed > 0 && age > neverUsed) {
                reaper.candidates.append([UInt8](node.path))
            }
            handle = node.nextOwned
        }
        handle = tree.owners.ttls
        while handle != none {
            let node = tree.nodes[handle]
            if node.childCount == 0, case .ttl(let ttl) = tree.owners.kinds.kind(node.stat.ephemeralOwner),
                now.wallMilliseconds &- node.stat.mtime > ttl
            {
                reaper.candidates.append([UInt8](node.path))
            }
            handle = node.nextOwned
        }
    }
}
