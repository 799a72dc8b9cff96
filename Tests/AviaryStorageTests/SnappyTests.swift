import AviarySimulation
import AviaryStorage
import Testing
import ZooKeeperProtocol

@Suite("Snappy")
struct SnappyTests {
    private func compress(_ bytes: [UInt8], pieces: Int = 10_000) -> [UInt8] {
        let packer = SnappyCodec().makeCompressor()
        var output = JuteWriter()
        var rest = bytes[...]
        while !rest.isEmpty {
            Array(rest.prefix(pieces)).withUnsafeBytes { packer.compress($0, into: &output) }
            rest = rest.dropFirst(pieces)
        }
        packer.finish(into: &output)
        return output.copy()
    }

    private func decompress(_ packed: [UInt8], input: Int = 1 << 20, output: Int = 1 << 20) throws -> [UInt8] {
        let unpacker = SnappyCodec().makeDecompressor()
        var found: [UInt8] = []
        var rest = packed[...]
        var buffer = [UInt8](repeating: 0, count: output)
        while true {
            let step = try Array(rest.prefix(input)).withUnsafeBytes { bytes in
                try buffer.withUnsafeMutableBytes { try unpacker.decompress(bytes, into: $0) }
            }
            found += buffer[..<step.produced]
            rest = rest.dropFirst(step.consumed)
            if step.consumed == 0, step.produced == 0 { break }
        }
        guard unpacker.isComplete, rest.isEmpty else { throw StreamCodecError("incomplete") }
        return found
    }

    /// A stream of one raw block.
    private func stream(_ block: [UInt8]) -> [UInt8] {
        var writer = JuteWriter()
        let header: [UInt8] = [0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1]
        header.withUnsafeBytes { writer.raw($0) }
        writer.buffer(block)
        return writer.copy()
    }

    private static func sample(_ kind: Int, count: Int) -> [UInt8] {
        var generator = SeededGenerator(seed: UInt64(kind))
        return switch kind {
        case 0: (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) }
        case 1: [UInt8](repeating: 7, count: count)
        case 2: (0..<count).map { UInt8(truncatingIfNeeded: $0 % 61) }
        default: (0..<count).map { _ in UInt8.random(in: 0...1, using: &generator) }
        }
    }

    @Test("What is packed unpacks to the same, whatever it is and however long", arguments: 0...3)
    func roundTrip(_ kind: Int) throws {
        for count in [0, 1, 3, 15, 16, 17, 59, 60, 61, 64, 255, 256, 257, 5000, 32_767, 32_768, 32_769, 200_000] {
            let bytes = Self.sample(kind, count: count)
            let packed = compress(bytes)
            #expect(try decompress(packed) == bytes, "\(count) bytes")
        }
    }

    @Test("Input and output may come in pieces of any size", arguments: [1, 7, 1000])
    func pieces(_ size: Int) throws {
        let bytes = Self.sample(3, count: 70_000)
        #expect(try decompress(compress(bytes, pieces: size), input: size, output: size) == bytes)
    }

    @Test("What repeats becomes smaller")
    func ratio() {
        #expect(compress(Self.sample(1, count: 100_000)).count < 6_000)
        #expect(compress(Self.sample(2, count: 100_000)).count < 8_000)
    }

    @Test("Every kind of element is understood")
    func elements() throws {
        // A literal of 3, a short copy of 4 from 3 back, a copy of 2 from 1 back, a copy of 3 with a long distance.
        let block: [UInt8] = [12, 2 << 2, 97, 98, 99, 1, 3, 2 | 1 << 2, 1, 0, 3 | 2 << 2, 9, 0, 0, 0]
        #expect(try decompress(stream(block)) == Array("abcabcaaaabc".utf8))
        // Literals whose length takes one, two, three and four more bytes.
        for (tag, extra) in [(60, 1), (61, 2), (62, 3), (63, 4)] as [(UInt8, Int)] {
            let length = (0..<extra).map { $0 == 0 ? UInt8(99) : UInt8(0) }
            let bytes = Self.sample(0, count: 100)
            #expect(try decompress(stream([100, tag << 2] + length + bytes)) == bytes)
        }
    }

    @Test("Streams put behind each other are one")
    func concatenated() throws {
        #expect(try decompress(compress([1, 2, 3]) + compress([4, 5])) == [1, 2, 3, 4, 5])
    }

    @Test(
        "Blocks that lie are errors",
        arguments: [
            [4, 0, 97],  // ends early
            [1, 1 << 2, 97, 98],  // more than it claims
            [4, 0, 97, 1, 0],  // copies from nowhere
            [8, 0, 97, 1, 2],  // copies from in front of the beginning
            [200, 200, 200, 200, 200, 1],  // a length without end
            [4, 3 << 2, 97],  // a literal that is cut
            [4, 60 << 2],  // a length that is cut
            [],
        ] as [[UInt8]]
    )
    func lies(_ block: [UInt8]) {
        #expect(throws: StreamCodecError.self) { try decompress(stream(block)) }
    }

    @Test("A block that claims to be huge is refused before memory is taken for it")
    func huge() {
        #expect(throws: StreamCodecError.self) { try decompress(stream([0xff, 0xff, 0xff, 0xff, 0x0f, 0, 97])) }
        var writer = JuteWriter()
        Array(compress([]).prefix(16)).withUnsafeBytes { writer.raw($0) }
        writer.int32(.max)
        #expect(throws: StreamCodecError.self) { try decompress(writer.copy() + [0, 0, 0]) }
    }

    @Test("Damaged streams are errors or other bytes, never a crash", arguments: 1...20)
    func mutations(_ seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let packed = compress(Self.sample(3, count: 3000) + Self.sample(2, count: 3000))
        for _ in 0..<100 {
            var bytes = packed
            for _ in 0...Int.random(in: 0...3, using: &generator) {
                let index = Int.random(in: 0..<bytes.count, using: &generator)
                bytes[index] = UInt8.random(in: 0...255, using: &generator)
            }
            _ = try? decompress(bytes)
        }
        // A header alone is a stream of nothing.
        for count in 0..<packed.count where count != 16 {
            #expect(throws: StreamCodecError.self) { try decompress(Array(packed[..<count])) }
        }
    }
}
