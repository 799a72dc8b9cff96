import AviarySimulation
import AviaryStorage
import Foundation
import Testing
import ZooKeeperProtocol

/// The storage of one member of an ensemble over some lives, each of which may end anywhere: leaders come and go, and want
/// it to append, to cut, or to take their snapshot.
private struct MemberLife {
    /// What a start may find: a beginning of one of these histories, and at least so much of it.
    struct Candidate {
        var history: History
        var atLeast: Zxid
    }

    struct Failure: Error, CustomStringConvertible {
        var description: String
    }

    let disk: SimulatedDisk
    private var generator: SeededGenerator
    private var history = History()
    private var candidates: [Candidate] = []
    private var accepted = Epoch.zero
    private var current = Epoch.zero
    private var epoch: Int64 = 0
    /// What the last snapshot of a leader began with.
    private var base = Zxid.zero
    private var hasMemory = true
    /// Without memory there may be data all the same, which no longer counts.
    private var hasData = true
    private var driver = TestDriver()
    /// What was done, for whoever has to find out.
    private(set) var story: [String] = []
    private(set) var counts: [String: Int] = [:]

    init(seed: UInt64) {
        disk = SimulatedDisk.empty(seed: seed &* 77)
        generator = SeededGenerator(seed: seed)
        candidates = [Candidate(history: history, atLeast: .zero)]
    }

    private mutating func chance(_ one: Int) -> Bool { Int.random(in: 0..<one, using: &generator) == 0 }
    private mutating func below(_ limit: Int) -> Int { Int.random(in: 0..<limit, using: &generator) }

    private mutating func count(_ what: String) { counts[what, default: 0] += 1 }

    // MARK: - One life

    /// - Returns: whether the life ended by itself.
    mutating func live(isLast: Bool) throws {
        try damage()
        try start()
        if !isLast { planFault() }
        do throws(StorageError) {
            var worker = try disk.worker(after: hasData ? history.lastZxid : Zxid(-1), hasLostMemory: !hasMemory)
            if !hasMemory { try beSynchronized(&worker, byForce: true) }
            for _ in 0..<(isLast ? 2 : 3 + below(10)) {
                switch below(8) {
                case 0..<4: try append(&worker)
                case 4: try writeSnapshot()
                case 5: try worker.wake(&driver)
                default: try beSynchronized(&worker, byForce: false)
                }
            }
            try worker.close(&driver)
            count("lives ended in order")
        } catch {
            story.append("ended by \(error)")
            guard disk.faultCount > 0 || !disk.hasPower else { throw Failure(description: "ended by \(error)") }
            count(disk.hasPower ? "faults" : "power cuts")
        }
        let loss: SimulatedDisk.Loss =
            isLast ? .everythingUnsynced : [.processOnly, .everythingUnsynced, .random][below(3)]
        story.append("crash, \(loss)")
        disk.restart(loss)
        if isLast { try start() }
    }

    private mutating func planFault() {
        switch below(4) {
        case 0..<2:
            disk.cutPower(after: below(120))
        case 2:
            let kinds: [DiskError.Operation] = [
                .open, .write, .sync, .rename, .syncDirectory, .truncate, .remove, .allocate, .makeDirectory, .list,
            ]
            let kind = kinds[below(kinds.count)]
            let reason: DiskError.Reason =
                [.write, .allocate, .open].contains(kind) && chance(2) ? .noSpace : .inputOutput
            disk.fail(kind, after: below(kind == .sync || kind == .write ? 30 : 6), with: .refuse(reason))
        default:
            break
        }
    }

    /// Starts, and holds what is found against what may be found.
    private mutating func start() throws {
        var tree = NaiveTree()
        var found: MemberState?
        for _ in 0..<2 where found == nil {
            switch try disk.memberRecovery.run(into: &tree) {
            case .loaded(let state):
                found = state
            case .damaged(let error):
                throw Failure(description: "damaged: \(error)")
            }
        }
        guard let state = found else { throw Failure(description: "not loaded") }
        try check(state, tree)
    }

    private mutating func check(_ state: MemberState, _ tree: NaiveTree) throws {
        let last = state.report.lastZxid
        guard state.accepted >= accepted else { throw Failure(description: "accepted \(state.accepted) < \(accepted)") }
        guard state.accepted >= state.current else { throw Failure(description: "accepted < current") }
        guard state.current >= last.epoch || last < .zero else { throw Failure(description: "current < log") }
        guard hasMemory || !state.remembersAll || last >= .zero else { throw Failure(description: "false memory") }
        if last < .zero {
            guard !hasMemory else { throw Failure(description: "nothing is left") }
            return
        }
        guard state.report.alarms.isEmpty else { throw Failure(description: "\(state.report.alarms)") }
        let match = candidates.first { candidate in
            last >= candidate.atLeast && last <= candidate.history.lastZxid
                && tree.difference(from: candidate.history.tree(at: last)) == nil
        }
        guard let match else {
            let texts = candidates.map { "\($0.atLeast)...\($0.history.lastZxid)" }
            throw Failure(description: "\(last) is none of \(texts)")
        }
        guard !hasMemory || state.current >= current else {
            throw Failure(description: "current \(state.current) < \(current)")
        }
        guard hasMemory || !state.remembersAll || state.current > .zero else {
            throw Failure(description: "false memory")
        }
        hasData = true
        // An installation that the start has finished.
        if candidates.count > 1, match.history.lastZxid == candidates.last?.history.lastZxid { base = last }
        history = match.history.cut(after: last)
        candidates = [Candidate(history: history, atLeast: last)]
        accepted = state.accepted
        current = state.current
        epoch = max(epoch, accepted.rawValue)
        if state.remembersAll { hasMemory = true }
        if state.report.database == .created { try disk.writeSnapshot(history.tree, zxid: .zero) }
        story.append("started at \(last), epochs \(accepted) \(current), memory \(hasMemory)")
    }

