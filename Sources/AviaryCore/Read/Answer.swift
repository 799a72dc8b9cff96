import ZooKeeperProtocol

/// Requests that change nothing but watches: answered from the tree as it is applied.
extension ServerCore {
    /// What one read needs to be answered.
    struct ReadContext {
        let xid: Int32
        let operation: Operation
        let connection: ClientConnection
        let identities: Identities
    }

    /// Writes the whole reply, with whatever code comes out.
    mutating func answer(
        _ operation: Operation,
        _ reader: inout JuteReader,
        _ xid: Int32,
        _ connection: ClientConnection,
        _ identities: Identities,
        arrived: Int64,
        at now: Now,
        into output: inout Output
    ) {
        let context = ReadContext(xid: xid, operation: operation, connection: connection, identities: identities)
        var start: Int
        if operation == .setWatches || operation == .setWatches2 {
            // Its events go before its reply.
            let code = setWatches(&reader, context, into: &output)
            start = output.beginReply(xid: xid, zxid: lastProcessedZxid, error: code)
        } else {
            let replyXid = operation == .ping ? -2 : xid
            start = output.beginReply(xid: replyXid, zxid: lastProcessedZxid)
            let code = answerBody(&reader, context, into: &output)
            if code != .ok { fail(code, at: start, keepsBody: operation == .multiRead, into: &output) }
        }
        finish(
            start,
            connection,
            operation,
            xid,
            lastProcessedZxid,
            arrived: arrived,
            at: now,
            into: &output
        )
        if connection.watchesTooMuch { shedWatches(of: connection, into: &output) }
    }

    /// Turns a reply that was begun into a refusal.
    private func fail(_ code: ErrorCode, at start: Int, keepsBody: Bool, into output: inout Output) {
        if !keepsBody { output.clientBytes.truncate(to: start + 20) }
        output.clientBytes.patch(code.rawValue, at: start + 16)
    }

    private mutating func answerBody(
        _ reader: inout JuteReader,
        _ context: ReadContext,
        into output: inout Output
    ) -> ErrorCode {
        do {
            switch context.operation {
            case .getData: return try getData(&reader, context, into: &output)
            case .exists: return try exists(&reader, context, into: &output)
            case .getChildren, .getChildren2: return try getChildren(&reader, context, into: &output)
            case .getACL: return try getACL(&reader, context, into: &output)
            case .getAllChildrenNumber: return try getAllChildrenNumber(&reader, context, into: &output)
            case .getEphemerals: return try getEphemerals(&reader, context, into: &output)
            case .ping: return .ok
            case .sync:
                output.clientBytes.buffer(try reader.buffer())
                return .ok
            case .whoAmI: return whoAmI(context, into: &output)
            case .addWatch: return try addWatch(&reader, context, into: &output)
            case .checkWatches, .removeWatches: return try checkOrRemoveWatches(&reader, context)
            case .multiRead: return multiRead(&reader, context, into: &output)
            case .setWatches, .setWatches2, .create, .delete, .setData, .setACL, .check, .multi, .create2, .reconfig,
                .createContainer, .deleteContainer, .createTTL, .auth, .sasl, .createSession, .closeSession, .error:
                return .unimplemented
            }
        } catch {
            return .marshallingError
        }
    }

    // MARK: One node

    private mutating func getData(
        _ reader: inout JuteReader,
        _ context: ReadContext,
        into output: inout Output
    ) throws(JuteError) -> ErrorCode {
        let path = try reader.requiredBuffer()
        let isWatching = try reader.bool()
        let handle = tree.find(path)
        guard handle != none else { return .noNode }
        guard allows(Permissions.read, on: handle, context.identities) else { return .noAuth }
        output.clientBytes.buffer(tree.nodes[handle].data)
        traffic.read(path, bytes: Int(max(tree.nodes[handle].dataLength, 0)))
        tree.clientStat(handle).write(to: &output.clientBytes)
        if isWatching { watch(.data, on: path, context.connection) }
        return .ok
    }

    private mutating func exists(
        _ reader: inout JuteReader,
        _ context: ReadContext,
        into output: inout Output
    ) throws(JuteError) -> ErrorCode {
        let path = try reader.requiredBuffer()
        let isWatching = try reader.bool()
        guard !path.contains(0) else { return .badArguments }
        let handle = tree.find(path)
        if handle != none, !allows(Permissions.read, on: handle, context.identities) { return .noAuth }
        if isWatching { watch(.data, on: path, context.connection) }
        guard handle != none else { return .noNode }
        traffic.read(path, bytes: 0)
        tree.clientStat(handle).write(to: &output.clientBytes)
        return .ok
    }

