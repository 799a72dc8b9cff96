// In-process benchmarks of codec, tree and core, without sockets and disk:
//     swift run -c release aviary-benchmarks [NAME-PART [ROUNDS]]
// Each line: nanoseconds per operation, the best of five rounds. Compare ratios, on a quiet machine.

import AviaryCore
import ZooKeeperProtocol

let filter = CommandLine.arguments.dropFirst().first ?? ""

let moreRounds = CommandLine.arguments.dropFirst(2).first.flatMap { Int($0) }

func measure(_ name: String, operations: Int, rounds: Int = 5, _ body: () -> Void) {
    guard filter.isEmpty || name.contains(filter) else { return }
    var best = Duration.seconds(1_000_000)
    for _ in 0..<(moreRounds ?? rounds) { best = min(best, ContinuousClock().measure(body)) }
    let nanoseconds = Double(best.components.seconds) * 1e9 + Double(best.components.attoseconds) / 1e9
    let perOperation = Double(Int(nanoseconds / Double(operations) * 10)) / 10
    print("\(name): \(perOperation) ns")
}

// MARK: Checksums

let kilobyte = [UInt8](repeating: 0x5a, count: 1024)
var sink: UInt64 = 0
measure("crc32 of 1 KB", operations: 100_000) {
    kilobyte.withUnsafeBytes { bytes in
        for _ in 0..<100_000 { sink &+= UInt64(CRC32.update(0, bytes)) }
    }
}
measure("adler32 of 1 KB", operations: 100_000) {
    kilobyte.withUnsafeBytes { bytes in
        for _ in 0..<100_000 { sink &+= UInt64(Adler32.update(1, bytes)) }
    }
}

// MARK: Core

/// A core with some sessions, whose disk is as fast as a function call.
final class Bench {
    var core: ServerCore
    var output = Output()
    let now = Now(wallMilliseconds: 1_700_000_000_000, monotonicMicroseconds: 1_000_000)
    private(set) var connections: [ConnectionID] = []

    init(connections count: Int = 32) {
        core = ServerCore(options: CoreOptions(passwordDigest: { [UInt8]($0) }), seed: 1, now: now)
        core.start(lastZxid: .zero, at: now, into: &output)
        for _ in 0..<count {
            let id = core.accept(PeerAddress(text: "127.0.0.1", port: 1), at: now)
            var writer = JuteWriter()
            writer.int32(0)
            writer.int64(0)
            writer.int32(30_000)
            writer.int64(0)
            writer.buffer([UInt8](repeating: 0, count: 16))
            writer.bool(false)
            writer.withBytes { core.receive($0, from: id, at: now, into: &output) }
            connections.append(id)
        }
        turn()
    }

    /// What the shell does at the end of a turn, with a disk that answers at once.
    func turn() {
        if let last = output.log.last {
            core.durable(upTo: last.zxid, at: now, into: &output)
        }
        output.reset()
    }

    /// Sends every frame on the connections in turn, `batch` frames a turn.
    func send(_ frames: [[UInt8]], batch: Int = 64) {
        var inTurn = 0
        for (index, frame) in frames.enumerated() {
            frame.withUnsafeBytes {
                core.receive($0, from: connections[index % connections.count], at: now, into: &output)
            }
            inTurn += 1
            if inTurn == batch {
                turn()
                inTurn = 0
            }
        }
        turn()
    }
}

func frame(_ operation: ZooKeeperProtocol.Operation, _ write: (inout JuteWriter) -> Void) -> [UInt8] {
    var writer = JuteWriter()
    writer.int32(1)
    writer.int32(operation.rawValue)
    write(&writer)
    return writer.copy()
}

func path(_ index: Int) -> String { "/bench/d\(index / 1000)/n\(index)" }

func create(_ path: String, _ size: Int, flags: Int32 = 0) -> [UInt8] {
    frame(.create) {
        $0.string(path)
        $0.buffer([UInt8](repeating: 0x61, count: size))
        ACL.write(ACL.open, to: &$0)
        $0.int32(flags)
    }
}

