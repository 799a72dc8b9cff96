package import ZooKeeperProtocol

/// /zookeeper/config: who the members are (docs/protocol/client-protocol.md section 16).
extension ServerCore {
    static let configurationPath = [UInt8]("/zookeeper/config".utf8)

    /// Writes the configuration that this server has into the node. No transaction does that: every server does it by
    /// itself when it starts and when it was synchronized, and the tree digest leaves the node out.
    ///
    /// - Parameter version: the zxid of the configuration.
    package mutating func setConfiguration(_ text: [UInt8], version: Zxid, at now: Now) {
        var handle = tree.find(ServerCore.configurationPath)
        if handle == none {
            // A database from before there was such a node.
            let parent = tree.find([UInt8]("/zookeeper".utf8))
            guard parent != none else { return }
            var stat = StatPersisted.zero
            stat.aversion = -1
            handle = ServerCore.configurationPath.withUnsafeBytes { path in
                tree.insert(
                    path: path,
                    data: UnsafeRawBufferPointer(rebasing: path[..<0]),
                    acl: tree.accessLists.retain(ACL.readable),
                    stat: stat,
                    parent: parent
                )
            }
        }
        var stat = tree.nodes[handle].stat
        stat.version = -1
        stat.mzxid = version
        stat.mtime = now.wallMilliseconds
        text.withUnsafeBytes { tree.setData(handle, $0, stat: stat) }
    }

    /// What `/zookeeper/config` holds; nil where there is no such node, or nothing in it.
    package var storedConfiguration: [UInt8]? { tree.data(at: ServerCore.configurationPath) }

    /// Another configuration, for all servers at the same zxid.
    mutating func prepareReconfig(_ request: ReconfigRequest, _ context: PrepareContext) throws(ErrorCode) -> TxnBody {
        guard options.reconfigEnabled else { throw .reconfigDisabled }
        // A standalone server has no members to change.
        guard role == .leader, let reconfigure else { throw .unimplemented }
        let path = ServerCore.configurationPath
        let spot = look(path)
        guard var node = spot.state else { throw .noNode }
        try require(Permissions.write, on: node.acl, of: context.identities)
        let text = try reconfigure(request, context.zxid)
        guard fitsLog(path: path, data: text, acl: []) else { throw .marshallingError }
        node.stat.version = -1
        node.stat.mzxid = context.zxid
        node.stat.mtime = context.time
        node.dataLength = Int32(text.count)
        node.digestPrefix = digestPrefix(path, text)
        target.node = change(spot, path, to: node, context.zxid)
        target.digestPrefix = node.digestPrefix
        return .setData(path: path, data: text, version: -1, isReconfig: true)
    }
}
