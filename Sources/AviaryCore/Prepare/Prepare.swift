import ZooKeeperProtocol

/// What every write being prepared knows.
struct PrepareContext {
    var zxid: Zxid
    var time: Int64
    var session: Session?
    var identities: Identities
    /// Why the session may have no ephemerals, if it may not.
    var ephemeralRefusal: ErrorCode?
}

/// From a request to a transaction: every check is made against the tree with all that is in flight, and what the
/// transaction will change is laid over it for the next one.
extension ServerCore {
    /// What the next write finds at a path.
    @inline(__always)
    func look(_ path: UnsafeRawBufferPointer) -> Spot {
        let hash = tree.hasher.hash(path)
        let handle = tree.find(path, hash: hash)
        guard handle != none else {
            let id = pending.find(path, hash: hash)
            return Spot(handle: none, pending: id, hash: hash, state: id == none ? nil : existing(pending[id]))
        }
        let id = tree.nodes[handle].pending
        return Spot(
            handle: handle,
            pending: id,
            hash: hash,
            state: id == none ? tree.nodes[handle].state : existing(pending[id])
        )
    }

    func look(_ path: [UInt8]) -> Spot { path.withUnsafeBytes { look($0) } }

    private func existing(_ state: NodeState) -> NodeState? { state.exists ? state : nil }

    /// Lays a change over the tree, and counts it in the digest.
    ///
    /// - Parameters:
    ///   - spot: where; looked up after every earlier change of the same node.
    ///   - path: its path, or one below that.
    ///   - length: how much of `path` it is; nil is all of it. A node that is being made has all of it.
    ///   - new: nil when the node goes.
    ///   - quotaData: the data of a node below /zookeeper/quota when that changes.
    /// - Returns: the entry that stands for the node until this is applied; `none` when nothing changes.
    @discardableResult
    mutating func change(
        _ spot: Spot,
        _ path: [UInt8],
        length: Int? = nil,
        to new: NodeState?,
        quotaData: [UInt8]? = nil,
        _ zxid: Zxid
    ) -> PendingID {
        guard var state = new ?? spot.state else { return none }
        state.exists = new != nil
        state.changedBy = zxid
        if options.digestEnabled,
            path.withUnsafeBytes({
                NodeDigest.counts(path: UnsafeRawBufferPointer(rebasing: $0.prefix(length ?? $0.count)))
            })
        {
            if let old = spot.state { pending.digest &-= UInt64(old.digest) }
            if let new {
                state.digest = NodeDigest.value(prefix: new.digestPrefix, stat: new.stat)
                pending.digest &+= UInt64(state.digest)
            }
        }
        return lay(state, over: spot, path, quotaData: quotaData)
    }

    /// Lays a state over the tree as it is.
    @discardableResult
    mutating func lay(
        _ state: NodeState,
        over spot: Spot,
        _ path: [UInt8],
        quotaData: [UInt8]?
    ) -> PendingID {
        if spot.pending != none {
            pending.set(
                spot.pending,
                state,
                quotaData: quotaData,
                pathLength: path.count,
                lists: &tree.accessLists
            )
            return spot.pending
        }
        return pending.add(
            state,
            at: spot.handle,
            path: spot.handle == none ? path : [],
            hash: spot.hash,
            quotaData: quotaData,
            pathLength: path.count,
            in: tree.nodes,
            lists: &tree.accessLists
        )
    }

    func require(_ permission: Int32, on acl: AccessListID, of identities: Identities) throws(ErrorCode) {
        guard allows(permission, on: .id(acl), identities) else { throw .noAuth }
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
        if zxid.counter == Zxid.endOfEpoch, !isStandalone {
            return epochIsExhausted(connection, into: &output)
        }
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
        if !isStandalone { statistics.proposed(bytes: output.logBytes.count - start) }
        inFlight.append(
            InFlight(
                txn: txn,
                operation: operation ?? body.type,
                connection: connection,
                arrivedMicroseconds: arrived ?? now.monotonicMicroseconds,
                touchedCount: pending.touchedCount - touchedByEarlier,
                target: target,
                partTargets: partTargets
            )
        )
        statistics.outstandingChangesQueued += pending.touchedCount - touchedByEarlier
        touchedByEarlier = pending.touchedCount
        target = Target()
        if !partTargets.isEmpty { partTargets = [] }
        if !quotaNotes.isEmpty {
            output.notes += quotaNotes
            quotaNotes.removeAll()
        }
        if let connection {
            connection.waiting.append(.inFlight)
            connections.waitingCount += 1
        }
    }
}

/// What a write finds at a path: the node in the tree, if any, and the change in flight that lies over it, if any.
struct Spot {
    var handle: Handle
    var pending: PendingID
    var hash: UInt64
    /// nil when there will be no node.
    var state: NodeState?
}

/// The nodes that a transaction is about, by their entries in `PendingChanges`: what preparing found is not looked up
/// or computed again when it is applied.
struct Target {
    var node: PendingID = none
    /// Of a create.
    var parent: PendingID = none
    /// What the node's digest begins with afterwards.
    var digestPrefix: UInt32 = 0
}

extension Znode {
    /// As the next write sees it while nothing in flight touches it.
    @inline(__always)
    var state: NodeState {
        NodeState(
            stat: stat,
            childCount: childCount,
            acl: acl,
            dataLength: dataLength,
            digestPrefix: digestPrefix,
            digest: digest
        )
    }
}
