import ZooKeeperProtocol

/// The tree of znodes with everything that follows from it: children, owners, digest, size.
///
/// It holds what is committed and nothing else; what is in flight lies over it in `PendingChanges`. All of it changes
/// through the few functions below, in zxid order, on every server in the same way.
struct DataTree: ~Copyable {
    var nodes = Slab<Znode>()
    private(set) var index = HandleIndex()
    let hasher: ByteHasher
    var accessLists = AccessLists()
    var owners: OwnerLists
    /// A snapshot under way must see a node before it changes.
    var snapshot = SnapshotCursor()

    static let root: Handle = 0

    /// Sum of all node digests (docs/protocol/quorum-protocol.md section 17.3).
    private(set) var digest: UInt64 = 0
    /// Bytes of all paths and data.
    private(set) var approximateDataSize = 0

    /// - Parameters:
    ///   - hashSeed: makes path hashes unpredictable.
    ///   - kinds: how stored owners are to be read.
    init(hashSeed: UInt64, kinds: NodeKindRule) {
        invariant(MemoryLayout<Znode>.stride == 128, "a znode is not two cache lines any more")
        hasher = ByteHasher(seed: hashSeed)
        owners = OwnerLists(kinds: kinds)
    }

    deinit {
        freeBlobs()
    }

    /// Nothing at all, not even a root: before a snapshot is loaded.
    mutating func removeAll() {
        freeBlobs()
        nodes.removeAll()
        index.removeAll()
        accessLists = AccessLists()
        owners.removeAll()
        snapshot = SnapshotCursor()
        digest = 0
        approximateDataSize = 0
    }

    /// The tree that a new server starts with (docs/protocol/client-protocol.md section 16).
    mutating func makeFresh() {
        removeAll()
        let world = accessLists.retain(ACL.open)
        let empty = UnsafeRawBufferPointer(start: nil, count: 0)
        _ = insert(path: empty, data: empty, acl: world, stat: .zero, parent: none)
        let zookeeper = insert("/zookeeper", data: empty, acl: world, stat: .zero, parent: DataTree.root)
        _ = insert("/zookeeper/quota", data: empty, acl: world, stat: .zero, parent: zookeeper)
        var configStat = StatPersisted.zero
        configStat.aversion = -1
        _ = insert(
            "/zookeeper/config",
            data: empty,
            acl: accessLists.retain(ACL.readable),
            stat: configStat,
            parent: zookeeper
        )
    }

    private mutating func insert(
        _ path: StaticString,
        data: UnsafeRawBufferPointer?,
        acl: AccessListID,
        stat: StatPersisted,
        parent: Handle
    ) -> Handle {
        insert(
            path: UnsafeRawBufferPointer(start: path.utf8Start, count: path.utf8CodeUnitCount),
            data: data,
            acl: acl,
            stat: stat,
            parent: parent
        )
    }

    private func freeBlobs() {
        guard nodes.count > 0 else { return }
        // Depth first from the root: the slab itself does not know which of its elements are alive.
        var handle = DataTree.root
        while handle != none {
            nodes[handle].blob.deallocate()
            handle = successor(handle)
        }
    }

    // MARK: Looking up

    var count: Int { nodes.count }

    /// The node at a path; "" and "/" are the root.
    @inline(__always)
    func find(_ path: UnsafeRawBufferPointer) -> Handle {
        find(path, hash: hasher.hash(path))
    }

    /// - Parameter hash: of the path, by `hasher`.
    @inline(__always)
    func find(_ path: UnsafeRawBufferPointer, hash: UInt64) -> Handle {
        if path.count <= 1 {
            return path.count == 0 || path[0] == UInt8(ascii: "/") ? (nodes.count > 0 ? DataTree.root : none) : none
        }
        return index.find(hash) { handle in
            nodes[handle].path.hasSameBytes(as: path)
        }
    }

    func find(_ path: [UInt8]) -> Handle {
        path.withUnsafeBytes { find($0) }
    }

    /// The next node in depth-first order; `none` after the last.
    func successor(_ handle: Handle) -> Handle {
        let child = nodes[handle].firstChild
        return child != none ? child : successorSkippingChildren(handle)
    }

