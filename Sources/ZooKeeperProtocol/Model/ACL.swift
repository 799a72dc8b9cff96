/// What an ACL entry allows (docs/protocol/client-protocol.md section 11.1). Stored as given, also bits without meaning.
package enum Permissions {
    package static let read: Int32 = 1
    package static let write: Int32 = 2
    package static let create: Int32 = 4
    package static let delete: Int32 = 8
    package static let admin: Int32 = 16
    package static let all: Int32 = 31
}

/// Who somebody is: of an ACL entry or of a connection.
package struct Identity: Hashable, Sendable {
    package var scheme: String
    package var id: String

    package init(scheme: String, id: String) {
        self.scheme = scheme
        self.id = id
    }

    /// Byte for byte: to Swift, strings are also equal that only look alike, but clients get back what they stored.
    package static func == (left: Identity, right: Identity) -> Bool {
        left.id == right.id && left.scheme == right.scheme && left.id.utf8.elementsEqual(right.id.utf8)
            && left.scheme.utf8.elementsEqual(right.scheme.utf8)
    }

    package static let anyone = Identity(scheme: "world", id: "anyone")
}

/// One entry of an access control list.
package struct ACL: Hashable, Sendable {
    package var permissions: Int32
    package var identity: Identity

    package init(permissions: Int32, identity: Identity) {
        self.permissions = permissions
        self.identity = identity
    }

    package init(_ permissions: Int32, _ scheme: String, _ id: String) {
        self.init(permissions: permissions, identity: Identity(scheme: scheme, id: id))
    }

    /// Everybody may do everything: world:anyone with all permissions.
    package static let open = [ACL(permissions: Permissions.all, identity: .anyone)]

    /// Everybody may read.
    package static let readable = [ACL(permissions: Permissions.read, identity: .anyone)]

    package static func write(_ list: [ACL], to writer: inout JuteWriter) {
        // Nearly every list is this one, and comparing it with itself is comparing two pointers.
        if list == open { return openBytes.withUnsafeBytes { writer.raw($0) } }
        encode(list, to: &writer)
    }

    private static func encode(_ list: [ACL], to writer: inout JuteWriter) {
        writer.int32(Int32(truncatingIfNeeded: list.count))
        for entry in list {
            writer.int32(entry.permissions)
            writer.string(entry.identity.scheme)
            writer.string(entry.identity.id)
        }
    }

    /// `open` as it is written.
    static let openBytes: [UInt8] = {
        var writer = JuteWriter()
        encode(open, to: &writer)
        return writer.copy()
    }()

    /// How many bytes `write` writes.
    package static func encodedSize(_ list: [ACL]) -> Int {
        if list == open { return openBytes.count }
        return list.reduce(4) { $0 + 12 + $1.identity.scheme.utf8.count + $1.identity.id.utf8.count }
    }

    /// Reads a list as it is stored in logs and snapshots; a null list counts as empty.
    ///
    /// - Throws: `JuteError.unexpectedNull` for a null scheme or id.
    package static func list(from reader: inout JuteReader) throws(JuteError) -> [ACL] {
        guard let count = try reader.vectorCount() else { return [] }
        var list: [ACL] = []
        for _ in 0..<count {
            let permissions = try reader.int32()
            guard let scheme = try reader.string(), let id = try reader.string() else { throw .unexpectedNull }
            list.append(ACL(permissions, scheme, id))
        }
        return list
    }
}
