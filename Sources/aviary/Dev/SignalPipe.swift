import Dispatch

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// The signals that end `aviary dev`, as something to poll: SIGTERM, SIGINT from Ctrl-C, SIGHUP when its terminal goes.
final class SignalPipe {
    private let pipe: Pipe
    private let sources: [any DispatchSourceSignal]

    init() throws(DevError) {
        let pipe = try Pipe()
        self.pipe = pipe
        for ignored in [SIGPIPE, SIGTTIN, SIGTTOU] { signal(ignored, SIG_IGN) }
        // Ignored, children could not be waited for.
        signal(SIGCHLD, SIG_DFL)
        sources = [SIGTERM, SIGINT, SIGHUP].map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler {
                var byte = UInt8(truncatingIfNeeded: number)
                write(pipe.writing, &byte, 1)
            }
            source.activate()
            return source
        }
    }

    /// Readable once there was a signal.
    var descriptor: CInt { pipe.reading }

    /// The signal that made it readable.
    func next() -> CInt {
        var byte: UInt8 = 0
        return read(pipe.reading, &byte, 1) == 1 ? CInt(byte) : 0
    }
}
