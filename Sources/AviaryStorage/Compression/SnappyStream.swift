package import ZooKeeperProtocol

/// The framing of snappy-java's output stream, which `.snappy` snapshots have (docs/protocol/disk-format.md
/// section 4.2): a header of sixteen bytes, then blocks, each with its packed length in front.
package struct SnappyCodec: StreamCodec {
    /// What a block holds unpacked when we write it.
    static let blockBytes = 32 << 10
    /// The largest block that is read; a length above is damage, not a reason to reserve memory.
    static let maxBlockBytes = 16 << 20

    static let header: [UInt8] = [0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1]
    static let magicBytes = 8
    /// The start of the magic, read as a length: another header, in streams that were put together.
    static let headerAsLength = Int32(bitPattern: 0x8253_4e41)

    package init() {}

    package func makeCompressor() -> SnappyCompressor { SnappyCompressor() }
    package func makeDecompressor() -> SnappyDecompressor { SnappyDecompressor() }
}

package final class SnappyCompressor: StreamCompressor {
    private var block = JuteWriter(capacity: SnappyCodec.blockBytes)
    private let table = UnsafeMutableBufferPointer<UInt16>.allocate(capacity: SnappyBlock.tableSize)
    private var hasHeader = false

    deinit { table.deallocate() }

    package func compress(_ input: UnsafeRawBufferPointer, into output: inout JuteWriter) {
        writeHeader(to: &output)
        var rest = input
        while rest.count > 0 {
            let count = min(rest.count, SnappyCodec.blockBytes - block.count)
            block.raw(UnsafeRawBufferPointer(rebasing: rest[..<count]))
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
            if block.count == SnappyCodec.blockBytes { writeBlock(to: &output) }
        }
    }

    package func finish(into output: inout JuteWriter) {
        writeHeader(to: &output)
        if block.count > 0 { writeBlock(to: &output) }
    }

    private func writeHeader(to output: inout JuteWriter) {
        guard !hasHeader else { return }
        hasHeader = true
        SnappyCodec.header.withUnsafeBytes { output.raw($0) }
    }

    private func writeBlock(to output: inout JuteWriter) {
        let start = output.count
        output.int32(0)
        block.withBytes { SnappyBlock.compress($0, table: table, into: &output) }
        output.patch(Int32(output.count - start - 4), at: start)
        block.removeAll()
    }
}

package final class SnappyDecompressor: StreamDecompressor {
    /// What of the header, of a length or of a block has come so far.
    private var collected: [UInt8] = []
    private var wanted = Wanted.header
    /// A block, unpacked, and how much of it was given out.
    private var block: [UInt8] = []
    private var given = 0

    private enum Wanted {
        case header, restOfHeader, length
        case block(Int)

        var count: Int {
            switch self {
            case .header: SnappyCodec.header.count
            case .restOfHeader: SnappyCodec.header.count - 4
            case .length: 4
            case .block(let count): count
            }
        }
    }

    package var isComplete: Bool {
        guard case .length = wanted else { return false }
        return collected.isEmpty && given == block.count
    }

    package func decompress(
        _ input: UnsafeRawBufferPointer,
        into output: UnsafeMutableRawBufferPointer
    ) throws(StreamCodecError) -> DecompressionStep {
        var consumed = 0
        while given == block.count {
            let missing = wanted.count - collected.count
            let count = min(missing, input.count - consumed)
            collected.append(contentsOf: input[consumed..<consumed + count])
            consumed += count
            guard count == missing else { return DecompressionStep(consumed: consumed, produced: 0) }
            try take()
        }
        let produced = min(output.count, block.count - given)
        block.withUnsafeBytes { bytes in
            UnsafeMutableRawBufferPointer(rebasing: output[..<produced])
                .copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[given..<given + produced]))
        }
        given += produced
        return DecompressionStep(consumed: consumed, produced: produced)
    }

    /// What was wanted is complete.
    private func take() throws(StreamCodecError) {
        switch wanted {
        case .header:
            guard collected[..<SnappyCodec.magicBytes] == SnappyCodec.header[..<SnappyCodec.magicBytes] else {
                throw StreamCodecError("this is not a snappy stream")
            }
            wanted = .length
        case .restOfHeader:
            guard collected[..<4] == SnappyCodec.header[4..<SnappyCodec.magicBytes] else {
                throw StreamCodecError("the length of a snappy block is wrong")
            }
            wanted = .length
        case .length:
            let length = collected.withUnsafeBytes { Int32(bigEndian: $0.loadUnaligned(as: Int32.self)) }
            if length == SnappyCodec.headerAsLength {
                wanted = .restOfHeader
            } else {
                guard length > 0, Int(length) <= SnappyBlock.maxCompressedSize(SnappyCodec.maxBlockBytes) else {
                    throw StreamCodecError("the length of a snappy block is wrong")
                }
                wanted = .block(Int(length))
            }
        case .block:
            try unpack()
            wanted = .length
        }
        collected.removeAll(keepingCapacity: true)
    }

    private func unpack() throws(StreamCodecError) {
        let length = collected.withUnsafeBytes { SnappyBlock.length(of: $0)?.count }
        guard let length, length <= SnappyCodec.maxBlockBytes else {
            throw StreamCodecError("the length of a snappy block is wrong")
        }
        if block.count != length { block = [UInt8](repeating: 0, count: length) }
        given = 0
        try collected.withUnsafeBufferPointer { (packed) throws(StreamCodecError) in
            try block.withUnsafeMutableBufferPointer { (unpacked) throws(StreamCodecError) in
                try SnappyBlock.decompress(
                    UnsafeRawBufferPointer(packed),
                    into: UnsafeMutableRawBufferPointer(unpacked)
                )
            }
        }
    }
}
