import Dispatch

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// Notices the end of the process that started this one, whatever ended it.
///
/// The parent holds the only writing end of a pipe and never writes: the end of file is its end. Signals for that exist on
/// some systems only.
final class ParentPipe: Sendable {
    // Set once here; kept for its lifetime alone.
    nonisolated(unsafe) private let source: any DispatchSourceRead

    /// - Parameters:
    ///   - descriptor: the reading end, inherited.
    ///   - onEnd: called once, on a queue of Dispatch's.
    /// - Returns: nil when there is no such descriptor.
    init?(_ descriptor: CInt, onEnd: @escaping @Sendable () -> Void) {
        // Closed when this process starts another: none does, but the parent's end must not depend on that.
        guard descriptor >= 0, fcntl(descriptor, F_SETFD, FD_CLOEXEC) == 0 else { return nil }
        source = DispatchSource.makeReadSource(fileDescriptor: descriptor, queue: .global())
        source.setEventHandler { [weak self] in
            var byte: UInt8 = 0
            let count = read(descriptor, &byte, 1)
            if count > 0 || count < 0 && (errno == EINTR || errno == EAGAIN) { return }
            self?.source.cancel()
            onEnd()
        }
        source.activate()
    }
}
