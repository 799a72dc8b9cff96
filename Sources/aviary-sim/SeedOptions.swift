import ArgumentParser
import AviarySimulation

/// Which seeds a command runs, and how many of them at once.
struct SeedOptions: ParsableArguments {
    @Option(help: "How many seeds to run.")
    var seeds = 1000

    @Option(help: "The first of them; the others follow it.")
    var first: UInt64 = 1

    @Option(help: "How many to run at once.")
    var jobs = 1

    func validate() throws {
        guard seeds > 0 else { throw ValidationError("--seeds has to be above 0.") }
        guard (1...64).contains(jobs) else { throw ValidationError("--jobs has to be from 1 to 64.") }
    }

    /// Runs `body` for each seed, until there are too many violations, and reports.
    ///
    /// - Throws: `ExitCode` after a violation.
    func forEachSeed<Place>(
        _ places: Place.Type,
        _ body: @escaping @Sendable (UInt64, Progress<Place>) -> Void
    ) async throws {
        let progress = Progress<Place>(total: seeds)
        await withTaskGroup(of: Void.self) { group in
            for job in 0..<jobs {
                group.addTask { [seeds, first, jobs] in
                    for number in stride(from: job, to: seeds, by: jobs) {
                        if progress.isOver { return }
                        body(first &+ UInt64(number), progress)
                    }
                }
            }
        }
        if progress.report() { throw ExitCode(1) }
    }
}
