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
            seeds that stands beside it. Ends with 1 if one is not.
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
        var isFound: @Sendable (UInt64) -> Bool
    }

    private static var trials: [Trial] {
        EnsemblePlantedFault.allCases.map { fault in
            Trial(name: "ensemble \(fault.rawValue)", bound: fault.seeds) { seed in
                EnsembleRun.result(of: seed, planted: fault).violation != nil
            }
        }
            + PlantedFault.allCases.map { fault in
                Trial(name: "crash \(fault.rawValue)", bound: fault.seeds) { seed in
                    CrashRun.result(of: seed, planted: fault).violation != nil
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
                        if let seed = (1...trial.bound).first(where: trial.isFound) {
                            print("\(trial.name): found by seed \(seed) of \(trial.bound)")
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
