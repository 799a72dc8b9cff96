import Foundation
import Testing

/// The core against a second implementation, written from the specification alone and too simple to be wrong in the same
/// way: random sequences of everything that clients, time and the disk can do, and every reply, event, record, node and
/// restart compared.
@Suite("The core does what the model does")
struct ModelTests {
    /// `AVIARY_SEEDS=20000 swift test --filter ModelTests` tries more; `AVIARY_SEED=n` one alone, with its last steps.
    static let seedCount = ProcessInfo.processInfo.environment["AVIARY_SEEDS"].flatMap(Int.init) ?? 320
    static let onlySeed = ProcessInfo.processInfo.environment["AVIARY_SEED"].flatMap(UInt64.init)
    static let shards = 8

    @Test("Random sequences", arguments: 0..<shards)
    func random(shard: Int) {
        if let seed = Self.onlySeed {
            if shard == 0 { _ = run(seed, explains: true) }
            return
        }
        var failures = 0
        for seed in stride(from: shard, to: Self.seedCount, by: Self.shards) where !run(UInt64(seed), explains: false) {
            failures += 1
            if failures == 3 { return }
        }
    }

    @Test("Random sequences at the members of an ensemble", arguments: 0..<shards)
    func ensemble(shard: Int) {
        if let seed = Self.onlySeed {
            if shard == 0 { _ = run(seed, isEnsemble: true, explains: true) }
            return
        }
        var failures = 0
        for seed in stride(from: shard, to: Self.seedCount, by: Self.shards)
        where !run(UInt64(seed), isEnsemble: true, explains: false) {
            failures += 1
            if failures == 3 { return }
        }
    }

    private func run(_ seed: UInt64, isEnsemble: Bool = false, explains: Bool) -> Bool {
        let run = ModelRun(seed: seed, isEnsemble: isEnsemble)
        do {
            try run.run(steps: 150)
            return true
        } catch {
            let steps = explains ? "\n" + run.trace.joined(separator: "\n") : ""
            Issue.record("seed \(seed)\(isEnsemble ? " (ensemble)" : ""): \(error)\(steps)")
            return false
        }
    }
}
