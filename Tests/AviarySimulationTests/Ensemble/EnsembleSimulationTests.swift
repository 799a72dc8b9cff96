import AviarySimulation
import Foundation
import Testing

/// Whole ensembles from seeds, under faults and healed (docs/design/simulation.md).
@Suite("Ensemble simulation")
struct EnsembleSimulationTests {
    /// `AVIARY_ENSEMBLE_SEEDS=2000 swift test --filter EnsembleSimulationTests` tries all of so many, however long it takes;
    /// `aviary-sim` many more. Without it there are as many of 300 as a slow build comes to in `patience`.
    static let wanted = ProcessInfo.processInfo.environment["AVIARY_ENSEMBLE_SEEDS"].flatMap(Int.init)
    static let patience = Duration.seconds(20)
    static let shards = 2

    @Test("Whatever fails, no promise is broken, and a healed quorum goes on", arguments: 0..<shards)
    func random(shard: Int) {
        let start = ContinuousClock.now
        for number in stride(from: shard, to: Self.wanted ?? 300, by: Self.shards) {
            if Self.wanted == nil, ContinuousClock.now - start > Self.patience { return }
            let result = EnsembleRun.result(of: UInt64(20_000 + number))
            guard let violation = result.violation else { continue }
            Issue.record("seed \(result.seed): \(violation)\n\(result.settings)")
            return
        }
    }

    @Test("The same seed does the same in another process")
    func repeats() throws {
        let seeds: ClosedRange<UInt64> = 31...33
        let text = try SimulatorProcess.hashes(of: seeds, "ensemble")
        for seed in seeds {
            let here = EnsembleRun.result(of: seed).hash
            #expect(text.contains("seed \(seed): \(here)\n"), "seed \(seed) is \(here) here")
        }
    }

    /// The others take more seeds than a debug build has time for: `aviary-sim faults`.
    @Test("Planted faults are found", arguments: EnsemblePlantedFault.allCases.filter { $0.seeds <= 20 })
    func found(_ fault: EnsemblePlantedFault) {
        for seed in 1...fault.seeds where EnsembleRun.finds(fault, in: seed) != nil { return }
        Issue.record("\(fault) is not found within \(fault.seeds) seeds")
    }
}
