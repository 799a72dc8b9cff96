import ZooKeeperProtocol

/// Limits of a quota, or what is used of it (docs/protocol/client-protocol.md section 15). −1 is none.
struct QuotaNumbers: Equatable {
    var count: Int64
    var bytes: Int64
    var countHard: Int64
    var bytesHard: Int64
    /// Something stood there that is no number with a name.
    private(set) var isUnreadable = false

    /// Every write below a quota reads its numbers, and anybody may have written them. No real ones are this long.
    static let maxBytes = 1024

    /// Reads `count=N,bytes=N=;byteHardLimit=N;countHardLimit=N`. What cannot be read counts as not given.
    ///
    /// - Parameter absent: what stands for a number that is not given.
    init(parsing data: some Collection<UInt8>, absent: Int64) {
        (count, bytes, countHard, bytesHard) = (absent, absent, absent, absent)
        guard data.count <= QuotaNumbers.maxBytes else {
            isUnreadable = true
            return
        }
        for field in data.split(whereSeparator: { $0 == UInt8(ascii: ",") || $0 == UInt8(ascii: ";") }) {
            let parts = field.split(separator: UInt8(ascii: "="))
            guard parts.count == 2, let value = Int64(String(decoding: parts[1], as: UTF8.self)) else {
                isUnreadable = true
                continue
            }
            switch String(decoding: parts[0], as: UTF8.self) {
            case "count": count = value
            case "bytes": bytes = value
            case "countHardLimit": countHard = value
            case "byteHardLimit": bytesHard = value
            default: break
            }
        }
    }

    init(limits data: some Collection<UInt8>) { self.init(parsing: data, absent: -1) }

    /// Statistics that cannot be read count as zero.
    init(usage data: some Collection<UInt8>) { self.init(parsing: data, absent: 0) }

    static func usage(count: Int64, bytes: Int64) -> [UInt8] {
        [UInt8]("count=\(count),bytes=\(bytes)".utf8)
    }

    /// What is used after a change. Clients may write any number into a statistics node: no sum of it may stop us.
    static func sum(_ used: Int64, _ change: Int64) -> Int64 {
        let (sum, overflows) = used.addingReportingOverflow(change)
        return overflows ? (change > 0 ? Int64.max : Int64.min) : sum
    }
}

/// Which paths have a quota: those with a limits node.
struct QuotaIndex {
    private(set) var paths: Set<[UInt8]> = []
    /// No path with a quota was longer since there was none: spares looking for longer ones.
    private(set) var longestPath = 0

    static let prefix = [UInt8]("/zookeeper/quota".utf8)
    static let limitsName = [UInt8]("/zookeeper_limits".utf8)
    static let statsName = [UInt8]("/zookeeper_stats".utf8)

    static func limitsPath(_ path: [UInt8]) -> [UInt8] { prefix + path + limitsName }
    static func statsPath(_ path: [UInt8]) -> [UInt8] { prefix + path + statsName }

    /// The path whose quota a node of this path belongs to; nil when it is an ordinary node. The root has no quota.
    static func path(ofNode node: [UInt8], named name: [UInt8]) -> [UInt8]? {
        guard node.count > prefix.count + name.count, isQuotaNode(node), node.hasSuffix(name) else { return nil }
        return [UInt8](node[prefix.count..<(node.count - name.count)])
    }

    static func isQuotaNode(_ path: [UInt8]) -> Bool {
        path.count > prefix.count && path[prefix.count] == UInt8(ascii: "/") && path.starts(with: prefix)
    }

    var isEmpty: Bool { paths.isEmpty }

    mutating func insert(_ path: [UInt8]) {
        paths.insert(path)
        longestPath = max(longestPath, path.count)
    }

    mutating func remove(_ path: [UInt8]) {
        paths.remove(path)
        if paths.isEmpty { longestPath = 0 }
    }

    mutating func removeAll() { self = QuotaIndex() }

    /// The deepest path with a quota at or above `path`.
    func deepest(above path: [UInt8]) -> [UInt8]? {
        guard !paths.isEmpty else { return nil }
        return QuotaIndex.deepest(atOrAbove: path, notLongerThan: longestPath) { paths.contains($0) ? $0 : nil }
    }
}

extension QuotaIndex {
    /// Walks from a path to the root, below which quotas end, past whatever is too long to have one.
    static func deepest<R>(
        atOrAbove path: [UInt8],
        notLongerThan longest: Int,
        _ found: ([UInt8]) -> R?
    ) -> R? {
        var end = path.count
        while end > 1 {
            if end <= longest, let result = found([UInt8](path[..<end])) { return result }
            end = path[..<end].lastIndex(of: UInt8(ascii: "/")) ?? 0
        }
        return nil
    }
}

extension [UInt8] {
    func hasSuffix(_ suffix: [UInt8]) -> Bool {
        count >= suffix.count && self[(count - suffix.count)...].elementsEqual(suffix)
    }
}

extension DataTree {
    func data(at path: [UInt8]) -> [UInt8]? {
        let handle = find(path)
        guard handle != none else { return nil }
        return nodes[handle].data.map { [UInt8]($0) } ?? []
    }

    /// Nodes and bytes of data at and below a path.
    func usage(below path: [UInt8]) -> (count: Int64, bytes: Int64) {
        let top = find(path)
        guard top != none else { return (0, 0) }
        var count: Int64 = 0
        var bytes: Int64 = 0
        let end = successorSkippingChildren(top)
        var handle = top
        while handle != end, handle != none {
            count += 1
            bytes += Int64(max(nodes[handle].dataLength, 0))
            handle = successor(handle)
        }
        return (count, bytes)
    }

    /// Writes the usage of a quota into its stats node: derived data, so neither version nor time change.
    mutating func writeUsage(of path: [UInt8], count: Int64, bytes: Int64) {
        let handle = find(QuotaIndex.statsPath(path))
        guard handle != none else { return }
        let stat = nodes[handle].stat
        QuotaNumbers.usage(count: count, bytes: bytes).withUnsafeBytes { setData(handle, $0, stat: stat) }
    }

    mutating func addUsage(of path: [UInt8], count: Int64, bytes: Int64) {
        guard count != 0 || bytes != 0, let data = data(at: QuotaIndex.statsPath(path)) else { return }
        let used = QuotaNumbers(usage: data)
        writeUsage(
            of: path,
            count: QuotaNumbers.sum(used.count, count),
            bytes: QuotaNumbers.sum(used.bytes, bytes)
        )
    }
}
