#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// TCP ports of 127.0.0.1.
enum LoopbackPort {
    /// Nobody listens on the port, on this address or on all of them.
    static func isFree(_ port: Int) -> Bool {
        guard let descriptor = socket() else { return false }
        defer { close(descriptor) }
        // As servers do: connections of the last one that still linger are not in the way.
        var yes: CInt = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<CInt>.size))
        return withAddress(port) { bind(descriptor, $0, $1) } == 0
    }

    /// Takes a port until this process ends. Nobody is answered there.
    ///
    /// - Returns: false when somebody has it.
    static func hold(_ port: Int) -> Bool {
        guard let descriptor = socket() else { return false }
        // Without SO_REUSEADDR: two that do not listen would get along.
        guard withAddress(port, { bind(descriptor, $0, $1) }) == 0 else {
            close(descriptor)
            return false
        }
        return true
    }

    /// A connection that is being made; it does not block.
    static func connect(_ port: Int) -> CInt? {
        guard let descriptor = socket() else { return nil }
        let flags = fcntl(descriptor, F_GETFL)
        guard flags >= 0, fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) == 0 else {
            close(descriptor)
            return nil
        }
        guard withAddress(port, { systemConnect(descriptor, $0, $1) }) == 0 || errno == EINPROGRESS else {
            close(descriptor)
            return nil
        }
        return descriptor
    }

    private static func socket() -> CInt? {
        #if canImport(Glibc)
            let kind = CInt(SOCK_STREAM.rawValue)
        #else
            let kind = SOCK_STREAM
        #endif
        let descriptor = systemSocket(kind)
        guard descriptor >= 0 else { return nil }
        // Servers that are started meanwhile must not have it.
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        return descriptor
    }

    private static func withAddress(_ port: Int, _ body: (UnsafePointer<sockaddr>, socklen_t) -> CInt) -> CInt {
        guard let port = UInt16(exactly: port) else { return -1 }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }
}

// The methods of the same names hide the functions.
private func systemSocket(_ kind: CInt) -> CInt { socket(AF_INET, kind, 0) }

private func systemConnect(_ descriptor: CInt, _ address: UnsafePointer<sockaddr>, _ length: socklen_t) -> CInt {
    connect(descriptor, address, length)
}
