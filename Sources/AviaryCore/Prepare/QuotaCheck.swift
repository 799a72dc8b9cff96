import ZooKeeperProtocol

extension ServerCore {
    /// Whether a write stays within the hard limits of its quota, counting what is in flight; and remembers what it adds.
    ///
    /// - Throws: `quotaExceeded`, when quotas are enforced.
    mutating func checkQuota(_ path: [UInt8], addingCount: Int64, addingBytes: Int64) throws(ErrorCode) {
        guard let (quotaPath, limits) = quota(for: path) else { return }
        if options.enforceQuota {
            let used = usage(of: quotaPath)
            if addingCount > 0, limits.countHard > -1,
                QuotaNumbers.sum(used.count, addingCount) > limits.countHard
            {
                throw .quotaExceeded
            }
            if addingBytes != 0 || addingCount > 0, limits.bytesHard > -1,
                QuotaNumbers.sum(used.bytes, addingBytes) > limits.bytesHard
            {
                throw .quotaExceeded
            }
        }
        countUsage(path, count: addingCount, bytes: addingBytes)
    }

    /// What this write will do to the usage once it is applied; until then the next check counts it.
    mutating func countUsage(_ path: [UInt8], count: Int64, bytes: Int64) {
        guard let (quotaPath, _) = quota(for: path) else { return }
        touchedUsage.append(QuotaUsage(path: quotaPath, count: count, bytes: bytes))
        let before = quotas.pendingUsage[quotaPath] ?? (0, 0)
        quotas.pendingUsage[quotaPath] = (before.count + count, before.bytes + bytes)
    }

    /// A write is applied, or not made after all.
    mutating func forgetUsage(_ usage: [QuotaUsage]) {
        for change in usage {
            guard let before = quotas.pendingUsage[change.path] else { continue }
            let after = (count: before.count - change.count, bytes: before.bytes - change.bytes)
            quotas.pendingUsage[change.path] = after.count == 0 && after.bytes == 0 ? nil : after
        }
    }

    private func usage(of path: [UInt8]) -> (count: Int64, bytes: Int64) {
        let used = QuotaNumbers(parsing: tree.data(at: QuotaIndex.statsPath(path)) ?? [])
        let inFlight = quotas.pendingUsage[path] ?? (0, 0)
        return (QuotaNumbers.sum(used.count, inFlight.count), QuotaNumbers.sum(used.bytes, inFlight.bytes))
    }

    /// The deepest quota at or above a path, with its limits as the next write must see them.
    private func quota(for path: [UInt8]) -> (path: [UInt8], limits: QuotaNumbers)? {
        guard !quotas.isEmpty || pending.longestQuotaNode > 0 else { return nil }
        let longest = max(quotas.longestPath, pending.longestQuotaNode)
        return QuotaIndex.deepest(atOrAbove: path, notLongerThan: longest) { candidate in
            limits(of: candidate).map { (candidate, $0) }
        }
    }

    private func limits(of path: [UInt8]) -> QuotaNumbers? {
        let limitsKey = key(QuotaIndex.limitsPath(path))
        let inFlight = pending[limitsKey]
        if let inFlight, !inFlight.exists { return nil }
        // What is in flight may leave the data as it is: another ACL, a child.
        return (inFlight?.quotaData ?? tree.data(at: limitsKey.bytes)).map { QuotaNumbers(parsing: $0) }
    }
}
