import Testing

@testable import AviaryServer

@Suite("Orders of the loop for a thread")
struct OrderQueueTests {
    @Test("What waits and is obsolete is taken back, and the rest stays in its order")
    func instead() {
        let queue = OrderQueue<Int>()
        queue.submit([1, 12, 2, 13, 3])
        queue.submit(99, insteadOf: { $0 > 10 })
        var taken: [Int] = []
        for _ in 0..<4 { taken.append(queue.takeNext() ?? 0) }
        #expect(taken == [1, 2, 3, 99])
        #expect(queue.isIdle)
    }

    @Test("What is taken one at a time ends with what was asked for last, whatever waits")
    func end() {
        let queue = OrderQueue<Int>()
        queue.submit([1, 2])
        #expect(queue.takeNext() == 1)
        queue.stop()
        #expect(queue.takeNext() == nil)
    }
}
