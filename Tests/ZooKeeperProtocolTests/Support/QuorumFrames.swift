import Foundation

/// A line of Tests/Golden/quorum: a frame that Apache's servers sent each other, and what is in it.
struct QuorumFrame: Decodable, Sendable {
    /// A number, which the recordings write in decimal or as hexadecimal text.
    struct Number: Decodable, Sendable, Equatable, ExpressibleByIntegerLiteral {
        var value: Int64

        init(integerLiteral value: Int64) { self.value = value }

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let text = try? container.decode(String.self) {
                guard text.hasPrefix("0x"), let bits = UInt64(text.dropFirst(2), radix: 16) else {
                    throw DecodingError.dataCorruptedError(in: container, debugDescription: text)
                }
                value = Int64(bitPattern: bits)
            } else {
                value = try container.decode(Int64.self)
            }
        }
    }

    struct Entry: Decodable, Sendable, Equatable {
        var scheme: String
        var id: String
    }

    struct Touch: Decodable, Sendable, Equatable {
        var sessionId: Number
        var timeout: Int32
    }

    struct Learner: Decodable, Sendable {
        var serverid: Int64
        var protocolVersion: Number
        var configVersion: Number
    }

    struct Request: Decodable, Sendable {
        var sessionId: Number
        var cxid: Int32
        var payload: String
    }

    struct Txn: Decodable, Sendable {
        struct Header: Decodable, Sendable {
            var clientId: Number
            var cxid: Int32
            var zxid: Number
            var time: Int64
            var type: Int32
        }

        var hdr: Header
    }

    struct Content: Decodable, Sendable {
        var msg: String
        var zxid: Number?
        var sid: Int64?
        var protocolVersion: Number?
        var electionAddrs: String?
        var state: String?
        var leader: Number?
        var electionEpoch: Int64?
        var peerEpoch: Number?
        var version: Int32?
        var config: String?
        var learnerInfo: Learner?
        var currentEpoch: Int64?
        var request: Request?
        var touched: [Touch]?
        var sessionId: Number?
        var timeout: Int32?
        var valid: Bool?
        var designatedLeader: Int64?
        var authinfo: [Entry]?
        var token: String?
        var txn: Txn?
    }

    var conn: String
    var from: String
    var decoded: Content
    var bytes: [UInt8]
    /// The file and the line, for messages.
    var place = ""

    private enum Keys: CodingKey {
        case conn, from, decoded, hex
    }

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Keys.self)
        conn = try container.decode(String.self, forKey: .conn)
        let sid = try? container.decode(Int.self, forKey: .from)
        from = try sid.map { "\($0)" } ?? container.decode(String.self, forKey: .from)
        decoded = try container.decode(Content.self, forKey: .decoded)
        bytes = QuorumFrame.bytes(hex: try container.decode(String.self, forKey: .hex))
    }

    static func bytes(hex: String) -> [UInt8] {
        let digits = Array(hex.utf8)
        func value(_ digit: UInt8) -> UInt8 { digit < 58 ? digit - 48 : digit - 87 }
        return stride(from: 0, to: digits.count - 1, by: 2).map { value(digits[$0]) << 4 | value(digits[$0 + 1]) }
    }

    /// All of them, in the order of the files.
    static let all: [QuorumFrame] = {
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("Golden/quorum")
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
        var frames: [QuorumFrame] = []
        for name in names.filter({ $0.hasSuffix(".jsonl") }).sorted() {
            let text = (try? String(contentsOf: folder.appendingPathComponent(name), encoding: .utf8)) ?? ""
            for (index, line) in text.split(separator: "\n").enumerated() {
                // What has no frame is a connection that comes or goes.
                guard var frame = try? JSONDecoder().decode(QuorumFrame.self, from: Data(line.utf8)) else { continue }
                frame.place = "\(name):\(index + 1) \(frame.decoded.msg)"
                frames.append(frame)
            }
        }
        return frames
    }()

    /// Records on the quorum port, without snapshots.
    static var packets: [QuorumFrame] {
        all.filter { !["NOTIFICATION", "INITIAL", "QuorumAuthPacket", "SNAPSHOT_STREAM"].contains($0.decoded.msg) }
    }

    static func of(_ message: String) -> [QuorumFrame] {
        all.filter { $0.decoded.msg == message }
    }
}

/// Hands a view of a test's own bytes to `body`.
func viewing<R>(_ bytes: some Collection<UInt8>, _ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
    // A copy of just this size, so that the sanitizers see every byte that is read behind it.
    try Array(bytes).withUnsafeBytes(body)
}
