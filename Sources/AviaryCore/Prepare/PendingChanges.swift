import ZooKeeperProtocol

/// Who may do what with a node.
enum AccessReference {
    case id(AccessListID)
    case list([ACL])
}

/// A znode as the next write must see it: the tree with everything in flight applied.
struct NodeState: BitwiseCopyable {
    /// False: a change in flight deletes it.
    var exists = true
    var stat: StatPersisted
    var childCount: Int32
    /// Counted by the entry that holds this state, so that the list stays as long as it.
    var acl: AccessListID
    var dataLength: Int32
    var digestPrefix: UInt32
    /// Its share of the tree digest.
    var digest: UInt32 = 0
    /// The transaction that changed it last; zero when it stands in the tree as it is.
    var changedBy = Zxid.zero
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
        /// The data of a node below /zookeeper/quota, once it changes: it decides about other writes.
        var quotaData: [UInt8]?
    }

    /// What an entry was before a multi changed it.
    private struct Undo {
        var id: PendingID
        var state: NodeState
        var quotaData: [UInt8]?
    }

    private var entries: [Entry] = []
    private var free: [PendingID] = []
    /// Entries whose nodes are not in the tree.
    private var created = HandleIndex()
    /// What a multi has changed so far, and which entries it has made.
    private var undo: [Undo] = []
    private var made: [PendingID] = []
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

    @inline(__always)
    subscript(id: PendingID) -> NodeState { entries[Int(id)].state }

    func quotaData(_ id: PendingID) -> [UInt8]? { entries[Int(id)].quotaData }

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
    ///
    /// - Parameter quotaData: the data of a node below /zookeeper/quota when that changes.
    mutating func set(
        _ id: PendingID,
        _ state: NodeState,
        quotaData: [UInt8]?,
        pathLength: Int,
        lists: inout AccessLists
    ) {
        let old = entries[Int(id)].state
        lists.retain(state.acl)
        if isUndoable {
            undo.append(Undo(id: id, state: old, quotaData: entries[Int(id)].quotaData))
        } else {
            lists.release(old.acl)
        }
        entries[Int(id)].state = state
        touch(id, quotaData, pathLength)
    }

    /// Changes a node for the first time.
    ///
    /// - Parameters:
    ///   - handle: where it stands; `none` when it is only now being made.
    ///   - path: of a node that is being made.
    ///   - quotaData: the data of a node below /zookeeper/quota when that changes.
    mutating func add(
        _ state: NodeState,
        at handle: Handle,
        path: [UInt8],
        hash: UInt64,
        quotaData: [UInt8]?,
        pathLength: Int,
        in nodes: borrowing Slab<Znode>,
        lists: inout AccessLists
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
        lists.retain(state.acl)
        if handle != none { nodes[handle].pending = id } else { created.insert(hash, id) }
        if isUndoable { made.append(id) }
        touch(id, quotaData, pathLength)
        return id
    }

    private mutating func touch(_ id: PendingID, _ quotaData: [UInt8]?, _ pathLength: Int) {
        touched.append(id)
        guard let quotaData else { return }
        entries[Int(id)].quotaData = quotaData
        longestQuotaNode = max(longestQuotaNode, pathLength)
    }

    mutating func beginMulti() {
        isUndoable = true
        digestBefore = digest
    }

    mutating func keepMulti(lists: inout AccessLists) {
        isUndoable = false
        for change in undo { lists.release(change.state.acl) }
        undo.removeAll(keepingCapacity: true)
        made.removeAll(keepingCapacity: true)
    }

    mutating func undoMulti(in nodes: borrowing Slab<Znode>, lists: inout AccessLists) {
        isUndoable = false
        digest = digestBefore
        touched.removeLast(undo.count + made.count)
        for change in undo.reversed() {
            lists.release(entries[Int(change.id)].state.acl)
            entries[Int(change.id)].state = change.state
            entries[Int(change.id)].quotaData = change.quotaData
        }
        for id in made { remove(id, in: nodes, lists: &lists) }
        undo.removeAll(keepingCapacity: true)
        made.removeAll(keepingCapacity: true)
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
    mutating func applied(
        _ zxid: Zxid,
        touching count: Int,
        in nodes: borrowing Slab<Znode>,
        lists: inout AccessLists
    ) {
        for index in firstTouched..<(firstTouched + count) {
            let id = touched[index]
            if entries[Int(id)].state.changedBy == zxid { remove(id, in: nodes, lists: &lists) }
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

    /// Nothing that was in flight will be applied: the tree is all there is.
    mutating func removeAll(in nodes: borrowing Slab<Znode>, lists: inout AccessLists, digest: UInt64) {
        for index in entries.indices where entries[index].state.changedBy != .zero {
            if entries[index].handle != none { nodes[entries[index].handle].pending = none }
            lists.release(entries[index].state.acl)
        }
        self = PendingChanges()
        self.digest = digest
    }

    private mutating func remove(_ id: PendingID, in nodes: borrowing Slab<Znode>, lists: inout AccessLists) {
        let handle = entries[Int(id)].handle
        if handle != none { nodes[handle].pending = none }
        if entries[Int(id)].isIndexed { created.remove(entries[Int(id)].hash, id) }
        lists.release(entries[Int(id)].state.acl)
        entries[Int(id)].isIndexed = false
        entries[Int(id)].path = []
        entries[Int(id)].quotaData = nil
        entries[Int(id)].state.changedBy = .zero
        free.append(id)
    }
}
