import ZooKeeperProtocol

/// A path as a key of the changes in flight, with its hash.
struct PathKey: Hashable {
    let bytes: [UInt8]
    private let hash: Int

    init(_ bytes: [UInt8], hasher: ByteHasher) {
        self.bytes = bytes
        hash = Int(truncatingIfNeeded: bytes.withUnsafeBytes { hasher.hash($0) })
    }

    static func == (left: PathKey, right: PathKey) -> Bool {
        left.hash == right.hash && left.bytes == right.bytes
    }

    func hash(into hasher: inout Hasher) {
        hasher.combine(hash)
    }
}

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
    /// The transaction that changed it last; zero when it stands in the tree as it is.
    var changedBy = Zxid.zero
    /// The data of nodes below /zookeeper/quota, which decide about other writes.
    var quotaData: [UInt8]?

    var digest: UInt64 { NodeDigest.value(prefix: digestPrefix, stat: stat) }
}

/// What is in flight over the tree: only the paths that transactions not yet applied touch.
///
/// A multi prepares into a scratch layer on top, which is merged when it succeeds and dropped when it does not; so
/// nothing ever needs to be undone.
struct PendingChanges {
    private var nodes: [PathKey: NodeState] = [:]
    private var scratch: [PathKey: NodeState]?
    private var digestBeforeScratch: UInt64 = 0

    /// The tree digest with everything in flight applied.
    var digest: UInt64 = 0

    /// The longest path below /zookeeper/quota whose data was touched since nothing was in flight; 0 is none.
    private(set) var longestQuotaNode = 0

    var isEmpty: Bool { nodes.isEmpty && scratch == nil }
    var count: Int { nodes.count }

    subscript(key: PathKey) -> NodeState? {
        if let scratch, let state = scratch[key] { return state }
        return nodes[key]
    }

    /// In no order: only for sums.
    func forEach(_ body: (PathKey, NodeState) -> Void) {
        for (key, state) in nodes where scratch?[key] == nil { body(key, state) }
        for (key, state) in scratch ?? [:] { body(key, state) }
    }

    mutating func set(_ key: PathKey, _ state: NodeState) {
        if state.quotaData != nil { longestQuotaNode = max(longestQuotaNode, key.bytes.count) }
        if scratch != nil {
            scratch?[key] = state
        } else {
            nodes[key] = state
        }
    }

    /// A transaction is applied: forgets what it touched, unless a later one touched it too.
    mutating func applied(_ zxid: Zxid, touching keys: [PathKey]) {
        for key in keys where nodes[key]?.changedBy == zxid { nodes[key] = nil }
        if nodes.isEmpty { longestQuotaNode = 0 }
    }

    mutating func beginScratch() {
        scratch = [:]
        digestBeforeScratch = digest
    }

    mutating func keepScratch() {
        nodes.merge(scratch ?? [:]) { _, new in new }
        scratch = nil
    }

    mutating func dropScratch() {
        scratch = nil
        digest = digestBeforeScratch
    }
}
