import AviaryServer
import AviaryStorage
import Testing
import ZooKeeperProtocol

@Suite("gzip")
struct ZlibCodecTests {
    private func compress(_ bytes: [UInt8], pieces: Int) throws -> [UInt8] {
        let packer = try ZlibCodec().makeCompressor()
        var output = JuteWriter()
        var rest = bytes[...]
        while !rest.isEmpty {
            try Array(rest.prefix(pieces)).withUnsafeBytes { try packer.compress($0, into: &output) }
            rest = rest.dropFirst(pieces)
        }
        try packer.finish(into: &output)
        return output.copy()
    }

    /// Unpacks with pieces of input and output of the given sizes.
    private func decompress(_ packed: [UInt8], input: Int, output: Int) throws -> [UInt8] {
        let unpacker = try ZlibCodec().makeDecompressor()
        var found: [UInt8] = []
        var rest = packed[...]
        var buffer = [UInt8](repeating: 0, count: output)
        while true {
            let step = try Array(rest.prefix(input)).withUnsafeBytes { bytes in
                try buffer.withUnsafeMutableBytes { try unpacker.decompress(bytes, into: $0) }
            }
            #expect(step.produced <= output)
            found += buffer[..<step.produced]
            rest = rest.dropFirst(step.consumed)
            if step.consumed == 0, step.produced == 0 { break }
        }
        guard unpacker.isComplete, rest.isEmpty else { throw StreamCodecError("incomplete") }
        return found
    }

    private var sample: [UInt8] { (0..<100_000).map { UInt8(truncatingIfNeeded: $0 / 7 &* 13) } }

    @Test("What is packed unpacks to the same, in pieces of any size", arguments: [1, 100, 70_000])
    func roundTrip(_ piece: Int) throws {
        let packed = try compress(sample, pieces: max(piece, 50))
        #expect(packed.count < sample.count / 4)
        #expect(try decompress(packed, input: piece, output: max(piece, 64)) == sample)
        #expect(try decompress(try compress([], pieces: 1), input: piece, output: 10) == [])
    }

    @Test("A file of two packed parts is one")
    func twoParts() throws {
        let packed = try compress([1, 2, 3], pieces: 9) + compress([4, 5], pieces: 9)
        #expect(try decompress(packed, input: 1000, output: 1000) == [1, 2, 3, 4, 5])
    }

    @Test("Damaged and cut input is an error, never a wrong result")
    func damage() throws {
        let packed = try compress(sample, pieces: 50_000)
        for offset in stride(from: 0, to: packed.count, by: 37) {
            var damaged = packed
            damaged[offset] ^= 0x20
            if let found = try? decompress(damaged, input: 1 << 20, output: 1 << 20) {
                // Some bytes of the gzip header say nothing about the contents.
                #expect(offset < 10 && found == sample)
            }
            #expect(throws: StreamCodecError.self) {
                try decompress(Array(packed[..<offset]), input: 1 << 20, output: 1 << 20)
            }
        }
    }

    @Test("However far input blows up, a call produces no more than it was given room for")
    func bomb() throws {
        let packed = try compress([UInt8](repeating: 0, count: 50 << 20), pieces: 1 << 20)
        #expect(packed.count < 100_000)
        let unpacker = try ZlibCodec().makeDecompressor()
        var buffer = [UInt8](repeating: 1, count: 1000)
        let step = try packed.withUnsafeBytes { bytes in
            try buffer.withUnsafeMutableBytes { try unpacker.decompress(bytes, into: $0) }
        }
        #expect(step.produced == 1000)
    }
}
