import ZooKeeperProtocol

/// Who may do what with a node: in the tree, or of a change in flight.
enum AccessReference {
    case id(AccessListID)
    case list([ACL])
}

/// A znode as the next write must see it: the tree with everything in flight applied.
struct NodeState {
    /// False: a change in flight deletes it.
    var exists = true
    var stat: StatPersisted
    var childCount: Int32
    var acl: AccessReference
    var dataLength: Int32
    var digestPrefix: UInt32
    /// Its share of the tree digest.
    var digest: UInt32 = 0
    /// The transaction that changed it last; zero when it stands in the tree as it is.
    var changedBy = Zxid.zero
    /// The data of nodes below /zookeeper/quota, which decide about other writes.
    var quotaData: [UInt8]?
}

/// Stands for a changed node in `PendingChanges`; `none` is no change.
typealias PendingID = Int32

/// What is in flight over the tree: only the nodes that transactions not yet applied touch.
///
/// A node of the tree points at its change, so that finding the node finds both; only nodes that are not in the tree
/// are looked up here by their path. An entry lives from the first transaction that touches a node to the moment when
/// the last one is applied, and knows all the while where in the tree its node stands: what is applied is not looked
/// up again.
///
/// A multi changes entries as it goes and keeps what they were; when it fails they are put back.
struct PendingChanges: ~Copyable {
    private struct Entry {
        var state: NodeState
        /// Where the node stands; `none` while it is not in the tree.
        var handle: Handle
        /// Whether `created` has it.
        var isIndexed = false
        /// Of a node that is not in the tree.
        var path: [UInt8] = []
        var hash: UInt64 = 0
    }

    private var entries: [Entry] = []
    private var free: [PendingID] = []
    /// Entries whose nodes are not in the tree.
    private var created = HandleIndex()
    /// What a multi has changed so far: states as they were, nil where there was no entry.
    private var undo: [(PendingID, NodeState?)] = []
    private var isUndoable = false
    private var digestBefore: UInt64 = 0

    /// The entries that transactions in flight touch, in the order in which they are applied.
    private var touched: [PendingID] = []
    private var firstTouched = 0

    /// The tree digest with everything in flight applied.
    var digest: UInt64 = 0

    /// The longest path below /zookeeper/quota whose data was touched since nothing was in flight; 0 is none.
    private(set) var longestQuotaNode = 0

    init() {}

    var isEmpty: Bool { count == 0 }
    var count: Int { entries.count - free.count }

    /// How many entries are touched so far.
    var touchedCount: Int { touched.count - firstTouched }

    subscript(id: PendingID) -> NodeState { entries[Int(id)].state }

    /// Where a changed node stands in the tree.
    @inline(__always)
    func handle(_ id: PendingID) -> Handle { entries[Int(id)].handle }

    /// The change of a node that is not in the tree.
    @inline(__always)
    func find(_ path: UnsafeRawBufferPointer, hash: UInt64) -> PendingID {
        guard created.count > 0 else { return none }
        return created.find(hash) { id in
            entries[Int(id)].path.withUnsafeBytes { $0.hasSameBytes(as: path) }
        }
    }

    /// In no order: only for sums.
    func forEach(in nodes: borrowing Slab<Znode>, _ body: (UnsafeRawBufferPointer, Handle, NodeState) -> Void) {
        for entry in entries where entry.state.changedBy != .zero {
            if entry.handle != none {
                body(nodes[entry.handle].path, entry.handle, entry.state)
            } else {
                entry.path.withUnsafeBytes { body($0, none, entry.state) }
            }
        }
    }

    // MARK: Preparing

    /// Changes a node again.
    mutating func set(_ id: PendingID, _ state: NodeState, pathLength: Int) {
        if isUndoable { undo.append((id, entries[Int(id)].state)) }
        entries[Int(id)].state = state
        touch(id, state, pathLength)
    }

