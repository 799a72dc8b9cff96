import ZooKeeperProtocol

/// From a durable transaction to its effects: the tree, the watches, the reply, and what waited behind it.
extension ServerCore {
    mutating func commit(_ entry: InFlight, at now: Now, into output: inout Output) {
        let txn = entry.txn
        let applied: Applied
        if case .multi(let parts) = txn.body {
            applyMulti(parts, txn.header, entry.partTargets, into: &output)
            applied = .nothing
        } else {
            applied = apply(txn.body, txn.header, entry.target, into: &output)
        }
        lastProcessedZxid = txn.header.zxid
        statistics.commits += 1
        if options.digestEnabled { digestLog.applied(txn.header.zxid, digest: tree.digest) }
        pending.applied(
            txn.header.zxid,
            touching: entry.touchedCount,
            in: tree.nodes,
            lists: &tree.accessLists
        )
        touchedByEarlier -= entry.touchedCount
        statistics.outstandingChangesRemoved += entry.touchedCount
        if let digest = txn.digest, digest.value != tree.digest { digestsDiffer(txn, into: &output) }
        guard let connection = entry.connection else { return }
        reply(to: connection, entry, applied, at: now, into: &output)
        guard connection.phase != .closed else { return }
        _ = connection.waiting.popFirst()
        connections.waitingCount -= 1
        drain(connection, at: now, into: &output)
    }

    mutating func digestsDiffer(_ txn: Txn, into output: inout Output) {
        digestMismatchCount += 1
        output.note(
            .error,
            "the tree did not come out as it was prepared: please report this with the transaction log",
            [("zxid", txn.header.zxid.description), ("type", "\(txn.body.type)")]
        )
        if inFlight.isEmpty { pending.digest = tree.digest }
    }

    /// What applying did, as far as a reply needs it.
    enum Applied {
        case nothing
        /// A node made or changed.
        case node(Handle)
        case refused(ErrorCode)
    }

    /// Applies a body and fires the watches it concerns. Also at replay, when nobody watches.
    ///
    /// - Parameter target: where that is, when this server prepared it; nil at replay.
    mutating func apply(
        _ body: TxnBody,
        _ header: TxnHeader,
        _ target: Target?,
        into output: inout Output
    ) -> Applied {
        switch body {
        case .createSession(let timeoutMilliseconds):
            sessions.created(header.session, timeoutMilliseconds: timeoutMilliseconds)
            return .nothing
        case .closeSession(let paths):
            applyCloseSession(paths, header, into: &output)
            return .nothing
        case .error(let code):
            return .refused(code)
        case .create(let txn):
            return applyCreate(txn, header, target, into: &output)
        case .delete(let path, _):
            return applyDelete(path, at: handle(target, path), header, into: &output)
        case .setData(let path, let data, let version, _):
            return applySetData(path, data, version, header, target, into: &output)
        case .setACL(let path, let acl, let version):
            let handle = handle(target, path)
            guard handle != none else { return .refused(.noNode) }
            tree.setACL(handle, acl, version: version)
            return .node(handle)
        case .check:
            return .nothing
        case .multi(let parts):
            applyMulti(parts, header, nil, into: &output)
            return .nothing
        }
    }

    /// Where the node of a prepared change stands; looked up at replay.
    @inline(__always)
    private func handle(_ target: Target?, _ path: [UInt8]) -> Handle {
        guard let target, target.node != none else { return tree.find(path) }
        return pending.handle(target.node)
    }

    /// Collects the body of the reply in `multiResults`: a reply must not be begun while events are being written.
    ///
    /// - Parameter targets: one for each part, of a multi that was prepared here and does not fail.
    mutating func applyMulti(
        _ parts: [TxnBody],
        _ header: TxnHeader,
        _ targets: [Target]?,
        into output: inout Output
    ) {
        multiResults.removeAll(keeping: 1 << 16)
        let hasFailed = parts.contains { if case .error = $0 { true } else { false } }
        for index in parts.indices {
            if hasFailed {
                var code = ErrorCode.ok
                if case .error(let failure) = parts[index] { code = failure }
                writeRefusal(code)
                continue
            }
            if let targets, index % LookAhead.capacity == 0 {
                fetchAhead(targets: targets[index...].prefix(LookAhead.capacity))
            }
            let applied = apply(parts[index], header, targets?[index], into: &output)
            writeResult(parts[index], applied)
        }
        MultiHeader.writeEnd(to: &multiResults)
    }

    private mutating func writeRefusal(_ code: ErrorCode) {
        MultiHeader.write(type: Operation.error.rawValue, error: code.rawValue, to: &multiResults)
        multiResults.int32(code.rawValue)
    }

    private mutating func writeResult(_ part: TxnBody, _ applied: Applied) {
        if case .refused(let code) = applied { return writeRefusal(code) }
        switch part {
        case .create(let txn):
            let isPlain = txn.kind == .create
            MultiHeader.write(
                type: isPlain ? Operation.create.rawValue : Operation.create2.rawValue,
                to: &multiResults
            )
            multiResults.buffer(txn.path)
            if !isPlain, case .node(let handle) = applied { tree.clientStat(handle).write(to: &multiResults) }
        case .setData:
            MultiHeader.write(type: Operation.setData.rawValue, to: &multiResults)
            if case .node(let handle) = applied { tree.clientStat(handle).write(to: &multiResults) }
        case .delete, .check, .setACL, .createSession, .closeSession, .error, .multi:
            MultiHeader.write(type: part.type.rawValue, to: &multiResults)
        }
    }

