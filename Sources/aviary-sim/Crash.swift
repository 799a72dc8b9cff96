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

    @OptionGroup var options: SeedOptions

    @Option(help: ArgumentHelp("Build a mistake in, and see whether it is found.", valueName: "name"))
    var fault: PlantedFault?

    @Flag(help: "Crash the first life at each of its disk calls in turn, with all three kinds of loss.")
    var everyCall = false

    @Flag(help: "Tell what happens in each life.")
    var tell = false

    @Flag(help: "Print a fingerprint of each run: the same for the same seed, everywhere.")
    var hash = false

    func validate() throws {
        guard !everyCall || !(tell || hash) else {
            throw ValidationError("--tell and --hash are of one run, --every-call makes many of each seed.")
        }
    }

    func run() async throws {
        try await options.forEachSeed(CrashPlace.self) { [fault, everyCall, tell, hash] seed, progress in
            let result =
                everyCall
                ? CrashRun.resultOfEveryCall(of: seed, planted: fault)
                : CrashRun.result(of: seed, planted: fault, narrator: tell ? { progress.say($0) } : nil)
            if hash { progress.say("seed \(seed): \(result.hash)") }
            progress.finished(result.counts, violation: result.violation.map { "seed \(seed): \($0)" })
        }
    }
}

extension PlantedFault: ExpressibleByArgument {}
