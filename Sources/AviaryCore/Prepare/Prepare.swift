import ZooKeeperProtocol

/// What every write being prepared knows.
struct PrepareContext {
    var zxid: Zxid
    var time: Int64
    var session: Session?
    var identities: Identities
}

/// From a request to a transaction: every check is made against the tree with all that is in flight, and what the
/// transaction will change is laid over it for the next one.
extension ServerCore {
    /// The node at a path as the next write must see it; nil when there will be none.
    func state(_ key: PathKey) -> NodeState? {
        if !pending.isEmpty, let state = pending[key] { return state.exists ? state : nil }
        let handle = tree.find(key.bytes)
        guard handle != none else { return nil }
        let node = tree.nodes[handle]
        return NodeState(
            stat: node.stat,
            childCount: node.childCount,
            acl: .id(node.acl),
            dataLength: node.dataLength,
            digestPrefix: node.digestPrefix
        )
    }

    /// The root is one node by two names; in here it is "".
    func key(_ path: [UInt8]) -> PathKey {
        PathKey(path == DataTree.rootPath ? [] : path, hasher: tree.hasher)
    }

    /// Lays a change over the tree, and counts it in the digest.
    ///
    /// - Parameters:
    ///   - old: nil when the node is new.
    ///   - new: nil when it goes.
    mutating func change(_ key: PathKey, from old: NodeState?, to new: NodeState?, _ zxid: Zxid) {
        var state: NodeState
        if let new {
            state = new
        } else if let old {
            state = old
            state.exists = false
        } else {
            return
        }
        state.changedBy = zxid
        if options.digestEnabled, key.bytes.withUnsafeBytes({ NodeDigest.counts(path: $0) }) {
            if let old { pending.digest &-= old.digest }
            if let new { pending.digest &+= new.digest }
        }
        pending.set(key, state)
        touched.append(key)
        statistics.outstandingChangesQueued += 1
    }

    func require(_ permission: Int32, on acl: AccessReference, of identities: Identities) throws(ErrorCode) {
        guard allows(permission, on: acl, identities) else { throw .noAuth }
    }

    @inline(__always)
    func allows(_ permission: Int32, on acl: AccessReference, _ identities: Identities) -> Bool {
        if options.skipACL { return true }
        switch acl {
        case .id(let id):
            if tree.accessLists.worldPermissions(id) & permission != 0 { return true }
            return AccessCheck.allows(tree.accessLists[id], permission, identities)
        case .list(let list):
            return AccessCheck.allows(list, permission, identities)
        }
    }

    static func requireVersion(_ expected: Int32, is current: Int32) throws(ErrorCode) {
        guard expected == -1 || expected == current else { throw .badVersion }
    }

    /// Gives a prepared write its zxid, sends it to the log, and remembers who waits for it.
    mutating func propose(
        _ body: TxnBody,
        session: SessionID,
        cxid: Int32,
        from connection: ClientConnection?,
        as operation: Operation? = nil,
        arrived: Int64? = nil,
        now: Now,
        into output: inout Output
    ) {
        let zxid = lastPreparedZxid.next
        lastPreparedZxid = zxid
        var digest: TxnDigest?
        if options.digestEnabled {
            if case .error = body {} else { digest = TxnDigest(value: pending.digest) }
        }
        let txn = Txn(
            header: TxnHeader(session: session, cxid: cxid, zxid: zxid, time: now.wallMilliseconds),
            body: body,
            digest: digest
        )
        let start = output.logBytes.count
        txn.write(to: &output.logBytes)
        output.log.append(LogRecord(zxid: zxid, range: start..<output.logBytes.count))
        if snapshotTrigger.count(bytes: output.logBytes.count - start, random: &random) { output.isSnapshotDue = true }
        inFlight.append(
            InFlight(
                txn: txn,
                operation: operation ?? body.type,
                connection: connection,
                arrivedMicroseconds: arrived ?? now.monotonicMicroseconds,
                touched: touched
            )
        )
        if !quotaNotes.isEmpty {
            output.notes += quotaNotes
            quotaNotes.removeAll()
        }
        touched.removeAll(keepingCapacity: true)
        if let connection {
            connection.waiting.append(.write)
            connections.waitingCount += 1
        }
    }
}
