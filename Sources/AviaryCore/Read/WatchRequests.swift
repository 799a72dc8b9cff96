import ZooKeeperProtocol

/// Requests about watches (docs/protocol/client-protocol.md sections 10.5 and 10.6).
extension ServerCore {
    /// Sets a watch. One that may not be set ends a connection, its own or a heavier one: an answer without the watch
    /// would be a lie.
    mutating func watch(_ kinds: WatchKinds, on path: UnsafeRawBufferPointer, _ connection: ClientConnection) {
        watches.add(kinds, on: path, connection: connection.id.slot)
        if watches.heldBytes(ofConnection: connection.id.slot) > options.maxWatchBytes
            || watches.totalHeldBytes > options.maxTotalWatchBytes
        {
            connection.watchesTooMuch = true
        }
    }

    /// Brings the memory that watches take back below its bounds, of one connection and of all.
    mutating func shedWatches(of connection: ClientConnection, into output: inout Output) {
        connection.watchesTooMuch = false
        if watches.heldBytes(ofConnection: connection.id.slot) > options.maxWatchBytes {
            closeForWatches(
                connection,
                "its watches take more memory than one connection may use",
                bound: options.maxWatchBytes,
                into: &output
            )
        }
        // Who has the most goes, not who asked last: that one may have a single watch.
        while watches.totalHeldBytes > options.maxTotalWatchBytes, let slot = watches.heaviestConnection(),
            let heaviest = connections[slot: slot]
        {
            closeForWatches(
                heaviest,
                "all watches together take more memory than they may, and its watches the most",
                bound: options.maxTotalWatchBytes,
                into: &output
            )
        }
    }

    private mutating func closeForWatches(
        _ connection: ClientConnection,
        _ reason: String,
        bound: Int,
        into output: inout Output
    ) {
        output.note(
            .warning,
            "closing a connection: \(reason)",
            [
                ("peer", connection.peer.text), ("session", connection.sessionID.description),
                ("bytes", "\(watches.heldBytes(ofConnection: connection.id.slot))"), ("bound", "\(bound)"),
            ],
            isLimited: true
        )
        close(connection.id, into: &output)
    }

    mutating func addWatch(
        _ reader: inout JuteReader,
        _ context: ReadContext,
        into output: inout Output
    ) throws(JuteError) -> ErrorCode {
        let path = try reader.buffer()
        let mode = try reader.int32()
        guard mode == 0 || mode == 1 else { return .marshallingError }
        // A null path is accepted, as nobody's.
        if let path { watch(mode == 0 ? .persistent : .recursive, on: path, context.connection) }
        output.clientBytes.int32(0)
        return .ok
    }

    mutating func checkOrRemoveWatches(
        _ reader: inout JuteReader,
        _ context: ReadContext
    ) throws(JuteError) -> ErrorCode {
        let path = try reader.buffer()
        let kinds: WatchKinds
        switch try reader.int32() {
        case 1: kinds = .child
        case 2: kinds = .data
        case 3: kinds = .all
        case 4: kinds = .persistent
        case 5: kinds = .recursive
        default: return .marshallingError
        }
        guard let path else { return .noWatcher }
        let slot = context.connection.id.slot
        if context.operation == .checkWatches {
            return watches.kinds(on: path, connection: slot).isDisjoint(with: kinds) ? .noWatcher : .ok
        }
        return watches.remove(kinds, on: path, connection: slot) ? .ok : .noWatcher
    }

    /// Arms what a client had on another connection, or tells it at once what it missed.
    mutating func setWatches(
        _ reader: inout JuteReader,
        _ context: ReadContext,
        into output: inout Output
    ) -> ErrorCode {
        do throws(JuteError) {
            let relativeZxid = Zxid(try reader.int64())
            // All lists are read before the first is looked at; a null one is found when its turn comes.
            let data = try ServerCore.paths(&reader)
            let exist = try ServerCore.paths(&reader)
            let child = try ServerCore.paths(&reader)
            let hasPersistent = context.operation == .setWatches2
            let persistent = hasPersistent ? try ServerCore.paths(&reader) : []
            let recursive = hasPersistent ? try ServerCore.paths(&reader) : []
            try rearm(data, .data, context, into: &output) { node in
                guard let node else { return .nodeDeleted }
                return node.stat.mzxid > relativeZxid ? .nodeDataChanged : nil
            }
            try rearm(exist, .data, context, into: &output) { node in
                node == nil ? nil : .nodeCreated
            }
            try rearm(child, .child, context, into: &output) { node in
                guard let node else { return .nodeDeleted }
                return node.stat.pzxid > relativeZxid ? .nodeChildrenChanged : nil
            }
            try arm(persistent, .persistent, context)
            try arm(recursive, .recursive, context)
            return .ok
        } catch {
            return .marshallingError
        }
    }

    private static func paths(_ reader: inout JuteReader) throws(JuteError) -> [UnsafeRawBufferPointer?]? {
        guard let count = try reader.vectorCount() else { return nil }
        var paths: [UnsafeRawBufferPointer?] = []
        for _ in 0..<count { paths.append(try reader.buffer()) }
        return paths
    }

    private mutating func rearm(
        _ paths: [UnsafeRawBufferPointer?]?,
        _ kind: WatchKinds,
        _ context: ReadContext,
        into output: inout Output,
        missed: (Znode?) -> WatcherEvent.Kind?
    ) throws(JuteError) {
        guard let paths else { throw .unexpectedNull }
        for path in paths {
            guard let path else { throw .unexpectedNull }
            let handle = tree.find(path)
            guard let event = missed(handle == none ? nil : tree.nodes[handle]) else {
                watch(kind, on: path, context.connection)
                continue
            }
            // What a session may not read it is not told of either, late or in time.
            if handle != none, !allows(Permissions.read, on: .id(tree.nodes[handle].acl), context.identities) {
                continue
            }
            let range = writeEvent(event, path, Zxid(-1), into: &output)
            output.send(range, to: context.connection.id)
            context.connection.statistics.sent += 1
            statistics.packetsSent += 1
        }
    }

    private mutating func arm(
        _ paths: [UnsafeRawBufferPointer?]?,
        _ kind: WatchKinds,
        _ context: ReadContext
    ) throws(JuteError) {
        guard let paths else { throw .unexpectedNull }
        for path in paths {
            // A null path is nobody's.
            if let path { watch(kind, on: path, context.connection) }
        }
    }
}
