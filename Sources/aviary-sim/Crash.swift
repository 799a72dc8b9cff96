import ArgumentParser
import AviarySimulation

/// `aviary-sim crash`.
struct Crash: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Crash one server again and again, and hold what it recovers against what its clients were told.",
        discussion: """
            Each seed is one workload over several lives of a server, every life ended by a crash: power cut in any disk \
            call, a process killed, a sync that fails, a full disk, bits turned. docs/design/simulation.md says what is \
            simulated and what is checked. Ends with 1 after a violation.
            """
    )

    @Option(help: "How many seeds to run.")
    var seeds = 1000

    @Option(help: "The first of them; the others follow it.")
    var first: UInt64 = 1

    @Option(help: "How many to run at once.")
    var jobs = 1

    @Option(help: ArgumentHelp("Build a mistake in, and see whether it is found.", valueName: "name"))
    var fault: PlantedFault?

    @Flag(help: "Crash the first life at each of its disk calls in turn, with all three kinds of loss.")
    var everyCall = false

    @Flag(help: "Tell what happens in each life.")
    var tell = false

    @Flag(help: "Print a fingerprint of each run: the same for the same seed, everywhere.")
    var hash = false

    func validate() throws {
        guard seeds > 0 else { throw ValidationError("--seeds has to be above 0.") }
        guard (1...64).contains(jobs) else { throw ValidationError("--jobs has to be from 1 to 64.") }
        guard !everyCall || !(tell || hash) else {
            throw ValidationError("--tell and --hash are of one run, --every-call makes many of each seed.")
        }
    }

    func run() async throws {
        let progress = Progress<CrashPlace>(total: seeds)
        await withTaskGroup(of: Void.self) { group in
            for job in 0..<jobs {
                group.addTask {
                    for number in stride(from: job, to: seeds, by: jobs) {
                        if progress.isOver { return }
                        let result = run(seed: first &+ UInt64(number), progress)
                        if hash { progress.say("seed \(result.seed): \(result.hash)") }
                        progress.finished(
                            result.counts,
                            violation: result.violation.map { "seed \(result.seed): \($0)" }
                        )
                    }
                }
            }
        }
        if progress.report() { throw ExitCode(1) }
    }

    private func run(seed: UInt64, _ progress: Progress<CrashPlace>) -> SeedResult {
        guard everyCall else {
            return CrashRun.result(of: seed, planted: fault, narrator: tell ? { progress.say($0) } : nil)
        }
        return CrashRun.resultOfEveryCall(of: seed, planted: fault)
    }
}

extension PlantedFault: ExpressibleByArgument {}
