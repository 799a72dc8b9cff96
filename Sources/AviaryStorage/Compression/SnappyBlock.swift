internal import ZooKeeperProtocol

/// Raw Snappy blocks: a length, then literals and copies of what came before.
///
/// - Source: `format_description.txt` of google/snappy.
package enum SnappyBlock {
    /// The most bytes that `count` bytes can become.
    static func maxCompressedSize(_ count: Int) -> Int { 32 + count + count / 6 }

    private static let hashBits: UInt32 = 14

    /// Appends `input` to `output`, packed. `table` is scratch space of `tableSize` entries, kept between calls.
    ///
    /// - Parameter input: at most 64 KiB, so that positions fit the table.
    static func compress(
        _ input: UnsafeRawBufferPointer,
        table: UnsafeMutableBufferPointer<UInt16>,
        into output: inout JuteWriter
    ) {
        invariant(input.count <= 1 << 16, "snappy block of \(input.count) bytes")
        writeLength(input.count, to: &output)
        guard let base = input.baseAddress, input.count > 0 else { return }
        output.reserve(maxCompressedSize(input.count))
        table.update(repeating: 0)
        let end = input.count
        // No match is looked for so near the end that reading eight bytes would pass it.
        let matchLimit = end - 15
        var literalStart = 0
        var position = 1
        var misses = 32
        while position < matchLimit {
            let word = base.loadUnaligned(fromByteOffset: position, as: UInt32.self)
            let slot = Int((word &* 0x1e35_a7bd) >> (32 - hashBits))
            let candidate = Int(table[slot])
            table[slot] = UInt16(truncatingIfNeeded: position)
            guard candidate < position, base.loadUnaligned(fromByteOffset: candidate, as: UInt32.self) == word else {
                // The longer nothing repeats, the wider the steps.
                position += misses >> 5
                misses += 1
                continue
            }
            misses = 32
            var length = 4
            while position + length < end,
                base.load(fromByteOffset: candidate + length, as: UInt8.self)
                    == base.load(fromByteOffset: position + length, as: UInt8.self)
            {
                length += 1
            }
            writeLiteral(UnsafeRawBufferPointer(rebasing: input[literalStart..<position]), to: &output)
            writeCopy(distance: position - candidate, length: length, to: &output)
            position += length
            literalStart = position
        }
        writeLiteral(UnsafeRawBufferPointer(rebasing: input[literalStart..<end]), to: &output)
    }

    static let tableSize = 1 << Int(hashBits)

    private static func writeLength(_ count: Int, to output: inout JuteWriter) {
        var rest = count
        while rest >= 0x80 {
            output.byte(UInt8(rest & 0x7f) | 0x80)
            rest >>= 7
        }
        output.byte(UInt8(rest))
    }

    private static func writeLiteral(_ bytes: UnsafeRawBufferPointer, to output: inout JuteWriter) {
        guard bytes.count > 0 else { return }
        let value = bytes.count - 1
        if value < 60 {
            output.byte(UInt8(value << 2))
        } else if value < 1 << 8 {
            output.byte(60 << 2)
            output.byte(UInt8(value))
        } else {
            output.byte(61 << 2)
            output.byte(UInt8(value & 0xff))
            output.byte(UInt8(value >> 8))
        }
        output.raw(bytes)
    }

    private static func writeCopy(distance: Int, length: Int, to output: inout JuteWriter) {
        var rest = length
        while rest > 0 {
            // A rest of less than four could not be written as a short copy.
            let count = rest > 64 ? (rest < 68 ? 60 : 64) : rest
            if count >= 4, count <= 11, distance < 2048 {
                output.byte(UInt8(1 | (count - 4) << 2 | (distance >> 8) << 5))
                output.byte(UInt8(distance & 0xff))
            } else {
                output.byte(UInt8(2 | (count - 1) << 2))
                output.byte(UInt8(distance & 0xff))
                output.byte(UInt8(distance >> 8))
            }
            rest -= count
        }
    }

    /// The length that a block claims for its contents, and the bytes that say so; nil when they make no sense.
    static func length(of block: UnsafeRawBufferPointer) -> (count: Int, prefix: Int)? {
        var count = 0
        for index in 0..<min(block.count, 5) {
            count |= Int(block[index] & 0x7f) << (7 * index)
            if block[index] & 0x80 == 0 { return count <= Int(UInt32.max) ? (count, index + 1) : nil }
        }
        return nil
    }

    /// Unpacks `block` into all of `output`, which has the length that the block claims.
    ///
    /// - Throws: when the block holds anything else than exactly that many bytes.
    static func decompress(
        _ block: UnsafeRawBufferPointer,
        into output: UnsafeMutableRawBufferPointer
    ) throws(StreamCodecError) {
        guard let (count, prefix) = length(of: block), count == output.count else {
            throw StreamCodecError("the length of a snappy block is wrong")
        }
        var input = Cursor(block, at: prefix)
        var written = 0
        while !input.isAtEnd {
            let tag = try input.byte()
            if tag & 3 == 0 {
                var length = Int(tag >> 2)
                if length >= 60 { length = try input.number(bytes: length - 59) }
                let literal = try input.bytes(length + 1)
                guard written + literal.count <= count else { throw SnappyBlock.tooLong }
                UnsafeMutableRawBufferPointer(rebasing: output[written..<written + literal.count])
                    .copyMemory(from: literal)
                written += literal.count
                continue
            }
            let length: Int
            let distance: Int
            switch tag & 3 {
            case 1:
                length = Int(tag >> 2 & 7) + 4
                distance = Int(tag >> 5) << 8 | (try input.number(bytes: 1))
            case 2:
                length = Int(tag >> 2) + 1
                distance = try input.number(bytes: 2)
            default:
                length = Int(tag >> 2) + 1
                distance = try input.number(bytes: 4)
            }
            guard distance > 0, distance <= written else {
                throw StreamCodecError("a snappy block copies from outside of itself")
            }
            guard written + length <= count else { throw SnappyBlock.tooLong }
            // Source and destination may overlap: that is how a run is packed.
            for index in written..<written + length { output[index] = output[index - distance] }
            written += length
        }
        guard written == count else { throw StreamCodecError("a snappy block ends early") }
    }

    private static let tooLong = StreamCodecError("a snappy block is longer than it claims")

    private struct Cursor {
        private let input: UnsafeRawBufferPointer
        private var position: Int

        init(_ input: UnsafeRawBufferPointer, at position: Int) {
            self.input = input
            self.position = position
        }

        var isAtEnd: Bool { position == input.count }

        mutating func byte() throws(StreamCodecError) -> UInt8 { UInt8(try number(bytes: 1)) }

        /// Little-endian, of at most four bytes.
        mutating func number(bytes count: Int) throws(StreamCodecError) -> Int {
            var value = 0
            for (index, byte) in try bytes(count).enumerated() { value |= Int(byte) << (8 * index) }
            return value
        }

        mutating func bytes(_ count: Int) throws(StreamCodecError) -> UnsafeRawBufferPointer {
            guard count <= input.count - position else { throw StreamCodecError("a snappy block ends early") }
            defer { position += count }
            return UnsafeRawBufferPointer(rebasing: input[position..<position + count])
        }
    }
}
