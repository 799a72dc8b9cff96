/// Orders of the loop for one of its threads, taken all at once.
///
/// What both threads touch is under the monitor: hence `@unchecked Sendable`.
final class OrderQueue<Order: Sendable>: @unchecked Sendable {
    private let monitor = Monitor()
    private var orders: [Order] = []
    private var isStopping = false

    init() {}

    /// Only on the loop.
    func submit(_ order: Order) {
        monitor.locked {
            orders.append(order)
            monitor.signal()
        }
    }

    /// Hands orders over in their order. Only on the loop.
    func submit(_ more: [Order]) {
        monitor.locked {
            orders += more
            monitor.signal()
        }
    }

    /// Takes back what waits and is obsolete, and hands an order over instead. Only on the loop.
    func submit(_ order: Order, insteadOf isObsolete: (Order) -> Bool) {
        monitor.locked {
            orders.removeAll(where: isObsolete)
            orders.append(order)
            monitor.signal()
        }
    }

    /// Lets the thread end.
    func stop() {
        monitor.locked {
            isStopping = true
            monitor.signal()
        }
    }

    /// Nothing waits, and the end is not asked for.
    var isIdle: Bool { monitor.locked { orders.isEmpty && !isStopping } }

    /// Sleeps until there is an order, and takes that alone. Only on the thread.
    ///
    /// - Returns: nil when the thread is to end, whatever waits.
    func takeNext() -> Order? {
        monitor.locked {
            while orders.isEmpty, !isStopping { monitor.wait() }
            return isStopping ? nil : orders.removeFirst()
        }
    }

    /// Sleeps until there is something to do. Only on the thread.
    ///
    /// - Parameters:
    ///   - taken: empty; gets what waits, and stays empty when `deadline` came first.
    ///   - deadline: monotonic microseconds; nil is never.
    ///   - finishes: whether what was submitted before `stop` is still done.
    /// - Returns: false when the thread is to end.
    func take(into taken: inout [Order], until deadline: Int64? = nil, finishes: Bool) -> Bool {
        monitor.locked {
            while orders.isEmpty, !isStopping {
                guard let deadline else {
                    monitor.wait()
                    continue
                }
                guard SystemClock.monotonicMicroseconds() < deadline else { return true }
                monitor.wait(until: deadline)
            }
            guard !isStopping || (finishes && !orders.isEmpty) else { return false }
            swap(&taken, &orders)
            return true
        }
    }
}
