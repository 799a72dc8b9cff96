import ZooKeeperProtocol

/// How this server reads stored owner values.
struct NodeKindRule: Sendable {
    var extendedTypes: Bool
    var emulate353: Bool

    func kind(_ owner: Int64) -> NodeKind {
        NodeKind(owner: owner, extendedTypes: extendedTypes, emulate353: emulate353)
    }

    @inline(__always)
    func isEphemeral(_ owner: Int64) -> Bool {
        guard owner != 0 else { return false }
        if case .ephemeral = kind(owner) { return true }
        return false
    }
}

/// Which nodes belong to a session, which are containers, which have a TTL: lists threaded through the nodes.
struct OwnerLists {
    let kinds: NodeKindRule
    /// First ephemeral of each session that has any. Looked up, never iterated, but for dumps, which sort.
    private(set) var ephemerals: [SessionID: Handle] = [:]
    private(set) var ephemeralCount = 0
    private(set) var containers = none
    private(set) var ttls = none

    init(kinds: NodeKindRule) {
        self.kinds = kinds
    }

    func firstEphemeral(of session: SessionID) -> Handle {
        ephemerals[session] ?? none
    }

    mutating func removeAll() {
        self = OwnerLists(kinds: kinds)
    }

    mutating func link(_ handle: Handle, owner: Int64, in nodes: borrowing Slab<Znode>) {
        guard owner != 0 else { return }
        let kind = kinds.kind(owner)
        let first = head(kind)
        nodes[handle].nextOwned = first
        nodes[handle].previousOwned = none
        if first != none { nodes[first].previousOwned = handle }
        setHead(kind, handle)
        if case .ephemeral = kind { ephemeralCount += 1 }
    }

    mutating func unlink(_ handle: Handle, owner: Int64, in nodes: borrowing Slab<Znode>) {
        guard owner != 0 else { return }
        let kind = kinds.kind(owner)
        let next = nodes[handle].nextOwned
        let previous = nodes[handle].previousOwned
        if next != none { nodes[next].previousOwned = previous }
        if previous != none { nodes[previous].nextOwned = next } else { setHead(kind, next) }
        if case .ephemeral = kind { ephemeralCount -= 1 }
    }

    private func head(_ kind: NodeKind) -> Handle {
        switch kind {
        case .persistent: none
        case .ephemeral(let session): ephemerals[session] ?? none
        case .container: containers
        case .ttl: ttls
        }
    }

    private mutating func setHead(_ kind: NodeKind, _ handle: Handle) {
        switch kind {
        case .persistent: break
        case .ephemeral(let session): ephemerals[session] = handle == none ? nil : handle
        case .container: containers = handle
        case .ttl: ttls = handle
        }
    }
}
