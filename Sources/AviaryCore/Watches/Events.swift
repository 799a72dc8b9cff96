import ZooKeeperProtocol

/// From a change of the tree to the notifications of those who watch (docs/protocol/client-protocol.md section 10.3).
extension ServerCore {
    /// - Parameter acl: decides who may hear of it: the node's as it is, or was.
    mutating func fire(
        _ kind: WatcherEvent.Kind,
        _ path: [UInt8],
        _ acl: AccessReference,
        _ zxid: Zxid,
        into output: inout Output
    ) {
        watches.beginStep()
        let event = path.withUnsafeBytes { path in
            watches.fire(path, oneShot: .data, withRecursive: true, into: &eventTargets)
            // Whoever watches the children of a deleted node hears of it once, whatever else he watches.
            if kind == .nodeDeleted {
                watches.fire(path, oneShot: .child, withRecursive: false, into: &eventTargets)
            }
            return eventTargets.isEmpty ? 0..<0 : writeEvent(kind, path, zxid, into: &output)
        }
        deliver(kind, event, acl, into: &output)
    }

    mutating func fireChildrenChanged(ofParentOf path: [UInt8], _ zxid: Zxid, into output: inout Output) {
        let parentPath = PathRules.parent(of: path)
        let parent = tree.find(parentPath)
        let watched = parentPath.isEmpty ? DataTree.rootPath : parentPath
        watches.beginStep()
        let event = watched.withUnsafeBytes { path in
            watches.fire(path, oneShot: .child, withRecursive: false, into: &eventTargets)
            return eventTargets.isEmpty ? 0..<0 : writeEvent(.nodeChildrenChanged, path, zxid, into: &output)
        }
        let acl: AccessReference = parent == none ? .list(ACL.open) : .id(tree.nodes[parent].acl)
        deliver(.nodeChildrenChanged, event, acl, into: &output)
    }

    /// Writes a notification once; it may go to many.
    func writeEvent(
        _ kind: WatcherEvent.Kind,
        _ path: UnsafeRawBufferPointer,
        _ zxid: Zxid,
        into output: inout Output
    ) -> Range<Int> {
        let start = output.beginReply(xid: -1, zxid: zxid)
        WatcherEvent.write(kind, path: path, to: &output.clientBytes)
        let end = output.clientBytes.count
        output.clientBytes.patch(Int32(truncatingIfNeeded: end - start - 4), at: start)
        return start..<end
    }

    private mutating func deliver(
        _ kind: WatcherEvent.Kind,
        _ event: Range<Int>,
        _ acl: AccessReference,
        into output: inout Output
    ) {
        guard !eventTargets.isEmpty else { return }
        for slot in eventTargets {
            guard let connection = connections[slot: slot], connection.phase != .closed,
                allows(Permissions.read, on: acl, connection.identities)
            else { continue }
            output.send(event, to: connection.id)
            connection.statistics.sent += 1
            statistics.packetsSent += 1
            statistics.watchBytes += event.count
        }
        let fired = Int64(eventTargets.count)
        switch kind {
        case .nodeCreated: statistics.nodeCreatedWatches.add(fired)
        case .nodeDeleted: statistics.nodeDeletedWatches.add(fired)
        case .nodeDataChanged: statistics.nodeChangedWatches.add(fired)
        case .nodeChildrenChanged: statistics.nodeChildrenWatches.add(fired)
        }
        eventTargets.removeAll(keepingCapacity: true)
    }
}
