import ZooKeeperProtocol

/// The tree as docs/protocol/client-protocol.md describes it (sections 6 to 9, 11, 15, 16): dictionaries, one write after
/// the other, nothing in flight.
struct ModelTree {
    struct Node: Equatable {
        var data: [UInt8]?
        var acl: [ACL]
        var czxid: Int64 = 0
        var mzxid: Int64 = 0
        var pzxid: Int64 = 0
        var ctime: Int64 = 0
        var mtime: Int64 = 0
        var version: Int32 = 0
        var creates: Int32 = 0
        var aversion: Int32 = 0
        var owner: Owner = .none
        var children: Set<String> = []

        /// As it is stored.
        var persisted: StatPersisted {
            StatPersisted(
                czxid: Zxid(czxid),
                mzxid: Zxid(mzxid),
                ctime: ctime,
                mtime: mtime,
                version: version,
                cversion: creates,
                aversion: aversion,
                ephemeralOwner: owner.stored,
                pzxid: Zxid(pzxid)
            )
        }

        /// As clients see it.
        var stat: Stat {
            var shown: Int64 = 0
            if case .session(let session) = owner { shown = session }
            return Stat(
                czxid: Zxid(czxid),
                mzxid: Zxid(mzxid),
                ctime: ctime,
                mtime: mtime,
                version: version,
                cversion: 2 * creates - Int32(children.count),
                aversion: aversion,
                ephemeralOwner: shown,
                dataLength: Int32(data?.count ?? 0),
                numChildren: Int32(children.count),
                pzxid: Zxid(pzxid)
            )
        }
    }

    enum Owner: Equatable {
        case none, container
        case session(Int64)
        case ttl(Int64)

        var stored: Int64 {
            switch self {
            case .none: 0
            case .container: Int64.min
            case .session(let session): session
            case .ttl(let milliseconds): -72_057_594_037_927_936 + milliseconds  // 0xff in the highest byte.
            }
        }
    }

    /// What may differ between servers.
    struct Rules {
        var extendedTypes = true
        var enforceQuota = false
        var skipACL = false
    }

    /// Who writes, and as what.
    struct Context {
        var zxid: Int64
        var time: Int64
        var session: Int64
        var identities: [Identity]
    }

    /// One thing that watchers may hear of: kind and path, and the ACL that decides who may.
    struct Step {
        var kind: WatcherEvent.Kind
        var path: String
        var acl: [ACL]
    }

    var rules = Rules()
    var nodes: [String: Node] = [:]

    init() {
        nodes["/"] = Node(data: [], acl: ACL.open, children: ["zookeeper"])
        nodes["/zookeeper"] = Node(data: [], acl: ACL.open, children: ["quota", "config"])
        nodes["/zookeeper/quota"] = Node(data: [], acl: ACL.open)
        nodes["/zookeeper/config"] = Node(data: [], acl: [ACL(1, "world", "anyone")], aversion: -1)
    }

    // MARK: Paths

    static func parent(_ path: String) -> String {
        let head = path[..<(path.lastIndex(of: "/") ?? path.startIndex)]
        return head.isEmpty ? "/" : String(head)
    }

    static func name(_ path: String) -> String {
        String(path[path.index(after: path.lastIndex(of: "/") ?? path.startIndex)...])
    }

    static func child(_ parent: String, _ name: String) -> String {
        parent == "/" ? "/" + name : parent + "/" + name
    }

    static func isPlausible(_ path: String) -> Bool {
        path.utf8.contains(UInt8(ascii: "/")) && !path.utf8.contains(0)
    }

    static func isValid(_ path: String) -> Bool {
        if path == "/" { return true }
        guard path.unicodeScalars.first == "/", path.unicodeScalars.last != "/" else { return false }
        for unit in path.utf16 {
            switch unit {
            case 0...0x1f, 0x7f...0x9f, 0xd800...0xf8ff, 0xfff0...0xffff: return false
            default: break
            }
        }
        return path.split(separator: "/", omittingEmptySubsequences: false).dropFirst().allSatisfy {
            !$0.isEmpty && $0 != "." && $0 != ".."
        }
    }

