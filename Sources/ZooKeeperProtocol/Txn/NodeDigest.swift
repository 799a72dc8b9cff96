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
        let fields: InlineArray<8, UInt64> = [
            UInt64(bitPattern: stat.czxid.rawValue).bigEndian,
            UInt64(bitPattern: stat.mzxid.rawValue).bigEndian,
            UInt64(bitPattern: stat.pzxid.rawValue).bigEndian,
            UInt64(bitPattern: stat.ctime).bigEndian,
            UInt64(bitPattern: stat.mtime).bigEndian,
            (UInt64(UInt32(bitPattern: stat.version)) << 32 | UInt64(UInt32(bitPattern: stat.cversion))).bigEndian,
            (UInt64(UInt32(bitPattern: stat.aversion)) << 32
                | UInt64(UInt32(truncatingIfNeeded: stat.ephemeralOwner >> 32))).bigEndian,
            (UInt64(UInt32(truncatingIfNeeded: stat.ephemeralOwner)) << 32).bigEndian,
        ]
        return withUnsafeBytes(of: fields) { bytes in
            CRC32.update(prefix, UnsafeRawBufferPointer(rebasing: bytes[..<StatPersisted.encodedSize]))
        }
    }

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
