import ZooKeeperProtocol

/// Who a connection is. Never changes: addauth makes another one. All connections from one address that said nothing
/// else share theirs.
final class Identities: Sendable {
    /// In the order in which they were added, the address first.
    let list: [Identity]
    let isSuper: Bool
    /// Where the connection comes from; nil when that is no address.
    let address: Address?
    /// What addauth added. Only asked whether something is in it.
    private let added: Set<Identity>
    private let addedBytes: Int

    init(address: String) {
        list = [Identity(scheme: "ip", id: address)]
        isSuper = false
        self.address = Address(address)
        added = []
        addedBytes = 0
    }

    /// As another server knows a connection.
    init(forwarded list: [Identity]) {
        self.list = list
        isSuper = list.contains { $0.scheme == "super" }
        address = list.first { $0.scheme == "ip" }.flatMap { Address($0.id) }
        added = Set(list.filter { $0.scheme != "ip" })
        addedBytes = 0
    }

    private init(_ known: Identities, adding identity: Identity) {
        list = known.list + [identity]
        isSuper = known.isSuper || identity.scheme == "super"
        address = known.address
        added = known.added.union([identity])
        addedBytes = known.addedBytes + identity.id.utf8.count
    }

    /// More than a client has any use for. The scheme `auth` makes an ACL entry of each.
    static let maxCount = 256
    static let maxBytes = 64 << 10

    /// These and one more; nil when there is no room for it.
    func adding(_ identity: Identity) -> Identities? {
        if added.contains(identity) { return self }
        guard list.count < Identities.maxCount, addedBytes + identity.id.utf8.count <= Identities.maxBytes else {
            return nil
        }
        return Identities(self, adding: identity)
    }

    /// Whether an ACL entry means one of these. It costs the same however many there are.
    func match(_ expression: Identity) -> Bool {
        if expression == .anyone { return true }
        if expression.scheme == "ip" {
            guard let address, let pattern = AddressPattern(expression.id) else { return false }
            return pattern.matches(address)
        }
        return !added.isEmpty && added.contains(expression)
    }
}

/// Whether somebody may do something (docs/protocol/client-protocol.md section 11.1).
enum AccessCheck {
    static func allows(_ list: [ACL], _ permissions: Int32, _ identities: Identities) -> Bool {
        if list.isEmpty || identities.isSuper { return true }
        return list.contains { $0.permissions & permissions != 0 && identities.match($0.identity) }
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
        _ requested: [RequestedACLs.Entry],
        for identities: Identities
    ) throws(ErrorCode) -> [ACL] {
        guard !requested.isEmpty, requested.count <= maxEntries else { throw .invalidACL }
        var seen: Set<ACL> = []
        var resolved: [ACL] = []
        func keep(_ acl: ACL) throws(ErrorCode) {
            guard seen.insert(acl).inserted else { return }
            resolved.append(acl)
            // The scheme auth may turn one entry into many.
            guard resolved.count <= maxEntries else { throw .invalidACL }
        }
        for entry in requested {
            guard let scheme = entry.scheme else { throw .invalidACL }
            switch scheme {
            case "world":
                guard let id = entry.id else { throw .marshallingError }
                guard id == "anyone" else { throw .invalidACL }
                try keep(ACL(entry.permissions, scheme, id))
            case "auth":
                var found = false
                for identity in identities.list where identity.scheme == "digest" {
                    try keep(ACL(permissions: entry.permissions, identity: identity))
                    found = true
                }
                guard found else { throw .invalidACL }
            case "digest":
                guard let id = entry.id else { throw .marshallingError }
                guard isDigestID(id) else { throw .invalidACL }
                try keep(ACL(entry.permissions, scheme, id))
            case "ip":
                guard let id = entry.id else { throw .marshallingError }
                guard AddressPattern(id) != nil else { throw .invalidACL }
                try keep(ACL(entry.permissions, scheme, id))
            default:
                throw .invalidACL
            }
        }
        return resolved
    }

    /// Exactly two parts around one ':', of which the first may be empty.
    private static func isDigestID(_ id: String) -> Bool {
        let parts = id.utf8.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
        return parts.count == 2 && !parts[1].isEmpty
    }
}
