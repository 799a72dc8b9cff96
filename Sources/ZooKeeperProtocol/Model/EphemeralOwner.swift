/// What the stored owner value says a znode is (docs/protocol/client-protocol.md section 7.3).
@frozen
package enum NodeKind: Hashable, Sendable {
    case persistent
    case ephemeral(SessionID)
    case container
    /// Removed once childless and unchanged for this many milliseconds.
    case ttl(milliseconds: Int64)

    package static let containerOwner = Int64.min
    package static let maxTTLMilliseconds: Int64 = 0xff_ffff_ffff

    /// - Parameters:
    ///   - owner: the stored value.
    ///   - extendedTypes: whether TTL nodes are enabled; without them a TTL's value reads as a session.
    ///   - emulate353: whether other negative values are TTL nodes written by 3.5.3.
    @inlinable
    package init(owner: Int64, extendedTypes: Bool, emulate353: Bool = false) {
        if owner == 0 {
            self = .persistent
        } else if owner == NodeKind.containerOwner {
            self = .container
        } else if extendedTypes, owner >> 56 == -1, (owner >> 40) & 0xffff == 0 {
            self = .ttl(milliseconds: owner & NodeKind.maxTTLMilliseconds)
        } else if extendedTypes, emulate353, owner < 0 {
            self = .ttl(milliseconds: owner & Int64.max)
        } else {
            self = .ephemeral(SessionID(owner))
        }
    }

    /// The value to store.
    @inlinable
    package var owner: Int64 {
        switch self {
        case .persistent: 0
        case .ephemeral(let session): session.rawValue
        case .container: NodeKind.containerOwner
        case .ttl(let milliseconds): (0xff << 56) | milliseconds
        }
    }
}
