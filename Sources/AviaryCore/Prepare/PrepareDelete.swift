import ZooKeeperProtocol

extension ServerCore {
    mutating func prepareDelete(_ request: DeleteRequest, _ context: PrepareContext) throws(ErrorCode) -> TxnBody {
        guard let path = request.path else { throw .marshallingError }
        guard path.withUnsafeBytes({ PathRules.isPlausible($0) }), !PathRules.isSystemNode(path) else {
            throw .badArguments
        }
        let parentSpot = lookAtParent(of: path)
        guard let parent = parentSpot.state else { throw .noNode }
        try require(Permissions.delete, on: parent.acl, of: context.identities)
        let spot = look(path)
        guard let node = spot.state else { throw .noNode }
        try ServerCore.requireVersion(request.version, is: node.stat.version)
        guard node.childCount == 0 else { throw .notEmpty }
        target.node = remove(path, spot, parentSpot, context.zxid)
        return .delete(path: path, byContainerCheck: false)
    }

    /// A container or TTL node that is to go by itself; nil when it no longer may: candidates wait for their turn, and what
    /// is in flight may have written to one, or have put another node in its place.
    mutating func prepareReap(_ path: [UInt8], zxid: Zxid, at now: Now) -> TxnBody? {
        let spot = look(path)
        guard let node = spot.state, isReapable(node.stat, childCount: node.childCount, at: now) else { return nil }
        target.node = remove(path, spot, lookAtParent(of: path), zxid)
        return .delete(path: path, byContainerCheck: true)
    }

    /// The end of a session with all its ephemerals, those in flight included.
    mutating func prepareCloseSession(_ id: SessionID) -> TxnBody {
        let zxid = lastPreparedZxid.next
        var paths: [[UInt8]] = []
        var handle = tree.owners.firstEphemeral(of: id)
        while handle != none {
            let path = [UInt8](tree.nodes[handle].path)
            // A change in flight may delete it, or have put another node in its place.
            if let state = look(path).state, state.stat.czxid == tree.nodes[handle].stat.czxid { paths.append(path) }
            handle = tree.nodes[handle].nextOwned
        }
        // One path may have been made, deleted and made again in flight.
        var listed = Set(paths)
        sessions[id]?.pendingEphemerals.forEach { path in
            let spot = look(path)
            if spot.pending != none, let state = spot.state, state.stat.ephemeralOwner == id.rawValue,
                listed.insert(path).inserted
            {
                paths.append(path)
            }
        }
        if paths.contains(where: { (look($0).state?.childCount ?? 0) > 0 }) { paths = withDescendants(paths) }
        var bytes = 0
        for path in paths {
            bytes += path.count + 4
            let spot = look(path)
            if spot.state != nil { remove(path, spot, lookAtParent(of: path), zxid) }
        }
        // Without the list the same nodes go when it is applied; a record too long to be read back would be fatal.
        let isListed = options.closeSessionTxn && !isSpaceLow && bytes + 256 <= options.maxBufferBytes
        return .closeSession(paths: isListed ? paths : nil)
    }

    /// Puts what is below ephemerals in front of them. No server makes nodes there, but a file can hold them; they go with
    /// the ephemeral, and no change in flight may be left without its node.
    private func withDescendants(_ paths: [[UInt8]]) -> [[UInt8]] {
        var listed: Set<[UInt8]> = []
        var ordered: [[UInt8]] = []
        for path in paths {
            let top = tree.find(path)
            var below: [[UInt8]] = []
            if top != none {
                let end = tree.successorSkippingChildren(top)
                var handle = tree.successor(top)
                while handle != end {
                    below.append([UInt8](tree.nodes[handle].path))
                    handle = tree.successor(handle)
                }
            }
            for path in below.reversed() + [path] where look(path).state != nil && listed.insert(path).inserted {
                ordered.append(path)
            }
        }
        return ordered
    }

    private func lookAtParent(of path: [UInt8]) -> Spot {
        path.withUnsafeBytes { look($0.parentPath ?? UnsafeRawBufferPointer(rebasing: $0[..<0])) }
    }

    @discardableResult
    private mutating func remove(_ path: [UInt8], _ spot: Spot, _ parentSpot: Spot, _ zxid: Zxid) -> PendingID {
        if var parent = parentSpot.state {
            parent.childCount -= 1
            parent.stat.pzxid = max(parent.stat.pzxid, zxid)
            let length = path.lastIndex(of: UInt8(ascii: "/")) ?? 0
            change(parentSpot, path, length: length, to: parent, zxid)
        }
        let id = change(spot, path, to: nil, zxid)
        countUsage(path, count: -1, bytes: -Int64(max(spot.state?.dataLength ?? 0, 0)), zxid)
        return id
    }
}
