import AviarySimulation
import AviaryStorage
import Synchronization
import Testing
import ZooKeeperProtocol

/// A server's life in short, on a disk that may end it anywhere: start, groups of writes, rolls, snapshots, purges.
private struct ServerLife {
    let history: History
    /// What some client was told.
    var acknowledged = Zxid.zero
    /// What was handed to the log.
    var submitted = Zxid.zero
    /// Costs more than everything else.
    var comparesDigests = false
    private var generator: SeededGenerator
    /// The tree after each transaction, by its zxid.
    private let trees: [NaiveTree]

    init(_ history: History, _ trees: [NaiveTree], seed: UInt64) {
        self.history = history
        self.trees = trees
        generator = SeededGenerator(seed: seed)
    }

    /// Runs until the history is written, or until the disk refuses something.
    mutating func run(on disk: SimulatedDisk) throws(StorageError) {
        var directories = DataDirectories(data: "data")
        let lock = try directories.open(on: disk, creates: true, owner: "test")
        defer { withExtendedLifetime(lock) {} }
        let start = try recover(on: disk)
        acknowledged = max(acknowledged, start)
        submitted = start
        if start == .zero { try disk.writeSnapshot(NaiveTree.fresh, zxid: .zero) }
        var log = TxnLogWriter(
            disk: disk,
            directory: directories.logs,
            lastZxid: start,
            options: TxnLogOptions(preallocationBytes: 64 << 10, reserveBytes: 4 << 10)
        )
        try log.prepare()
        var purge = Purge(disk: disk, directories: directories, gzip: NoGzip(), retain: 3)
        var next = start.rawValue + 1
        while next <= history.lastZxid.rawValue {
            let last = min(next + Int64.random(in: 0...5, using: &generator), history.lastZxid.rawValue)
            log.append(history.records(next...last))
            submitted = Zxid(last)
            acknowledged = try log.flush()
            next = last + 1
            switch Int.random(in: 0..<8, using: &generator) {
            case 0:
                try log.roll()
                try disk.writeSnapshot(trees[Int(acknowledged.rawValue)], zxid: acknowledged)
                while try purge.step() == .more {}
            case 1:
                try log.sealMark()
            default:
                break
            }
        }
        try log.close()
    }

    /// Recovers and holds what comes out against the history.
    mutating func recover(on disk: SimulatedDisk) throws(StorageError) -> Zxid {
        var tree = NaiveTree()
        let directories = DataDirectories(data: "data")
        var options = RecoveryOptions()
        options.comparesDigests = comparesDigests
        let recovery = Recovery(disk: disk, directories: directories, gzip: NoGzip(), options: options)
        let report = try recovery.run(into: &tree)
        #expect(report.lastZxid >= acknowledged, "an acknowledged write is gone")
        #expect(report.lastZxid <= max(submitted, acknowledged), "something is there that nobody wrote")
        #expect(tree.difference(from: trees[Int(report.lastZxid.rawValue)]) == nil)
        #expect(report.alarms.isEmpty)
        return report.lastZxid
    }
}

/// Whatever happens to the machine, what was acknowledged is there, and nothing is that was never written.
@Suite("Crashes")
struct CrashTests {
    private static let history: History = {
        var history = History()
        history.createSession(0x10)
        for number in 0..<14 {
            history.createMany(2, data: String(repeating: "d", count: number % 3 == 0 ? 60 * number : 10))
            if number % 3 == 0 { history.set("/n3", "changed \(number)") }
        }
        return history
    }()

    private static let trees = (0...history.lastZxid.rawValue).map { history.tree(at: Zxid($0)) }

    /// How many calls a life takes that change something.
    private static func calls(seed: UInt64) throws -> Int {
        let disk = SimulatedDisk(seed: seed)
        var life = ServerLife(history, trees, seed: seed)
        try life.run(on: disk)
        #expect(life.acknowledged == history.lastZxid)
        return disk.trace.count
    }

    private func live(
        seed: UInt64,
        cut: Int,
        _ loss: SimulatedDisk.Loss,
        secondCut: Int? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let disk = SimulatedDisk(seed: seed &* 1000 &+ UInt64(cut))
        var life = ServerLife(Self.history, Self.trees, seed: seed)
        for cut in [cut, secondCut, nil] as [Int?] {
            disk.cutPower(after: cut)
            life.comparesDigests = cut == nil
            do throws(StorageError) {
                try life.run(on: disk)
            } catch {
                guard case .some = cut, error.isPowerFailure else {
                    Issue.record("seed \(seed), cut \(cut ?? -1), \(loss): \(error)", sourceLocation: sourceLocation)
                    return
                }
            }
            disk.restart(loss)
        }
        #expect(life.acknowledged == Self.history.lastZxid, sourceLocation: sourceLocation)
    }

    @Test("Power fails at every single call, and everything unsynced is lost")
    func everyCall() throws {
        for cut in 0..<(try Self.calls(seed: 3)) { live(seed: 3, cut: cut, .everythingUnsynced) }
    }

