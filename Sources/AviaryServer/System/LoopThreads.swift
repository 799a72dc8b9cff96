internal import NIOCore

/// The threads that work for a loop: what they report reaches it as long as there is one, and its end waits for theirs.
///
/// A thread that reads or writes the data directory must be gone before another server may have the directory; one that
/// hangs in the disk must not keep the process from ending, and what it reports some day is nobody's any more.
///
/// What all threads touch is under the monitor: hence `@unchecked Sendable`.
final class LoopThreads: @unchecked Sendable {
    private let eventLoop: any EventLoop
    private let monitor = Monitor()
    private var running = 0
    private var isClosed = false
    private var whenEnded: (@Sendable () -> Void)?

    init(eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
    }

    /// Starts a thread that is waited for.
    ///
    /// - Returns: whether the system had a thread to give.
    func start(_ name: String, _ body: @escaping @Sendable () -> Void) -> Bool {
        monitor.locked { running += 1 }
        let isStarted = DiskThread.start(name) { [self] in
            body()
            ended()
        }
        if !isStarted { ended() }
        return isStarted
    }

    /// Lets the loop do something, or nobody after `close`.
    func report(_ task: @escaping @Sendable () -> Void) {
        monitor.locked {
            if !isClosed { eventLoop.execute(task) }
        }
    }

    /// Calls back, on any thread, when all have ended or patience has. For threads that were told to end.
    func whenAllEnded(patience: TimeAmount, _ done: @escaping @Sendable () -> Void) {
        let isOver = monitor.locked {
            if running > 0 { whenEnded = done }
            return running == 0
        }
        guard !isOver else { return done() }
        eventLoop.scheduleTask(in: patience) { [self] in finish(monitor.locked { takeWhenEnded() }) }
    }

    /// Sleeps until all have ended or patience has, for a loop that nobody needs yet.
    func waitUntilEnded(patience: Duration) {
        let deadline = SystemClock.monotonicMicroseconds() + patience.microseconds
        monitor.locked {
            while running > 0, SystemClock.monotonicMicroseconds() < deadline { monitor.wait(until: deadline) }
        }
    }

    /// The loop ends: it takes no reports from here on.
    func close() {
        monitor.locked { isClosed = true }
    }

    private func ended() {
        finish(
            monitor.locked {
                running -= 1
                monitor.signal()
                return running == 0 ? takeWhenEnded() : nil
            }
        )
    }

    private func takeWhenEnded() -> (@Sendable () -> Void)? {
        defer { whenEnded = nil }
        return whenEnded
    }

    private func finish(_ whenEnded: (@Sendable () -> Void)?) {
        whenEnded?()
    }
}
