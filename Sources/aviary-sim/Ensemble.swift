import ArgumentParser
import AviarySimulation

/// `aviary-sim ensemble`, and what `aviary-sim` does without a word.
struct Ensemble: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run whole ensembles on simulated time, networks and disks, and look for broken promises.",
        discussion: """
            Each seed is one ensemble with its clients: first under faults, then healed, when it has to go on. \
            docs/design/simulation.md says what is simulated and what is checked. Ends with 1 after a violation.
            """
    )

    @OptionGroup var options: SeedOptions

    @Option(help: ArgumentHelp("Build a mistake in, and see whether it is found.", valueName: "name"))
    var fault: EnsemblePlantedFault?

    @Flag(help: "Tell what happens.")
    var tell = false

    @Flag(help: "Tell of packets between servers too.")
    var packets = false

    @Flag(help: "Name each seed before it runs: a broken invariant ends the process without a word about the seed.")
    var name = false

    @Flag(help: "Print a fingerprint of each run: the same for the same seed, everywhere.")
    var hash = false

    func run() async throws {
        try await options.forEachSeed(EnsemblePlace.self) { [fault, tell, packets, name, hash] seed, progress in
            if name { progress.say("seed \(seed)") }
            let result = EnsembleRun.result(
                of: seed,
                planted: fault,
                narrator: tell || packets ? { progress.say($0) } : nil,
                tellsPackets: packets
            )
            if hash { progress.say("seed \(seed): \(result.hash)") }
            progress.finished(
                result.counts,
                violation: result.violation.map { "seed \(seed): \($0)\n    \(result.settings)" }
            )
        }
    }
}

extension EnsemblePlantedFault: ExpressibleByArgument {}