    /// A node by the names that reads accept: the root is "" too.
    func node(_ path: String) -> Node? { nodes[path.isEmpty ? "/" : path] }

    /// All paths below one, in no order.
    func descendants(_ path: String) -> [String] {
        (nodes[path]?.children ?? []).flatMap { name in
            let child = Self.child(path, name)
            return [child] + descendants(child)
        }
    }

    // MARK: Permissions

    func allows(_ permission: Int32, _ acl: [ACL], _ identities: [Identity]) -> Bool {
        if rules.skipACL || acl.isEmpty { return true }
        if identities.contains(where: { $0.scheme == "super" }) { return true }
        return acl.contains { entry in
            guard entry.permissions & permission != 0 else { return false }
            if entry.identity == Identity(scheme: "world", id: "anyone") { return true }
            return identities.contains { identity in
                guard identity.scheme == entry.identity.scheme else { return false }
                if identity.scheme == "ip" { return Self.isAddress(identity.id, in: entry.identity.id) }
                return identity.id == entry.identity.id
            }
        }
    }

    /// Only the patterns that the tests use: dotted quads with prefixes of whole bytes.
    static func isAddress(_ address: String, in pattern: String) -> Bool {
        let parts = pattern.split(separator: "/")
        let bytes = (parts.count == 2 ? Int(parts[1]) ?? 32 : 32) / 8
        return address.split(separator: ".").prefix(bytes) == parts[0].split(separator: ".").prefix(bytes)
    }

    static func isAddressPattern(_ text: String) -> Bool {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        let quad = parts[0].split(separator: ".", omittingEmptySubsequences: false)
        guard quad.count == 4, quad.allSatisfy({ (Int($0) ?? 256) < 256 }), parts.count <= 2 else { return false }
        return parts.count == 1 || (0...32).contains(Int(parts[1]) ?? 33)
    }

    private func require(_ permission: Int32, _ acl: [ACL], _ context: Context) throws(ErrorCode) {
        guard allows(permission, acl, context.identities) else { throw .noAuth }
    }

    private func resolve(_ acl: ModelRequest.ModelACL, _ context: Context) throws(ErrorCode) -> [ACL] {
        guard case .list(let entries) = acl, !entries.isEmpty else { throw .invalidACL }
        var resolved: [ACL] = []
        for entry in entries {
            var made: [Identity] = []
            switch entry.scheme {
            case "world":
                guard let id = entry.id else { throw .marshallingError }
                if id == "anyone" { made = [Identity(scheme: "world", id: id)] }
            case "auth":
                made = context.identities.filter { $0.scheme == "digest" }
            case "digest":
                guard let id = entry.id else { throw .marshallingError }
                let parts = id.split(separator: ":", omittingEmptySubsequences: false)
                if parts.count == 2, !parts[1].isEmpty { made = [Identity(scheme: "digest", id: id)] }
            case "ip":
                guard let id = entry.id else { throw .marshallingError }
                if Self.isAddressPattern(id) { made = [Identity(scheme: "ip", id: id)] }
            default:
                break
            }
            if made.isEmpty { throw .invalidACL }
            for identity in made {
                let acl = ACL(permissions: entry.permissions, identity: identity)
                if !resolved.contains(acl) { resolved.append(acl) }
            }
        }
        return resolved
    }

    // MARK: Writes

    mutating func create(
        _ request: ModelRequest.ModelCreate,
        _ context: Context
    ) throws(ErrorCode) -> (path: String, steps: [Step]) {
        let flags = request.flags
        guard flags >= 0, flags <= 6 else { throw .badArguments }
        if flags >= 5, !rules.extendedTypes { throw .unimplemented }
        if request.operation == .createTTL {
            guard flags >= 5, request.ttl >= 1, request.ttl <= 1 << 40 - 1 else { throw .badArguments }
        } else if flags >= 5 {
            throw .badArguments
        }
        let owner: Owner =
            switch request.operation {
            case .createContainer: .container
            case .createTTL: .ttl(request.ttl)
            default: flags == 1 || flags == 3 ? .session(context.session) : .none
            }
        return try create(request, owner, isSequential: flags == 2 || flags == 3 || flags == 6, context)
    }