    // MARK: - Orders

    private mutating func perform(_ orders: [StorageOrder], _ worker: inout TestWorker) throws(StorageError) {
        for order in orders {
            do throws(StorageError) { try worker.perform(order, &driver) } catch {
                takeReports()
                throw error
            }
        }
        do throws(StorageError) { try worker.endGroup(&driver) } catch {
            takeReports()
            throw error
        }
        takeReports()
    }

    /// From what was told on there is no way back.
    private mutating func takeReports() {
        for report in driver.reports {
            switch report {
            case .durable(let report):
                guard let last = candidates.last else { continue }
                let isCertain = candidates.count == 1
                if isCertain { candidates[candidates.count - 1].atLeast = max(last.atLeast, report.durable) }
            case .acceptedEpochStored(let epoch): accepted = max(accepted, epoch)
            case .currentEpochStored(let epoch):
                current = max(current, epoch)
                hasMemory = true
            case .truncated, .snapshotInstalled:
                candidates.removeFirst(max(candidates.count - 1, 0))
            case .snapshotFailed:
                candidates.removeLast(max(candidates.count - 1, 0))
                count("snapshots given up")
            case .snapshotBytesWritten, .warning: continue
            }
        }
        driver.reports = []
    }

    private mutating func grow(_ history: inout History, by count: Int) {
        for _ in 0..<count {
            switch below(4) {
            case 0: history.createSession(Int64(below(1 << 30)) + 1)
            default: history.createMany(1, data: String(repeating: "d", count: below(5) == 0 ? 3000 : below(60)))
            }
        }
    }

    private mutating func append(_ worker: inout TestWorker) throws(StorageError) {
        guard hasMemory else { return }
        let before = history.records.count
        var grown = history
        grow(&grown, by: 1 + below(5))
        history = grown
        candidates[0].history = history
        let new = Array(history.records[before...])
        story.append("append \(new[0].zxid)...")
        try perform([.append(new, rolls: chance(4))], &worker)
    }

    private mutating func writeSnapshot() throws(StorageError) {
        guard hasMemory, candidates.count == 1 else { return }
        let zxid = candidates[0].atLeast
        story.append("snapshot \(zxid)")
        do throws(StorageError) {
            try disk.writeSnapshot(history.tree(at: zxid), zxid: zxid, compression: chance(3) ? .snappy : .none)
        } catch {
            // As in the server: it costs the snapshot and nothing else.
            guard disk.hasPower else { throw error }
        }
    }

    /// Another leader, in another epoch.
    private mutating func beSynchronized(_ worker: inout TestWorker, byForce: Bool) throws(StorageError) {
        epoch += 1
        story.append("epoch \(epoch)")
        try perform([.storeAccepted(Epoch(epoch))], &worker)
        let way = byForce || !hasMemory ? 2 : below(3)
        switch way {
        case 0:
            count("DIFF")
        case 1:
            try truncate(&worker)
        default:
            guard try receiveSnapshot(&worker) else { return }
        }
        var next = history
        let before = next.records.count
        if next.lastZxid.epoch < Epoch(epoch) { next.beginEpoch(epoch) }
        if chance(4) { next.lastZxid(history.lastZxid) } else { grow(&next, by: 1 + below(4)) }
        history = next
        candidates[0].history = history
        var orders: [StorageOrder] = []
        if history.records.count > before { orders.append(.append(Array(history.records[before...]))) }
        try perform(orders + [.storeCurrent(Epoch(epoch))], &worker)
    }

    private mutating func truncate(_ worker: inout TestWorker) throws(StorageError) {
        // Below the state that a leader sent there is nothing to go back to.
        let places = history.records.suffix(8).map(\.zxid).filter { $0 >= base }
        guard !places.isEmpty else { return }
        let zxid = places[places.startIndex + below(places.count)]
        story.append("truncate \(zxid)")
        let cut = history.cut(after: zxid)
        candidates = [
            Candidate(history: history, atLeast: zxid), Candidate(history: cut, atLeast: zxid),
        ]
        try perform([.truncate(after: zxid)], &worker)
        history = cut
        count("TRUNC")
    }

