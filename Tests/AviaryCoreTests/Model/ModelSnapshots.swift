import AviaryCore
import ZooKeeperProtocol

/// A tree as a snapshot has it.
struct StoredTree {
    struct Node: Equatable {
        var data: [UInt8]?
        var acl: [ACL]
        var stat: StatPersisted
    }

    /// In the order of the file.
    var order: [String] = []
    var nodes: [String: Node] = [:]
    var sessions: [Int64: Int32] = [:]
    /// Only these can be looked up when it is loaded.
    var acls: [Int64: [ACL]] = [:]
    /// What the nodes refer to.
    var aclIDs: [String: Int64] = [:]

    init() {}

    init(_ head: SnapshotHead, _ encoded: [UInt8]) throws {
        for (session, timeout) in head.sessions { sessions[session.rawValue] = timeout }
        for (id, list) in head.acls { acls[id] = list }
        try encoded.withUnsafeBytes { bytes in
            var reader = JuteReader(bytes)
            while reader.remaining > 0 {
                let path = try reader.string() ?? "?"
                let data = try reader.bytes()
                let id = try reader.int64()
                guard let acl = id == SnapshotNode.openACL ? ACL.open : acls[id] else {
                    throw ModelRun.Difference("ACL \(id) of \(path) is not in the snapshot's table")
                }
                guard nodes[path] == nil else { throw ModelRun.Difference("\(path) is twice in a snapshot") }
                aclIDs[path] = id
                order.append(path)
                nodes[path] = Node(data: data, acl: acl, stat: try StatPersisted(from: &reader))
            }
        }
    }

    func compare(with tree: ModelTree, _ sessions: [Int64: Int32], _ what: String) throws {
        guard nodes.count == tree.nodes.count else {
            throw ModelRun.Difference("\(what): \(nodes.keys.sorted()), expected \(tree.nodes.keys.sorted())")
        }
        for (path, node) in tree.nodes {
            let expected = Node(data: node.data, acl: node.acl, stat: node.persisted)
            guard let got = nodes[path == "/" ? "" : path] else { throw ModelRun.Difference("\(what): no \(path)") }
            guard got == expected else {
                throw ModelRun.Difference("\(what): \(path)\n got      \(got)\n expected \(expected)")
            }
        }
        guard self.sessions == sessions else {
            throw ModelRun.Difference("\(what): sessions \(self.sessions), expected \(sessions)")
        }
    }

    mutating func takeUnlimitedStatistics(from tree: ModelTree) {
        for (path, node) in tree.nodes where path.hasSuffix("/zookeeper_stats") {
            if tree.nodes[ModelTree.parent(path) + "/zookeeper_limits"] == nil { nodes[path]?.data = node.data }
        }
    }

    /// As recovery does it.
    func load(into core: inout ServerCore) throws {
        core.reset()
        for (session, timeout) in sessions { core.restore(session: SessionID(session), timeoutMilliseconds: timeout) }
        for (id, list) in acls { core.restore(aclID: id, acl: list) }
        for path in order {
            guard let node = nodes[path] else { continue }
            try Array(path.utf8).withUnsafeBytes { bytes in
                if let data = node.data {
                    try data.withUnsafeBytes {
                        try core.restore(path: bytes, data: $0, aclID: aclIDs[path] ?? -1, stat: node.stat)
                    }
                } else {
                    try core.restore(path: bytes, data: nil, aclID: aclIDs[path] ?? -1, stat: node.stat)
                }
            }
        }
        try core.finishSnapshot()
    }
}

/// A snapshot as Apache takes them (docs/protocol/disk-format.md section 4.3): node by node, from the root down, while
/// the tree goes on changing. ACLs of nodes that came after its beginning are not in its table.
struct FuzzySnapshot {
    let zxid: Int64
    private(set) var stored = StoredTree()
    /// Paths whose parents are written and that were among their children then.
    private var ahead = ["/"]
    private var lists: [[ACL]] = []

    init(zxid: Int64, tree: ModelTree, sessions: [Int64: Int32]) {
        self.zxid = zxid
        stored.sessions = sessions
        for path in tree.nodes.keys.sorted() {
            if let acl = tree.nodes[path]?.acl, !lists.contains(acl) { lists.append(acl) }
        }
        for (index, list) in lists.enumerated() { stored.acls[Int64(index) + 1] = list }
    }

    /// - Returns: whether that was all.
    mutating func proceed(_ tree: ModelTree, nodes count: Int) -> Bool {
        for _ in 0..<count {
            guard let path = ahead.popLast() else { return true }
            guard let node = tree.nodes[path] else { continue }
            if !lists.contains(node.acl) { lists.append(node.acl) }
            let name = path == "/" ? "" : path
            stored.order.append(name)
            stored.aclIDs[name] = node.acl == ACL.open ? -1 : Int64((lists.firstIndex(of: node.acl) ?? 0) + 1)
            stored.nodes[name] = StoredTree.Node(data: node.data, acl: node.acl, stat: node.persisted)
            ahead += node.children.sorted().reversed().map { ModelTree.child(path, $0) }
        }
        return ahead.isEmpty
    }
}