    func successorSkippingChildren(_ handle: Handle) -> Handle {
        var handle = handle
        while handle != DataTree.root {
            let sibling = nodes[handle].nextSibling
            if sibling != none { return sibling }
            handle = nodes[handle].parent
        }
        return none
    }

    /// The node at the end of the first children below `handle`.
    func deepestFirst(below handle: Handle) -> Handle {
        var deepest = handle
        while nodes[deepest].firstChild != none { deepest = nodes[deepest].firstChild }
        return deepest
    }

    func isEphemeral(_ handle: Handle) -> Bool {
        owners.kinds.isEphemeral(nodes[handle].stat.ephemeralOwner)
    }

    func clientStat(_ handle: Handle) -> Stat {
        let node = nodes[handle]
        return node.stat.clientStat(
            dataLength: node.dataLength,
            childCount: node.childCount,
            isEphemeral: isEphemeral(handle)
        )
    }

    // MARK: Changing

    /// Adds a node below `parent` (`none` for the root). What the parent's stat becomes is the caller's.
    ///
    /// `acl` must have been retained for it.
    ///
    /// - Parameter digestPrefix: of path and data, when it is known.
    @discardableResult
    mutating func insert(
        path: UnsafeRawBufferPointer,
        data: UnsafeRawBufferPointer?,
        acl: AccessListID,
        stat: StatPersisted,
        parent: Handle,
        digestPrefix: UInt32? = nil
    ) -> Handle {
        let dataCount = data?.count ?? 0
        let blob = UnsafeMutableRawPointer.allocate(byteCount: max(1, path.count + dataCount), alignment: 1)
        if let source = path.baseAddress { blob.copyMemory(from: source, byteCount: path.count) }
        if let source = data?.baseAddress { (blob + path.count).copyMemory(from: source, byteCount: dataCount) }
        let prefix = digestPrefix ?? NodeDigest.prefix(path: path, data: data)
        let handle = nodes.insert(
            Znode(
                stat: stat,
                pathLength: Int32(path.count),
                blob: blob,
                dataLength: data == nil ? -1 : Int32(dataCount),
                acl: acl,
                digestPrefix: prefix,
                digest: NodeDigest.value(prefix: prefix, stat: stat),
                parent: parent,
                snapshotMark: snapshot.markForNewNodes
            )
        )
        if parent != none {
            index.insert(hasher.hash(path), handle)
            linkChild(handle, to: parent)
            // Not the root, which nothing removes, whatever a file says of it.
            owners.link(handle, owner: stat.ephemeralOwner, in: nodes)
        }
        if NodeDigest.counts(path: path) { digest &+= UInt64(nodes[handle].digest) }
        approximateDataSize += path.count + dataCount
        return handle
    }

    /// Removes a node without children.
    mutating func remove(_ handle: Handle) {
        let node = nodes[handle]
        invariant(node.firstChild == none && handle != DataTree.root, "removing a node that has children")
        beforeChange(handle)
        snapshot.step(over: handle, successor: successorSkippingChildren(handle))
        if NodeDigest.counts(path: node.path) { digest &-= UInt64(node.digest) }
        approximateDataSize -= Int(node.pathLength) + Int(max(node.dataLength, 0))
        owners.unlink(handle, owner: node.stat.ephemeralOwner, in: nodes)
        accessLists.release(node.acl)
        index.remove(hasher.hash(node.path), handle)
        unlinkChild(handle)
        node.blob.deallocate()
        nodes.remove(handle)
    }

