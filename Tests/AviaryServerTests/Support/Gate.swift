import Foundation

/// Holds up the threads that come to it until it is opened; for ten seconds at most.
final class Gate: Sendable {
    private let semaphore = DispatchSemaphore(value: 0)

    func wait() {
        if semaphore.wait(timeout: .now() + 10) == .success { semaphore.signal() }
    }

    func open() {
        semaphore.signal()
    }
}
