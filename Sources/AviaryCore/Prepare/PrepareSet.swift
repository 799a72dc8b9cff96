import ZooKeeperProtocol

extension ServerCore {
    mutating func prepareSetData(_ request: SetDataRequest, _ context: PrepareContext) throws(ErrorCode) -> TxnBody {
        guard let path = request.path, path.withUnsafeBytes({ PathRules.isValid($0) }) else { throw .badArguments }
        let spot = look(path)
        guard let old = spot.state else { throw .noNode }
        try require(Permissions.write, on: old.acl, of: context.identities)
        let growth = Int64(request.data?.count ?? 0) - Int64(max(old.dataLength, 0))
        try checkQuota(path, addingCount: 0, addingBytes: growth)
        try ServerCore.requireVersion(request.version, is: old.stat.version)
        var node = old
        node.stat.version = old.stat.version &+ 1
        node.stat.mzxid = context.zxid
        node.stat.mtime = context.time
        node.dataLength = request.data.map { Int32($0.count) } ?? -1
        node.digestPrefix = digestPrefix(path, request.data)
        let quotaData = QuotaIndex.isQuotaNode(path) ? request.data ?? [] : nil
        target.node = change(spot, path, to: node, quotaData: quotaData, context.zxid)
        target.digestPrefix = node.digestPrefix
        countUsage(path, count: 0, bytes: growth, context.zxid)
        return .setData(path: path, data: request.data, version: node.stat.version, isReconfig: false)
    }

    mutating func prepareSetACL(_ request: SetACLRequest, _ context: PrepareContext) throws(ErrorCode) -> TxnBody {
        guard let path = request.path, path.withUnsafeBytes({ PathRules.isValid($0) }) else { throw .badArguments }
        let acl = try ACLValidation.resolve(request.acl, for: context.identities)
        let spot = look(path)
        guard let old = spot.state else { throw .noNode }
        try require(Permissions.admin, on: old.acl, of: context.identities)
        try ServerCore.requireVersion(request.version, is: old.stat.aversion)
        guard fitsLog(path: path, data: nil, acl: acl) else { throw .marshallingError }
        var node = old
        node.stat.aversion = old.stat.aversion &+ 1
        node.acl = tree.accessLists.retain(acl)
        defer { tree.accessLists.release(node.acl) }
        target.node = change(spot, path, to: node, context.zxid)
        return .setACL(path: path, acl: acl, version: node.stat.aversion)
    }

    func prepareCheck(_ request: CheckVersionRequest, _ context: PrepareContext) throws(ErrorCode) -> TxnBody {
        guard let path = request.path, path.withUnsafeBytes({ PathRules.isValid($0) }) else { throw .badArguments }
        guard let node = look(path).state else { throw .noNode }
        try require(Permissions.read, on: node.acl, of: context.identities)
        try ServerCore.requireVersion(request.version, is: node.stat.version)
        return .check(path: path, version: node.stat.version &+ 1)
    }
}
