import AviaryCore
import Foundation
import ZooKeeperProtocol

/// A recorded conversation with a server (Tests/Golden/client/README.md), replayed against the core alone: no sockets,
/// and time passes only as the transcript says.
struct Transcript: Decodable {
    var name: String
    var profile: String
    var tags: [String]?
    var exchange: [Step]

    struct Step: Decodable {
        var dir: String
        var conn: String?
        var hex: String?
        var raw: Bool?
        var ms: Int64?
        var subst: [[Value]]?
        var fill: [[Value]]?
        var volatile: [[Value]]?
        var unordered: [Group]?

        struct Group: Decodable {
            var name: String
            var elements: [[Int]]
        }
    }

    /// An offset, a length, or what stands there.
    enum Value: Decodable {
        case number(Int)
        case text(String)

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let number = try? container.decode(Int.self) {
                self = .number(number)
            } else {
                self = .text(try container.decode(String.self))
            }
        }

        var number: Int {
            if case .number(let number) = self { return number }
            return 0
        }

        var text: String {
            if case .text(let text) = self { return text }
            return ""
        }
    }

    static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("Golden/client")

    static func all(profile: String) throws -> [Transcript] {
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasSuffix(".jsonl") }
        return try names.sorted().flatMap { name in
            try String(contentsOf: folder.appendingPathComponent(name), encoding: .utf8).split(separator: "\n")
                .map { try JSONDecoder().decode(Transcript.self, from: Data($0.utf8)) }
                .filter { $0.profile == profile }
        }
    }
}

/// Replays one transcript.
struct TranscriptRun {
    struct Mismatch: Error, CustomStringConvertible {
        var description: String
    }

    let harness: CoreHarness
    private var connections: [String: ConnectionID] = [:]
    private var unsent: [String: [UInt8]] = [:]
    private var bound: [String: [UInt8]] = [:]
    private var recordedBase: Int64?
    private var replayedBase: Int64 = 0

    init(harness: CoreHarness) {
        self.harness = harness
    }

    mutating func run(_ transcript: Transcript) throws {
        for (index, step) in transcript.exchange.enumerated() {
            do {
                try run(step)
            } catch let mismatch as Mismatch {
                throw Mismatch(description: "\(transcript.name) step \(index) (\(step.dir)): \(mismatch)")
            }
        }
        for id in connections.values {
            harness.core.closed(id, at: harness.now, into: &harness.output)
        }
        harness.carryOut()
    }

    private mutating func run(_ step: Transcript.Step) throws {
        let name = step.conn ?? "A"
        switch step.dir {
        case "open":
            connections[name] = harness.core.accept(PeerAddress(text: "127.0.0.1", port: 1), at: harness.now)
        case "close":
            if let id = connections.removeValue(forKey: name) {
                harness.core.closed(id, at: harness.now, into: &harness.output)
                harness.carryOut()
            }
        case "sleep":
            sleep(step.ms ?? 0)
        case "c2s":
            try send(step, name)
        case "s2c":
            try receive(step, name)
        case "eof":
            guard let id = connections[name] else { return }
            for _ in 0..<60 where !harness.closed.contains(id) { sleep(500) }
            guard harness.closed.contains(id) else { throw Mismatch(description: "the connection stayed open") }
            guard harness.inbox[id]?.isEmpty ?? true else {
                throw Mismatch(description: "something came before the end")
            }
        default:
            throw Mismatch(description: "unknown step")
        }
    }

    private func sleep(_ milliseconds: Int64) {
        var rest = milliseconds
        while rest > 0 {
            harness.advance(milliseconds: min(rest, 100))
            rest -= 100
        }
    }

    private mutating func send(_ step: Transcript.Step, _ name: String) throws {
        var bytes = Hex.decode(step.hex ?? "")
        for substitution in step.subst ?? [] {
            let offset = substitution[0].number
            let what = substitution[2].text
            let value: [UInt8]
            if what == "zxid" {
                let recorded = Hex.int64(bytes[offset..<offset + 8])
                value = Hex.bytes(recorded - (recordedBase ?? 0) + replayedBase)
            } else {
                guard let known = bound[what] else { throw Mismatch(description: "\(what) is not known yet") }
                value = known
            }
            bytes.replaceSubrange(offset..<offset + value.count, with: value)
        }
        for fill in (step.fill ?? []).reversed() {
            let byte = Hex.decode(fill[2].text)
            bytes.insert(contentsOf: (0..<fill[1].number).flatMap { _ in byte }, at: fill[0].number)
        }
        var stream = (unsent[name] ?? []) + bytes
        while stream.count >= 4, let id = connections[name] {
            let length = stream[..<4].reduce(0) { $0 << 8 | Int($1) }
            guard stream.count >= 4 + length else { break }
            let frame = [UInt8](stream[4..<4 + length])
            frame.withUnsafeBytes { harness.core.receive($0, from: id, at: harness.now, into: &harness.output) }
            stream.removeFirst(4 + length)
        }
        harness.carryOut()
        unsent[name] = stream
    }

