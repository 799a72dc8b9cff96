import ZooKeeperProtocol

/// Quotas as the next write must see them: limits and usage with all that is in flight
/// (docs/protocol/client-protocol.md section 15).
extension ServerCore {
    /// Whether a write stays within the hard limits of its quota.
    ///
    /// - Throws: `quotaExceeded`, when quotas are enforced.
    func checkQuota(_ path: [UInt8], addingCount: Int64, addingBytes: Int64) throws(ErrorCode) {
        guard options.enforceQuota, let (quotaPath, limits) = quota(for: path) else { return }
        let used = QuotaNumbers(usage: quotaData(look(QuotaIndex.statsPath(quotaPath))) ?? [])
        if addingCount > 0, limits.countHard > -1, QuotaNumbers.sum(used.count, addingCount) > limits.countHard {
            throw .quotaExceeded
        }
        if addingBytes != 0 || addingCount > 0, limits.bytesHard > -1,
            QuotaNumbers.sum(used.bytes, addingBytes) > limits.bytesHard
        {
            throw .quotaExceeded
        }
    }

    /// Lays over the statistics what a prepared write will do to them once it is applied.
    mutating func countUsage(_ path: [UInt8], count: Int64, bytes: Int64, _ zxid: Zxid) {
        guard count != 0 || bytes != 0, let (quotaPath, limits) = quota(for: path) else { return }
        let statsPath = QuotaIndex.statsPath(quotaPath)
        let spot = look(statsPath)
        guard let data = quotaData(spot) else { return }
        let used = QuotaNumbers(usage: data)
        tell(
            of: quotaPath,
            limits,
            count: QuotaNumbers.sum(used.count, count),
            bytes: QuotaNumbers.sum(used.bytes, bytes)
        )
        setUsage(
            statsPath,
            spot,
            count: QuotaNumbers.sum(used.count, count),
            bytes: QuotaNumbers.sum(used.bytes, bytes),
            zxid
        )
    }

    /// A soft limit only warns: once when it is passed, and again after the usage was below it.
    private mutating func tell(of path: [UInt8], _ limits: QuotaNumbers, count: Int64, bytes: Int64) {
        let isExceeded = (limits.count > -1 && count > limits.count) || (limits.bytes > -1 && bytes > limits.bytes)
        guard isExceeded || limits.isUnreadable else {
            toldQuotas.remove(path)
            return
        }
        guard toldQuotas.count < 1000, toldQuotas.insert(path).inserted else { return }
        let name = String(decoding: path, as: UTF8.self)
        let message =
            limits.isUnreadable
            ? "the limits of a quota cannot be read and count as none: expected count=N,bytes=N"
            : "a quota is exceeded"
        quotaNotes.append(
            CoreNote(
                level: .warning,
                message: message,
                metadata: [
                    ("path", name), ("count", "\(count) of \(limits.count)"), ("bytes", "\(bytes) of \(limits.bytes)"),
                ],
                isLimited: true
            )
        )
    }

    /// A node of statistics was prepared: its data will be what is used by then, whatever its creator wrote.
    mutating func countAll(_ quotaPath: [UInt8], _ zxid: Zxid) {
        var used = tree.usage(below: quotaPath)
        pending.forEach(in: tree.nodes) { path, handle, state in
            guard path.starts(with: quotaPath),
                path.count == quotaPath.count || path[quotaPath.count] == UInt8(ascii: "/")
            else { return }
            if handle != none {
                used.count -= 1
                used.bytes -= Int64(max(tree.nodes[handle].dataLength, 0))
            }
            if state.exists {
                used.count += 1
                used.bytes += Int64(max(state.dataLength, 0))
            }
        }
        let statsPath = QuotaIndex.statsPath(quotaPath)
        setUsage(statsPath, look(statsPath), count: used.count, bytes: used.bytes, zxid)
    }

    /// Derived data: neither stat nor digest change.
    private mutating func setUsage(_ path: [UInt8], _ spot: Spot, count: Int64, bytes: Int64, _ zxid: Zxid) {
        guard var node = spot.state else { return }
        let data = QuotaNumbers.usage(count: count, bytes: bytes)
        node.dataLength = Int32(data.count)
        node.changedBy = zxid
        lay(node, over: spot, path, quotaData: data)
    }

    /// The deepest quota at or above a path, with its limits.
    private func quota(for path: [UInt8]) -> (path: [UInt8], limits: QuotaNumbers)? {
        guard !quotas.isEmpty || pending.longestQuotaNode > 0 else { return nil }
        let longest = max(quotas.longestPath, pending.longestQuotaNode)
        return QuotaIndex.deepest(atOrAbove: path, notLongerThan: longest) { candidate in
            quotaData(look(QuotaIndex.limitsPath(candidate))).map { (candidate, QuotaNumbers(limits: $0)) }
        }
    }

    /// The data of a node below /zookeeper/quota; nil when there will be no such node.
    private func quotaData(_ spot: Spot) -> [UInt8]? {
        guard spot.state != nil else { return nil }
        // What is in flight may leave the data as it is: another ACL, a child.
        if spot.pending != none, let data = pending.quotaData(spot.pending) { return data }
        return spot.handle == none ? nil : tree.nodes[spot.handle].data.map { [UInt8]($0) } ?? []
    }
}