    /// Changes a node for the first time.
    ///
    /// - Parameters:
    ///   - handle: where it stands; `none` when it is only now being made.
    ///   - path: of a node that is being made.
    mutating func add(
        _ state: NodeState,
        at handle: Handle,
        path: [UInt8],
        hash: UInt64,
        pathLength: Int,
        in nodes: borrowing Slab<Znode>
    ) -> PendingID {
        let id: PendingID
        let entry = Entry(state: state, handle: handle, isIndexed: handle == none, path: path, hash: hash)
        if let reused = free.popLast() {
            id = reused
            entries[Int(id)] = entry
        } else {
            id = PendingID(entries.count)
            entries.append(entry)
        }
        if handle != none { nodes[handle].pending = id } else { created.insert(hash, id) }
        if isUndoable { undo.append((id, nil)) }
        touch(id, state, pathLength)
        return id
    }

    private mutating func touch(_ id: PendingID, _ state: NodeState, _ pathLength: Int) {
        if state.quotaData != nil { longestQuotaNode = max(longestQuotaNode, pathLength) }
        touched.append(id)
    }

    mutating func beginMulti() {
        isUndoable = true
        digestBefore = digest
    }

    mutating func keepMulti() {
        isUndoable = false
        undo.removeAll(keepingCapacity: true)
    }

    mutating func undoMulti(in nodes: borrowing Slab<Znode>) {
        isUndoable = false
        digest = digestBefore
        touched.removeLast(undo.count)
        for (id, state) in undo.reversed() {
            if let state { entries[Int(id)].state = state } else { remove(id, in: nodes) }
        }
        undo.removeAll(keepingCapacity: true)
    }

    // MARK: Applying

    /// A node in flight is in the tree now.
    mutating func entered(_ id: PendingID, at handle: Handle, in nodes: borrowing Slab<Znode>) {
        if entries[Int(id)].isIndexed {
            created.remove(entries[Int(id)].hash, id)
            entries[Int(id)].isIndexed = false
        }
        entries[Int(id)].handle = handle
        entries[Int(id)].path = []
        nodes[handle].pending = id
    }

    /// A node with a change in flight has gone, by the transaction `zxid`; a later one may make it again.
    mutating func left(_ id: PendingID, path: [UInt8], hasher: ByteHasher, by zxid: Zxid) {
        entries[Int(id)].handle = none
        guard entries[Int(id)].state.changedBy != zxid else { return }
        let hash = path.withUnsafeBytes { hasher.hash($0) }
        entries[Int(id)].path = path
        entries[Int(id)].hash = hash
        entries[Int(id)].isIndexed = true
        created.insert(hash, id)
    }

    /// The oldest transaction in flight is applied: forgets what it touched, unless a later one touched it too.
    mutating func applied(_ zxid: Zxid, touching count: Int, in nodes: borrowing Slab<Znode>) {
        for index in firstTouched..<(firstTouched + count) {
            let id = touched[index]
            if entries[Int(id)].state.changedBy == zxid { remove(id, in: nodes) }
        }
        firstTouched += count
        if firstTouched == touched.count {
            touched.removeAll(keepingCapacity: touched.capacity <= 1 << 16)
            firstTouched = 0
        } else if firstTouched >= 1024, firstTouched * 2 > touched.count {
            touched.removeFirst(firstTouched)
            firstTouched = 0
        }
        guard isEmpty else { return }
        longestQuotaNode = 0
        if entries.count > 1 << 12 {
            entries = []
            free = []
        }
    }

    private mutating func remove(_ id: PendingID, in nodes: borrowing Slab<Znode>) {
        let handle = entries[Int(id)].handle
        if handle != none { nodes[handle].pending = none }
        if entries[Int(id)].isIndexed { created.remove(entries[Int(id)].hash, id) }
        entries[Int(id)].isIndexed = false
        entries[Int(id)].path = []
        entries[Int(id)].state.quotaData = nil
        entries[Int(id)].state.acl = .id(.open)
        entries[Int(id)].state.changedBy = .zero
        free.append(id)
    }
}
