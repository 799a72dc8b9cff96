/// A transaction id: epoch in the upper 32 bits, counter in the lower (docs/protocol/quorum-protocol.md section 1).
@frozen
package struct Zxid: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let rawValue: Int64

    @inlinable
    package init(_ rawValue: Int64) { self.rawValue = rawValue }

    package static let zero = Zxid(0)

    @inlinable
    package var epoch: Epoch { Epoch(rawValue >> 32) }

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

/// The reign of one leader: the upper half of every zxid that it gives out (docs/protocol/quorum-protocol.md section 14).
///
/// On disk and in an ACKEPOCH it has 32 bits, in a notification 64, where a server that takes no part says `Int64.min`.
@frozen
package struct Epoch: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let rawValue: Int64

    @inlinable
    package init(_ rawValue: Int64) { self.rawValue = rawValue }

    package static let zero = Epoch(0)

    /// The last one: zxids are compared as signed numbers.
    package static let max = Epoch(0x7fff_ffff)

    @inlinable
    package var next: Epoch { Epoch(rawValue &+ 1) }

    /// The zxid of this epoch's NEWLEADER, which is never logged; the first transaction's is the next.
    @inlinable
    package var newLeaderZxid: Zxid { Zxid(rawValue << 32) }

    @inlinable
    package static func < (left: Epoch, right: Epoch) -> Bool { left.rawValue < right.rawValue }

    package var description: String { String(rawValue) }
}

/// How far a history reaches: the epoch that it belongs to, and its last transaction. Of two the later epoch is ahead,
/// then the longer history (docs/protocol/quorum-protocol.md section 5.3).
package struct HistoryEnd: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The `currentEpoch` of whoever has this history.
    package var epoch: Epoch
    package var zxid: Zxid

    package init(epoch: Epoch, zxid: Zxid) {
        self.epoch = epoch
        self.zxid = zxid
    }

    package static func < (left: HistoryEnd, right: HistoryEnd) -> Bool {
        (left.epoch, left.zxid) < (right.epoch, right.zxid)
    }

    package var description: String { "\(zxid) in epoch \(epoch)" }
}

/// The number of a server in its ensemble: the N of `server.N` and of `myid`.
@frozen
package struct ServerID: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let rawValue: Int64

    @inlinable
    package init(_ rawValue: Int64) { self.rawValue = rawValue }

    /// The leader that a server names which takes no part in the vote (docs/protocol/quorum-protocol.md section 5.1).
    package static let none = ServerID(.min)

    @inlinable
    package static func < (left: ServerID, right: ServerID) -> Bool { left.rawValue < right.rawValue }

    package var description: String { String(rawValue) }
}

/// A connection of the quorum port, opened by either side; never given twice in the life of a process.
@frozen
package struct LinkID: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let rawValue: UInt64

    @inlinable
    package init(_ rawValue: UInt64) { self.rawValue = rawValue }

    @inlinable
    package static func < (left: LinkID, right: LinkID) -> Bool { left.rawValue < right.rawValue }

    package var description: String { String(rawValue) }
}
