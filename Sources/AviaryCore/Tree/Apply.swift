import ZooKeeperProtocol

/// How transactions change the tree: the same on every server and at every replay, whatever the tree already holds of
/// their effects (docs/protocol/quorum-protocol.md section 17.2).
extension DataTree {
    /// - Returns: the new node.
    /// - Throws: `noNode` when the parent is missing; `nodeExists` when the node is there already, which happens at
    ///   replay over a snapshot that has it: its ACL is set, and for the plain form the parent is brought forward.
    mutating func create(_ txn: TxnBody.CreateTxn, _ header: TxnHeader) throws(ErrorCode) -> Handle {
        let path = txn.path
        let parent = path.withUnsafeBytes { path in path.parentPath.map { find($0) } ?? none }
        guard parent != none, path.count > 1 else { throw .noNode }
        let existing = find(path)
        if existing != none {
            // A snapshot that is ahead has the node that this very transaction made, and what replay did so far to an
            // earlier node of its path has been done to it. From here on it is changed as it was the first time.
            if nodes[existing].stat.czxid == header.zxid { startOver(existing, txn.data, header) }
            setACL(existing, accessLists.retain(txn.acl))
            if case .create = txn.kind { countCreate(parent, txn.parentCVersion, header.zxid) }
            throw .nodeExists
        }
        return create(txn, header, below: parent)
    }

    /// A create that is known to be possible.
    ///
    /// - Parameter digestPrefix: of path and data, when it is known.
    mutating func create(
        _ txn: TxnBody.CreateTxn,
        _ header: TxnHeader,
        below parent: Handle,
        digestPrefix: UInt32? = nil
    ) -> Handle {
        countCreate(parent, txn.parentCVersion, header.zxid)
        let owner: Int64 =
            switch txn.kind {
            case .create, .create2: txn.isEphemeral ? header.session.rawValue : 0
            case .container: NodeKind.containerOwner
            case .ttl(let milliseconds): NodeKind.ttl(milliseconds: milliseconds).owner
            }
        let stat = StatPersisted(
            czxid: header.zxid,
            mzxid: header.zxid,
            ctime: header.time,
            mtime: header.time,
            ephemeralOwner: owner,
            pzxid: header.zxid
        )
        let acl = accessLists.retain(txn.acl)
        return txn.path.withUnsafeBytes { path in
            if let data = txn.data {
                return data.withUnsafeBytes { data in
                    insert(path: path, data: data, acl: acl, stat: stat, parent: parent, digestPrefix: digestPrefix)
                }
            }
            return insert(path: path, data: nil, acl: acl, stat: stat, parent: parent, digestPrefix: digestPrefix)
        }
    }

    private mutating func startOver(_ handle: Handle, _ data: [UInt8]?, _ header: TxnHeader) {
        setData(handle, data, version: 0, header)
        var stat = nodes[handle].stat
        stat.aversion = 0
        setStat(handle, stat)
    }

    private mutating func countCreate(_ parent: Handle, _ parentCVersion: Int32, _ zxid: Zxid) {
        var stat = nodes[parent].stat
        stat.countCreate(parentCVersion, zxid)
        setStat(parent, stat)
    }

    /// Removes the node at `handle`, which has no children.
    mutating func delete(_ handle: Handle, zxid: Zxid) {
        let parent = nodes[handle].parent
        remove(handle)
        touchParent(parent, zxid: zxid)
    }

    /// A child of this node went, or would have gone.
    mutating func touchParent(_ parent: Handle, zxid: Zxid) {
        var stat = nodes[parent].stat
        guard zxid > stat.pzxid else { return }
        stat.pzxid = zxid
        setStat(parent, stat)
    }

    /// - Parameter digestPrefix: of path and data, when it is known.
    mutating func setData(
        _ handle: Handle,
        _ data: [UInt8]?,
        version: Int32,
        _ header: TxnHeader,
        digestPrefix: UInt32? = nil
    ) {
        var stat = nodes[handle].stat
        stat.version = version
        stat.mzxid = header.zxid
        stat.mtime = header.time
        if let data {
            data.withUnsafeBytes { setData(handle, $0, stat: stat, digestPrefix: digestPrefix) }
        } else {
            setData(handle, nil as UnsafeRawBufferPointer?, stat: stat, digestPrefix: digestPrefix)
        }
    }

    mutating func setACL(_ handle: Handle, _ acl: [ACL], version: Int32) {
        setACL(handle, accessLists.retain(acl))
        var stat = nodes[handle].stat
        stat.aversion = version
        setStat(handle, stat)
    }
}

extension StatPersisted {
    /// What a create does to its parent. The counter never moves back, and sticks at its largest value.
    mutating func countCreate(_ parentCVersion: Int32, _ zxid: Zxid) {
        let count = parentCVersion == -1 ? cversion &+ 1 : parentCVersion
        if count > cversion {
            cversion = count
            pzxid = zxid
        }
    }
}
