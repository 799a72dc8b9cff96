import Foundation

/// A client that sends and receives bytes, so that tests can say exactly which. Every wait is bounded.
final class TestClient: @unchecked Sendable {
    // Used by one test at a time.
    private let descriptor: CInt
    private(set) var session: Int64 = 0
    private(set) var password: [UInt8] = []
    private var xid: Int32 = 0

    enum Failure: Error {
        case system(String, CInt)
        case timeout
        /// The server closed the connection, after these bytes.
        case closed([UInt8])
    }

    struct Reply {
        var xid: Int32
        var zxid: Int64
        var error: Int32
        var body: [UInt8]
    }

    static let patienceMilliseconds: Int32 = 10_000

    init(port: Int, receiveBufferBytes: CInt? = nil) throws {
        #if canImport(Glibc)
            descriptor = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        #else
            descriptor = socket(AF_INET, SOCK_STREAM, 0)
        #endif
        guard descriptor >= 0 else { throw Failure.system("socket", errno) }
        if var bytes = receiveBufferBytes {
            setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &bytes, socklen_t(MemoryLayout<CInt>.size))
        }
        let descriptor = descriptor
        let result = Loopback.withAddress(port: port) { systemConnect(descriptor, $0, Loopback.size) }
        guard result == 0 else { throw Failure.system("connect", errno) }
        _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
    }

    /// The other side of a connection that a `TestListener` accepted.
    init(accepted descriptor: CInt) {
        self.descriptor = descriptor
        _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
    }

    deinit {
        close(descriptor)
    }

    /// Closes the connection as a client that went away.
    func disconnect() {
        shutdown(descriptor, CInt(SHUT_RDWR))
    }

    /// Says that nothing more will be sent, and goes on reading.
    func finishSending() {
        shutdown(descriptor, CInt(SHUT_WR))
    }

    // MARK: - Bytes

    func send(_ bytes: [UInt8]) throws {
        guard try sendSome(bytes) == bytes.count else { throw Failure.timeout }
    }

    /// - Returns: how much the server took before it stopped taking.
    func sendSome(_ bytes: [UInt8], patienceMilliseconds: Int32 = patienceMilliseconds) throws -> Int {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes {
                systemSend(descriptor, $0.baseAddress.map { $0 + sent }, bytes.count - sent, CInt(MSG_NOSIGNAL))
            }
            if count > 0 {
                sent += count
            } else if errno == EAGAIN {
                guard wait(POLLOUT, patienceMilliseconds) else { return sent }
            } else if errno != EINTR {
                throw Failure.system("send", errno)
            }
        }
        return sent
    }

    func read(_ count: Int) throws -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            let more = try readSome(count - bytes.count)
            if more.isEmpty { throw Failure.closed(bytes) }
            bytes += more
        }
        return bytes
    }

    /// Everything until the server closes the connection.
    func readToEnd() throws -> [UInt8] {
        var bytes: [UInt8] = []
        while true {
            let more = try readSome(1 << 16)
            if more.isEmpty { return bytes }
            bytes += more
        }
    }

    /// Whether the server closes the connection without another byte.
    func isClosed() -> Bool {
        (try? readToEnd())?.isEmpty ?? false
    }

    /// - Returns: nothing at the end, which a reset is too.
    private func readSome(_ count: Int) throws -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: count)
        while true {
            let received = recv(descriptor, &buffer, count, 0)
            if received >= 0 { return Array(buffer[..<received]) }
            switch errno {
            case EAGAIN:
                guard wait(POLLIN, Self.patienceMilliseconds) else { throw Failure.timeout }
            case ECONNRESET: return []
            case EINTR: continue
            default: throw Failure.system("recv", errno)
            }
        }
    }

    private func wait(_ events: some BinaryInteger, _ milliseconds: Int32) -> Bool {
        var descriptors = [pollfd(fd: descriptor, events: Int16(events), revents: 0)]
        return poll(&descriptors, 1, milliseconds) > 0
    }

    // MARK: - Frames

    static func int32(_ value: Int32) -> [UInt8] { withUnsafeBytes(of: value.bigEndian) { Array($0) } }
    static func int64(_ value: Int64) -> [UInt8] { withUnsafeBytes(of: value.bigEndian) { Array($0) } }
    static func buffer(_ bytes: [UInt8]) -> [UInt8] { int32(Int32(bytes.count)) + bytes }
    static func string(_ text: String) -> [UInt8] { buffer(Array(text.utf8)) }
    static func frame(_ body: [UInt8]) -> [UInt8] { buffer(body) }

    static func connectRequest(
        timeoutMilliseconds: Int32,
        session: Int64 = 0,
        password: [UInt8] = [UInt8](repeating: 0, count: 16)
    ) -> [UInt8] {
        frame(int32(0) + int64(0) + int32(timeoutMilliseconds) + int64(session) + buffer(password) + [0])
    }

    func readFrame() throws -> [UInt8] {
        let length = try read(4).reduce(0) { $0 << 8 | Int($1) }
        return try read(length)
    }

    func readReply() throws -> Reply {
        let frame = try readFrame()
        return Reply(
            xid: Int32(truncatingIfNeeded: Self.integer(frame[0..<4])),
            zxid: Self.integer(frame[4..<12]),
            error: Int32(truncatingIfNeeded: Self.integer(frame[12..<16])),
            body: Array(frame[16...])
        )
    }

    static func integer(_ bytes: ArraySlice<UInt8>) -> Int64 {
        Int64(truncatingIfNeeded: bytes.reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
    }

    // MARK: - Requests

    /// - Returns: the negotiated timeout; 0 when the session was refused.
    @discardableResult
    func openSession(timeoutMilliseconds: Int32) throws -> Int32 {
        try send(Self.connectRequest(timeoutMilliseconds: timeoutMilliseconds))
        return try readConnectResponse()
    }

    @discardableResult
    func reattach(session: Int64, password: [UInt8], timeoutMilliseconds: Int32 = 30_000) throws -> Int32 {
        try send(
            Self.connectRequest(timeoutMilliseconds: timeoutMilliseconds, session: session, password: password)
        )
        return try readConnectResponse()
    }

    func readConnectResponse() throws -> Int32 {
        let response = try readFrame()
        session = Self.integer(response[8..<16])
        password = Array(response[20..<36])
        return Int32(truncatingIfNeeded: Self.integer(response[4..<8]))
    }

    func createRequest(_ path: String, data: [UInt8] = [], flags: Int32 = 0) -> [UInt8] {
        xid += 1
        let acl = Self.int32(1) + Self.int32(31) + Self.string("world") + Self.string("anyone")
        return Self.frame(
            Self.int32(xid) + Self.int32(1) + Self.string(path) + Self.buffer(data) + acl + Self.int32(flags)
        )
    }

    func getDataRequest(_ path: String, watches: Bool = false) -> [UInt8] {
        xid += 1
        return Self.frame(Self.int32(xid) + Self.int32(4) + Self.string(path) + [watches ? 1 : 0])
    }

    func setDataRequest(_ path: String, data: [UInt8]) -> [UInt8] {
        xid += 1
        return Self.frame(
            Self.int32(xid) + Self.int32(5) + Self.string(path) + Self.buffer(data) + Self.int32(-1)
        )
    }

    func existsRequest(_ path: String) -> [UInt8] {
        xid += 1
        return Self.frame(Self.int32(xid) + Self.int32(3) + Self.string(path) + [0])
    }

    static var pingRequest: [UInt8] { frame(int32(-2) + int32(11)) }

    @discardableResult
    func create(_ path: String, data: [UInt8] = [], flags: Int32 = 0) throws -> Reply {
        try send(createRequest(path, data: data, flags: flags))
        return try readReply()
    }

    func exists(_ path: String) throws -> Bool {
        try send(existsRequest(path))
        return try readReply().error == 0
    }

    func ping() throws -> Reply {
        try send(Self.pingRequest)
        return try readReply()
    }

    func closeSession() throws -> Reply {
        xid += 1
        try send(Self.frame(Self.int32(xid) + Self.int32(-11)))
        return try readReply()
    }
}

// Methods of the same names hide these functions.
private func systemConnect(_ descriptor: CInt, _ address: UnsafePointer<sockaddr>, _ size: socklen_t) -> CInt {
    connect(descriptor, address, size)
}

private func systemSend(_ descriptor: CInt, _ bytes: UnsafeRawPointer?, _ count: Int, _ flags: CInt) -> Int {
    send(descriptor, bytes, count, flags)
}
