import AviaryCore
import ZooKeeperProtocol

/// What the model answers from its tree.
extension ModelServer {
    func answer(_ request: ModelRequest, xid: Int32, _ identities: [Identity], _ index: Int) {
        var writer = JuteWriter()
        var code = ErrorCode.ok
        var shape = ModelReplyShape.plain
        do throws(ErrorCode) {
            shape = try read(request, identities, index, &writer)
        } catch {
            code = error
        }
        var replyXid = xid
        if case .ping = request { replyXid = -2 }
        // A multiRead that is refused half way keeps what it has.
        var keepsBody = false
        if case .multiRead = request {
            keepsBody = true
            shape = .multiRead
        }
        send(
            code,
            xid: replyXid,
            zxid: lastApplied,
            code == .ok || keepsBody ? writer.copy() : [],
            shape,
            to: index
        )
    }

    private func read(
        _ request: ModelRequest,
        _ identities: [Identity],
        _ index: Int,
        _ writer: inout JuteWriter
    ) throws(ErrorCode) -> ModelReplyShape {
        func watch(_ kind: Watch.Kind, _ path: String) {
            watches.insert(Watch(connection: index, path: path, kind: kind))
        }
        func readable(_ path: String?, _ permission: Int32 = Permissions.read) throws(ErrorCode) -> ModelTree.Node {
            guard let path else { throw .marshallingError }
            guard let node = tree.node(path) else { throw .noNode }
            guard tree.allows(permission, node.acl, identities) else { throw .noAuth }
            return node
        }
        switch request {
        case .exists(let path, let isWatching):
            guard let path else { throw .marshallingError }
            guard !path.utf8.contains(0) else { throw .badArguments }
            let node = tree.node(path)
            if let node, !tree.allows(Permissions.read, node.acl, identities) { throw .noAuth }
            if isWatching { watch(.data, path) }
            guard let node else { throw .noNode }
            node.stat.write(to: &writer)
        case .getData(let path, let isWatching):
            let node = try readable(path)
            writer.buffer(node.data)
            node.stat.write(to: &writer)
            if isWatching, let path { watch(.data, path) }
        case .getChildren(let path, let isWatching, let withStat):
            let node = try readable(path)
            writer.int32(Int32(node.children.count))
            for name in node.children.sorted() { writer.string(name) }
            if withStat { node.stat.write(to: &writer) }
            if isWatching, let path { watch(.child, path) }
            return .names
        case .getACL(let path):
            let node = try readable(path, Permissions.read | Permissions.admin)
            let isAdmin = tree.allows(Permissions.admin, node.acl, identities)
            ACL.write(
                node.acl.map { acl in
                    guard acl.identity.scheme == "digest", !isAdmin else { return acl }
                    return ACL(acl.permissions, "digest", acl.identity.id.prefix { $0 != ":" } + ":x")
                },
                to: &writer
            )
            node.stat.write(to: &writer)
        case .getAllChildrenNumber(let path):
            _ = try readable(path)
            let below = tree.descendants(path == "" ? "/" : path ?? "").count
            writer.int32(Int32(path == "" ? below + 1 : below))
        case .getEphemerals(let prefix):
            let session = connections[index].session
            let all = prefix.map { $0.allSatisfy { $0 == " " } || $0 == "/" } ?? true
            let paths = tree.nodes.filter { $0.value.owner == .session(session) }.map(\.key)
                .filter { all || $0.hasPrefix(prefix ?? "") }
            writer.int32(Int32(paths.count))
            for path in paths.sorted() { writer.string(path) }
            return .names
        case .whoAmI:
            writer.int32(Int32(identities.count))
            for identity in identities {
                writer.string(identity.scheme)
                writer.string(identity.scheme == "digest" ? String(identity.id.prefix { $0 != ":" }) : identity.id)
            }
        case .ping:
            break
        case .sync(let path):
            writer.string(path)
        case .addWatch(let path, let mode):
            guard mode == 0 || mode == 1 else { throw .marshallingError }
            if let path { watch(mode == 0 ? .persistent : .recursive, path) }
            writer.int32(0)
        case .checkWatches(let path, let type), .removeWatches(let path, let type):
            guard let kinds = watchKinds(type) else { throw .marshallingError }
            let found = watches.filter { $0.connection == index && $0.path == path && kinds.contains($0.kind) }
            guard !found.isEmpty else { throw .noWatcher }
            if case .removeWatches = request { watches.subtract(found) }
        case .setWatches(let list):
            rearm(list, identities, index)
        case .multiRead(let parts):
            for part in parts {
                guard part.path != nil else {
                    MultiHeader.writeEnd(to: &writer)
                    throw .marshallingError
                }
                do throws(ErrorCode) {
                    let node = try readable(part.path)
                    MultiHeader.write(type: part.children ? 8 : 4, to: &writer)
                    if part.children {
                        writer.int32(Int32(node.children.count))
                        for name in node.children.sorted() { writer.string(name) }
                    } else {
                        writer.buffer(node.data)
                        node.stat.write(to: &writer)
                    }
                } catch {
                    MultiHeader.write(type: -1, error: error.rawValue, to: &writer)
                    writer.int32(error.rawValue)
                }
            }
            MultiHeader.writeEnd(to: &writer)
            return .multiRead
        case .undecodable:
            throw .marshallingError
        default:
            throw .unimplemented
        }
        return .plain
    }
}
