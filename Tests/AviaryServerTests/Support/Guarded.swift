@testable import AviaryServer

/// A value that several threads touch, one at a time.
///
/// Not `Synchronization.Mutex`: under contention that is handed over inside the standard library, where the thread
/// sanitizer does not look, and so it reports accesses that are well in order.
final class Guarded<Value>: @unchecked Sendable {
    // `value` is touched inside of `monitor` alone.
    private let monitor = Monitor()
    private var value: Value

    init(_ value: Value) {
        self.value = value
    }

    func withLock<R>(_ body: (inout Value) -> R) -> R {
        monitor.locked { body(&value) }
    }
}
