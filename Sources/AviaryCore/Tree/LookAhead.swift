import ZooKeeperProtocol

/// Nodes that are going to be looked up in a moment: fetched together, they are waited for together.
///
/// In a tree that is larger than the processor's caches a lookup waits three times, each time for what the wait before
/// has brought: the index's slot, the node, the node's path. Sixteen lookups ahead of time wait three times as well, and
/// those that follow find everything near. Nothing depends on it.
struct LookAhead {
    static let capacity = 16

    private var hashes = InlineArray<16, UInt64>(repeating: 0)
    private var count = 0

    var isFull: Bool { count == LookAhead.capacity }

    mutating func add(_ path: UnsafeRawBufferPointer, hasher: ByteHasher) {
        guard !isFull else { return }
        hashes[count] = hasher.hash(path)
        count += 1
    }

    /// By hash alone: for a path that is not in the tree another node may be fetched.
    func fetch(from tree: borrowing DataTree) {
        guard count > 1 else { return }
        for index in 0..<count { tree.prefetchSlot(hashes[index]) }
        var handles = InlineArray<16, Handle>(repeating: none)
        for index in 0..<count {
            handles[index] = tree.findByHash(hashes[index])
            if handles[index] != none { tree.nodes.prefetchElement(handles[index]) }
        }
        for index in 0..<count where handles[index] != none { tree.nodes.prefetchBlob(of: handles[index]) }
    }
}

extension DataTree {
    /// The node that probably has a path with this hash.
    @inline(__always)
    fileprivate func findByHash(_ hash: UInt64) -> Handle { index.find(hash) { _ in true } }

    @inline(__always)
    fileprivate func prefetchSlot(_ hash: UInt64) { index.prefetchSlot(hash) }
}

extension Slab<Znode> {
    /// Fetches the beginning of a node's path and data.
    @inline(__always)
    func prefetchBlob(of handle: Handle) {
        let blob = UnsafeRawPointer(self[handle].blob)
        prefetch(blob)
        prefetch(blob + 64)
    }
}