    private mutating func getChildren(
        _ reader: inout JuteReader,
        _ context: ReadContext,
        into output: inout Output
    ) throws(JuteError) -> ErrorCode {
        let path = try reader.requiredBuffer()
        let isWatching = try reader.bool()
        let handle = tree.find(path)
        guard handle != none else { return .noNode }
        guard allows(Permissions.read, on: handle, context.identities) else { return .noAuth }
        let start = output.clientBytes.count
        guard writeChildren(handle, to: &output.clientBytes) else { return .marshallingError }
        traffic.read(path, bytes: output.clientBytes.count - start - 4 * (Int(tree.nodes[handle].childCount) + 1))
        if context.operation == .getChildren2 { tree.clientStat(handle).write(to: &output.clientBytes) }
        if isWatching { watch(.child, on: path, context.connection) }
        return .ok
    }

    /// - Returns: false when there is more than one answer may have; the answer has to be given up then.
    private func writeChildren(_ handle: Handle, to writer: inout JuteWriter) -> Bool {
        writer.int32(tree.nodes[handle].childCount)
        let limit = writer.count + options.maxListBytes
        // Names are what follows the parent's path and a slash.
        let nameOffset = Int(tree.nodes[handle].pathLength) + 1
        var child = tree.nodes[handle].firstChild
        while child != none {
            writer.buffer(UnsafeRawBufferPointer(rebasing: tree.nodes[child].path[nameOffset...]))
            guard writer.count <= limit else { return false }
            child = tree.nodes[child].nextSibling
        }
        return true
    }

    private func getACL(
        _ reader: inout JuteReader,
        _ context: ReadContext,
        into output: inout Output
    ) throws(JuteError) -> ErrorCode {
        let handle = tree.find(try reader.requiredBuffer())
        guard handle != none else { return .noNode }
        guard allows(Permissions.read | Permissions.admin, on: handle, context.identities) else { return .noAuth }
        var list = tree.accessLists[tree.nodes[handle].acl]
        if !allows(Permissions.admin, on: handle, context.identities) {
            for index in list.indices where list[index].identity.scheme == "digest" {
                list[index].identity.id = ServerCore.masked(list[index].identity.id)
            }
        }
        ACL.write(list, to: &output.clientBytes)
        tree.clientStat(handle).write(to: &output.clientBytes)
        return .ok
    }

    /// The user stays, what proves it goes.
    private static func masked(_ id: String) -> String {
        guard let colon = id.firstIndex(of: ":") else { return id }
        return id[...colon] + "x"
    }

    @inline(__always)
    private func allows(_ permission: Int32, on handle: Handle, _ identities: Identities) -> Bool {
        allows(permission, on: .id(tree.nodes[handle].acl), identities)
    }

    // MARK: Many nodes

    private func getAllChildrenNumber(
        _ reader: inout JuteReader,
        _ context: ReadContext,
        into output: inout Output
    ) throws(JuteError) -> ErrorCode {
        let path = try reader.requiredBuffer()
        let handle = tree.find(path)
        guard handle != none else { return .noNode }
        guard allows(Permissions.read, on: handle, context.identities) else { return .noAuth }
        // By its other name the root counts itself: every path begins with "/".
        output.clientBytes.int32(tree.nodes[handle].descendantCount + (path.count == 0 ? 1 : 0))
        return .ok
    }

    private func getEphemerals(
        _ reader: inout JuteReader,
        _ context: ReadContext,
        into output: inout Output
    ) throws(JuteError) -> ErrorCode {
        let prefix = try reader.buffer()
        let isAll =
            prefix.map { view in view.allSatisfy { $0 <= 0x20 } || (view.count == 1 && view[0] == 0x2f) } ?? true
        let countOffset = output.clientBytes.count
        output.clientBytes.int32(0)
        var count: Int32 = 0
        var handle = tree.owners.firstEphemeral(of: context.connection.sessionID)
        while handle != none {
            let path = tree.nodes[handle].path
            if isAll || path.starts(with: prefix ?? path) {
                output.clientBytes.buffer(path)
                count += 1
                guard output.clientBytes.count - countOffset <= options.maxListBytes else { return .marshallingError }
            }
            handle = tree.nodes[handle].nextOwned
        }
        output.clientBytes.patch(count, at: countOffset)
        return .ok
    }