    private mutating func create(
        _ request: ModelRequest.ModelCreate,
        _ owner: Owner,
        isSequential: Bool,
        _ context: Context
    ) throws(ErrorCode) -> (path: String, steps: [Step]) {
        guard var path = request.path else { throw .marshallingError }
        guard Self.isPlausible(path) else { throw .badArguments }
        let acl = try resolve(request.acl, context)
        let parentPath = Self.parent(path)
        guard let parent = nodes[parentPath], path.utf8.first == UInt8(ascii: "/") else { throw .noNode }
        try require(Permissions.create, parent.acl, context)
        if isSequential {
            let digits = String(parent.creates)
            path += String(repeating: "0", count: 10 - digits.count) + digits
        }
        guard Self.isValid(path) else { throw .badArguments }
        guard nodes[path] == nil else { throw .nodeExists }
        if case .session = parent.owner { throw .noChildrenForEphemerals }
        let bytes = Int64(request.data?.count ?? 0)
        if let quota = exceededQuota(path) {
            if let limit = quota.limits["countHardLimit"], limit > -1, quota.count + 1 > limit { throw .quotaExceeded }
            if let limit = quota.limits["byteHardLimit"], limit > -1, quota.bytes + bytes > limit {
                throw .quotaExceeded
            }
        }
        nodes[parentPath]?.children.insert(Self.name(path))
        nodes[parentPath]?.creates += 1
        nodes[parentPath]?.pzxid = context.zxid
        nodes[path] = Node(
            data: request.data,
            acl: acl,
            czxid: context.zxid,
            mzxid: context.zxid,
            pzxid: context.zxid,
            ctime: context.time,
            mtime: context.time,
            owner: owner
        )
        if let quota = Self.quotaPath(path, "zookeeper_stats") { recount(quota) }
        adjustQuota(path, 1, bytes)
        return (
            path, [Step(kind: .nodeCreated, path: path, acl: acl), childrenStep(parentPath)]
        )
    }

    private func childrenStep(_ parent: String) -> Step {
        Step(kind: .nodeChildrenChanged, path: parent, acl: nodes[parent]?.acl ?? [])
    }

    mutating func delete(_ path: String?, _ version: Int32, _ context: Context) throws(ErrorCode) -> [Step] {
        guard let path else { throw .marshallingError }
        guard Self.isPlausible(path), !["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"].contains(path)
        else {
            throw .badArguments
        }
        guard path.utf8.first == UInt8(ascii: "/"), let parent = nodes[Self.parent(path)] else { throw .noNode }
        try require(Permissions.delete, parent.acl, context)
        guard let node = nodes[path] else { throw .noNode }
        guard version == -1 || version == node.version else { throw .badVersion }
        guard node.children.isEmpty else { throw .notEmpty }
        return remove(path, context.zxid)
    }

    /// Takes a node away, whoever wants it.
    mutating func remove(_ path: String, _ zxid: Int64) -> [Step] {
        guard let node = nodes.removeValue(forKey: path) else { return [] }
        let parent = Self.parent(path)
        nodes[parent]?.children.remove(Self.name(path))
        nodes[parent]?.pzxid = zxid
        adjustQuota(path, -1, -Int64(node.data?.count ?? 0))
        return [Step(kind: .nodeDeleted, path: path, acl: node.acl), childrenStep(parent)]
    }

    mutating func setData(
        _ path: String?,
        _ data: [UInt8]?,
        _ version: Int32,
        _ context: Context
    ) throws(ErrorCode) -> (stat: Stat, steps: [Step]) {
        guard let path, Self.isValid(path) else { throw .badArguments }
        guard var node = nodes[path] else { throw .noNode }
        try require(Permissions.write, node.acl, context)
        let growth = Int64(data?.count ?? 0) - Int64(node.data?.count ?? 0)
        if growth != 0, let quota = exceededQuota(path), let limit = quota.limits["byteHardLimit"], limit > -1,
            quota.bytes + growth > limit
        {
            throw .quotaExceeded
        }
        guard version == -1 || version == node.version else { throw .badVersion }
        node.data = data
        node.version += 1
        node.mzxid = context.zxid
        node.mtime = context.time
        nodes[path] = node
        adjustQuota(path, 0, growth)
        return (node.stat, [Step(kind: .nodeDataChanged, path: path, acl: node.acl)])
    }