    private mutating func receive(_ step: Transcript.Step, _ name: String) throws {
        guard let id = connections[name] else { return }
        for _ in 0..<60 where harness.inbox[id]?.isEmpty ?? true { sleep(100) }
        guard let frame = harness.inbox[id]?.first else { throw Mismatch(description: "nothing came") }
        harness.inbox[id]?.removeFirst()
        try compare(Hex.bytes(Int32(frame.count)) + frame, step)
    }

    private mutating func compare(_ got: [UInt8], _ step: Transcript.Step) throws {
        let expected = Hex.decode(step.hex ?? "")
        guard got.count == expected.count else {
            throw Mismatch(description: "length\n expected \(Hex.encode(expected))\n got      \(Hex.encode(got))")
        }
        var ignored = [Bool](repeating: false, count: got.count)
        for mark in step.volatile ?? [] {
            let range = mark[0].number..<mark[0].number + mark[1].number
            for index in range { ignored[index] = true }
            try check(mark[2].text, [UInt8](expected[range]), [UInt8](got[range]))
        }
        for group in step.unordered ?? [] where !group.elements.isEmpty {
            let want = group.elements.map { [UInt8](expected[$0[0]..<$0[0] + $0[1]]) }
            let start = group.elements[0][0]
            let end = (group.elements.last?[0] ?? 0) + (group.elements.last?[1] ?? 0)
            for index in start..<end { ignored[index] = true }
            try checkPermutation(want, [UInt8](got[start..<end]), group.name)
        }
        let different = got.indices.filter { !ignored[$0] && got[$0] != expected[$0] }
        guard different.isEmpty else {
            throw Mismatch(
                description:
                    "bytes at \(different.prefix(8))\n expected \(Hex.encode(expected))\n got      \(Hex.encode(got))"
            )
        }
    }

    private mutating func check(_ kind: String, _ expected: [UInt8], _ got: [UInt8]) throws {
        switch kind {
        case "zxid":
            let recorded = Hex.int64(expected[...])
            let replayed = Hex.int64(got[...])
            if recordedBase == nil {
                recordedBase = recorded
                replayedBase = replayed
            }
            guard recorded - (recordedBase ?? 0) == replayed - replayedBase else {
                throw Mismatch(
                    description:
                        "zxid: expected base+\(recorded - (recordedBase ?? 0)), got base+\(replayed - replayedBase)"
                )
            }
        case "time", "ignore":
            break
        default:
            if let known = bound[kind] {
                guard known == got else { throw Mismatch(description: "\(kind) changed") }
            } else {
                guard got.contains(where: { $0 != 0 }) else { throw Mismatch(description: "\(kind) is zero") }
                bound[kind] = got
            }
        }
    }

    private func checkPermutation(_ want: [[UInt8]], _ got: [UInt8], _ name: String) throws {
        var want = want
        var position = 0
        while !want.isEmpty {
            guard let index = want.firstIndex(where: { got[position...].starts(with: $0) }) else {
                throw Mismatch(description: "\(name): an element that is not expected")
            }
            position += want.remove(at: index).count
        }
    }
}

enum Hex {
    static func decode(_ text: String) -> [UInt8] {
        var bytes: [UInt8] = []
        var high: UInt8?
        for character in text.utf8 {
            let digit = character >= 97 ? character - 87 : character - 48
            if let upper = high {
                bytes.append(upper << 4 | digit)
                high = nil
            } else {
                high = digit
            }
        }
        return bytes
    }

    static func encode(_ bytes: [UInt8]) -> String {
        bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    }

    static func int64(_ bytes: ArraySlice<UInt8>) -> Int64 {
        bytes.reduce(0) { $0 << 8 | Int64($1) }
    }

    static func bytes<I: FixedWidthInteger>(_ value: I) -> [UInt8] {
        withUnsafeBytes(of: value.bigEndian) { [UInt8]($0) }
    }
}
