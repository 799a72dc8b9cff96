import ZooKeeperProtocol

/// Who a connection is. Grows by addauth, never shrinks.
struct Identities: Sendable {
    /// In the order in which they were added, the address first.
    private(set) var list: [Identity]
    private(set) var isSuper = false

    init(address: String) {
        list = [Identity(scheme: "ip", id: address)]
    }

    /// More than a client has any use for; checks walk the list.
    static let maxCount = 256

    /// - Returns: false when there is no room for more.
    mutating func add(_ identity: Identity) -> Bool {
        if list.contains(identity) { return true }
        guard list.count < Identities.maxCount else { return false }
        list.append(identity)
        if identity.scheme == "super" { isSuper = true }
        return true
    }
}

/// Whether somebody may do something (docs/protocol/client-protocol.md section 11.1).
enum AccessCheck {
    static func allows(_ list: [ACL], _ permissions: Int32, _ identities: Identities) -> Bool {
        if list.isEmpty || identities.isSuper { return true }
        for entry in list where entry.permissions & permissions != 0 {
            if entry.identity == .anyone { return true }
            for identity in identities.list
            where identity.scheme == entry.identity.scheme && matches(identity, entry.identity) {
                return true
            }
        }
        return false
    }

    private static func matches(_ identity: Identity, _ expression: Identity) -> Bool {
        if identity.scheme == "ip" { return AddressPattern(expression.id)?.matches(identity.id) ?? false }
        return identity.id == expression.id
    }
}

/// Makes the list that is stored out of the one that was asked for (docs/protocol/client-protocol.md section 11.2).
enum ACLValidation {
    /// More entries than a list of any use has; every check walks them.
    static let maxEntries = 1000

    /// - Throws: `invalidACL`; `marshallingError` for a null id under a known scheme.
    static func resolve(_ requested: RequestedACLs, for identities: Identities) throws(ErrorCode) -> [ACL] {
        switch requested {
        case .open: return ACL.open
        case .list(let entries): return try resolve(entries, for: identities)
        case .null: throw .invalidACL
        }
    }

    private static func resolve(
        _ requested: [RequestedACLs.Entry], for identities: Identities
    ) throws(ErrorCode) -> [ACL] {
        guard !requested.isEmpty, requested.count <= maxEntries else { throw .invalidACL }
        var seen: Set<ACL> = []
        var resolved: [ACL] = []
        func keep(_ acl: ACL) {
            if seen.insert(acl).inserted { resolved.append(acl) }
        }
        for entry in requested {
            guard let scheme = entry.scheme else { throw .invalidACL }
            switch scheme {
            case "world":
                guard let id = entry.id else { throw .marshallingError }
                guard id == "anyone" else { throw .invalidACL }
                keep(ACL(entry.permissions, scheme, id))
            case "auth":
                var found = false
                for identity in identities.list where identity.scheme == "digest" {
                    keep(ACL(permissions: entry.permissions, identity: identity))
                    found = true
                }
                guard found else { throw .invalidACL }
            case "digest":
                guard let id = entry.id else { throw .marshallingError }
                guard isDigestID(id) else { throw .invalidACL }
                keep(ACL(entry.permissions, scheme, id))
            case "ip":
                guard let id = entry.id else { throw .marshallingError }
                guard AddressPattern(id) != nil else { throw .invalidACL }
                keep(ACL(entry.permissions, scheme, id))
            default:
                throw .invalidACL
            }
        }
        // The scheme auth may turn one entry into many.
        guard resolved.count <= maxEntries else { throw .invalidACL }
        return resolved
    }

    /// Exactly two parts around one ':', of which the first may be empty.
    private static func isDigestID(_ id: String) -> Bool {
        let parts = id.utf8.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
        return parts.count == 2 && !parts[1].isEmpty
    }
}