    private func whoAmI(_ context: ReadContext, into output: inout Output) -> ErrorCode {
        output.clientBytes.int32(Int32(context.identities.list.count))
        for identity in context.identities.list {
            output.clientBytes.string(identity.scheme)
            switch identity.scheme {
            case "digest": output.clientBytes.string(String(identity.id.prefix { $0 != ":" }))
            case "super": output.clientBytes.string("")
            default: output.clientBytes.string(identity.id)
            }
        }
        return .ok
    }

    /// Reads under one zxid; each part succeeds or fails by itself (docs/protocol/client-protocol.md section 9).
    private mutating func multiRead(
        _ reader: inout JuteReader,
        _ context: ReadContext,
        into output: inout Output
    ) -> ErrorCode {
        let start = output.clientBytes.count
        guard let parts = multiReadParts(reader), !isTooMuch(parts, context.identities) else {
            return .marshallingError
        }
        for (operation, path) in parts {
            // A list of writes, or a null path: the results so far stand in the reply.
            guard operation == .getData || operation == .getChildren, let path else {
                MultiHeader.writeEnd(to: &output.clientBytes)
                return .marshallingError
            }
            let handle = tree.find(path)
            if handle == none {
                writeFailure(.noNode, to: &output.clientBytes)
            } else if !allows(Permissions.read, on: handle, context.identities) {
                writeFailure(.noAuth, to: &output.clientBytes)
            } else {
                MultiHeader.write(type: operation.rawValue, to: &output.clientBytes)
                if operation == .getData {
                    output.clientBytes.buffer(tree.nodes[handle].data)
                    tree.clientStat(handle).write(to: &output.clientBytes)
                } else if !writeChildren(handle, to: &output.clientBytes) {
                    output.clientBytes.truncate(to: start)
                    return .marshallingError
                }
            }
            // A small request must not make an answer that exhausts the memory.
            if output.clientBytes.count - start > options.maxReplyBytes {
                output.clientBytes.truncate(to: start)
                return .marshallingError
            }
        }
        MultiHeader.writeEnd(to: &output.clientBytes)
        return .ok
    }

    /// Whether the answer to many reads is longer than it may be, by what is known without making it: to build megabytes
    /// and throw them away would keep everybody waiting.
    private func isTooMuch(
        _ parts: [(operation: Operation, path: UnsafeRawBufferPointer?)],
        _ identities: Identities
    ) -> Bool {
        guard parts.count > 16 else { return false }
        var bytes = 0
        for part in parts {
            guard let path = part.path else { return false }
            let handle = tree.find(path)
            // What may not be read is answered with a code, and its size is nobody's business.
            guard handle != none, allows(Permissions.read, on: handle, identities) else { continue }
            // Each child has a length and one byte at least.
            bytes +=
                part.operation == .getData
                ? Int(max(tree.nodes[handle].dataLength, 0)) : Int(tree.nodes[handle].childCount) * 5
            guard bytes <= options.maxReplyBytes else { return true }
        }
        return false
    }

    private func writeFailure(_ code: ErrorCode, to writer: inout JuteWriter) {
        MultiHeader.write(type: Operation.error.rawValue, error: code.rawValue, to: &writer)
        writer.int32(code.rawValue)
    }

    /// nil when the list is refused without results: cut off, with an operation that no list has, or mixed.
    private func multiReadParts(_ reader: JuteReader) -> [(Operation, UnsafeRawBufferPointer?)]? {
        var reader = reader
        var parts: [(Operation, UnsafeRawBufferPointer?)] = []
        var hasReads = false
        var hasWrites = false
        do {
            while true {
                let header = try MultiHeader(from: &reader)
                if header.isDone { return parts }
                guard let operation = Operation(rawValue: header.type) else { return nil }
                switch operation {
                case .getData, .getChildren:
                    let path = try reader.buffer()
                    _ = try reader.bool()
                    parts.append((operation, path))
                    hasReads = true
                case .create, .create2, .createContainer, .createTTL:
                    let request = try CreateRequest(from: &reader, hasTTL: operation == .createTTL)
                    if case .null = request.acl { return nil }
                    guard (0...6).contains(request.flags), request.flags < 5 || operation == .createTTL else {
                        return nil
                    }
                    parts.append((operation, nil))
                    hasWrites = true
                case .delete, .setData, .check:
                    switch operation {
                    case .delete: _ = try DeleteRequest(from: &reader)
                    case .setData: _ = try SetDataRequest(from: &reader)
                    default: _ = try CheckVersionRequest(from: &reader)
                    }
                    parts.append((operation, nil))
                    hasWrites = true
                default:
                    return nil
                }
                if hasReads && hasWrites { return nil }
            }
        } catch {
            return nil
        }
    }
}
