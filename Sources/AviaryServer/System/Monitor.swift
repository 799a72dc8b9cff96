#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// A mutex with one condition: how the loop and the disk threads hand over work.
///
/// `Synchronization.Mutex` has no condition to sleep on, and a thread that writes to a disk has to sleep somewhere.
/// Deadlines are in the microseconds of `SystemClock.monotonicMicroseconds`.
final class Monitor: @unchecked Sendable {
    // The two C objects must not move: they live on the heap for as long as this object. They are their own protection,
    // hence `@unchecked Sendable`.
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let condition: UnsafeMutablePointer<pthread_cond_t>

    init() {
        mutex = .allocate(capacity: 1)
        condition = .allocate(capacity: 1)
        pthread_mutex_init(mutex, nil)
        #if canImport(Darwin)
            pthread_cond_init(condition, nil)
        #else
            var attributes = pthread_condattr_t()
            pthread_condattr_init(&attributes)
            pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
            pthread_cond_init(condition, &attributes)
            pthread_condattr_destroy(&attributes)
        #endif
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    /// Runs `body` alone.
    @inline(__always)
    func locked<R>(_ body: () -> R) -> R {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return body()
    }

    /// Sleeps until somebody signals; only inside `locked`, which is left while sleeping. May wake without a reason.
    func wait() {
        pthread_cond_wait(condition, mutex)
    }

    /// As `wait()`, but not longer than to `deadline`.
    func wait(until deadline: Int64) {
        #if canImport(Darwin)
            let left = max(deadline - SystemClock.monotonicMicroseconds(), 0)
            var time = timespec(tv_sec: Int(left / 1_000_000), tv_nsec: Int(left % 1_000_000) * 1000)
            pthread_cond_timedwait_relative_np(condition, mutex, &time)
        #else
            var time = timespec(tv_sec: Int(deadline / 1_000_000), tv_nsec: Int(deadline % 1_000_000) * 1000)
            pthread_cond_timedwait(condition, mutex, &time)
        #endif
    }

    /// Wakes one sleeper.
    @inline(__always)
    func signal() {
        pthread_cond_signal(condition)
    }
}
