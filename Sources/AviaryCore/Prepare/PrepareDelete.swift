import ZooKeeperProtocol

extension ServerCore {
    mutating func prepareDelete(_ request: DeleteRequest, _ context: PrepareContext) throws(ErrorCode) -> TxnBody {
        guard let path = request.path else { throw .marshallingError }
        guard path.withUnsafeBytes({ PathRules.isPlausible($0) }), !PathRules.isSystemNode(path) else {
            throw .badArguments
        }
        guard let parent = state(key(PathRules.parent(of: path))) else { throw .noNode }
        try require(Permissions.delete, on: parent.acl, of: context.identities)
        guard let node = state(key(path)) else { throw .noNode }
        try ServerCore.requireVersion(request.version, is: node.stat.version)
        guard node.childCount == 0 else { throw .notEmpty }
        removePending(path, node, context.zxid)
        return .delete(path: path, byContainerCheck: false)
    }

    /// A container or TTL node that is to go by itself; nil when it no longer may.
    mutating func prepareReap(_ path: [UInt8], zxid: Zxid) -> TxnBody? {
        guard let node = state(key(path)), node.childCount == 0 else { return nil }
        switch tree.owners.kinds.kind(node.stat.ephemeralOwner) {
        case .container, .ttl: break
        case .persistent, .ephemeral: return nil
        }
        removePending(path, node, zxid)
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
            if let state = state(key(path)), state.stat.czxid == tree.nodes[handle].stat.czxid { paths.append(path) }
            handle = tree.nodes[handle].nextOwned
        }
        // One path may have been made, deleted and made again in flight.
        var listed = Set(paths)
        sessions[id]?.pendingEphemerals.forEach { path in
            if let state = pending[key(path)], state.exists, state.stat.ephemeralOwner == id.rawValue,
                listed.insert(path).inserted
            {
                paths.append(path)
            }
        }
        var bytes = 0
        for path in paths {
            bytes += path.count + 4
            if let node = state(key(path)) { removePending(path, node, zxid) }
        }
        // Without the list the same nodes go when it is applied; a record too long to be read back would be fatal.
        let isListed = options.closeSessionTxn && !isSpaceLow && bytes + 256 <= options.maxBufferBytes
        return .closeSession(paths: isListed ? paths : nil)
    }

    private mutating func removePending(_ path: [UInt8], _ node: NodeState, _ zxid: Zxid) {
        let parentKey = key(PathRules.parent(of: path))
        if let old = state(parentKey) {
            var parent = old
            parent.childCount -= 1
            parent.stat.pzxid = max(parent.stat.pzxid, zxid)
            change(parentKey, from: old, to: parent, zxid)
        }
        change(key(path), from: node, to: nil, zxid)
        countUsage(path, count: -1, bytes: -Int64(max(node.dataLength, 0)), zxid)
    }
}
