import AviaryCore
import ZooKeeperProtocol

/// What clients sent and were answered in the golden transcripts, as frames without their lengths.
enum RecordedFrames {
    /// Frames of clients: those that begin a connection, and all others.
    static let sent: (handshakes: [[UInt8]], requests: [[UInt8]]) = {
        var handshakes: [[UInt8]] = []
        var requests: [[UInt8]] = []
        for transcript in transcripts {
            for (_, stream) in streams(transcript, "c2s") {
                for (index, frame) in split(stream).enumerated() {
                    if index == 0 { handshakes.append(frame) } else { requests.append(frame) }
                }
            }
        }
        return (handshakes, requests)
    }()

    /// The session and password of every handshake that was answered with one.
    static let sessions: [(session: Int64, password: [UInt8])] = {
        var found: [(Int64, [UInt8])] = []
        for transcript in transcripts {
            for (_, stream) in streams(transcript, "s2c") {
                guard let first = split(stream).first, first.count == 36 || first.count == 37 else { continue }
                let session = Hex.int64(first[8..<16])
                if session != 0, first[16..<20] == [0, 0, 0, 16] { found.append((session, Array(first[20..<36]))) }
            }
        }
        return found
    }()

    private static let transcripts: [Transcript] =
        ["base", "noext", "enforce-auth"].flatMap { (try? Transcript.all(profile: $0)) ?? [] }

    /// The bytes of each connection in one direction, in the order of the transcript.
    private static func streams(_ transcript: Transcript, _ direction: String) -> [(String, [UInt8])] {
        var order: [String] = []
        var streams: [String: [UInt8]] = [:]
        for step in transcript.exchange where step.dir == direction && step.fill == nil {
            let name = step.conn ?? "A"
            if streams[name] == nil { order.append(name) }
            streams[name, default: []] += Hex.decode(step.hex ?? "")
        }
        return order.map { ($0, streams[$0] ?? []) }
    }

    private static func split(_ stream: [UInt8]) -> [[UInt8]] {
        var frames: [[UInt8]] = []
        var rest = stream[...]
        while rest.count >= 4 {
            let length = rest.prefix(4).reduce(0) { $0 << 8 | Int($1) }
            guard length < 1 << 20, rest.count >= 4 + length else { break }
            frames.append(Array(rest.dropFirst(4).prefix(length)))
            rest = rest.dropFirst(4 + length)
        }
        return frames
    }
}

extension ModelRandom {
    /// Bytes with some of them changed, cut out, doubled, or replaced by numbers that hurt or by parts of others.
    mutating func mutated(_ bytes: [UInt8], others: [[UInt8]] = []) -> [UInt8] {
        var bytes = bytes
        for _ in 0...below(3) {
            let position = below(bytes.count + 1)
            switch below(7) {
            case 0: bytes.removeLast(min(bytes.count, below(12)))
            case 1 where position < bytes.count: bytes[position] ^= 1 << UInt8(below(8))
            case 2 where position + 4 <= bytes.count:
                let number = pick(
                    [0, 1, 0xffff_ffff, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0x0010_0000, 14, 101] as [UInt32]
                )
                for index in 0..<4 {
                    bytes[position + index] = UInt8(truncatingIfNeeded: number >> UInt32(24 - 8 * index))
                }
            case 3:
                for _ in 0..<below(9) { bytes.insert(UInt8(truncatingIfNeeded: next()), at: position) }
            case 4 where position < bytes.count:
                bytes.removeSubrange(position..<min(bytes.count, position + below(9)))
            case 5 where !others.isEmpty:
                let other = pick(others)
                bytes = bytes.prefix(position) + other.suffix(below(other.count + 1))
            default: bytes += bytes.suffix(below(20))
            }
        }
        return bytes
    }
}
