internal import ZooKeeperProtocol

/// The constants of a transaction log (docs/protocol/disk-format.md sections 2 and 3).
enum TxnLogFormat {
    static let magic: Int32 = 0x5a4b_4c47
    static let version: Int32 = 2
    static let headerSize: Int64 = 16
    /// As much of a file reaches the disk as a whole or not at all.
    static let sectorSize: Int64 = 512
    /// Checksum and length, in front of the payload.
    static let recordPrefixSize = 12
    /// Everything of a record but its payload.
    static let recordOverhead = 13
    static let endOfRecord = UInt8(ascii: "B")
    /// A transaction's header; no payload is shorter.
    static let minimumPayload = 32
}

/// How far a log is known to be synced: our use of the twelve bytes of the header that no reader looks at.
///
/// Written together with each group, it tells what the *previous* sync had made stable when this group was on its way.
/// After a power failure this separates two cases that look alike, a bad record with good ones behind it:
/// - before `synced`, a sync had returned: the record was acknowledged and is damaged now;
/// - from `groupEnd` on, no sync can have returned, or the header would say more: nothing there was acknowledged, and the
///   tail may be cut;
/// - in between is the group whose sync may have returned or not; a good record at or behind `groupEnd` proves that it
///   had, since the next group is written only then.
///
/// Layout: 24 bits of checksum, 40 bits `synced`, 32 bits from there to `groupEnd`. The checksum is never 0, and Apache
/// writes 0 there (version 2 and dbid 0), so its headers hold no mark.
package struct DurableMark: Hashable, Sendable {
    static let offsetInHeader: Int64 = 4
    static let size = 12

    /// Everything in front of this offset is stable.
    package var synced: Int64
    /// Where the group ends that was written next.
    package var groupEnd: Int64

    /// Up to here the records were stable for certain: a log gets its name only when its first group is.
    var stableEnd: Int64 { synced == 0 ? groupEnd : synced }

    /// The twelve bytes; those that Apache writes where the offsets do not fit (a file of more than a terabyte).
    func write(to writer: inout JuteWriter) {
        guard synced >= 0, synced < 1 << 40, groupEnd >= synced, groupEnd - synced < 1 << 32 else {
            return DurableMark.writeNone(to: &writer)
        }
        let high = UInt64(DurableMark.checksum(synced, groupEnd)) << 40 | UInt64(synced)
        writer.int64(Int64(bitPattern: high))
        writer.int32(Int32(truncatingIfNeeded: groupEnd - synced))
    }

    /// Whether the twelve bytes are what stands there without a mark: the version and no dbid.
    static func isNone(_ bytes: UnsafeRawBufferPointer) -> Bool {
        Int32(bigEndian: bytes.loadUnaligned(as: Int32.self)) == TxnLogFormat.version
    }

    static func writeNone(to writer: inout JuteWriter) {
        writer.int32(TxnLogFormat.version)
        writer.int64(0)
    }

    /// The mark in the twelve bytes; nil when there is none or it does not check.
    init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count == DurableMark.size else { return nil }
        let high = UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self))
        let low = UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt32.self))
        synced = Int64(high & 0xff_ffff_ffff)
        groupEnd = synced + Int64(low)
        guard UInt32(high >> 40) == DurableMark.checksum(synced, groupEnd) else { return nil }
    }

    package init(synced: Int64, groupEnd: Int64) {
        self.synced = synced
        self.groupEnd = groupEnd
    }

    private static func checksum(_ synced: Int64, _ groupEnd: Int64) -> UInt32 {
        let fields = (synced.bigEndian, groupEnd.bigEndian)
        // Any start but 0 does: it keeps a header full of zeros from checking.
        let crc = withUnsafeBytes(of: fields) { CRC32.update(0x4176_6961, $0) } & 0xff_ffff
        return crc == 0 ? 1 : crc
    }
}