    @Test("The process is killed at every single call")
    func everyKill() throws {
        for cut in 0..<(try Self.calls(seed: 5)) { live(seed: 5, cut: cut, .processOnly) }
    }

    @Test(
        "Power fails at any call, twice, and chance decides what was on disk",
        arguments: 1...40 as ClosedRange<UInt64>
    )
    func anyCall(_ seed: UInt64) throws {
        let calls = try Self.calls(seed: seed)
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<25 {
            let cut = Int.random(in: 0..<calls, using: &generator)
            live(seed: seed, cut: cut, .random, secondCut: Int.random(in: 1...60, using: &generator))
        }
    }

    @Test("A sync fails, the process ends, the power follows: what was acknowledged is there", arguments: 1...40)
    func failedSync(_ number: Int) throws {
        let disk = SimulatedDisk(seed: UInt64(number))
        var life = ServerLife(Self.history, Self.trees, seed: 7)
        let countdown = Countdown(number)
        disk.setFault { operation in
            let isSync = operation.kind == .sync || operation.kind == .syncDirectory
            return isSync && countdown.step() ? .refuse(.inputOutput) : nil
        }
        do throws(StorageError) {
            try life.run(on: disk)
        } catch {
            #expect(error.isInputOutput, "\(error)")
        }
        disk.restart(.everythingUnsynced)
        try life.run(on: disk)
        #expect(life.acknowledged == Self.history.lastZxid)
    }

    @Test(
        "A sync fails, the process comes back, the power fails then: what was served is there",
        arguments: [true, false]
    )
    func failedSyncThenRestart(_ marks: Bool) throws {
        let disk = SimulatedDisk.empty()
        try disk.writeSnapshot(History().tree, zxid: .zero)
        var log = TxnLogWriter(
            disk: disk,
            directory: "data/version-2",
            lastZxid: .zero,
            options: TxnLogOptions(preallocationBytes: 64 << 10, reserveBytes: 16 << 10)
        )
        for group in [1...4, 5...8] as [ClosedRange<Int64>] {
            log.append(Self.history.records(group))
            try log.flush()
        }
        disk.setFault { $0.kind == .sync ? .refuse(.inputOutput) : nil }
        log.append(Self.history.records(9...12))
        #expect(throws: StorageError.self) { try log.flush() }
        // Pages that were not written count as written now.
        disk.restart(.processOnly)
        if !marks {
            let file = try disk.open("log.1".inVersionFolder, .update)
            try FileBytes.logHeader.withUnsafeBytes { try file.write($0, at: 0) }
        }
        var tree = NaiveTree()
        let served = try recover(disk, into: &tree).lastZxid
        #expect(served == Zxid(12))
        disk.restart(.everythingUnsynced)
        #expect(try recover(disk, into: &tree).lastZxid == served)
        // From now on a bad record is damage.
        guard marks else { return }
        disk.flipBit("log.1".inVersionFolder, offset: FileBytes.offset(of: 12, in: Self.history.records) + 50)
        #expect(throws: StorageError.self) { try recover(disk, into: &tree) }
    }

    @Test("A lost or turned block in what was acknowledged is refused or repaired from elsewhere, never served wrong")
    func bitRot() throws {
        let disk = SimulatedDisk(seed: 11)
        var life = ServerLife(Self.history, Self.trees, seed: 11)
        try life.run(on: disk)
        let files = disk.files(in: "data/version-2").filter { !$0.key.hasPrefix(".") }
        for (name, bytes) in files.sorted(by: { $0.key < $1.key }) {
            for offset in stride(from: 0, to: bytes.count, by: 97) {
                let path = name.inVersionFolder
                disk.flipBit(path, offset: offset, bit: offset % 8)
                var tree = NaiveTree()
                let directories = DataDirectories(data: "data")
                var options = RecoveryOptions()
                options.repairs = false
                let recovery = Recovery(disk: disk, directories: directories, gzip: NoGzip(), options: options)
                if let report = try? recovery.run(into: &tree) {
                    // All was sealed when the life ended: nothing acknowledged may be cut.
                    #expect(report.lastZxid == Self.history.lastZxid, "\(name) at \(offset)")
                    #expect(tree.difference(from: Self.history.tree) == nil, "\(name) at \(offset)")
                }
                disk.flipBit(path, offset: offset, bit: offset % 8)
            }
        }
    }
}

/// Says yes once, at the given step, however many threads ask.
private final class Countdown: Sendable {
    private let left: Mutex<Int>

    init(_ steps: Int) { left = Mutex(steps) }

    func step() -> Bool {
        left.withLock { left in
            left -= 1
            return left == 0
        }
    }
}

extension StorageError {
    fileprivate var cause: DiskError.Reason? {
        switch self {
        case .disk(let error), .syncFailed(let error), .logWriteFailed(let error), .snapshotFailed(let error):
            error.reason
        default: nil
        }
    }

    fileprivate var isPowerFailure: Bool { cause == .powerLost }
    fileprivate var isInputOutput: Bool { cause == .inputOutput }
}
