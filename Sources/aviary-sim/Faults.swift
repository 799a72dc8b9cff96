import ArgumentParser
import AviarySimulation

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// `aviary-sim faults`.
struct Faults: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Build each planted mistake in, and see within how many seeds it is found.",
        discussion: """
            A simulation that finds nothing may be one that sees nothing. Each mistake has to be found within the number of \
            seeds that stands beside it, by a seed that breaks no promise without it. Ends with 1 if one is not.
            """
    )

    @Option(help: "How many to run at once.")
    var jobs = 1

    func validate() throws {
        guard (1...64).contains(jobs) else { throw ValidationError("--jobs has to be from 1 to 64.") }
    }

    private struct Trial: Sendable {
        var name: String
        var bound: UInt64
        /// The promise that a seed breaks with the mistake, and does not break without.
        var find: @Sendable (UInt64) -> Violation?
    }

    private static var trials: [Trial] {
        EnsemblePlantedFault.allCases.map { fault in
            Trial(name: "ensemble \(fault.rawValue)", bound: fault.seeds) { seed in
                EnsembleRun.finds(fault, in: seed)
            }
        }
            + PlantedFault.allCases.map { fault in
                Trial(name: "crash \(fault.rawValue)", bound: fault.seeds) { seed in
                    CrashRun.finds(fault, in: seed)
                }
            }
    }

    func run() async throws {
        let trials = Self.trials
        let jobs = jobs
        let missed = await withTaskGroup(of: Int.self) { group in
            for job in 0..<jobs {
                group.addTask {
                    var missed = 0
                    for index in stride(from: job, to: trials.count, by: jobs) {
                        let trial = trials[index]
                        var found: (seed: UInt64, violation: Violation)?
                        for seed in 1...trial.bound where found == nil { found = trial.find(seed).map { (seed, $0) } }
                        if let (seed, violation) = found {
                            print("\(trial.name): found by seed \(seed) of \(trial.bound): \(violation)")
                        } else {
                            print("\(trial.name): NOT found within \(trial.bound) seeds")
                            missed += 1
                        }
                        fflush(nil)
                    }
                    return missed
                }
            }
            return await group.reduce(0, +)
        }
        print("\(trials.count - missed) faults found, \(missed) missed")
        if missed > 0 { throw ExitCode(1) }
    }
}
