import AviarySimulation
import AviaryStorage
import Testing
import ZooKeeperProtocol

/// The stream behind a SNAP packet, as it comes (docs/protocol/quorum-protocol.md section 9).
@Suite("A leader's snapshot, as it comes")
struct SnapshotStreamTests {
    private static let history: History = {
        var history = History()
        history.createSession(0x10)
        history.createSession(-0x20)
        history.createMany(20)
        history.create("/big", String(repeating: "b", count: 300_000))
        history.createMany(5, data: "")
        return history
    }()

    private static let limits = ReadingLimits(extendedTypes: true)

    /// Feeds a stream cut into pieces, followed by what belongs to somebody else.
    private func scan(
        _ bytes: [UInt8],
        zxid: Zxid,
        pieces: (inout SeededGenerator) -> Int,
        seed: UInt64 = 1
    ) throws -> (tree: NaiveTree, taken: Int, summary: SnapshotSummary, isComplete: Bool) {
        var tree = NaiveTree()
        var scanner = SnapshotStreamScanner(zxid: zxid, limits: Self.limits)
        var generator = SeededGenerator(seed: seed)
        var taken = 0
        while taken < bytes.count, !scanner.isComplete {
            let end = min(taken + max(pieces(&generator), 1), bytes.count)
            taken += try bytes[taken..<end].withUnsafeBytes { try scanner.scan($0, into: &tree) }
        }
        return (tree, taken, scanner.summary, scanner.isComplete)
    }

    @Test("Streams of Apache's servers give what was recorded with them", arguments: try! GoldenStream.all())
    func golden(_ stream: GoldenStream) throws {
        let behind: [UInt8] = [0, 0, 0, 10, 1, 2, 3]
        for size in [1, 7, 4096] {
            let result = try scan(stream.bytes + behind, zxid: stream.zxid, pieces: { _ in size })
            #expect(result.isComplete)
            #expect(result.taken == stream.bytes.count)
            #expect(result.tree.nodes.mapValues { "0x" + $0.stat.czxid.hex } == stream.nodes)
            #expect(result.tree.sessions.count == stream.sessions.count)
            for (id, timeout) in stream.sessions { #expect(result.tree.sessions[Golden.number(id)] == timeout) }
        }
    }

    @Test("There are as many recorded streams as there should be")
    func goldenCount() throws {
        #expect(try GoldenStream.all().count == 9)
    }

    @Test("It does not matter where the stream is cut", arguments: 1...30 as ClosedRange<UInt64>)
    func anyCut(_ seed: UInt64) throws {
        let stream = Self.history.tree.stream()
        let result = try scan(
            stream + [1, 2, 3],
            zxid: Self.history.lastZxid,
            pieces: { generator in
                let sizes = [1, 3, 60, 5000, 100_000]
                return Int.random(in: 1...sizes[Int.random(in: 0..<sizes.count, using: &generator)], using: &generator)
            },
            seed: seed
        )
        #expect(result.isComplete)
        #expect(result.taken == stream.count)
        #expect(result.tree.difference(from: Self.history.tree) == nil)
        #expect(result.summary.sessions == 2)
        #expect(result.summary.largestZxid == Self.history.lastZxid)
    }

    @Test("A stream that ends early is not complete, wherever that is")
    func everyEnd() throws {
        var history = History()
        history.createSession(0x10)
        history.createMany(3)
        let stream = history.tree.stream()
        for end in 0..<stream.count {
            let result = try scan(Array(stream[..<end]), zxid: history.lastZxid, pieces: { _ in 50 })
            #expect(!result.isComplete)
            #expect(result.taken == end)
        }
    }

    @Test("A turned bit is an error, or gives another tree; never a trap, and never more bytes than there are")
    func everyBit() throws {
        var history = History()
        history.createSession(0x10)
        history.createMany(2)
        let stream = history.tree.stream()
        for offset in stream.indices {
            for bit in 0..<8 {
                var turned = stream
                turned[offset] ^= 1 << UInt8(bit)
                do {
                    let result = try scan(turned, zxid: history.lastZxid, pieces: { _ in 41 })
                    #expect(result.taken <= turned.count)
                } catch {
                    #expect(error is SnapshotStreamError)
                }
            }
        }
    }

    @Test("A record without an end is refused before it takes more memory than any record has")
    func endlessRecord() {
        var writer = JuteWriter()
        writer.int32(0)
        writer.int32(1)
        writer.int64(1)
        // An ACL of two thousand million entries.
        writer.int32(Int32.max)
        let head = writer.copy()
        var entries = JuteWriter()
        for _ in 0..<50_000 { ACL.write(ACL.open, to: &entries) }
        var entry = Array(entries.copy().dropFirst(4))
        entry = Array(entry.prefix(31))
        let block = (0..<40_000).flatMap { _ in entry }
        var tree = NaiveTree()
        var scanner = SnapshotStreamScanner(zxid: .zero, limits: Self.limits)
        let error = #expect(throws: SnapshotStreamError.self) {
            _ = try head.withUnsafeBytes { try scanner.scan($0, into: &tree) }
            for _ in 0..<40 { _ = try block.withUnsafeBytes { try scanner.scan($0, into: &tree) } }
        }
        #expect(error?.description.contains("ACL") == true, "\(String(describing: error))")
    }

    @Test("Without extended types a stream with TTL nodes is refused at its end")
    func ttlNodes() throws {
        let disk = SimulatedDisk()
        try Golden.install("c2-features-snapshot", on: disk)
        let bytes = try streamed(disk, upTo: Zxid(0x2f))
        var tree = NaiveTree()
        var scanner = SnapshotStreamScanner(zxid: Zxid(0x2f), limits: ReadingLimits())
        let error = #expect(throws: SnapshotStreamError.self) {
            _ = try bytes.withUnsafeBytes { try scanner.scan($0, into: &tree) }
        }
        guard case .ttlNodesWithoutExtendedTypes = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test("Whether the tree is exactly that of the zxid is known: a stream may be ahead of itself")
    func exact() throws {
        let stream = Self.history.tree.stream()
        var tree = NaiveTree()
        var scanner = SnapshotStreamScanner(zxid: Zxid(5), limits: Self.limits)
        _ = try stream.withUnsafeBytes { try scanner.scan($0, into: &tree) }
        let isAhead = !scanner.isExact
        #expect(isAhead)
        var exact = SnapshotStreamScanner(zxid: Self.history.lastZxid, limits: Self.limits)
        tree.reset()
        _ = try stream.withUnsafeBytes { try exact.scan($0, into: &tree) }
        let isExact = exact.isExact
        #expect(isExact)
    }

    private func streamed(_ disk: SimulatedDisk, upTo zxid: Zxid) throws -> [UInt8] {
        var source = disk.source
        var streamer = try source.snapshot(upTo: zxid)
        var output = JuteWriter()
        while try streamer.read(maxBytes: 100, into: &output) {}
        return output.copy()
    }
}
