internal import NIOCore

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// A socket that has its address but does not listen yet.
///
/// The port is claimed before the data is read, so that whoever starts a second server hears of it at once; until the
/// data is there, clients are refused and try elsewhere.
final class BoundSocket: @unchecked Sendable {
    // The descriptor has one owner: this object, until `release`, which happens once and on one thread.
    private var descriptor: CInt
    let address: SocketAddress

    fileprivate init(descriptor: CInt, address: SocketAddress) {
        self.descriptor = descriptor
        self.address = address
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
    }

    var port: Int { address.port ?? 0 }

    /// The descriptor, which the caller has to close from now on.
    func release() -> CInt {
        defer { descriptor = -1 }
        return descriptor
    }
}

extension BoundSocket {
    /// Claims a port on all addresses that are asked for.
    ///
    /// - Parameter port: 0 lets the system choose one, the same for all addresses.
    static func bind(
        _ addresses: ServerConfiguration.ListenAddresses,
        port: Int
    ) throws(StartError) -> [BoundSocket] {
        switch addresses {
        case .loopback:
            return try bindLoopback(port)
        case .all:
            // One socket for both families, where there are both.
            if let socket = try bind("::", port, .skipsMissingFamily) { return [socket] }
            return [try bind("0.0.0.0", port)]
        case .only(let hosts):
            var sockets: [BoundSocket] = []
            for host in hosts {
                sockets.append(try bind(host, sockets.first?.port ?? port))
            }
            return sockets
        }
    }

    private static func bindLoopback(_ port: Int) throws(StartError) -> [BoundSocket] {
        // A port that the system chose for one family can be taken in the other.
        for _ in 0..<20 {
            let ipv4 = try bind("127.0.0.1", port)
            do throws(StartError) {
                guard let ipv6 = try bind("::1", ipv4.port, .skipsMissingFamily) else { return [ipv4] }
                return [ipv4, ipv6]
            } catch {
                if port != 0 { throw error }
            }
        }
        return [try bind("127.0.0.1", port)]
    }

    private enum Leniency { case strict, skipsMissingFamily }

    private static func bind(_ host: String, _ port: Int) throws(StartError) -> BoundSocket {
        guard let socket = try bind(host, port, .strict) else {
            throw StartError("cannot listen on \(host)")
        }
        return socket
    }

    /// - Returns: nil where the machine has no such family and that is allowed.
    private static func bind(_ host: String, _ port: Int, _ leniency: Leniency) throws(StartError) -> BoundSocket? {
        let address: SocketAddress
        do {
            address = try SocketAddress.makeAddressResolvingHost(host, port: port)
        } catch {
            throw StartError(
                "cannot find the address of \(host), which clientPortAddress names: correct the name, or give an "
                    + "address of this machine"
            )
        }
        do throws(Refusal) {
            return try bind(address)
        } catch {
            if leniency == .skipsMissingFamily, error.isMissingFamily { return nil }
            throw failure(error.code, host, port, of: .clients)
        }
    }

    /// Why the system does not give a port.
    struct Refusal: Error {
        /// `errno`.
        let code: CInt

        /// The machine does not have that family of addresses.
        var isMissingFamily: Bool { code == EAFNOSUPPORT || code == EADDRNOTAVAIL }
        /// The address is one of another machine.
        var isForeign: Bool { code == EADDRNOTAVAIL }
    }

    /// Claims one port of one address; of all addresses of both families for `::`.
    static func bind(_ address: SocketAddress) throws(Refusal) -> BoundSocket {
        let isIPv6 = address.protocol == .inet6
        let descriptor = socket(isIPv6 ? AF_INET6 : AF_INET, streamType, 0)
        guard descriptor >= 0 else { throw Refusal(code: errno) }
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        set(descriptor, SOL_SOCKET, SO_REUSEADDR, 1)
        if isIPv6 { set(descriptor, CInt(IPPROTO_IPV6), IPV6_V6ONLY, address.ipAddress == "::" ? 0 : 1) }
        let result = address.withSockAddr { systemBind(descriptor, $0, socklen_t($1)) }
        guard result == 0 else {
            let refusal = Refusal(code: errno)
            close(descriptor)
            throw refusal
        }
        var bound = address
        bound.port = localPort(of: descriptor) ?? address.port
        return BoundSocket(descriptor: descriptor, address: bound)
    }

    private static func set(_ descriptor: CInt, _ level: CInt, _ option: CInt, _ value: CInt) {
        var value = value
        setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<CInt>.size))
    }

    private static func localPort(of descriptor: CInt) -> Int? {
        var storage = sockaddr_storage()
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutableBytes(of: &storage) { raw in
            guard let base = raw.baseAddress else { return nil }
            let address = base.assumingMemoryBound(to: sockaddr.self)
            guard getsockname(descriptor, address, &size) == 0 else { return nil }
            // The port lies at the same place in both families.
            return Int(UInt16(bigEndian: base.loadUnaligned(fromByteOffset: 2, as: UInt16.self)))
        }
    }

    /// What a port is for, which decides where it is set.
    enum Purpose: String, Sendable {
        case clients
        /// Where learners connect to their leader.
        case quorum
        case election

        /// Completes "… or …".
        fileprivate var anotherPort: String {
            switch self {
            case .clients:
                "let this server listen on another port (--port, or clientPort in the configuration)"
            case .quorum, .election:
                "change the \(rawValue) port in the server.N line of this server, on all servers of the ensemble"
            }
        }

        fileprivate var anotherAddress: String {
            switch self {
            case .clients: "correct clientPortAddress, or leave it out to listen on all addresses"
            case .quorum, .election:
                "correct the server.N line of this server, or the file myid if it says who this server is wrongly; where "
                    + "others reach it by an address that is not the machine's own, set quorumListenOnAllIPs=true"
            }
        }
    }

    static func failure(_ code: CInt, _ host: String, _ port: Int, of purpose: Purpose) -> StartError {
        let place = Peer.join(host, port)
        let text =
            switch code {
            case EADDRINUSE:
                "port \(port) is taken: another process listens on \(place). Stop it, or \(purpose.anotherPort)"
            case EACCES:
                "this user may not listen on \(place): ports below 1024 are for root. Choose a higher one: "
                    + purpose.anotherPort
            case EADDRNOTAVAIL:
                "\(host) is no address of this machine: \(purpose.anotherAddress)"
            case EAFNOSUPPORT:
                "cannot listen on \(place): this machine does not have that family of addresses"
            default:
                "cannot listen on \(place): \(String(cString: strerror(code)))"
            }
        return StartError(text)
    }
}

#if canImport(Glibc)
    private let streamType = CInt(SOCK_STREAM.rawValue)
#else
    private let streamType = CInt(SOCK_STREAM)
#endif

// The method of the same name hides the function.
private func systemBind(_ descriptor: CInt, _ address: UnsafePointer<sockaddr>, _ size: socklen_t) -> CInt {
    bind(descriptor, address, size)
}
