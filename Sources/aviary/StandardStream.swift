#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// What a command line program says and where it stands, straight from the system: Foundation would take more memory than
/// the whole server.
enum StandardStream: CInt {
    case output = 1
    case error = 2

    /// Without a buffer: whoever started this may wait for it on a pipe.
    func write(_ text: String) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { systemWrite(rawValue, $0) }
            if written < 0, errno == EINTR { continue }
            // Nobody listens any more.
            guard written > 0 else { return }
            rest = rest.dropFirst(written)
        }
    }

    static var workingDirectory: String {
        guard let path = getcwd(nil, 0) else { return "." }
        defer { free(path) }
        return String(cString: path)
    }
}

// The method of the same name hides the function.
private func systemWrite(_ descriptor: CInt, _ bytes: UnsafeRawBufferPointer) -> Int {
    write(descriptor, bytes.baseAddress, bytes.count)
}
