import AviarySimulation
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// Gathers what the seeds come to, and says how far they are.
final class Progress<Place>: Sendable
where Place: CaseIterable & RawRepresentable & Hashable & Sendable, Place.RawValue == String {
    private let total: Int
    private let started = ContinuousClock.now
    private let state = Mutex(State())

    private struct State {
        var done = 0
        var counts = PlaceCounts<Place>()
        var violations = 0
        var lastLine = ContinuousClock.now
    }

    /// After as many violations the rest would only say the same.
    private static var maximumViolations: Int { 10 }

    init(total: Int) { self.total = total }

    var isOver: Bool { state.withLock { $0.violations >= Self.maximumViolations } }

    /// - Parameter violation: what to say of a promise that was broken.
    func finished(_ counts: PlaceCounts<Place>, violation: String?) {
        state.withLock { state in
            state.done += 1
            state.counts.add(counts)
            if let violation {
                say(violation)
                state.violations += 1
            }
            let now = ContinuousClock.now
            guard now - state.lastLine >= .seconds(10) else { return }
            state.lastLine = now
            say("\(state.done) of \(total) seeds, \(rate(state.done)) a second, \(state.violations) violations")
        }
    }

    /// At once, also where the output is a file.
    func say(_ line: String) {
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
            for (text, count) in state.counts.lines {
                let number = String(count)
                print(String(repeating: " ", count: max(12 - number.count, 1)) + number + "  " + text)
            }
            let seconds = Int((ContinuousClock.now - started) / .seconds(1))
            print(
                "\(state.done) seeds in \(seconds) s (\(rate(state.done)) a second), "
                    + "\(state.violations) violations"
            )
            return state.violations > 0
        }
    }
}
