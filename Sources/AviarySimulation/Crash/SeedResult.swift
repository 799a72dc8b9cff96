/// What one seed came to.
package struct SeedResult: Sendable {
    package var seed: UInt64
    package var counts: CrashCounts
    package var violation: Violation?
    /// A fingerprint of everything that happened; of many runs of one seed there is none.
    package var hash = TraceHash()
}

extension CrashRun {
    /// Runs a seed.
    package static func result(
        of seed: UInt64,
        planted: PlantedFault? = nil,
        plan: Plan = .random,
        narrator: ((String) -> Void)? = nil
    ) -> SeedResult {
        let run = CrashRun(seed: seed, planted: planted, plan: plan)
        run.narrator = narrator
        var violation: Violation?
        do throws(Violation) { try run.run() } catch { violation = error }
        return SeedResult(seed: seed, counts: run.counts, violation: violation, hash: run.trace)
    }

    /// Whether a seed shows a planted mistake: it breaks a promise with it, and none without.
    ///
    /// - Returns: the promise that is broken.
    package static func finds(_ planted: PlantedFault, in seed: UInt64) -> Violation? {
        guard let violation = result(of: seed, planted: planted).violation else { return nil }
        return result(of: seed).violation == nil ? violation : nil
    }

    /// Runs the workload of a seed once for each disk call of its first life and each kind of loss, with the crash there.
    package static func resultOfEveryCall(of seed: UInt64, planted: PlantedFault? = nil) -> SeedResult {
        let whole = CrashRun(seed: seed, planted: planted, plan: .call(.max, .everythingUnsynced))
        var result = SeedResult(seed: seed, counts: CrashCounts(), violation: nil)
        do throws(Violation) { try whole.run() } catch { result.violation = error }
        for call in 0..<whole.firstLifeCalls where result.violation == nil {
            for loss in [.processOnly, .everythingUnsynced, .random] as [SimulatedDisk.Loss]
            where result.violation == nil {
                let one = CrashRun.result(of: seed, planted: planted, plan: .call(call, loss))
                result.counts.add(one.counts)
                result.violation = one.violation
            }
        }
        return result
    }
}
