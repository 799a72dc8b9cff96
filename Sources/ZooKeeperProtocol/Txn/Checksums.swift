internal import CInstructions

/// CRC-32 (IEEE, reflected 0xEDB88320), as `java.util.zip.CRC32` computes it: by carry-less multiplication where the
/// processor has that, else by tables, sixteen bytes a step.
///
/// The value between calls is the finished CRC, so `update` continues from what an earlier call returned:
/// the node digest keeps the CRC of path and data and only adds the 60 bytes of the stat when those change.
package enum CRC32 {
    package static func update(_ crc: UInt32, _ bytes: UnsafeRawBufferPointer) -> UInt32 {
        guard let base = bytes.baseAddress, bytes.count >= 64, canFold else { return updateByTable(crc, bytes) }
        let count = bytes.count & ~15
        let folded = ~aviary_crc32_fold(~crc, base, count)
        return count == bytes.count ? folded : updateByTable(folded, UnsafeRawBufferPointer(rebasing: bytes[count...]))
    }

    private static let canFold = aviary_crc32_can_fold()

    /// The CRC continued over the fifteen last of sixteen words; the first is zero.
    ///
    /// Zeros in front change nothing while the register is zero, so sixty bytes become one block to fold when what was
    /// in the register is added to the first four of them.
    static func update(_ crc: UInt32, behindZero words: InlineArray<16, UInt32>) -> UInt32 {
        guard canFold else {
            return withUnsafeBytes(of: words) { updateByTable(crc, UnsafeRawBufferPointer(rebasing: $0[4...])) }
        }
        var words = words
        words[1] ^= (~crc).littleEndian
        return withUnsafeBytes(of: words) { ~aviary_crc32_fold(0, $0.baseAddress, 64) }
    }

    /// The same on every processor.
    package static func updateByTable(_ crc: UInt32, _ bytes: UnsafeRawBufferPointer) -> UInt32 {
        guard let base = bytes.baseAddress else { return crc }
        return table.withUnsafePointer { table in
            var state = ~crc
            var offset = 0
            while offset + 16 <= bytes.count {
                let a = UInt32(littleEndian: base.loadUnaligned(fromByteOffset: offset, as: UInt32.self)) ^ state
                let b = UInt32(littleEndian: base.loadUnaligned(fromByteOffset: offset + 4, as: UInt32.self))
                let c = UInt32(littleEndian: base.loadUnaligned(fromByteOffset: offset + 8, as: UInt32.self))
                let d = UInt32(littleEndian: base.loadUnaligned(fromByteOffset: offset + 12, as: UInt32.self))
                state = word(table, 12, a) ^ word(table, 8, b) ^ word(table, 4, c) ^ word(table, 0, d)
                offset += 16
            }
            // The 60 bytes of a stat end here, and byte by byte they would take as long as the 48 before them.
            if offset + 8 <= bytes.count {
                let a = UInt32(littleEndian: base.loadUnaligned(fromByteOffset: offset, as: UInt32.self)) ^ state
                let b = UInt32(littleEndian: base.loadUnaligned(fromByteOffset: offset + 4, as: UInt32.self))
                state = word(table, 4, a) ^ word(table, 0, b)
                offset += 8
            }
            if offset + 4 <= bytes.count {
                let a = UInt32(littleEndian: base.loadUnaligned(fromByteOffset: offset, as: UInt32.self)) ^ state
                state = word(table, 0, a)
                offset += 4
            }
            while offset < bytes.count {
                let byte = base.load(fromByteOffset: offset, as: UInt8.self)
                state = (state >> 8) ^ table[Int((state ^ UInt32(byte)) & 0xff)]
                offset += 1
            }
            return ~state
        }
    }

    /// The contribution of four bytes that have `distance` bytes behind them in the block of sixteen.
    @inline(__always)
    private static func word(_ table: UnsafePointer<UInt32>, _ distance: Int, _ value: UInt32) -> UInt32 {
        table[(distance + 3) * 256 + Int(value & 0xff)]
            ^ table[(distance + 2) * 256 + Int((value >> 8) & 0xff)]
            ^ table[(distance + 1) * 256 + Int((value >> 16) & 0xff)]
            ^ table[distance * 256 + Int(value >> 24)]
    }

    private static let table = LookupTable()

    /// The sixteen tables in memory that is made once and never changes or goes away, hence safe to share.
    struct LookupTable: @unchecked Sendable {
        private let base: UnsafeMutablePointer<UInt32>

        init() {
            base = .allocate(capacity: 16 * 256)
            for index in 0..<256 {
                var value = UInt32(index)
                for _ in 0..<8 { value = value & 1 == 1 ? (value >> 1) ^ 0xEDB8_8320 : value >> 1 }
                base[index] = value
            }
            for slice in 1..<16 {
                for index in 0..<256 {
                    let previous = base[(slice - 1) * 256 + index]
                    base[slice * 256 + index] = (previous >> 8) ^ base[Int(previous & 0xff)]
                }
            }
        }

        func withUnsafePointer<R>(_ body: (UnsafePointer<UInt32>) -> R) -> R {
            body(UnsafePointer(base))
        }
    }
}

/// Adler-32 as `java.util.zip.Adler32` computes it. The value between calls is the checksum so far; start with 1.
package enum Adler32 {
    package static let initial: UInt32 = 1

    package static func update(_ adler: UInt32, _ bytes: UnsafeRawBufferPointer) -> UInt32 {
        guard let base = bytes.baseAddress, bytes.count >= 32, canBlock else { return updatePortably(adler, bytes) }
        let count = bytes.count & ~31
        let blocks = aviary_adler32_blocks(adler, base, count)
        guard count < bytes.count else { return blocks }
        return updatePortably(blocks, UnsafeRawBufferPointer(rebasing: bytes[count...]))
    }

    private static let canBlock = aviary_adler32_can_block()

    /// The same on every processor.
    package static func updatePortably(_ adler: UInt32, _ bytes: UnsafeRawBufferPointer) -> UInt32 {
        guard let base = bytes.baseAddress else { return adler }
        var low = adler & 0xffff
        var high = adler >> 16
        var offset = 0
        while offset < bytes.count {
            // 5552 is the most bytes for which the sums stay below 2³²; a multiple of sixteen of them.
            let blockEnd = min(bytes.count, offset + 5552)
            while offset + 16 <= blockEnd {
                let block = base.loadUnaligned(fromByteOffset: offset, as: SIMD16<UInt8>.self)
                let wide = SIMD16<UInt16>(truncatingIfNeeded: block)
                high &+= 16 &* low &+ UInt32((wide &* weights).wrappedSum())
                low &+= UInt32(wide.wrappedSum())
                offset += 16
            }
            while offset < blockEnd {
                low &+= UInt32(base.load(fromByteOffset: offset, as: UInt8.self))
                high &+= low
                offset += 1
            }
            low %= 65521
            high %= 65521
        }
        return high << 16 | low
    }

    private static let weights = SIMD16<UInt16>(16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1)
}
