/// A znode's share of the tree digest (docs/protocol/quorum-protocol.md section 17.3).
///
/// CRC-32 over path, data and the persisted stat. The first two rarely change together with the third (a parent's stat
/// changes with every child), so the CRC of path and data is kept apart as the *prefix*.
package enum NodeDigest {
    package static func prefix(path: UnsafeRawBufferPointer, data: UnsafeRawBufferPointer?) -> UInt32 {
        // The root is "" here, whatever it is called elsewhere.
        let pathCRC = path.count <= 1 ? 0 : CRC32.update(0, path)
        guard let data else { return pathCRC }
        return CRC32.update(pathCRC, data)
    }

    package static func value(prefix: UInt32, stat: StatPersisted) -> UInt32 {
        // The digest's own order of fields, not that of the stat record.
        let words: InlineArray<16, UInt32> = [
            0,
            high(stat.czxid.rawValue), low(stat.czxid.rawValue),
            high(stat.mzxid.rawValue), low(stat.mzxid.rawValue),
            high(stat.pzxid.rawValue), low(stat.pzxid.rawValue),
            high(stat.ctime), low(stat.ctime),
            high(stat.mtime), low(stat.mtime),
            UInt32(bitPattern: stat.version).bigEndian,
            UInt32(bitPattern: stat.cversion).bigEndian,
            UInt32(bitPattern: stat.aversion).bigEndian,
            high(stat.ephemeralOwner), low(stat.ephemeralOwner),
        ]
        return CRC32.update(prefix, behindZero: words)
    }

    @inline(__always)
    private static func high(_ value: Int64) -> UInt32 { UInt32(truncatingIfNeeded: value >> 32).bigEndian }

    @inline(__always)
    private static func low(_ value: Int64) -> UInt32 { UInt32(truncatingIfNeeded: value).bigEndian }

    /// Nodes below /zookeeper differ between servers and count nothing; /zookeeper itself counts.
    @inlinable @inline(__always)
    package static func counts(path: UnsafeRawBufferPointer) -> Bool {
        guard path.count >= 11 else { return true }
        // "/zookeep" first: it decides about nearly every path.
        let start = UInt64(bigEndian: path.loadUnaligned(as: UInt64.self))
        guard start == 0x2f7a_6f6f_6b65_6570 else { return true }
        return !(path[8] == UInt8(ascii: "e") && path[9] == UInt8(ascii: "r") && path[10] == UInt8(ascii: "/"))
    }
}
