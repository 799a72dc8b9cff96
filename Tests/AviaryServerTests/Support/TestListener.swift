import Foundation

/// A port on 127.0.0.1 that a test accepts from by hand. Every wait is bounded.
final class TestListener: Sendable {
    let port: Int
    private let descriptor: CInt

    /// - Parameter port: 0 lets the system choose.
    init(port: Int = 0) throws {
        #if canImport(Glibc)
            let descriptor = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        #else
            let descriptor = socket(AF_INET, SOCK_STREAM, 0)
        #endif
        guard descriptor >= 0 else { throw TestClient.Failure.system("socket", errno) }
        self.descriptor = descriptor
        var yes: CInt = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<CInt>.size))
        let bound = Loopback.withAddress(port: port) { address -> Int? in
            var size = Loopback.size
            guard bind(descriptor, address, size) == 0, listen(descriptor, 128) == 0,
                getsockname(descriptor, address, &size) == 0
            else { return nil }
            return Loopback.port(of: address)
        }
        guard let bound else { throw TestClient.Failure.system("listen", errno) }
        self.port = bound
    }

    deinit {
        close(descriptor)
    }

    /// The next connection; nil if none comes in time.
    func accept(patienceMilliseconds: Int32 = TestClient.patienceMilliseconds) -> TestClient? {
        var descriptors = [pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)]
        guard poll(&descriptors, 1, patienceMilliseconds) > 0 else { return nil }
        let accepted = systemAccept(descriptor)
        return accepted >= 0 ? TestClient(accepted: accepted) : nil
    }
}

// The method of the same name hides the function.
private func systemAccept(_ descriptor: CInt) -> CInt {
    accept(descriptor, nil, nil)
}
