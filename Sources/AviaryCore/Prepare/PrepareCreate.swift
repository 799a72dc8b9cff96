import ZooKeeperProtocol

/// What kind of node a create makes, out of opcode and flags (docs/protocol/client-protocol.md section 7.1).
struct CreateShape {
    var kind: TxnBody.CreateTxn.Kind
    var isSequential: Bool
    var isEphemeral: Bool

    /// - Throws: `badArguments` or `unimplemented`, in Apache's order of precedence.
    init(_ operation: Operation, flags: Int32, ttlMilliseconds: Int64, extendedTypes: Bool) throws(ErrorCode) {
        guard (0...6).contains(flags) else { throw .badArguments }
        let hasTTL = flags >= 5
        if hasTTL, !extendedTypes { throw .unimplemented }
        if operation == .createTTL {
            guard hasTTL, (1...NodeKind.maxTTLMilliseconds).contains(ttlMilliseconds) else { throw .badArguments }
            kind = .ttl(milliseconds: ttlMilliseconds)
        } else {
            guard !hasTTL else { throw .badArguments }
            kind = operation == .createContainer ? .container : operation == .create2 ? .create2 : .create
        }
        isSequential = flags == 2 || flags == 3 || flags == 6
        isEphemeral = (flags == 1 || flags == 3) && kind != .container
    }

    init(kind: TxnBody.CreateTxn.Kind, isSequential: Bool, isEphemeral: Bool) {
        self.kind = kind
        self.isSequential = isSequential
        self.isEphemeral = isEphemeral
    }
}

extension ServerCore {
    /// The order of the checks is part of the protocol (docs/protocol/client-protocol.md section 8.2).
    mutating func prepareCreate(
        _ request: CreateRequest,
        _ shape: CreateShape,
        _ context: PrepareContext
    ) throws(ErrorCode) -> TxnBody {
        if shape.isEphemeral, let refusal = context.ephemeralRefusal { throw refusal }
        guard var path = request.path else { throw .marshallingError }
        guard path.withUnsafeBytes({ PathRules.isPlausible($0) }) else { throw .badArguments }
        let acl = try ACLValidation.resolve(request.acl, for: context.identities)
        let parentLength = path.lastIndex(of: UInt8(ascii: "/")) ?? 0
        let parentSpot = path.withUnsafeBytes { look(UnsafeRawBufferPointer(rebasing: $0[..<parentLength])) }
        guard var parent = parentSpot.state else { throw .noNode }
        try require(Permissions.create, on: parent.acl, of: context.identities)
        if shape.isSequential { CreateShape.appendSuffix(parent.stat.cversion, to: &path) }
        guard path.withUnsafeBytes({ PathRules.isValid($0) }) else { throw .badArguments }
        let spot = look(path)
        guard spot.state == nil else { throw .nodeExists }
        guard !tree.owners.kinds.isEphemeral(parent.stat.ephemeralOwner) else { throw .noChildrenForEphemerals }
        try checkQuota(path, addingCount: 1, addingBytes: Int64(request.data?.count ?? 0))
        guard fitsLog(path: path, data: request.data, acl: acl) else { throw .marshallingError }

        let isEphemeral = shape.isEphemeral
        let parentCVersion = parent.stat.cversion &+ 1
        parent.stat.countCreate(parentCVersion, context.zxid)
        parent.childCount += 1
        target.parent = change(parentSpot, path, length: parentLength, to: parent, context.zxid)
        let prefix = digestPrefix(path, request.data)
        target.digestPrefix = prefix
        let owner: Int64 =
            switch shape.kind {
            case .create, .create2: isEphemeral ? context.session?.id.rawValue ?? 0 : 0
            case .container: NodeKind.containerOwner
            case .ttl(let milliseconds): NodeKind.ttl(milliseconds: milliseconds).owner
            }
        let accessList = tree.accessLists.retain(acl)
        defer { tree.accessLists.release(accessList) }
        let node = NodeState(
            stat: StatPersisted(
                czxid: context.zxid,
                mzxid: context.zxid,
                ctime: context.time,
                mtime: context.time,
                ephemeralOwner: owner,
                pzxid: context.zxid
            ),
            childCount: 0,
            acl: accessList,
            dataLength: request.data.map { Int32($0.count) } ?? -1,
            digestPrefix: prefix
        )
        let quotaData = QuotaIndex.isQuotaNode(path) ? request.data ?? [] : nil
        target.node = change(spot, path, to: node, quotaData: quotaData, context.zxid)
        if let quota = QuotaIndex.path(ofNode: path, named: QuotaIndex.statsName) { countAll(quota, context.zxid) }
        countUsage(path, count: 1, bytes: Int64(request.data?.count ?? 0), context.zxid)
        if isEphemeral { context.session?.pendingEphemerals.append(path) }
        return .create(
            TxnBody.CreateTxn(
                kind: shape.kind,
                path: path,
                data: request.data,
                acl: acl,
                isEphemeral: isEphemeral,
                parentCVersion: parentCVersion
            )
        )
    }

    func digestPrefix(_ path: [UInt8], _ data: [UInt8]?) -> UInt32 {
        guard options.digestEnabled else { return 0 }
        return path.withUnsafeBytes { path in
            guard let data else { return NodeDigest.prefix(path: path, data: nil) }
            return data.withUnsafeBytes { NodeDigest.prefix(path: path, data: $0) }
        }
    }

    /// Whether a record with this can be read back: a transaction must never be larger than what a reader takes.
    func fitsLog(path: [UInt8], data: [UInt8]?, acl: [ACL]) -> Bool {
        252 + path.count + (data?.count ?? 0) + ACL.encodedSize(acl) <= options.maxBufferBytes
    }
}

extension CreateShape {
    /// Appends the parent's create counter in ten digits, the sign included (docs/protocol/client-protocol.md
    /// section 7.2).
    static func appendSuffix(_ counter: Int32, to path: inout [UInt8]) {
        let width = 10
        var digits: InlineArray<10, UInt8> = InlineArray(repeating: UInt8(ascii: "0"))
        var rest = counter.magnitude
        var position = width
        while rest > 0 {
            position -= 1
            digits[position] = UInt8(ascii: "0") + UInt8(rest % 10)
            rest /= 10
        }
        if counter < 0 {
            // The sign takes a place of the ten unless the digits need them all.
            if position > 0 { digits[0] = UInt8(ascii: "-") } else { path.append(UInt8(ascii: "-")) }
        }
        for index in digits.indices { path.append(digits[index]) }
    }
}