func fill(_ bench: Bench, _ count: Int, size: Int = 100) {
    bench.send([create("/bench", 0)] + (0...(count / 1000)).map { create("/bench/d\($0)", 0) })
    bench.send((0..<count).map { create(path($0), size) })
}

let bench = Bench()
fill(bench, 10_000)
let order = (0..<10_000).map { ($0 &* 7919) % 10_000 }
let gets = order.map { index in
    frame(.getData) {
        $0.string(path(index))
        $0.bool(false)
    }
}
measure("get 100 B of 10 k nodes", operations: 10_000) { bench.send(gets) }
let sets = order.map { index in
    frame(.setData) {
        $0.string(path(index))
        $0.buffer([UInt8](repeating: 0x62, count: 1024))
        $0.int32(-1)
    }
}
measure("set 1 KB of 10 k nodes", operations: 10_000) { bench.send(sets) }
/// Prepares, outside the time measured, what each round needs.
@MainActor
func measureRounds(_ name: String, operations: Int, _ prepare: (Int) -> [[UInt8]], after: (Int) -> Void = { _ in }) {
    guard filter.isEmpty || name.contains(filter) else { return }
    var best = Duration.seconds(1_000_000)
    for round in 0..<(moreRounds ?? 5) {
        let frames = prepare(round)
        best = min(best, ContinuousClock().measure { bench.send(frames) })
        after(round)
    }
    let nanoseconds = Double(best.components.seconds) * 1e9 + Double(best.components.attoseconds) / 1e9
    print("\(name): \(Double(Int(nanoseconds / Double(operations) * 10)) / 10) ns")
}

func delete(_ path: String) -> [UInt8] {
    frame(.delete) {
        $0.string(path)
        $0.int32(-1)
    }
}

func fresh(_ round: Int) -> [String] { (0..<5000).map { "/bench/d0/x\($0 + round * 5000)" } }

measureRounds("create 100 B", operations: 5000) {
    fresh($0).map { create($0, 100) }
} after: {
    bench.send(fresh($0).map(delete))
}
measureRounds("delete", operations: 5000) {
    bench.send(fresh($0).map { create($0, 100) })
    return fresh($0).map(delete)
}
measureRounds("create sequential ephemeral 100 B", operations: 5000) { round in
    bench.send([create("/bench/s\(round)", 0)])
    return (0..<5000).map { _ in create("/bench/s\(round)/n-", 100, flags: 3) }
}
let multis = (0..<1000).map { index in
    frame(.multi) {
        for part in 0..<10 {
            MultiHeader.write(type: ZooKeeperProtocol.Operation.setData.rawValue, to: &$0)
            $0.string(path(order[index * 10 + part]))
            $0.buffer([UInt8](repeating: 0x63, count: 100))
            $0.int32(-1)
        }
        MultiHeader.writeEnd(to: &$0)
    }
}
measure("multi of 10 set 100 B", operations: 1000) { bench.send(multis) }
let list = frame(.getChildren) {
    $0.string("/bench/d1")
    $0.bool(false)
}
measure("getChildren of 1000", operations: 1000) { bench.send([[UInt8]](repeating: list, count: 1000)) }

if filter.isEmpty || "million".contains(filter) {
    let large = Bench()
    fill(large, 1_000_000)
    let far = (0..<100_000).map { ($0 &* 7_919_017) % 1_000_000 }
    let farGets = far.map { index in
        frame(.getData) {
            $0.string(path(index))
            $0.bool(false)
        }
    }
    measure("get 100 B of a million nodes", operations: 100_000) { large.send(farGets) }
    var nodes = JuteWriter()
    measure("snapshot of a million nodes, a node", operations: 1_000_000, rounds: 2) {
        _ = large.core.beginSnapshot()
        while large.core.continueSnapshot(maxBytes: 1 << 18, into: &nodes) { nodes.removeAll() }
    }
}
print("(\(sink & 1))")