    mutating func setACL(
        _ path: String?,
        _ acl: ModelRequest.ModelACL,
        _ version: Int32,
        _ context: Context
    ) throws(ErrorCode) -> Stat {
        guard let path, Self.isValid(path) else { throw .badArguments }
        let acl = try resolve(acl, context)
        guard var node = nodes[path] else { throw .noNode }
        try require(Permissions.admin, node.acl, context)
        guard version == -1 || version == node.aversion else { throw .badVersion }
        node.acl = acl
        node.aversion += 1
        nodes[path] = node
        return node.stat
    }

    private func check(_ path: String?, _ version: Int32, _ context: Context) throws(ErrorCode) {
        guard let path, Self.isValid(path) else { throw .badArguments }
        guard let node = nodes[path] else { throw .noNode }
        try require(Permissions.read, node.acl, context)
        guard version == -1 || version == node.version else { throw .badVersion }
    }

    // MARK: multi

    enum MultiOutcome {
        /// All of it was done: the results, and what watchers hear.
        case done([UInt8], [Step])
        /// Nothing was: the reply still has no error in its header.
        case failed([UInt8])
        /// −5 for the whole request.
        case refused
    }

    mutating func multi(_ parts: [ModelRequest.ModelPart], _ context: Context) -> MultiOutcome {
        var copy = self
        var results = JuteWriter()
        var steps: [Step] = []
        for (index, part) in parts.enumerated() {
            do throws(ErrorCode) {
                steps += try copy.run(part, context, &results)
            } catch {
                if error == .marshallingError { return .refused }
                var failures = JuteWriter()
                for other in parts.indices {
                    let code = other < index ? 0 : other == index ? error.rawValue : -2
                    MultiHeader.write(type: -1, error: code, to: &failures)
                    failures.int32(code)
                }
                MultiHeader.writeEnd(to: &failures)
                return .failed(failures.copy())
            }
        }
        self = copy
        MultiHeader.writeEnd(to: &results)
        return .done(results.copy(), steps)
    }

    private mutating func run(
        _ part: ModelRequest.ModelPart,
        _ context: Context,
        _ results: inout JuteWriter
    ) throws(ErrorCode) -> [Step] {
        switch part {
        case .create(let create):
            return try runCreate(create, context, &results)
        case .delete(let path, let version):
            let steps = try delete(path, version, context)
            MultiHeader.write(type: 2, to: &results)
            return steps
        case .setData(let path, let data, let version):
            let done = try setData(path, data, version, context)
            MultiHeader.write(type: 5, to: &results)
            done.stat.write(to: &results)
            return done.steps
        case .check(let path, let version):
            try check(path, version, context)
            MultiHeader.write(type: 13, to: &results)
            return []
        case .foreign:
            throw .marshallingError
        }
    }

    /// Section 9: inside a list flags mean something else.
    private mutating func runCreate(
        _ request: ModelRequest.ModelCreate,
        _ context: Context,
        _ results: inout JuteWriter
    ) throws(ErrorCode) -> [Step] {
        let flags = request.flags
        var owner = Owner.none
        var type: Int32 = 1
        if request.operation == .createTTL, !(0...4).contains(flags) {
            guard flags == 5 || flags == 6 else { throw .badArguments }
            guard rules.extendedTypes else { throw .unimplemented }
            guard request.ttl >= 1, request.ttl <= 1 << 40 - 1 else { throw .badArguments }
            owner = .ttl(request.ttl)
            type = 15
        } else if flags == 4 || request.operation == .createContainer {
            owner = .container
            type = 15
        } else {
            owner = flags == 1 || flags == 3 ? .session(context.session) : .none
            if request.operation == .create2 { type = 15 }
        }
        let done = try create(
            request,
            owner,
            isSequential: flags == 2 || flags == 3 || flags == 6,
            context
        )
        MultiHeader.write(type: type, to: &results)
        results.string(done.path)
        if type == 15 { nodes[done.path]?.stat.write(to: &results) }
        return done.steps
    }

