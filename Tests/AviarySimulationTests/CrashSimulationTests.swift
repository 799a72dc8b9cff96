import AviarySimulation
import Foundation
import Testing

/// The server's own code on a disk that fails, crashed and started again, from one seed to the next
/// (docs/design/simulation.md).
@Suite("Crash simulation")
struct CrashSimulationTests {
    /// `AVIARY_SEEDS=20000 swift test --filter CrashSimulationTests` tries more; `aviary-sim crash` many more.
    static let seedCount = ProcessInfo.processInfo.environment["AVIARY_SEEDS"].flatMap(Int.init) ?? 240
    static let shards = 8

    @Test("Whatever the disk does, what was acknowledged is there and nothing half-done is", arguments: 0..<shards)
    func random(shard: Int) {
        var failures = 0
        for seed in stride(from: shard, to: Self.seedCount, by: Self.shards) {
            guard let violation = CrashRun.result(of: UInt64(seed)).violation else { continue }
            Issue.record("seed \(seed): \(violation)")
            failures += 1
            if failures == 3 { return }
        }
    }

    @Test("A crash at every single disk call of a life", arguments: [3, 4] as [UInt64])
    func everyCall(seed: UInt64) {
        let result = CrashRun.resultOfEveryCall(of: seed)
        if let violation = result.violation { Issue.record("seed \(seed): \(violation)") }
        #expect(result.counts[.powerCuts] > 50)
    }

    @Test("The same seed does the same in another process")
    func repeats() throws {
        let seeds: ClosedRange<UInt64> = 500...519
        let told = try SimulatorProcess.hashes(of: seeds, "crash")
        for seed in seeds {
            let here = CrashRun.result(of: seed).hash
            #expect(told.contains("seed \(seed): \(here)\n"), "seed \(seed) is \(here) here")
        }
    }

    @Test("The places that matter are reached")
    func reached() {
        var counts = CrashCounts()
        for seed in 1000..<1120 as Range<UInt64> { counts.add(CrashRun.result(of: seed).counts) }
        for place in CrashPlace.allCases {
            #expect(counts[place] > 0, "\(place.rawValue)")
        }
    }
}
