import AviaryStorage
import Foundation
import ZooKeeperProtocol

/// A stream behind a SNAP packet, as a server of Apache's sent it (Tests/Golden/quorum).
struct GoldenStream: CustomStringConvertible {
    /// Where it was recorded.
    var description: String
    /// Of the SNAP packet in front of it.
    var zxid: Zxid
    var bytes: [UInt8]
    var sessions: [String: Int32]
    /// Path and czxid of every node.
    var nodes: [String: String]

    private struct Line: Decodable {
        struct Decoded: Decodable {
            struct Node: Decodable {
                struct Stat: Decodable { var czxid: String }
                var path: String
                var stat: Stat
            }
            enum Field: Decodable {
                case text(String)
                case number(Int32)

                init(from decoder: any Decoder) throws {
                    let value = try decoder.singleValueContainer()
                    if let text = try? value.decode(String.self) {
                        self = .text(text)
                    } else {
                        self = .number(try value.decode(Int32.self))
                    }
                }
            }

            var msg: String?
            var type: String?
            var zxid: String?
            var sessions: [[Field]]?
            var nodes: [Node]?
        }
        var conn: String?
        var hex: String?
        var decoded: Decoded?
    }

    /// All of them.
    static func all() throws -> [GoldenStream] {
        let folder = Golden.root.deletingLastPathComponent().appending(path: "quorum")
        var found: [GoldenStream] = []
        for name in try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
        where name.hasSuffix(".jsonl") {
            var snaps: [String: Zxid] = [:]
            let text = try String(contentsOf: folder.appending(path: name), encoding: .utf8)
            for row in text.split(separator: "\n") {
                guard row.contains("SNAP"), let line = try? JSONDecoder().decode(Line.self, from: Data(row.utf8)),
                    let decoded = line.decoded, let connection = line.conn, let hex = line.hex
                else { continue }
                if decoded.msg == "SNAPSHOT_STREAM", let nodes = decoded.nodes, let zxid = snaps[connection] {
                    var sessions: [String: Int32] = [:]
                    for session in decoded.sessions ?? [] {
                        if case .text(let id) = session[0], case .number(let timeout) = session[1] {
                            sessions[id] = timeout
                        }
                    }
                    found.append(
                        GoldenStream(
                            description: "\(name) \(connection)",
                            zxid: zxid,
                            bytes: Golden.bytes(hex),
                            sessions: sessions,
                            nodes: Dictionary(uniqueKeysWithValues: nodes.map { ($0.path, $0.stat.czxid) })
                        )
                    )
                } else if let zxid = decoded.zxid {
                    snaps[connection] = Zxid(Golden.number(zxid))
                }
            }
        }
        return found
    }
}
