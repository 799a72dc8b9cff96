import ZooKeeperProtocol

/// Writes the tree as it was at one moment, while it goes on changing, without a pause and without a copy of it.
///
/// The cursor walks depth first, some nodes a turn. A node that is about to change before the cursor has come to it is
/// written first, as it is (and its ancestors before it, since a reader needs parents first); its mark then tells the
/// cursor to pass over it. A node made since the beginning carries the mark from birth. So each node of the moment is
/// written once, in the state of that moment, and a change costs at most one extra copy.
struct SnapshotCursor: ~Copyable {
    private(set) var isActive = false
    private var generation: UInt32 = 0
    private var cursor = none
    /// What had to be written ahead of the cursor and was not fetched yet.
    private var saved = JuteWriter(capacity: 64)

    init() {}

    var markForNewNodes: UInt32 { isActive ? generation : 0 }

    mutating func begin() {
        invariant(!isActive, "a snapshot begins while another is under way")
        isActive = true
        generation &+= 1
        if generation == 0 { generation = 1 }
        cursor = DataTree.root
    }

    mutating func end() {
        isActive = false
        cursor = none
        saved.removeAll(keeping: 64)
    }

    /// Called before a node changes or goes.
    mutating func save(_ handle: Handle, of nodes: borrowing Slab<Znode>) {
        guard nodes[handle].snapshotMark != generation else { return }
        var chain: [Handle] = []
        var next = handle
        while next != none, nodes[next].snapshotMark != generation {
            chain.append(next)
            next = nodes[next].parent
        }
        for handle in chain.reversed() {
            SnapshotCursor.write(handle, of: nodes, to: &saved)
            nodes[handle].snapshotMark = generation
        }
    }

    /// Called when a node goes: the cursor must not stand on it.
    mutating func step(over handle: Handle, successor: Handle) {
        if isActive, cursor == handle { cursor = successor }
    }

    /// Appends about `maxBytes` of nodes. Returns false once everything is written.
    mutating func proceed(maxBytes: Int, nodes: borrowing Slab<Znode>, into writer: inout JuteWriter) -> Bool {
        if saved.count > 0 {
            saved.withBytes { writer.raw($0) }
            saved.removeAll(keeping: 1 << 16)
        }
        let end = writer.count + maxBytes
        // Nodes passed over cost time but no bytes: bound their number too.
        var steps = 8192
        while cursor != none, writer.count < end, steps > 0 {
            if nodes[cursor].snapshotMark != generation {
                SnapshotCursor.write(cursor, of: nodes, to: &writer)
                nodes[cursor].snapshotMark = generation
            }
            cursor = SnapshotCursor.successor(cursor, in: nodes)
            steps -= 1
        }
        return cursor != none
    }

    private static func write(_ handle: Handle, of nodes: borrowing Slab<Znode>, to writer: inout JuteWriter) {
        let node = nodes[handle]
        let acl = node.acl == .open ? SnapshotNode.openACL : Int64(node.acl.rawValue)
        SnapshotNode.write(path: node.path, data: node.data, aclID: acl, stat: node.stat, to: &writer)
    }

    private static func successor(_ handle: Handle, in nodes: borrowing Slab<Znode>) -> Handle {
        if nodes[handle].firstChild != none { return nodes[handle].firstChild }
        var handle = handle
        while handle != DataTree.root {
            if nodes[handle].nextSibling != none { return nodes[handle].nextSibling }
            handle = nodes[handle].parent
        }
        return none
    }
}
