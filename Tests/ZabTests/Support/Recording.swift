import Foundation
import ZooKeeperProtocol

/// What Apache's servers said to each other (Tests/Golden/quorum/README.md).
struct Recording {
    struct Line: Decodable {
        struct Decoded: Decodable {
            struct Touch: Decodable {
                var sessionId: String
                var timeout: Int32
            }

            struct Learner: Decodable {
                var configVersion: String
            }

            var msg: String
            var touched: [Touch]?
            var learnerInfo: Learner?
            var config: String?
        }

        var conn: String
        var from: Int64
        var to: Int64?
        var event: String?
        var decoded: Decoded?
        var hex: String?
        /// Which file it stands in.
        var file: Int?

        var bytes: [UInt8] { Recording.bytes(hex ?? "") }
    }

    let lines: [Line]

    /// - Parameter files: numbers of files; neighbours belong to one run, and connections go on from one to the next.
    init(files: ClosedRange<Int>) throws {
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("Golden/quorum")
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
        var lines: [Line] = []
        for name in names {
            guard let number = Int(name.prefix(2)), files.contains(number), name.hasSuffix(".jsonl") else { continue }
            let text = try String(contentsOf: folder.appendingPathComponent(name), encoding: .utf8)
            for line in text.split(separator: "\n") {
                var line = try JSONDecoder().decode(Line.self, from: Data(line.utf8))
                line.file = number
                lines.append(line)
            }
        }
        self.lines = lines
    }

    func connection(_ name: String) -> [Line] {
        lines.filter { $0.conn == name && $0.decoded != nil }
    }

    /// Every configuration that was ever named, by version.
    var configurations: [Int64: QuorumConfiguration] {
        var all: [Int64: QuorumConfiguration] = [:]
        for line in lines {
            guard let text = line.decoded?.config, let configuration = try? QuorumConfiguration.parse(text) else {
                continue
            }
            all[configuration.version] = configuration
        }
        return all
    }

    static func bytes(_ hex: String) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(hex.utf8.count / 2)
        var high: UInt8?
        for digit in hex.utf8 {
            let value = digit <= UInt8(ascii: "9") ? digit - UInt8(ascii: "0") : digit - UInt8(ascii: "a") + 10
            if let first = high {
                bytes.append(first << 4 | value)
                high = nil
            } else {
                high = value
            }
        }
        return bytes
    }
}
