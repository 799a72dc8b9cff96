#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// The stream for what people read. Unbuffered: the last words before the process ends are not lost.
enum StandardError {
    static var isTerminal: Bool { isatty(STDERR_FILENO) == 1 }

    /// One call of the system for all of `bytes`, so that lines of several threads do not mix.
    static func write(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { bytes in
            var rest = bytes[...]
            while !rest.isEmpty {
                let written = systemWrite(UnsafeRawBufferPointer(rebasing: rest))
                if written < 0, errno == EINTR { continue }
                // Nobody can be told that nobody can be told.
                guard written > 0 else { return }
                rest = rest.dropFirst(written)
            }
        }
    }
}

// The method of the same name hides the function.
private func systemWrite(_ bytes: UnsafeRawBufferPointer) -> Int {
    write(STDERR_FILENO, bytes.baseAddress, bytes.count)
}
