#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// A thread of our own for work that blocks in the disk.
///
/// Swift's cooperative pool must not be blocked, and a thread that lives as long as the server keeps its cache warm.
enum DiskThread {
    /// Enough for the deepest call of the storage layer; only what is touched is memory.
    private static let stackBytes = 512 * 1024

    /// Starts a thread and lets it run `body` to its end.
    ///
    /// - Parameter name: at most 15 bytes, as the system shows it.
    /// - Returns: whether the system had a thread to give.
    static func start(_ name: String, _ body: @escaping @Sendable () -> Void) -> Bool {
        let start = Unmanaged.passRetained(DiskThreadStart(name: name, body: body))
        let isStarted = create(with: start.toOpaque())
        if !isStarted { start.release() }
        return isStarted
    }

    private static func create(with context: UnsafeMutableRawPointer) -> Bool {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setstacksize(&attributes, stackBytes)
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        #if canImport(Darwin)
            var thread: pthread_t?
            return pthread_create(&thread, &attributes, { enterDiskThread($0) }, context) == 0
        #else
            var thread = pthread_t()
            return pthread_create(&thread, &attributes, { enterDiskThread($0) }, context) == 0
        #endif
    }
}

private final class DiskThreadStart: Sendable {
    let name: String
    let body: @Sendable () -> Void

    init(name: String, body: @escaping @Sendable () -> Void) {
        self.name = name
        self.body = body
    }
}

private func enterDiskThread(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let context else { return nil }
    let start = Unmanaged<DiskThreadStart>.fromOpaque(context).takeRetainedValue()
    nameDiskThread(start.name)
    start.body()
    return nil
}

/// For whoever looks at the process with `top -H`; nothing depends on it.
private func nameDiskThread(_ name: String) {
    #if canImport(Darwin)
        pthread_setname_np(name)
    #else
        // The function for this is not visible to Swift, the file is.
        guard let file = fopen("/proc/thread-self/comm", "w") else { return }
        fputs(name, file)
        fclose(file)
    #endif
}
