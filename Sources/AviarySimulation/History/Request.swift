package import ZooKeeperProtocol

/// What a simulated client asks for.
package indirect enum Request: Hashable, Sendable {
    package enum Kind: Hashable, Sendable {
        case plain, ephemeral, sequential, ephemeralSequential, container
        case ttl(milliseconds: Int64)

        package var isSequential: Bool { self == .sequential || self == .ephemeralSequential }
        package var isEphemeral: Bool { self == .ephemeral || self == .ephemeralSequential }

        var flags: Int32 {
            switch self {
            case .plain: 0
            case .ephemeral: 1
            case .sequential: 2
            case .ephemeralSequential: 3
            case .container: 4
            case .ttl: 5
            }
        }
    }

    package struct Watches: Hashable, Sendable {
        package var relative: Zxid
        package var data: [String]
        package var exist: [String]
        package var child: [String]
        package var persistent: [String]
        package var recursive: [String]

        package init(
            relative: Zxid,
            data: [String] = [],
            exist: [String] = [],
            child: [String] = [],
            persistent: [String] = [],
            recursive: [String] = []
        ) {
            self.relative = relative
            self.data = data
            self.exist = exist
            self.child = child
            self.persistent = persistent
            self.recursive = recursive
        }

        package var isEmpty: Bool {
            data.isEmpty && exist.isEmpty && child.isEmpty && persistent.isEmpty && recursive.isEmpty
        }
    }

    case create(String, data: [UInt8]?, Kind)
    case delete(String, version: Int32)
    case setData(String, [UInt8]?, version: Int32)
    /// Only inside a multi.
    case check(String, version: Int32)
    case multi([Request])
    /// The members change: the text of a `reconfig`, from the version that it is asked for on.
    case reconfigure(joining: String?, leaving: String?, members: String?, from: Int64)
    case getData(String, watches: Bool)
    case exists(String, watches: Bool)
    case getChildren(String, watches: Bool)
    case sync(String)
    case setWatches(Watches)
    case addWatch(String, isRecursive: Bool)
    case ping
    case closeSession

    package var isWrite: Bool {
        switch self {
        case .create, .delete, .setData, .check, .multi, .reconfigure, .closeSession: true
        case .getData, .exists, .getChildren, .sync, .setWatches, .addWatch, .ping: false
        }
    }

    /// A write of more than the session of who asks.
    package var changesTree: Bool { isWrite && self != .closeSession }

    /// A read of the tree.
    package var isRead: Bool {
        switch self {
        case .getData, .exists, .getChildren: true
        case .create, .delete, .setData, .check, .multi, .reconfigure, .closeSession, .sync, .setWatches, .addWatch,
            .ping:
            false
        }
    }

    /// On the wire (docs/protocol/client-protocol.md section 4.3).
    package var operation: Operation {
        switch self {
        case .create(_, _, .container): .createContainer
        case .create(_, _, .ttl): .createTTL
        case .create: .create2
        case .delete: .delete
        case .setData: .setData
        case .check: .check
        case .multi: .multi
        case .reconfigure: .reconfig
        case .getData: .getData
        case .exists: .exists
        case .getChildren: .getChildren2
        case .sync: .sync
        case .setWatches: .setWatches2
        case .addWatch: .addWatch
        case .ping: .ping
        case .closeSession: .closeSession
        }
    }

    package func writeBody(to writer: inout JuteWriter) {
        switch self {
        case .create(let path, let data, let kind):
            writer.string(path)
            writer.buffer(data)
            ACL.write(ACL.open, to: &writer)
            writer.int32(kind.flags)
            if case .ttl(let milliseconds) = kind { writer.int64(milliseconds) }
        case .delete(let path, let version), .check(let path, let version):
            writer.string(path)
            writer.int32(version)
        case .setData(let path, let data, let version):
            writer.string(path)
            writer.buffer(data)
            writer.int32(version)
        case .multi(let parts):
            for part in parts {
                MultiHeader.write(type: part.operation.rawValue, to: &writer)
                part.writeBody(to: &writer)
            }
            MultiHeader.writeEnd(to: &writer)
        case .reconfigure(let joining, let leaving, let members, let version):
            writer.string(joining)
            writer.string(leaving)
            writer.string(members)
            writer.int64(version)
        case .getData(let path, let watches), .exists(let path, let watches), .getChildren(let path, let watches):
            writer.string(path)
            writer.bool(watches)
        case .sync(let path):
            writer.string(path)
        case .setWatches(let watches):
            writer.int64(watches.relative.rawValue)
            for list in [watches.data, watches.exist, watches.child, watches.persistent, watches.recursive] {
                writer.int32(Int32(list.count))
                for path in list { writer.string(path) }
            }
        case .addWatch(let path, let isRecursive):
            writer.string(path)
            writer.int32(isRecursive ? 1 : 0)
        case .ping, .closeSession:
            break
        }
    }
}

/// What a reply says, behind its header.
package enum Answer: Hashable, Sendable {
    package enum Part: Hashable, Sendable {
        case created(String)
        case set(Stat)
        case done
        case failed(ErrorCode)
    }

    case nothing
    case created(String, Stat)
    case stat(Stat)
    case data([UInt8]?, Stat)
    case children([String], Stat)
    case multi([Part])

    /// Nothing of it has failed: the header of a multi's reply says nothing of its parts.
    package var isDone: Bool {
        guard case .multi(let parts) = self else { return true }
        return !parts.contains { if case .failed = $0 { true } else { false } }
    }

    /// Reads what follows the header of a reply without an error.
    package init(to request: Request, from reader: inout JuteReader) throws(JuteError) {
        switch request {
        case .create:
            let path = try reader.string() ?? ""
            self = .created(path, try Stat(from: &reader))
        case .setData, .exists:
            self = .stat(try Stat(from: &reader))
        case .getData, .reconfigure:
            let data = try reader.bytes()
            self = .data(data, try Stat(from: &reader))
        case .getChildren:
            var names: [String] = []
            for _ in 0..<(try reader.vectorCount() ?? 0) { names.append(try reader.string() ?? "") }
            self = .children(names, try Stat(from: &reader))
        case .multi:
            self = .multi(try Answer.parts(from: &reader))
        case .delete, .check, .sync, .setWatches, .addWatch, .ping, .closeSession:
            self = .nothing
        }
    }

    private static func parts(from reader: inout JuteReader) throws(JuteError) -> [Part] {
        var parts: [Part] = []
        while true {
            let header = try MultiHeader(from: &reader)
            if header.isDone { return parts }
            switch Operation(rawValue: header.type) {
            case .error: parts.append(.failed(ErrorCode(try reader.int32())))
            case .create: parts.append(.created(try reader.string() ?? ""))
            case .create2, .createContainer, .createTTL:
                parts.append(.created(try reader.string() ?? ""))
                _ = try Stat(from: &reader)
            case .setData: parts.append(.set(try Stat(from: &reader)))
            default: parts.append(.done)
            }
        }
    }
}
