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
