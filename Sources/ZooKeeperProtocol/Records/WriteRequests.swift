/// The records of requests that write (docs/protocol/client-protocol.md section 8.1).
///
/// Reading one fails only where the bytes do not fit; what its values mean is the server's to judge.

package struct CreateRequest: Sendable {
    package var path: [UInt8]?
    package var data: [UInt8]?
    package var acl: RequestedACLs
    package var flags: Int32
    /// Only with createTTL.
    package var ttlMilliseconds: Int64

    package init(from reader: inout JuteReader, hasTTL: Bool) throws(JuteError) {
        path = try reader.bytes()
        data = try reader.bytes()
        acl = try RequestedACLs(from: &reader)
        flags = try reader.int32()
        ttlMilliseconds = hasTTL ? try reader.int64() : -1
    }
}

/// An ACL list as a client sends it: anything may be null. Nearly always it is the open one, which is not decoded.
package enum RequestedACLs: Sendable {
    case open
    case null
    case list([Entry])

    package struct Entry: Sendable {
        package var permissions: Int32
        package var scheme: String?
        package var id: String?
    }

    package init(from reader: inout JuteReader) throws(JuteError) {
        if reader.hasPrefix(ACL.openBytes) {
            reader.skip(ACL.openBytes.count)
            self = .open
            return
        }
        guard let count = try reader.vectorCount() else {
            self = .null
            return
        }
        var list: [Entry] = []
        for _ in 0..<count {
            let permissions = try reader.int32()
            let scheme = try reader.string()
            list.append(Entry(permissions: permissions, scheme: scheme, id: try reader.string()))
        }
        self = .list(list)
    }
}

package struct DeleteRequest: Sendable {
    package var path: [UInt8]?
    package var version: Int32

    package init(from reader: inout JuteReader) throws(JuteError) {
        path = try reader.bytes()
        version = try reader.int32()
    }
}

package struct SetDataRequest: Sendable {
    package var path: [UInt8]?
    package var data: [UInt8]?
    package var version: Int32

    package init(from reader: inout JuteReader) throws(JuteError) {
        path = try reader.bytes()
        data = try reader.bytes()
        version = try reader.int32()
    }
}

package struct SetACLRequest: Sendable {
    package var path: [UInt8]?
    package var acl: RequestedACLs
    package var version: Int32

    package init(from reader: inout JuteReader) throws(JuteError) {
        path = try reader.bytes()
        acl = try RequestedACLs(from: &reader)
        version = try reader.int32()
    }
}

package struct CheckVersionRequest: Sendable {
    package var path: [UInt8]?
    package var version: Int32

    package init(from reader: inout JuteReader) throws(JuteError) {
        path = try reader.bytes()
        version = try reader.int32()
    }
}

package struct ReconfigRequest: Sendable {
    package var joiningServers: String?
    package var leavingServers: String?
    package var newMembers: String?
    package var currentConfigID: Int64

    package init(joiningServers: String?, leavingServers: String?, newMembers: String?, currentConfigID: Int64 = -1) {
        self.joiningServers = joiningServers
        self.leavingServers = leavingServers
        self.newMembers = newMembers
        self.currentConfigID = currentConfigID
    }

    package init(from reader: inout JuteReader) throws(JuteError) {
        joiningServers = try reader.string()
        leavingServers = try reader.string()
        newMembers = try reader.string()
        currentConfigID = try reader.int64()
    }
}

/// The header between the parts of a multi (docs/protocol/client-protocol.md section 9).
package struct MultiHeader: Sendable {
    package var type: Int32
    package var isDone: Bool
    package var error: Int32

    package init(from reader: inout JuteReader) throws(JuteError) {
        type = try reader.int32()
        isDone = try reader.bool()
        error = try reader.int32()
    }

    @inlinable
    package static func write(type: Int32, isDone: Bool = false, error: Int32 = 0, to writer: inout JuteWriter) {
        writer.int32(type)
        writer.bool(isDone)
        writer.int32(error)
    }

    /// Ends a list of parts.
    @inlinable
    package static func writeEnd(to writer: inout JuteWriter) {
        write(type: -1, isDone: true, error: -1, to: &writer)
    }
}
