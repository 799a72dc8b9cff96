import Foundation
import ZooKeeperProtocol

@testable import Zab

/// What Apache's servers said to each other (Tests/Golden/quorum/README.md).
struct Recording {
    /// A packet, or what became of a connection, in the order in which it was seen.
    struct Line: CustomStringConvertible {
        enum Event: String, Decodable {
            case connect, close, reset
        }

        var file: Int
        var connection: String
        /// nil where packets are left out.
        var from: ServerID?
        var to: ServerID?
        var event: Event?
        /// The name that the file gives it.
        var message = ""
        var bytes: [UInt8] = []
        /// nil for everything but packets of quorum connections.
        var kind: QuorumPacketType?
        var zxid = Zxid.zero
        /// Microseconds since the run began, as far as its files tell.
        var time: Int64

        /// The bytes behind SNAP.
        var isSnapshotStream: Bool { message == "SNAPSHOT_STREAM" }

        var description: String { "\(file) \(connection) \(event?.rawValue ?? message) \(zxid)" }
    }

    let lines: [Line]
    /// Every configuration that was ever named, by version. Servers that join later have files of their own, also of
    /// version 0: the first one is the ensemble's.
    let configurations: [Int64: QuorumConfiguration]

    /// - Parameter files: numbers of files; neighbours belong to one run, and connections go on from one to the next.
    init(files: ClosedRange<Int>) throws {
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("Golden/quorum")
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
        var lines: [Line] = []
        var configurations: [Int64: QuorumConfiguration] = [:]
        for name in names {
            guard let number = Int(name.prefix(2)), files.contains(number), name.hasSuffix(".jsonl") else { continue }
            let start = lines.last?.time ?? 0
            let text = try String(contentsOf: folder.appendingPathComponent(name), encoding: .utf8)
            for line in text.split(separator: "\n") {
                let coded = try JSONDecoder().decode(CodedLine.self, from: Data(line.utf8))
                if let text = coded.decoded?.config, let named = try? QuorumConfiguration.parse(text),
                    configurations[named.version] == nil
                {
                    configurations[named.version] = named
                }
                if let count = coded.omitted, let last = lines.last {
                    lines += Recording.madeUp(pairs: count / 2, behind: last)
                } else {
                    lines.append(coded.line(file: number, start: start))
                }
            }
        }
        self.lines = lines
        self.configurations = configurations
    }

    func connection(_ name: String) -> [Line] {
        lines.filter { $0.connection == name }
    }

    /// Everything on the connections of those who learn from a leader in an epoch.
    func term(of leader: ServerID, _ epoch: Epoch) -> [Line] {
        let connections = lines.filter {
            $0.kind == .leaderInfo && $0.from == leader && $0.zxid == epoch.newLeaderZxid
        }
        let names = Set(connections.map(\.connection))
        return lines.filter { names.contains($0.connection) }
    }

    /// Every transaction that was proposed and committed, in order.
    var committed: [Record] {
        let committed = Set(lines.filter { $0.message.hasPrefix("COMMIT") }.map(\.zxid))
        var all: [Zxid: [UInt8]] = [:]
        for line in lines where line.kind == .proposal && committed.contains(line.zxid) {
            all[line.zxid] = line.packet { $0.data.map { [UInt8]($0) } }
        }
        return all.sorted { $0.key < $1.key }.map { Record(zxid: $0.key, payload: $0.value) }
    }

    // MARK: What is left out

    /// A transaction of no effect.
    static func idle(_ zxid: Zxid) -> Record {
        var writer = JuteWriter(capacity: 64)
        let header = TxnHeader(session: SessionID(0), cxid: 0, zxid: zxid, time: 0)
        Txn(header: header, body: .error(.noNode), digest: nil).write(to: &writer)
        return Record(zxid: zxid, payload: writer.copy())
    }

    /// PROPOSALs with their COMMITs where a file has none, to keep it small.
    private static func madeUp(pairs count: Int, behind last: Line) -> [Line] {
        var lines: [Line] = []
        var zxid = last.zxid
        for _ in 0..<count {
            zxid = zxid.next
            for kind in [QuorumPacketType.proposal, .commit] {
                var line = last
                line.message = kind == .proposal ? "PROPOSAL" : "COMMIT"
                line.kind = kind
                line.zxid = zxid
                line.bytes = packet(kind, zxid, data: kind == .proposal ? idle(zxid).payload : nil)
                lines.append(line)
            }
        }
        return lines
    }

    static func packet(_ type: QuorumPacketType, _ zxid: Zxid, data: [UInt8]? = nil) -> [UInt8] {
        var writer = JuteWriter(capacity: 64)
        guard let data else {
            QuorumPacket.write(type, zxid: zxid, to: &writer)
            return writer.copy()
        }
        data.withUnsafeBytes { QuorumPacket.write(type, zxid: zxid, data: $0, to: &writer) }
        return writer.copy()
    }
}

extension Recording.Line {
    /// Lends the packet; nil for a line that is none.
    func packet<Result>(_ body: (QuorumPacket) throws -> Result?) rethrows -> Result? {
        try bytes.withUnsafeBytes { bytes in
            guard kind != nil, let (packet, _) = try? QuorumPacket.parse(bytes) else { return nil }
            return try body(packet)
        }
    }
}

/// A line as the file has it.
private struct CodedLine: Decodable {
    struct Message: Decodable {
        var msg: String
        var config: String?
    }

    /// A server; that it is an observer's master is in the name of the connection.
    struct Party: Decodable {
        var id: ServerID

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let number = try? container.decode(Int64.self) {
                id = ServerID(number)
                return
            }
            let name = try container.decode(String.self)
            guard name.hasPrefix("OM"), let number = Int64(name.dropFirst(2)) else {
                throw DecodingError.dataCorruptedError(in: container, debugDescription: name)
            }
            id = ServerID(number)
        }
    }

    var t: Double
    var conn: String
    var from: Party?
    var to: Party?
    var event: Recording.Line.Event?
    var decoded: Message?
    var hex: String?
    /// How many packets are left out.
    var omitted: Int?

    func line(file: Int, start: Int64) -> Recording.Line {
        var line = Recording.Line(
            file: file,
            connection: conn,
            from: from?.id,
            to: to?.id,
            event: event,
            message: decoded?.msg ?? "",
            bytes: bytes,
            time: start + Int64(t * 1_000_000)
        )
        guard conn.hasPrefix("quorum"), decoded != nil, !line.isSnapshotStream else { return line }
        line.bytes.withUnsafeBytes { bytes in
            guard let (packet, _) = try? QuorumPacket.parse(bytes) else { return }
            line.kind = packet.kind
            line.zxid = packet.zxid
        }
        return line
    }

    private var bytes: [UInt8] {
        var bytes: [UInt8] = []
        var high: UInt8?
        for digit in (hex ?? "").utf8 {
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
