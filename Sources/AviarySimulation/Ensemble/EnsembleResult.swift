/// What one seed came to.
package struct EnsembleResult: Sendable {
    package var seed: UInt64
    /// The ensemble and its faults, in words.
    package var settings: String
    package var counts: EnsembleCounts
    package var violation: Violation?
    /// A fingerprint of everything that happened.
    package var hash: TraceHash
}

extension EnsembleRun {
    /// Runs a seed.
    package static func result(
        of seed: UInt64,
        planted: EnsemblePlantedFault? = nil,
        settings: EnsembleSettings? = nil,
        narrator: ((String) -> Void)? = nil,
        tellsPackets: Bool = false
    ) -> EnsembleResult {
        var result = EnsembleResult(seed: seed, settings: "", counts: EnsembleCounts(), hash: TraceHash())
        do throws(Violation) {
            let run = try EnsembleRun(seed: seed, planted: planted, settings: settings)
            run.narrator = narrator
            run.tellsPackets = tellsPackets
            result.settings = run.settings.description
            defer {
                result.counts = run.counts
                result.hash = run.trace
            }
            // Processes and their machines hold each other.
            defer { for machine in run.machines { machine.process = nil } }
            try run.run()
        } catch {
            result.violation = error
        }
        return result
    }

    /// Whether a seed shows a planted mistake: it breaks a promise with it, and none without, in the same ensemble.
    ///
    /// - Returns: the promise that is broken.
    package static func finds(_ planted: EnsemblePlantedFault, in seed: UInt64) -> Violation? {
        guard let violation = result(of: seed, planted: planted).violation else { return nil }
        let settings = EnsembleSettings(of: seed, planted)
        return result(of: seed, settings: settings).violation == nil ? violation : nil
    }
}

extension EnsembleSettings {
    /// What a seed makes of an ensemble.
    package init(of seed: UInt64, _ planted: EnsemblePlantedFault? = nil) {
        var random = SeededGenerator(seed: seed)
        var drawing = random.fork()
        self.init(from: &drawing)
        planted?.focus(&self)
    }
}