    /// - Returns: false when there is no snapshot in the end.
    private mutating func receiveSnapshot(_ worker: inout TestWorker) throws(StorageError) -> Bool {
        // What the leader has: some of ours, and something else.
        var leader =
            history.records.isEmpty ? history : history.cut(after: history.records[below(history.records.count)].zxid)
        leader.beginEpoch(epoch)
        grow(&leader, by: 1 + below(6))
        let stream = leader.tree.stream()
        story.append("snapshot of a leader, \(leader.lastZxid)")
        var orders: [StorageOrder] = [.beginSnapshot(leader.lastZxid)]
        let piece = 1 + below(3000)
        let isAbandoned = chance(5)
        for start in stride(from: 0, to: stream.count, by: piece) where !isAbandoned || start < stream.count / 2 {
            orders.append(.snapshotBytes(stream[start..<min(start + piece, stream.count)]))
        }
        if isAbandoned {
            try perform(orders + [.abandonSnapshot], &worker)
            count("snapshots abandoned")
            return false
        }
        candidates.append(Candidate(history: leader, atLeast: leader.lastZxid))
        if !hasData { candidates = [Candidate(history: leader, atLeast: leader.lastZxid)] }
        try perform(orders + [.finishSnapshot(digest: leader.tree.digest)], &worker)
        guard candidates.last?.history.lastZxid == leader.lastZxid, worker.durableZxid == leader.lastZxid else {
            return false
        }
        history = leader
        hasData = true
        base = leader.lastZxid
        count("SNAP")
        return true
    }

    // MARK: - Damage

    /// Turns a bit of what is stable. The member says so and goes on without what it had, or has all that it needs.
    private mutating func damage() throws {
        guard hasMemory, !disk.hasUnsyncedChanges, chance(3) else { return }
        let files = disk.files(in: "data/version-2").filter { name, bytes in
            !bytes.isEmpty && (FileNames.logZxid(name) != nil || FileNames.snapshotZxid(name) != nil)
        }
        guard !files.isEmpty else { return }
        // So that all is sealed that a start would seal.
        try start()
        let name = files.keys.sorted()[below(files.count)]
        guard let bytes = disk.contents(name.inVersionFolder) else { return }
        let (offset, bit) = (below(bytes.count), below(8))
        story.append("bit \(bit) of \(name) at \(offset)")
        disk.flipBit(name.inVersionFolder, offset: offset, bit: bit)
        var tree = NaiveTree()
        switch try disk.memberRecovery.run(into: &tree) {
        case .loaded(let state):
            try check(state, tree)
            count("damage survived")
            // As from a copy: a second fault may make the first one matter. A mark was made anew.
            let isMark = FileNames.logZxid(name) != nil && (4..<16).contains(offset)
            let isThere = disk.contents(name.inVersionFolder).map { $0.count > offset } ?? false
            if isThere, !isMark { disk.flipBit(name.inVersionFolder, offset: offset, bit: bit) }
        case .damaged(let error):
            count("quarantines")
            let cut = chance(2)
            if cut { disk.cutPower(after: below(25)) }
            _ = try? disk.memberRecovery.quarantine(because: error)
            if cut { disk.restart(chance(2) ? .random : .everythingUnsynced) }
            for _ in 0..<2 {
                if case .damaged(let error) = try disk.memberRecovery.run(into: &tree) {
                    _ = try disk.memberRecovery.quarantine(because: error)
                }
            }
            hasMemory = false
            hasData = false
            current = .zero
            history = History()
        }
    }
}

extension History {
    /// A new epoch without a transaction.
    fileprivate mutating func lastZxid(_ zxid: Zxid) { self = cut(after: zxid) }
}

@Suite("Lives of a member")
struct MemberLifeTests {
    /// `AVIARY_SEEDS=20000 swift test --filter MemberLifeTests` tries more.
    private static let seedCount =
        ProcessInfo.processInfo.environment["AVIARY_SEEDS"].flatMap { UInt64($0) } ?? 400

    @Test(
        "H9 to H15: whatever leaders want and disks do, a member has one history, and as much of it as it said",
        arguments: 0..<8
    )
    func lives(shard: UInt64) {
        for seed in stride(from: shard, to: Self.seedCount, by: 8) {
            var life = MemberLife(seed: seed)
            do {
                for number in 0..<4 { try life.live(isLast: number == 3) }
            } catch {
                Issue.record("seed \(seed): \(error)\n  \(life.story.joined(separator: "\n  "))")
                return
            }
        }
    }

    @Test("The places that matter are reached")
    func reached() {
        var counts: [String: Int] = [:]
        for seed in 1000..<1150 as Range<UInt64> {
            var life = MemberLife(seed: seed)
            do { for number in 0..<4 { try life.live(isLast: number == 3) } } catch {
                Issue.record("seed \(seed): \(error)\n  \(life.story.joined(separator: "\n  "))")
                return
            }
            counts.merge(life.counts, uniquingKeysWith: +)
        }
        for place in [
            "DIFF", "TRUNC", "SNAP", "snapshots abandoned", "snapshots given up", "quarantines", "damage survived",
            "power cuts", "faults", "lives ended in order",
        ] {
            #expect(counts[place, default: 0] > 3, "\(place): \(counts)")
        }
    }
}
