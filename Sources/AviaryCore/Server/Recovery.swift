package import ZooKeeperProtocol

/// Why what was stored does not fit together.
package enum RestoreFailure: Error, Equatable {
    case missingParent(path: String)
    case duplicateNode(path: String)
    case badPath(String)
    case missingRoot
    /// Found at the end: while a snapshot that was taken during writes is brought up to date, it may be open.
    case unknownACL(id: Int64, path: String)
}

/// Filling the core with what is on disk, before it serves (docs/protocol/disk-format.md section 6).
extension ServerCore {
    /// Forgets everything, the root too. Of a member that has begun to serve: only while it is looking.
    package mutating func reset() {
        if !isStandalone {
            invariant(role == .looking, "a member loses its tree while it serves")
            forgetInFlight()
        }
        tree.removeAll()
        sessions.removeAll()
        quotas.removeAll()
        restoredACLs = [:]
        missingParents = [:]
        digestLog = DigestLog()
        lastProcessedZxid = .zero
    }

    /// The tree that a new database starts with.
    package mutating func restoreFreshTree() {
        tree.makeFresh()
    }

    package mutating func restore(session: SessionID, timeoutMilliseconds: Int32) {
        sessions.created(session, timeoutMilliseconds: timeoutMilliseconds)
    }

    package mutating func restore(aclID: Int64, acl: [ACL]) {
        restoredACLs[aclID] = acl
    }

    package mutating func restore(
        path: UnsafeRawBufferPointer,
        data: UnsafeRawBufferPointer?,
        aclID: Int64,
        stat: StatPersisted
    ) throws(RestoreFailure) {
        var parent = none
        if path.count == 0 {
            guard tree.count == 0 else { throw .duplicateNode(path: "/") }
        } else {
            guard tree.count > 0 else { throw .missingRoot }
            guard path[0] == UInt8(ascii: "/"), path.count > 1, let parentPath = path.parentPath else {
                throw .badPath(String(decoding: path, as: UTF8.self))
            }
            parent = tree.find(parentPath)
            guard parent != none else { throw .missingParent(path: String(decoding: path, as: UTF8.self)) }
            guard tree.find(path) == none else { throw .duplicateNode(path: String(decoding: path, as: UTF8.self)) }
        }
        let acl: AccessListID
        if aclID == SnapshotNode.openACL {
            acl = .open
        } else {
            acl = tree.accessLists.retain(restoredACLs[aclID] ?? ServerCore.unknownACL(aclID))
        }
        tree.insert(path: path, data: data, acl: acl, stat: stat, parent: parent)
    }

    /// Stands in a node until the replay sets the right list.
    private static func unknownACL(_ id: Int64) -> [ACL] {
        [ACL(0, unknownScheme, String(id))]
    }

    /// No scheme of any provider: nobody gets in by it.
    private static let unknownScheme = "\u{0}unknown"

    package mutating func finishSnapshot() throws(RestoreFailure) {
        guard tree.count > 0 else { throw .missingRoot }
        restoredACLs = [:]
        let top = tree.find(QuotaIndex.prefix)
        guard top != none else { return }
        var limits: [[UInt8]] = []
        let end = tree.successorSkippingChildren(top)
        var handle = top
        while handle != end, handle != none {
            if let quota = QuotaIndex.path(
                ofNode: [UInt8](tree.nodes[handle].path),
                named: QuotaIndex.limitsName
            ) {
                limits.append(quota)
            }
            handle = tree.successor(handle)
        }
        for quota in limits { quotas.insert(quota) }
    }

    /// What is used of quotas is derived: it is counted anew rather than believed.
    private mutating func recountQuotas() {
        for quota in quotas.paths.sorted(by: { $0.lexicographicallyPrecedes($1) }) {
            let usage = tree.usage(below: quota)
            tree.writeUsage(of: quota, count: usage.count, bytes: usage.bytes)
        }
    }

    /// Applies a logged transaction.
    package mutating func replay(_ txn: Txn) throws(RestoreFailure) {
        if case .setData(_, _, _, isReconfig: true) = txn.body { formerConfiguration = storedConfiguration }
        // Nobody watches yet, so nothing comes out.
        var output = Output()
        _ = apply(txn.body, txn.header, nil, into: &output)
        lastProcessedZxid = txn.header.zxid
        if options.digestEnabled { digestLog.applied(txn.header.zxid, digest: tree.digest) }
    }

    package mutating func finishReplay() throws(RestoreFailure) {
        if let child = missingParents.values.min(by: { $0.lexicographicallyPrecedes($1) }) {
            throw .missingParent(path: String(decoding: child, as: UTF8.self))
        }
        // Over a snapshot that is ahead, what the transactions add up to is not what is there.
        recountQuotas()
        guard
            let (_, list) = tree.accessLists.table.first(where: {
                $0.1.first?.identity.scheme == ServerCore.unknownScheme
            })
        else { return }
        var path = "?"
        var handle = DataTree.root
        while handle != none {
            if tree.accessLists[tree.nodes[handle].acl] == list {
                path = String(decoding: tree.nodes[handle].path, as: UTF8.self)
                break
            }
            handle = tree.successor(handle)
        }
        throw .unknownACL(id: Int64(list.first?.identity.id ?? "") ?? 0, path: path)
    }

    /// The tree digest as of now.
    package var digest: UInt64 { tree.digest }
}
