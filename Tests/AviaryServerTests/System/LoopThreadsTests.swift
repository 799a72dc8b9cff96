import Dispatch
import NIOCore
import NIOPosix
import Testing

@testable import AviaryServer

@Suite("Threads that work for a loop")
struct LoopThreadsTests {
    private let eventLoop = MultiThreadedEventLoopGroup.singleton.next()

    @Test("Their end is waited for, and not longer than patience lasts")
    func end() async throws {
        let threads = LoopThreads(eventLoop: eventLoop)
        await ended(threads, patience: .hours(1))
        // Not a `Gate`, which opens by itself after a while: all other tests may run between two lines here.
        let gate = DispatchSemaphore(value: 0)
        defer { gate.signal() }
        let isDone = Guarded(false)
        let isStarted = threads.start("test") {
            gate.wait()
            isDone.withLock { $0 = true }
        }
        try #require(isStarted)
        try #require(threads.start("test") {})
        await ended(threads, patience: .milliseconds(1))
        #expect(!isDone.withLock { $0 })
        threads.waitUntilEnded(patience: .milliseconds(1))
        #expect(!isDone.withLock { $0 })
        gate.signal()
        await ended(threads, patience: .hours(1))
        #expect(isDone.withLock { $0 })
        threads.waitUntilEnded(patience: .seconds(3600))
    }

    @Test("What is reported reaches the loop, until it ends")
    func reports() async throws {
        let threads = LoopThreads(eventLoop: eventLoop)
        let reports = Guarded<[Int]>([])
        threads.report { reports.withLock { $0.append(1) } }
        threads.close()
        threads.report { reports.withLock { $0.append(2) } }
        try await eventLoop.submit {}.get()
        #expect(reports.withLock { $0 } == [1])
    }

    private func ended(_ threads: LoopThreads, patience: TimeAmount) async {
        await withCheckedContinuation { continuation in
            threads.whenAllEnded(patience: patience) { continuation.resume() }
        }
    }
}