    // MARK: Quotas

    /// The path whose quota a node belongs to.
    static func quotaPath(_ path: String, _ name: String) -> String? {
        let prefix = "/zookeeper/quota/"
        guard path.hasPrefix(prefix), path.hasSuffix("/" + name), path.count > prefix.count + name.count else {
            return nil
        }
        return "/" + path.dropFirst(prefix.count).dropLast(name.count + 1)
    }

    private func deepestQuota(_ path: String) -> String? {
        var path = path
        while path != "/" {
            if nodes["/zookeeper/quota" + path + "/zookeeper_limits"] != nil { return path }
            path = Self.parent(path)
        }
        return nil
    }

    /// What may be used of the quota over a path, and what is; nil when nothing limits it.
    private func exceededQuota(_ path: String) -> (limits: [String: Int64], count: Int64, bytes: Int64)? {
        guard rules.enforceQuota, let quota = deepestQuota(path) else { return nil }
        let limits = Self.numbers(nodes["/zookeeper/quota" + quota + "/zookeeper_limits"]?.data)
        let used = Self.numbers(nodes["/zookeeper/quota" + quota + "/zookeeper_stats"]?.data)
        return (limits, used["count"] ?? 0, used["bytes"] ?? 0)
    }

    private mutating func adjustQuota(_ path: String, _ count: Int64, _ bytes: Int64) {
        guard count != 0 || bytes != 0, let quota = deepestQuota(path) else { return }
        let stats = "/zookeeper/quota" + quota + "/zookeeper_stats"
        guard let node = nodes[stats] else { return }
        let used = Self.numbers(node.data)
        let newCount = (used["count"] ?? 0) + count
        let newBytes = (used["bytes"] ?? 0) + bytes
        nodes[stats]?.data = Array("count=\(newCount),bytes=\(newBytes)".utf8)
    }

    /// Counts what is at and below a path.
    private mutating func recount(_ path: String) {
        let all = nodes[path] == nil ? [] : [path] + descendants(path)
        let bytes = all.reduce(0) { $0 + (nodes[$1]?.data?.count ?? 0) }
        nodes["/zookeeper/quota" + path + "/zookeeper_stats"]?.data = Array("count=\(all.count),bytes=\(bytes)".utf8)
    }

    /// What a restart does to statistics.
    mutating func recountAll() {
        for path in Array(nodes.keys) {
            if let quota = Self.quotaPath(path, "zookeeper_limits") { recount(quota) }
        }
    }

    private static func numbers(_ data: [UInt8]?) -> [String: Int64] {
        var numbers: [String: Int64] = [:]
        for field in String(decoding: data ?? [], as: UTF8.self).split(whereSeparator: { $0 == "," || $0 == ";" }) {
            let parts = field.split(separator: "=")
            if parts.count == 2, let value = Int64(parts[1]) { numbers[String(parts[0])] = value }
        }
        return numbers
    }

    // MARK: Digest

    /// docs/protocol/quorum-protocol.md section 17.3.
    var digest: UInt64 {
        var sum: UInt64 = 0
        for (path, node) in nodes where !path.hasPrefix("/zookeeper/") {
            var writer = JuteWriter()
            writer.int64(node.czxid)
            writer.int64(node.mzxid)
            writer.int64(node.pzxid)
            writer.int64(node.ctime)
            writer.int64(node.mtime)
            writer.int32(node.version)
            writer.int32(node.creates)
            writer.int32(node.aversion)
            writer.int64(node.owner.stored)
            let bytes = (path == "/" ? [] : Array(path.utf8)) + (node.data ?? []) + writer.copy()
            sum &+= UInt64(Self.crc(bytes))
        }
        return sum
    }

    private static func crc(_ bytes: [UInt8]) -> UInt32 {
        var crc: UInt32 = 0xffff_ffff
        for byte in bytes {
            crc ^= UInt32(byte)
            for _ in 0..<8 { crc = crc & 1 == 1 ? crc >> 1 ^ 0xedb8_8320 : crc >> 1 }
        }
        return ~crc
    }
}
