import ZooKeeperProtocol

/// Reads bytes of a test's own.
func reading<R>(_ bytes: [UInt8], max: Int = JuteReader.defaultMaxBufferBytes, _ body: (inout JuteReader) throws -> R)
    rethrows -> R
{
    try bytes.withUnsafeBytes { view in
        var reader = JuteReader(view, maxBufferBytes: max)
        return try body(&reader)
    }
}

func written(_ body: (inout JuteWriter) -> Void) -> [UInt8] {
    var writer = JuteWriter()
    body(&writer)
    return writer.copy()
}

/// Random values out of a seed.
struct SeededRandom {
    private var state: UInt64

    init(_ seed: UInt64) {
        state = seed &* 0x9e37_79b9_7f4a_7c15 | 1
    }

    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state &* 0x2545_f491_4f6c_dd1d
    }

    mutating func below(_ bound: Int) -> Int { Int((next() >> 33) % UInt64(max(bound, 1))) }

    mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8(truncatingIfNeeded: next() >> 20) } }

    /// The bytes with some of them changed, cut out, doubled or replaced by numbers that hurt.
    mutating func mutated(_ bytes: [UInt8]) -> [UInt8] {
        var bytes = bytes
        for _ in 0...below(3) {
            let position = below(bytes.count + 1)
            switch below(6) {
            case 0: bytes.removeLast(min(bytes.count, below(12)))
            case 1 where position < bytes.count: bytes[position] ^= 1 << UInt8(below(8))
            case 2 where position + 4 <= bytes.count:
                let numbers: [UInt32] = [0, 1, 0xffff_ffff, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0x0010_0000, 12, 14]
                let number = numbers[below(numbers.count)]
                for index in 0..<4 {
                    bytes[position + index] = UInt8(truncatingIfNeeded: number >> UInt32(24 - 8 * index))
                }
            case 3: bytes.insert(contentsOf: self.bytes(below(9)), at: position)
            case 4 where position < bytes.count:
                bytes.removeSubrange(position..<min(bytes.count, position + below(9)))
            default: bytes += bytes.suffix(below(20))
            }
        }
        return bytes
    }
}
