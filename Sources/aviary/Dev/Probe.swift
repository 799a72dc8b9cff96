#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// One `srvr` on its way to a server and back (docs/protocol/client-protocol.md section 19).
struct Probe {
    let descriptor: CInt
    let deadline: ContinuousClock.Instant
    private var isSent = false
    private var answer: [UInt8] = []

    private static let patience = Duration.seconds(1)
    /// Longer than any answer to `srvr`.
    private static let longestAnswer = 4096

    /// - Returns: nil when nobody listens.
    init?(port: Int, now: ContinuousClock.Instant) {
        guard let descriptor = LoopbackPort.connect(port) else { return nil }
        self.descriptor = descriptor
        deadline = now + Self.patience
    }

    /// What it waits for, as `poll` calls it.
    var events: Int16 { Int16(isSent ? POLLIN : POLLOUT) }

    /// Goes on as far as it can without waiting.
    ///
    /// - Returns: what came out, once something did; the connection is closed then.
    mutating func advance(now: ContinuousClock.Instant) -> Standing? {
        guard let standing = step(now: now) else { return nil }
        close(descriptor)
        return standing
    }

    private mutating func step(now: ContinuousClock.Instant) -> Standing? {
        if !isSent {
            let word = Array("srvr".utf8)
            let count = write(descriptor, word, word.count)
            if count < 0 { return waits(errno) ? pending(now) : .away }
            isSent = true
        }
        while true {
            var bytes = [UInt8](repeating: 0, count: 1024)
            let count = read(descriptor, &bytes, bytes.count)
            if count < 0 { return waits(errno) ? pending(now) : .away }
            guard count > 0 else { return Standing(answer: String(decoding: answer, as: UTF8.self)) }
            answer += bytes.prefix(count)
            if answer.count > Self.longestAnswer { return .away }
        }
    }

    private func pending(_ now: ContinuousClock.Instant) -> Standing? {
        now < deadline ? nil : .hung
    }

    private func waits(_ code: CInt) -> Bool {
        // Not connected yet: some systems say so on writing.
        code == EAGAIN || code == EWOULDBLOCK || code == EINTR || code == ENOTCONN
    }
}
