internal import AviaryStorage

/// The loop's end of the log thread: a queue of orders, and reports coming back.
///
/// While the thread waits for the disk, orders gather; it takes them all at once, and transactions that follow each other
/// share a sync. So the slower the disk, the larger the groups, and no setting is needed for that.
final class LogThread: Sendable {
    private let queue = OrderQueue<StorageOrder>()

    /// Starts the thread, which owns `worker` until it ends.
    ///
    /// - Parameters:
    ///   - report: called on the log thread, and once last with `nil` when it has ended.
    ///   - failed: called on the log thread with an error that it cannot go on after; nothing but its end follows.
    /// - Returns: whether the system had a thread to give.
    func start<D: Disk, Gzip: StreamCodec>(
        _ worker: consuming StorageWorker<D, Gzip>,
        threads: LoopThreads,
        report: @escaping @Sendable (StorageReport?) -> Void,
        failed: @escaping @Sendable (StorageError) -> Void
    ) -> Bool {
        let runner = LogRunner(worker: worker, queue: queue, report: report, failed: failed)
        return threads.start("aviary-log") { runner.run() }
    }

    /// Hands an order over. Only on the loop.
    func submit(_ order: StorageOrder) { queue.submit(order) }

    /// Hands orders over, in this order. Only on the loop.
    func submit(_ orders: [StorageOrder]) { queue.submit(orders) }

    /// Lets the thread finish what it has and end.
    func stop() { queue.stop() }
}

/// The log thread itself: the only one that touches `worker`, hence `@unchecked Sendable`.
private final class LogRunner<D: Disk, Gzip: StreamCodec>: @unchecked Sendable {
    @exclusivity(unchecked) private var worker: StorageWorker<D, Gzip>
    @exclusivity(unchecked) private var driver: Driver
    private let queue: OrderQueue<StorageOrder>
    private let failed: @Sendable (StorageError) -> Void

    private struct Driver: StorageDriver {
        let send: @Sendable (StorageReport?) -> Void

        var monotonicMicroseconds: Int64 { SystemClock.monotonicMicroseconds() }

        mutating func report(_ report: StorageReport) { send(report) }
    }

    init(
        worker: consuming StorageWorker<D, Gzip>,
        queue: OrderQueue<StorageOrder>,
        report: @escaping @Sendable (StorageReport?) -> Void,
        failed: @escaping @Sendable (StorageError) -> Void
    ) {
        self.worker = worker
        self.queue = queue
        self.failed = failed
        driver = Driver(send: report)
    }

    func run() {
        do throws(StorageError) {
            var taken: [StorageOrder] = []
            while queue.take(into: &taken, until: worker.deadline(driver), finishes: true) {
                if taken.isEmpty {
                    try worker.wake(&driver)
                } else {
                    for order in taken { try worker.perform(order, &driver) }
                    try worker.endGroup(&driver)
                }
                taken.removeAll(keepingCapacity: true)
            }
            try worker.flush(&driver)
        } catch {
            failed(error)
            return driver.send(nil)
        }
        do throws(StorageError) {
            try worker.close(&driver)
        } catch {
            driver.report(.warning(.closeFailed(error)))
        }
        driver.send(nil)
    }
}