    private mutating func applyCreate(
        _ txn: TxnBody.CreateTxn,
        _ header: TxnHeader,
        _ target: Target?,
        into output: inout Output
    ) -> Applied {
        // They are applied in the order in which they were prepared. At replay there are none.
        if txn.isEphemeral { _ = sessions[header.session]?.pendingEphemerals.popFirst() }
        let handle: Handle
        if let target, target.parent != none, target.node != none {
            invariant(pending.handle(target.parent) != none, "a parent in flight is not in the tree")
            invariant(pending.handle(target.node) == none, "a node in flight is in the tree already")
            handle = tree.create(
                txn,
                header,
                below: pending.handle(target.parent),
                digestPrefix: options.digestEnabled ? target.digestPrefix : nil
            )
            pending.entered(target.node, at: handle, in: tree.nodes)
        } else {
            do throws(ErrorCode) {
                handle = try tree.create(txn, header)
            } catch {
                if error == .noNode { missingParents[PathRules.parent(of: txn.path)] = txn.path }
                return .refused(error)
            }
        }
        quotaNodeChanged(txn.path)
        traffic.write(txn.path, bytes: txn.data?.count ?? 0)
        addUsage(txn.path, count: 1, bytes: Int64(txn.data?.count ?? 0))
        guard !watches.isEmpty else { return .node(handle) }
        let acl = AccessReference.id(tree.nodes[handle].acl)
        fire(.nodeCreated, txn.path, acl, header.zxid, into: &output)
        fireChildrenChanged(ofParentOf: txn.path, header.zxid, into: &output)
        return .node(handle)
    }

    @discardableResult
    private mutating func applyDelete(
        _ path: [UInt8],
        at handle: Handle,
        _ header: TxnHeader,
        into output: inout Output
    ) -> Applied {
        if !missingParents.isEmpty { missingParents[path] = nil }
        guard handle != none, handle != DataTree.root else {
            let parent = tree.find(PathRules.parent(of: path))
            if parent != none { tree.touchParent(parent, zxid: header.zxid) }
            return .refused(.noNode)
        }
        // There is something below it only at replay, over a snapshot that is ahead, or below an ephemeral of which a file
        // says so.
        while tree.nodes[handle].firstChild != none {
            let deepest = tree.deepestFirst(below: handle)
            applyDelete([UInt8](tree.nodes[deepest].path), at: deepest, header, into: &output)
        }
        let bytes = Int64(max(tree.nodes[handle].dataLength, 0))
        // The list may go with the node.
        let acl = watches.isEmpty ? AccessReference.id(.open) : .list(tree.accessLists[tree.nodes[handle].acl])
        let change = tree.nodes[handle].pending
        tree.delete(handle, zxid: header.zxid)
        if change != none { pending.left(change, path: path, hasher: tree.hasher, by: header.zxid) }
        if let quota = QuotaIndex.path(ofNode: path, named: QuotaIndex.limitsName) { quotas.remove(quota) }
        traffic.write(path, bytes: 0)
        addUsage(path, count: -1, bytes: -bytes)
        guard !watches.isEmpty else { return .nothing }
        fire(.nodeDeleted, path, acl, header.zxid, into: &output)
        fireChildrenChanged(ofParentOf: path, header.zxid, into: &output)
        return .nothing
    }

    private mutating func applySetData(
        _ path: [UInt8],
        _ data: [UInt8]?,
        _ version: Int32,
        _ header: TxnHeader,
        _ target: Target?,
        into output: inout Output
    ) -> Applied {
        let handle = handle(target, path)
        guard handle != none else { return .refused(.noNode) }
        let before = Int64(max(tree.nodes[handle].dataLength, 0))
        tree.setData(
            handle,
            data,
            version: version,
            header,
            digestPrefix: options.digestEnabled ? target?.digestPrefix : nil
        )
        traffic.write(path, bytes: data?.count ?? 0)
        addUsage(path, count: 0, bytes: Int64(data?.count ?? 0) - before)
        guard !watches.isEmpty else { return .node(handle) }
        fire(.nodeDataChanged, path, .id(tree.nodes[handle].acl), header.zxid, into: &output)
        return .node(handle)
    }

    private mutating func applyCloseSession(
        _ paths: [[UInt8]]?,
        _ header: TxnHeader,
        into output: inout Output
    ) {
        // A path that is not there any more, at replay over a snapshot that is ahead, still counts for its parent.
        for path in paths ?? [] { applyDelete(path, at: tree.find(path), header, into: &output) }
        while true {
            let handle = tree.owners.firstEphemeral(of: header.session)
            if handle == none { break }
            applyDelete([UInt8](tree.nodes[handle].path), at: handle, header, into: &output)
        }
        guard let session = sessions.remove(header.session) else { return }
        session.isClosing = true
        session.pendingEphemerals.removeAll()
    }

    // MARK: Quotas

    private mutating func addUsage(_ path: [UInt8], count: Int64, bytes: Int64) {
        guard let quota = quotas.deepest(above: path) else { return }
        tree.addUsage(of: quota, count: count, bytes: bytes)
    }

    /// A node was made that may be part of a quota.
    private mutating func quotaNodeChanged(_ path: [UInt8]) {
        guard QuotaIndex.isQuotaNode(path) else { return }
        if let quota = QuotaIndex.path(ofNode: path, named: QuotaIndex.limitsName) { quotas.insert(quota) }
        if let quota = QuotaIndex.path(ofNode: path, named: QuotaIndex.statsName) {
            let usage = tree.usage(below: quota)
            tree.writeUsage(of: quota, count: usage.count, bytes: usage.bytes)
        }
    }
}
