import ZooKeeperProtocol

/// What a client may ask for, in a form that both sides understand: the core as the bytes of `frame`, the model as it is.
enum ModelRequest {
    case create(ModelCreate)
    case delete(path: String?, version: Int32)
    case setData(path: String?, data: [UInt8]?, version: Int32)
    case setACL(path: String?, acl: ModelACL, version: Int32)
    case multi([ModelPart])
    case reconfig
    case exists(String?, watch: Bool)
    case getData(String?, watch: Bool)
    case getChildren(String?, watch: Bool, withStat: Bool)
    case getACL(String?)
    case getAllChildrenNumber(String?)
    case getEphemerals(String?)
    case whoAmI
    case ping
    case sync(String?)
    case addWatch(String?, mode: Int32)
    case checkWatches(String?, type: Int32)
    case removeWatches(String?, type: Int32)
    case setWatches(ModelRearm)
    case multiRead([(children: Bool, path: String?)])
    /// Scheme and credentials; nil is null.
    case auth(scheme: String?, credentials: String?)
    case closeSession
    /// A known operation with a body that ends too early.
    case undecodable(Operation, [UInt8])
    /// An opcode that no client may send.
    case forbidden(Int32)

    /// A part of a multi.
    indirect enum ModelPart {
        case create(ModelCreate)
        case delete(path: String?, version: Int32)
        case setData(path: String?, data: [UInt8]?, version: Int32)
        case check(path: String?, version: Int32)
        /// An operation that no list may have.
        case foreign(Operation)
    }

    struct ModelCreate {
        var operation: Operation
        var path: String?
        var data: [UInt8]?
        var acl: ModelACL
        var flags: Int32
        var ttl: Int64
    }

    /// An ACL list as it is sent.
    enum ModelACL {
        case null
        case list([(permissions: Int32, scheme: String?, id: String?)])

        static let open = ModelACL.list([(31, "world", "anyone")])
    }

    struct ModelRearm {
        var zxid: Int64
        var data: [String]
        var exist: [String]
        var child: [String]
        /// With setWatches2 only.
        var persistent: [String]?
        var recursive: [String]?
    }

    var operation: Operation? {
        switch self {
        case .create(let create): create.operation
        case .delete: .delete
        case .setData: .setData
        case .setACL: .setACL
        case .multi: .multi
        case .reconfig: .reconfig
        case .exists: .exists
        case .getData: .getData
        case .getChildren(_, _, let withStat): withStat ? .getChildren2 : .getChildren
        case .getACL: .getACL
        case .getAllChildrenNumber: .getAllChildrenNumber
        case .getEphemerals: .getEphemerals
        case .whoAmI: .whoAmI
        case .ping: .ping
        case .sync: .sync
        case .addWatch: .addWatch
        case .checkWatches: .checkWatches
        case .removeWatches: .removeWatches
        case .setWatches(let rearm): rearm.persistent == nil ? .setWatches : .setWatches2
        case .multiRead: .multiRead
        case .auth: .auth
        case .closeSession: .closeSession
        case .undecodable(let operation, _): operation
        case .forbidden: nil
        }
    }

    func frame(xid: Int32) -> [UInt8] {
        var writer = JuteWriter()
        writer.int32(xid)
        if case .forbidden(let type) = self { writer.int32(type) } else { writer.int32(operation?.rawValue ?? 0) }
        writeBody(to: &writer)
        return writer.copy()
    }

    /// The body alone.
    var body: [UInt8] {
        var writer = JuteWriter()
        writeBody(to: &writer)
        return writer.copy()
    }

    private func writeBody(to writer: inout JuteWriter) {
        switch self {
        case .create(let create):
            create.write(to: &writer)
        case .delete(let path, let version):
            writer.string(path)
            writer.int32(version)
        case .setData(let path, let data, let version):
            writer.string(path)
            writer.buffer(data)
            writer.int32(version)
        case .setACL(let path, let acl, let version):
            writer.string(path)
            acl.write(to: &writer)
            writer.int32(version)
        case .multi(let parts):
            for part in parts { part.write(to: &writer) }
            MultiHeader.writeEnd(to: &writer)
        case .reconfig:
            for _ in 0..<3 { writer.string(nil) }
            writer.int64(-1)
        case .exists(let path, let watch), .getData(let path, let watch), .getChildren(let path, let watch, _):
            writer.string(path)
            writer.bool(watch)
        case .getACL(let path), .getAllChildrenNumber(let path), .getEphemerals(let path), .sync(let path):
            writer.string(path)
        case .addWatch(let path, let number), .checkWatches(let path, let number), .removeWatches(let path, let number):
            writer.string(path)
            writer.int32(number)
        case .setWatches(let rearm):
            writer.int64(rearm.zxid)
            for list in [rearm.data, rearm.exist, rearm.child, rearm.persistent, rearm.recursive] {
                guard let list else { continue }
                writer.int32(Int32(list.count))
                for path in list { writer.string(path) }
            }
        case .multiRead(let parts):
            for part in parts {
                MultiHeader.write(type: part.children ? 8 : 4, error: -1, to: &writer)
                writer.string(part.path)
                writer.bool(false)
            }
            MultiHeader.writeEnd(to: &writer)
        case .auth(let scheme, let credentials):
            writer.int32(0)
            writer.string(scheme)
            writer.string(credentials)
        case .undecodable(_, let body):
            body.withUnsafeBytes { writer.raw($0) }
        case .whoAmI, .ping, .closeSession, .forbidden:
            break
        }
    }
}

extension ModelRequest.ModelCreate {
    func write(to writer: inout JuteWriter) {
        writer.string(path)
        writer.buffer(data)
        acl.write(to: &writer)
        writer.int32(flags)
        if operation == .createTTL { writer.int64(ttl) }
    }
}

extension ModelRequest.ModelACL {
    func write(to writer: inout JuteWriter) {
        guard case .list(let entries) = self else { return writer.int32(-1) }
        writer.int32(Int32(entries.count))
        for entry in entries {
            writer.int32(entry.permissions)
            writer.string(entry.scheme)
            writer.string(entry.id)
        }
    }
}

extension ModelRequest.ModelPart {
    func write(to writer: inout JuteWriter) {
        switch self {
        case .create(let create):
            MultiHeader.write(type: create.operation.rawValue, error: -1, to: &writer)
            create.write(to: &writer)
        case .delete(let path, let version):
            MultiHeader.write(type: 2, error: -1, to: &writer)
            writer.string(path)
            writer.int32(version)
        case .setData(let path, let data, let version):
            MultiHeader.write(type: 5, error: -1, to: &writer)
            writer.string(path)
            writer.buffer(data)
            writer.int32(version)
        case .check(let path, let version):
            MultiHeader.write(type: 13, error: -1, to: &writer)
            writer.string(path)
            writer.int32(version)
        case .foreign(let operation):
            MultiHeader.write(type: operation.rawValue, error: -1, to: &writer)
            writer.string("/a")
            writer.int32(0)
        }
    }
}
