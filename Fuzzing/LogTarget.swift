import AviaryStorage
import ZooKeeperProtocol

/// One or two transaction logs behind a fresh snapshot.
///
/// Input: a byte of options, two bytes that say where the second log begins, then the log. Checksums stop a fuzzer at
/// the first record, so by option they are made right, and zxids consecutive; everything else stays the input's.
enum LogTarget {
    private static let headerSize = 16

    static func run(_ bytes: UnsafeRawBufferPointer) {
        var input = FuzzInput(bytes)
        let flags = input.byte()
        let cut = input.length()
        var first = [UInt8](input.remainder())
        var second: [UInt8]?
        if flags & 8 != 0, cut > headerSize, cut < first.count {
            second = Array(first[..<headerSize]) + first[cut...]
            first.removeLast(first.count - cut)
        }
        let renumbers = flags & 2 != 0
        var next = Int64(1)
        if flags & 1 != 0 {
            mend(&first, renumbers, &next)
            if second != nil { mend(&second!, renumbers, &next) }
        }
        let disk = MemoryDisk()
        let start = renumbers ? 1 : zxid(in: first) ?? 1
        if flags & 16 == 0 { disk.put(FileNames.snapshot(Zxid(start > 1 ? start - 1 : 0)), FreshSnapshot.bytes) }
        disk.put(FileNames.log(Zxid(start)), first)
        if let second { disk.put(FileNames.log(Zxid(zxid(in: second) ?? next)), second) }
        DatabaseLoad(disk: disk, extendedTypes: flags & 4 != 0, trustsMissingSnapshot: flags & 32 != 0).run()
    }

    /// Of the first record.
    private static func zxid(in log: [UInt8]) -> Int64? {
        let offset = headerSize + 12 + 12
        guard log.count >= offset + 8 else { return nil }
        let value = Patch.int64(log, offset)
        return value > 0 ? value : nil
    }

    /// Makes checksums right, record by record, as far as lengths make sense.
    private static func mend(_ log: inout [UInt8], _ renumbers: Bool, _ next: inout Int64) {
        guard log.count >= headerSize else { return }
        Patch.put(UInt32(0x5a4b_4c47), into: &log, at: 0)
        var offset = headerSize
        while offset + 12 <= log.count {
            let length = Int(Int32(truncatingIfNeeded: Patch.int64(log, offset + 4)))
            guard length >= 32, offset + 13 + length <= log.count else { return }
            if renumbers { Patch.put(next, into: &log, at: offset + 12 + 12) }
            next += 1
            let checksum = log.withUnsafeBytes {
                Adler32.update(
                    Adler32.initial,
                    UnsafeRawBufferPointer(rebasing: $0[offset + 12..<offset + 12 + length])
                )
            }
            Patch.put(Int64(checksum), into: &log, at: offset)
            log[offset + 12 + length] = UInt8(ascii: "B")
            offset += 13 + length
        }
    }
}

/// Numbers in bytes, the high byte first.
enum Patch {
    static func put(_ value: some FixedWidthInteger, into bytes: inout [UInt8], at offset: Int) {
        withUnsafeBytes(of: value.bigEndian) { bytes.replaceSubrange(offset..<offset + $0.count, with: $0) }
    }

    static func int64(_ bytes: [UInt8], _ offset: Int) -> Int64 {
        bytes.withUnsafeBytes { Int64(bigEndian: $0.loadUnaligned(fromByteOffset: offset, as: Int64.self)) }
    }
}
