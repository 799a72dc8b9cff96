package import AviaryCore
package import AviaryStorage
package import ZooKeeperProtocol

/// A tree as plain as possible, to check recovery with: nodes in a dictionary, indexes and digest computed on demand.
///
/// - Source: docs/protocol/quorum-protocol.md section 17.2 for the rules of applying, 17.3 for the digest.
package struct NaiveTree: RecoveryTarget {
    package struct Node {
        package var data: [UInt8]?
        package var acl: [ACL]?
        package var aclID: Int64
        package var stat: StatPersisted

        /// It goes with a session.
        package var isEphemeral: Bool {
            if case .ephemeral = NodeKind(owner: stat.ephemeralOwner, extendedTypes: true) { true } else { false }
        }

        /// A container, or a node whose time runs out.
        package var mayGoByItself: Bool {
            switch NodeKind(owner: stat.ephemeralOwner, extendedTypes: true) {
            case .container, .ttl: true
            case .persistent, .ephemeral: false
            }
        }

        /// Whether a client that asks for the node's stat has to be told this.
        package func shows(_ told: Stat, childCount: Int) -> Bool {
            told.czxid == stat.czxid && told.mzxid == stat.mzxid && told.pzxid == stat.pzxid
                && told.ctime == stat.ctime && told.mtime == stat.mtime
                && told.version == stat.version && told.aversion == stat.aversion
                && told.cversion == 2 &* stat.cversion &- Int32(childCount) && told.numChildren == Int32(childCount)
                && Int(told.dataLength) == data?.count ?? 0
                && told.ephemeralOwner == (isEphemeral ? stat.ephemeralOwner : 0)
        }
    }

    package private(set) var nodes: [String: Node] = [:]
    package private(set) var sessions: [Int64: Int32] = [:]
    package private(set) var replayed: [Zxid] = []
    private var acls: [Int64: [ACL]] = [:]

    package init() {}

    // MARK: - Snapshot

    package mutating func reset() { self = NaiveTree() }

    package mutating func restoreFreshTree() {
        let open = SnapshotNode.openACL
        for path in ["", "/zookeeper", "/zookeeper/quota"] {
            nodes[path] = Node(data: [], acl: ACL.open, aclID: open, stat: .zero)
        }
        var config = StatPersisted.zero
        config.aversion = -1
        nodes["/zookeeper/config"] = Node(data: [], acl: ACL.readable, aclID: 1, stat: config)
    }

    package mutating func restore(session: SessionID, timeoutMilliseconds: Int32) {
        sessions[session.rawValue] = timeoutMilliseconds
    }

    package mutating func restore(aclID: Int64, acl: [ACL]) { acls[aclID] = acl }

    package mutating func restore(
        path: UnsafeRawBufferPointer,
        data: UnsafeRawBufferPointer?,
        aclID: Int64,
        stat: StatPersisted
    ) throws(RestoreError) {
        let text = String(decoding: path, as: UTF8.self)
        guard text == "" || text.hasPrefix("/") else { throw .badPath(text) }
        guard nodes[text] == nil else { throw .duplicateNode(path: text) }
        guard text == "" || nodes[NaiveTree.parent(of: text)] != nil else { throw .missingParent(path: text) }
        let acl = acls[aclID] ?? (aclID == SnapshotNode.openACL ? ACL.open : nil)
        nodes[text] = Node(data: data.map { [UInt8]($0) }, acl: acl, aclID: aclID, stat: stat)
    }

    package mutating func finishSnapshot() throws(RestoreError) {
        guard nodes[""] != nil else { throw .missingRoot }
    }

    package mutating func finishReplay() throws(RestoreError) {
        for (path, node) in nodes where node.acl == nil { throw .unknownACL(id: node.aclID, path: path) }
        countQuotas()
    }

    /// What a quota has used changes without transactions and is counted anew.
    private mutating func countQuotas() {
        let suffix = "/zookeeper_limits"
        for path in nodes.keys where path.hasPrefix("/zookeeper/quota/") && path.hasSuffix(suffix) {
            let quota = String(path.dropLast(suffix.count))
            let subject = String(quota.dropFirst("/zookeeper/quota".count))
            let counted = nodes.filter { $0.key == subject || $0.key.hasPrefix(subject + "/") }.values
            let bytes = counted.reduce(0) { $0 + ($1.data?.count ?? 0) }
            nodes[quota + "/zookeeper_stats"]?.data = Array("count=\(counted.count),bytes=\(bytes)".utf8)
        }
    }

    // MARK: - Transactions

    package mutating func replay(_ txn: Txn) throws(RestoreError) {
        replayed.append(txn.header.zxid)
        try apply(txn.body, txn.header)
    }

    private mutating func apply(_ body: TxnBody, _ header: TxnHeader) throws(RestoreError) {
        switch body {
        case .createSession(let timeout):
            sessions[header.session.rawValue] = timeout
        case .closeSession(let paths):
            for path in paths ?? [] { delete(String(decoding: path, as: UTF8.self), header.zxid) }
            let left = nodes.filter { $0.value.stat.ephemeralOwner == header.session.rawValue }.keys.sorted()
            for path in left { delete(path, header.zxid) }
            sessions[header.session.rawValue] = nil
        case .error, .check:
            break
        case .create(let txn):
            try create(txn, header)
        case .delete(let path, _):
            delete(NaiveTree.key(path), header.zxid)
        case .setData(let path, let data, let version, _):
            let key = NaiveTree.key(path)
            nodes[key]?.data = data
            nodes[key]?.stat.version = version
            nodes[key]?.stat.mzxid = header.zxid
            nodes[key]?.stat.mtime = header.time
        case .setACL(let path, let acl, let version):
            nodes[NaiveTree.key(path)]?.acl = acl
            nodes[NaiveTree.key(path)]?.stat.aversion = version
        case .multi(let parts):
            let failed = parts.contains { if case .error = $0 { true } else { false } }
            guard !failed else { return }
            for part in parts { try apply(part, header) }
        }
    }

    private mutating func create(_ txn: TxnBody.CreateTxn, _ header: TxnHeader) throws(RestoreError) {
        let path = NaiveTree.key(txn.path)
        let parent = NaiveTree.parent(of: path)
        guard nodes[parent] != nil else { throw .missingParent(path: path) }
        if nodes[path] != nil {
            nodes[path]?.acl = txn.acl
            if txn.kind == .create { bump(parent, txn.parentCVersion, header.zxid) }
            return
        }
        bump(parent, txn.parentCVersion, header.zxid)
        var stat = StatPersisted(
            czxid: header.zxid,
            mzxid: header.zxid,
            ctime: header.time,
            mtime: header.time,
            pzxid: header.zxid
        )
        switch txn.kind {
        case .create, .create2: stat.ephemeralOwner = txn.isEphemeral ? header.session.rawValue : 0
        case .container: stat.ephemeralOwner = NodeKind.container.owner
        case .ttl(let milliseconds): stat.ephemeralOwner = NodeKind.ttl(milliseconds: milliseconds).owner
        }
        nodes[path] = Node(data: txn.data, acl: txn.acl, aclID: 0, stat: stat)
    }

    private mutating func bump(_ parent: String, _ parentCVersion: Int32, _ zxid: Zxid) {
        guard var stat = nodes[parent]?.stat else { return }
        let cversion = parentCVersion == -1 ? stat.cversion &+ 1 : parentCVersion
        guard cversion > stat.cversion else { return }
        stat.cversion = cversion
        stat.pzxid = zxid
        nodes[parent]?.stat = stat
    }

    private mutating func delete(_ path: String, _ zxid: Zxid) {
        nodes[path] = nil
        let parent = NaiveTree.parent(of: path)
        if let stat = nodes[parent]?.stat, zxid > stat.pzxid { nodes[parent]?.stat.pzxid = zxid }
    }

    /// Leaves a node out, without a trace in its parent.
    package mutating func forget(_ path: String) { nodes[path] = nil }

    // MARK: - Questions

    package var digest: UInt64 {
        var sum: UInt64 = 0
        for (path, node) in nodes where !path.hasPrefix("/zookeeper/") { sum &+= NaiveTree.digest(of: path, node) }
        return sum
    }

    /// What one node adds to the digest.
    package static func digest(of path: String, _ node: Node) -> UInt64 {
        let prefix = Array(path.utf8).withUnsafeBytes { path in
            guard let data = node.data else { return NodeDigest.prefix(path: path, data: nil) }
            return data.withUnsafeBytes { NodeDigest.prefix(path: path, data: $0) }
        }
        return UInt64(NodeDigest.value(prefix: prefix, stat: node.stat))
    }

    package func childCount(of path: String) -> Int {
        nodes.keys.count { $0 != path && $0 != "" && NaiveTree.parent(of: $0) == path }
    }

    /// The names of its children, sorted.
    package func children(of path: String) -> [String] {
        let prefix = path + "/"
        return nodes.keys.filter { $0 != path && $0 != "" && NaiveTree.parent(of: $0) == path }
            .map { String($0.dropFirst(prefix.count)) }.sorted()
    }

    /// The sessions with their timeouts in milliseconds, for messages.
    package var sessionsInWords: String {
        let list = sessions.sorted { $0.key < $1.key }.map { "\(SessionID($0.key)) \($0.value) ms" }
        return list.isEmpty ? "none" : list.joined(separator: ", ")
    }

    /// What is different in another tree, in a few words; nil when nothing is.
    package func difference(from other: NaiveTree) -> String? {
        if sessions != other.sessions { return "sessions \(sessionsInWords), expected \(other.sessionsInWords)" }
        for path in Set(nodes.keys).union(other.nodes.keys).sorted() {
            guard let node = nodes[path] else { return "\(path) is missing" }
            guard let expected = other.nodes[path] else { return "\(path) should not be there" }
            if node.data != expected.data { return "\(path) has other data" }
            if node.acl != expected.acl { return "\(path) has another ACL" }
            if node.stat != expected.stat { return "\(path): \(node.stat), expected \(expected.stat)" }
        }
        return nil
    }

    /// The ACLs that `encodedNodes` refers to.
    package static let aclTable: [(Int64, [ACL])] = [(1, ACL.readable)]

    /// The whole tree as a snapshot of it would be written: parents first.
    package func encodedNodes() -> [UInt8] {
        var writer = JuteWriter()
        for path in nodes.keys.sorted() {
            guard let node = nodes[path] else { continue }
            Array(path.utf8).withUnsafeBytes { path in
                let data = node.data ?? []
                data.withUnsafeBytes { data in
                    SnapshotNode.write(
                        path: path,
                        data: node.data == nil ? nil : data,
                        aclID: node.acl == ACL.open ? SnapshotNode.openACL : 1,
                        stat: node.stat,
                        to: &writer
                    )
                }
            }
        }
        return writer.copy()
    }

    private static func key(_ path: [UInt8]) -> String {
        let text = String(decoding: path, as: UTF8.self)
        return text == "/" ? "" : text
    }

    package static func parent(of path: String) -> String {
        path.lastIndex(of: "/").map { String(path[..<$0]) } ?? ""
    }
}

extension NaiveTree {
    /// What a snapshot holds.
    package init(_ head: SnapshotHead, encodedNodes: UnsafeRawBufferPointer) throws(RestoreError) {
        self.init()
        for (session, timeout) in head.sessions { restore(session: session, timeoutMilliseconds: timeout) }
        for (id, acl) in head.acls { restore(aclID: id, acl: acl) }
        var reader = JuteReader(encodedNodes)
        while reader.remaining > 0 {
            let path: UnsafeRawBufferPointer
            let data: UnsafeRawBufferPointer?
            let aclID: Int64
            let stat: StatPersisted
            do throws(JuteError) {
                path = try reader.requiredBuffer()
                data = try reader.buffer()
                aclID = try reader.int64()
                stat = try StatPersisted(from: &reader)
            } catch {
                throw .other("\(error)")
            }
            try restore(path: path, data: data, aclID: aclID, stat: stat)
        }
    }
}
