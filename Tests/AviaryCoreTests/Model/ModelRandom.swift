import ZooKeeperProtocol

/// Everything random of one run, out of one seed.
struct ModelRandom {
    private var state: UInt64
    var hasEphemeralLimits = true

    init(seed: UInt64) {
        state = seed &* 0x2545_F491_4F6C_DD1D &+ 0x1234_5678_9ABC_DEF1
    }

    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state &* 0x2545_F491_4F6C_DD1D
    }

    /// 0 to `bound` − 1.
    mutating func below(_ bound: Int) -> Int {
        Int((next() >> 33) % UInt64(max(bound, 1)))
    }

    /// True once in `count` times.
    mutating func oneIn(_ count: Int) -> Bool { below(count) == 0 }

    mutating func pick<E>(_ list: [E]) -> E { list[below(list.count)] }

    // MARK: Values

    static let paths = [
        "/a", "/a/b", "/a/b/c", "/a/b/c/d", "/a/c", "/b", "/b/x", "/c", "/q", "/q/x", "/q/x/y", "/q/z", "/e", "/é/ü",
        "/é",
    ]
    static let quotaPaths = [
        "/zookeeper/quota/q", "/zookeeper/quota/q/zookeeper_limits", "/zookeeper/quota/q/zookeeper_stats",
        "/zookeeper/quota/q/x", "/zookeeper/quota/q/x/zookeeper_limits", "/zookeeper/quota/q/x/zookeeper_stats",
        "/zookeeper/quota/zookeeper_limits", "/zookeeper/quota/zookeeper_stats", "/zookeeper/quotas",
    ]
    static let systemPaths = ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"]
    static let oddPaths: [String?] = [
        nil, "", "a", "a/b", "/a/", "//", "/a//b", "/a/.", "/a/..", "/..", "/a/...", "/a\u{0}", "/a/\u{1f}",
        "/a/\u{e000}",
        "/a/\u{1F600}",
    ]

    mutating func path(_ tree: ModelTree) -> String? {
        switch below(20) {
        case 0: pick(Self.oddPaths)
        case 1: pick(Self.systemPaths)
        case 2, 3: pick(Self.quotaPaths)
        case 4..<10: pick(tree.nodes.keys.sorted())
        default: pick(Self.paths)
        }
    }

    /// Watched by name; any string is as good as another.
    mutating func paths(_ tree: ModelTree) -> [String] {
        (0..<below(4)).map { _ in path(tree) ?? "" }
    }

    mutating func data(for path: String?) -> [UInt8]? {
        if let path, path.hasSuffix("zookeeper_limits") {
            let text = pick([
                "count=3,bytes=20", "count=-1,bytes=-1=;byteHardLimit=12;countHardLimit=3",
                "count=-1,bytes=-1=;countHardLimit=2", "count=1,bytes=1=;byteHardLimit=6", "x", "", "=;,=",
                "byteHardLimit=9223372036854775807", "countHardLimit=-5",
            ])
            return Array(text.utf8)
        }
        if let path, path.hasSuffix("zookeeper_stats") {
            let text: String? = pick([nil, "", "count=1,bytes=1", "junk", "count=7,bytes=19"])
            return text.map { Array($0.utf8) }
        }
        if oneIn(6) { return nil }
        return (0..<below(10)).map { _ in UInt8(truncatingIfNeeded: next()) }
    }

    mutating func acl() -> ModelRequest.ModelACL {
        guard oneIn(3) else { return .open }
        if oneIn(12) { return oneIn(2) ? .null : .list([]) }
        return .list((0..<(1 + below(3))).map { _ in entry() })
    }

    private mutating func entry() -> (permissions: Int32, scheme: String?, id: String?) {
        let permissions = pick([31, 31, 31, 1, 3, 5, 16, 15, 14, 29, 30, 0, -1, 64, 9] as [Int32])
        switch below(24) {
        case 0: return (permissions, nil, "x")
        case 1: return (permissions, "world", pick([nil, "everyone"]))
        case 2: return (permissions, pick(["super", "sasl", "nobody"]), "x")
        case 3: return (permissions, "digest", pick([nil, "x", "x:", ":x", "a:b:c", "u1:x"]))
        case 4: return (permissions, "ip", pick([nil, "300.0.0.1", "10.0.0.0/40", "host"]))
        case 5..<9: return (permissions, "ip", pick(["10.0.0.0/8", "10.0.0.1", "10.0.0.2/24", "0.0.0.0/0"]))
        case 9..<13: return (permissions, "auth", pick(["", "ignored"]))
        case 13..<17: return (permissions, "digest", pick(["u1:cDoxdQ==", "u2:cDoydQ=="]))
        default: return (permissions, "world", "anyone")
        }
    }

    private mutating func version(_ current: Int32?) -> Int32 {
        switch below(6) {
        case 0: Int32(below(4)) - 2
        case 1, 2: current ?? 0
        default: -1
        }
    }

    // MARK: Requests

    mutating func request(_ tree: ModelTree, zxid: Int64) -> ModelRequest {
        let request = wholeRequest(tree, zxid)
        guard oneIn(40), let operation = request.operation, operation != .auth, operation != .closeSession else {
            return request
        }
        // A list with a null ACL is refused before its end is missed.
        if case .multi(let parts) = request, parts.contains(where: \.hasNullACL) { return request }
        let body = request.body
        return body.isEmpty ? request : .undecodable(operation, Array(body.prefix(below(body.count))))
    }

    private mutating func wholeRequest(_ tree: ModelTree, _ zxid: Int64) -> ModelRequest {
        let path = path(tree)
        let node = path.flatMap { tree.nodes[$0] }
        switch below(100) {
        case 0..<22: return .create(create(tree))
        case 22..<30: return .delete(path: path, version: version(node?.version))
        case 30..<38: return .setData(path: path, data: data(for: path), version: version(node?.version))
        case 38..<43: return .setACL(path: path, acl: acl(), version: version(node?.aversion))
        case 43..<52: return .multi(parts(tree))
        case 52: return oneIn(4) ? .reconfig : .whoAmI
        case 53..<59: return .exists(path, watch: oneIn(2))
        case 59..<65: return .getData(path, watch: oneIn(2))
        case 65..<70: return .getChildren(path, watch: oneIn(2), withStat: oneIn(2))
        case 70..<72: return .getACL(path)
        case 72: return .getAllChildrenNumber(path)
        case 73: return .getEphemerals(pick([path, nil, "", " ", "/", "/a"]))
        case 74: return .sync(path)
        case 75: return .ping
        case 76..<81: return .addWatch(path, mode: oneIn(10) ? 2 : Int32(below(2)))
        case 81..<83: return .checkWatches(path, type: Int32(below(7)))
        case 83..<86: return .removeWatches(path, type: Int32(below(7)))
        case 86..<90: return rearm(tree, zxid)
        case 90..<94:
            return .multiRead((0..<below(4)).map { _ in (children: oneIn(2), path: self.path(tree)) })
        case 94..<98:
            let user = pick(["u1", "u1", "u2", "u3", "super"])
            if oneIn(20) { return .auth(scheme: pick(["world", "ip", nil, "super"]), credentials: "x") }
            return .auth(scheme: "digest", credentials: user == "super" ? "super:pw" : "\(user):p")
        case 98: return oneIn(3) ? .forbidden(pick([0, 10, 13, 23, 99, 108, -1, 1000])) : .whoAmI
        default: return oneIn(3) ? .closeSession : .exists(path, watch: true)
        }
    }

    private mutating func create(_ tree: ModelTree) -> ModelRequest.ModelCreate {
        let operation = pick(
            [.create, .create, .create2, .create2, .createContainer, .createTTL] as [Operation]
        )
        let isSequential = oneIn(5)
        var flags: Int32 = isSequential ? Int32(2 + below(2)) : Int32(below(2))
        if operation == .createTTL { flags = isSequential ? 6 : 5 }
        if oneIn(15) { flags = Int32(below(9)) - 1 }
        let path = isSequential ? pick(["/a/s-", "/a/", "/q/", "/b/x/n", "/"]) : self.path(tree)
        // Whether limits or what they count goes first decides what is counted, and an end without a list tells nobody.
        if let path, path.hasPrefix("/zookeeper/"), !hasEphemeralLimits, flags & 1 == 1, flags < 5 { flags = 0 }
        return ModelRequest.ModelCreate(
            operation: operation,
            path: path,
            data: data(for: path),
            acl: acl(),
            flags: flags,
            ttl: pick([1, 500, 4000, 100_000, 1 << 40 - 1, 1 << 40, 0, -1, Int64.max, Int64.min, 2000, 3000])
        )
    }

    private mutating func parts(_ tree: ModelTree) -> [ModelRequest.ModelPart] {
        var parts: [ModelRequest.ModelPart] = (0..<below(6)).map { _ in part(tree, isSound: true) }
        // One thing wrong at most: which of two is found first is nobody's promise.
        if oneIn(12) { parts.insert(part(tree, isSound: false), at: below(parts.count + 1)) }
        return parts
    }

    private mutating func part(_ tree: ModelTree, isSound: Bool) -> ModelRequest.ModelPart {
        while true {
            let path = path(tree)
            let node = path.flatMap { tree.nodes[$0] }
            let part: ModelRequest.ModelPart
            switch below(isSound ? 10 : 11) {
            case 0..<5: part = .create(create(tree))
            case 5, 6: part = .delete(path: path, version: version(node?.version))
            case 7, 8: part = .setData(path: path, data: data(for: path), version: version(node?.version))
            case 9: part = .check(path: path, version: version(node?.version))
            default: part = .foreign(pick([.setACL, .exists, .getData, .sync, .auth, .deleteContainer, .multi]))
            }
            if !isSound || !part.isMalformed && !part.hasNullACL { return part }
        }
    }

    private mutating func rearm(_ tree: ModelTree, _ zxid: Int64) -> ModelRequest {
        let hasMore = oneIn(2)
        return .setWatches(
            ModelRequest.ModelRearm(
                zxid: max(0, zxid - Int64(below(30))),
                data: paths(tree),
                exist: paths(tree),
                child: paths(tree),
                persistent: hasMore ? paths(tree) : nil,
                recursive: hasMore ? paths(tree) : nil
            )
        )
    }
}
