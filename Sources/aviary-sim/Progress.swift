import AviarySimulation
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// Gathers what the seeds come to, and says how far they are.
final class Progress: Sendable {
    private let total: Int
    private let started = ContinuousClock.now
    private let state = Mutex(State())

    private struct State {
        var done = 0
        var counts = CrashCounts()
        var violations: [SeedResult] = []
        var lastLine = ContinuousClock.now
    }

    /// After as many violations the rest would only say the same.
    private static let maximumViolations = 10

    init(total: Int) { self.total = total }

    var isOver: Bool { state.withLock { $0.violations.count >= Progress.maximumViolations } }

    func finished(_ result: SeedResult) {
        state.withLock { state in
            state.done += 1
            state.counts.add(result.counts)
            if let violation = result.violation {
                say("seed \(result.seed): \(violation)")
                state.violations.append(result)
            }
            let now = ContinuousClock.now
            guard now - state.lastLine >= .seconds(10) else { return }
            state.lastLine = now
            say("\(state.done) of \(total) seeds, \(rate(state.done)) a second, \(state.violations.count) violations")
        }
    }

    /// At once, also where the output is a file.
    private func say(_ line: String) {
        print(line)
        fflush(nil)
    }

    private func rate(_ done: Int) -> Int {
        Int(Double(done) / max((ContinuousClock.now - started) / .seconds(1), 0.001))
    }

    /// Prints what was reached.
    ///
    /// - Returns: whether a promise was broken.
    func report() -> Bool {
        state.withLock { state in
            for place in CrashCounts.Place.allCases {
                let number = String(state.counts[place])
                print(String(repeating: " ", count: max(12 - number.count, 1)) + number + "  " + place.rawValue)
            }
            let seconds = Int((ContinuousClock.now - started) / .seconds(1))
            print(
                "\(state.done) seeds in \(seconds) s (\(rate(state.done)) a second), "
                    + "\(state.violations.count) violations"
            )
            return !state.violations.isEmpty
        }
    }
}
