import ZooKeeperProtocol

/// The password of a session: 16 bytes that every server of an ensemble derives from the id alone
/// (docs/protocol/client-protocol.md section 3).
enum SessionPassword {
    static let byteCount = 16

    static func write(for session: SessionID, to writer: inout JuteWriter) {
        let mask: UInt64 = (1 << 48) - 1
        var state = (UInt64(bitPattern: session.rawValue) ^ 0xB341_5C00 ^ 0x5_DEEC_E66D) & mask
        for _ in 0..<4 {
            state = (state &* 0x5_DEEC_E66D &+ 0xB) & mask
            // The low 32 bits of the upper part, least significant byte first.
            writer.int32(Int32(truncatingIfNeeded: state >> 16).byteSwapped)
        }
    }

    /// Compares in a time that does not tell how much of it was right.
    static func matches(_ candidate: UnsafeRawBufferPointer?, session: SessionID) -> Bool {
        guard let candidate, candidate.count == byteCount else { return false }
        var expected = JuteWriter(capacity: 64)
        write(for: session, to: &expected)
        return expected.withBytes { expected in
            var difference: UInt8 = 0
            for index in 0..<byteCount { difference |= expected[index] ^ candidate[index] }
            return difference == 0
        }
    }
}
