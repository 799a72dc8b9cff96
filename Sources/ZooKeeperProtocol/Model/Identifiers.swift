/// A transaction id: epoch in the upper 32 bits, counter in the lower (docs/protocol/quorum-protocol.md section 1).
@frozen
package struct Zxid: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let rawValue: Int64

    @inlinable
    package init(_ rawValue: Int64) { self.rawValue = rawValue }

    package static let zero = Zxid(0)

    @inlinable
    package var epoch: Int64 { rawValue >> 32 }

    @inlinable
    package var counter: Int64 { rawValue & 0xffff_ffff }

    @inlinable
    package var next: Zxid { Zxid(rawValue &+ 1) }

    @inlinable
    package static func < (left: Zxid, right: Zxid) -> Bool { left.rawValue < right.rawValue }

    package var description: String { "0x" + hex }

    /// As in file names: lower case, no prefix, no leading zeros.
    package var hex: String { String(UInt64(bitPattern: rawValue), radix: 16) }
}

/// A session's id; its high byte is the id of the server that made it.
@frozen
package struct SessionID: Hashable, Sendable, CustomStringConvertible {
    package let rawValue: Int64

    @inlinable
    package init(_ rawValue: Int64) { self.rawValue = rawValue }

    /// No session: what the server itself does, and a client that has none yet.
    package static let none = SessionID(0)

    package var description: String { "0x" + String(UInt64(bitPattern: rawValue), radix: 16) }
}