    /// - Parameter digestPrefix: of path and data, when it is known.
    mutating func setData(
        _ handle: Handle,
        _ data: UnsafeRawBufferPointer?,
        stat: StatPersisted,
        digestPrefix: UInt32? = nil
    ) {
        beforeChange(handle)
        let pathLength = Int(nodes[handle].pathLength)
        let oldCount = Int(max(nodes[handle].dataLength, 0))
        let newCount = data?.count ?? 0
        if newCount != oldCount {
            let blob = UnsafeMutableRawPointer.allocate(byteCount: max(1, pathLength + newCount), alignment: 1)
            blob.copyMemory(from: nodes[handle].blob, byteCount: pathLength)
            nodes[handle].blob.deallocate()
            nodes[handle].blob = blob
            approximateDataSize += newCount - oldCount
        }
        if let source = data?.baseAddress {
            (nodes[handle].blob + pathLength).copyMemory(from: source, byteCount: newCount)
        }
        nodes[handle].dataLength = data == nil ? -1 : Int32(newCount)
        nodes[handle].digestPrefix =
            digestPrefix ?? NodeDigest.prefix(path: nodes[handle].path, data: nodes[handle].data)
        store(stat, in: handle)
    }

    mutating func setStat(_ handle: Handle, _ stat: StatPersisted) {
        beforeChange(handle)
        store(stat, in: handle)
    }

    private mutating func store(_ stat: StatPersisted, in handle: Handle) {
        let share = NodeDigest.value(prefix: nodes[handle].digestPrefix, stat: stat)
        if NodeDigest.counts(path: nodes[handle].path) {
            digest &-= UInt64(nodes[handle].digest)
            digest &+= UInt64(share)
        }
        nodes[handle].stat = stat
        nodes[handle].digest = share
    }

    /// `acl` must have been retained for it.
    mutating func setACL(_ handle: Handle, _ acl: AccessListID) {
        beforeChange(handle)
        accessLists.release(nodes[handle].acl)
        nodes[handle].acl = acl
    }

    /// See `SnapshotCursor.proceed`.
    mutating func continueSnapshot(maxBytes: Int, into writer: inout JuteWriter) -> Bool {
        snapshot.proceed(maxBytes: maxBytes, nodes: nodes, into: &writer)
    }

    private mutating func beforeChange(_ handle: Handle) {
        if snapshot.isActive { snapshot.save(handle, of: nodes) }
    }

    // MARK: Children

    private func linkChild(_ handle: Handle, to parent: Handle) {
        let first = nodes[parent].firstChild
        if first == none {
            nodes[parent].firstChild = handle
            nodes[handle].previousSibling = handle
        } else {
            let last = nodes[first].previousSibling
            nodes[last].nextSibling = handle
            nodes[handle].previousSibling = last
            nodes[first].previousSibling = handle
        }
        nodes[handle].nextSibling = none
        nodes[parent].childCount += 1
        countDescendants(1, of: parent)
    }

    private func unlinkChild(_ handle: Handle) {
        let node = nodes[handle]
        let parent = node.parent
        let first = nodes[parent].firstChild
        if handle == first {
            nodes[parent].firstChild = node.nextSibling
        } else {
            nodes[node.previousSibling].nextSibling = node.nextSibling
        }
        if node.nextSibling != none {
            nodes[node.nextSibling].previousSibling = node.previousSibling
        } else if handle != first {
            nodes[first].previousSibling = node.previousSibling
        }
        nodes[parent].childCount -= 1
        countDescendants(-1, of: parent)
    }

    private func countDescendants(_ change: Int32, of handle: Handle) {
        var handle = handle
        while handle != none {
            nodes[handle].descendantCount += change
            handle = nodes[handle].parent
        }
    }
}

extension UnsafeRawBufferPointer {
    @inline(__always)
    func hasSameBytes(as other: UnsafeRawBufferPointer) -> Bool {
        guard count == other.count, let left = baseAddress, let right = other.baseAddress else {
            return count == other.count
        }
        var offset = 0
        while offset + 8 <= count {
            if left.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                != right.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
            {
                return false
            }
            offset += 8
        }
        while offset < count {
            if left.load(fromByteOffset: offset, as: UInt8.self) != right.load(fromByteOffset: offset, as: UInt8.self) {
                return false
            }
            offset += 1
        }
        return true
    }

    /// The part before the last '/'; "" is the root. nil when there is no '/'.
    @inline(__always)
    var parentPath: UnsafeRawBufferPointer? {
        var end = count
        while end > 0 {
            end -= 1
            if self[end] == UInt8(ascii: "/") { return UnsafeRawBufferPointer(rebasing: self[..<end]) }
        }
        return nil
    }
}
