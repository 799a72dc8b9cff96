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

    @Option(help: "How many seeds to run.")
    var seeds = 1000

    @Option(help: "The first of them; the others follow it.")
    var first: UInt64 = 1

    @Option(help: "How many to run at once.")
    var jobs = 1

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

    func validate() throws {
        guard seeds > 0 else { throw ValidationError("--seeds has to be above 0.") }
        guard (1...64).contains(jobs) else { throw ValidationError("--jobs has to be from 1 to 64.") }
    }

    func run() async throws {
        let progress = Progress<EnsemblePlace>(total: seeds)
        await withTaskGroup(of: Void.self) { group in
            for job in 0..<jobs {
                group.addTask {
                    for number in stride(from: job, to: seeds, by: jobs) {
                        if progress.isOver { return }
                        let seed = first &+ UInt64(number)
                        if name { progress.say("seed \(seed)") }
                        let result = EnsembleRun.result(
                            of: seed,
                            planted: fault,
                            narrator: tell || packets ? { progress.say($0) } : nil,
                            tellsPackets: packets
                        )
                        if hash { print("seed \(seed): \(result.hash)") }
                        progress.finished(
                            result.counts,
                            violation: result.violation.map { "seed \(seed): \($0)\n    \(result.settings)" }
                        )
                    }
                }
            }
        }
        if progress.report() { throw ExitCode(1) }
    }
}

extension EnsemblePlantedFault: ExpressibleByArgument {}
