internal import NIOCore

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// Finds the addresses of other servers, anew each time, and without ever making the loop wait.
///
/// The system's resolver blocks for as long as a name service takes to give up, so every name that is asked for has a
/// thread of its own meanwhile. Who asks says how long to wait; after that, and when a name cannot be found, the
/// addresses of the last answer are used: a name service that is gone must not take the ensemble with it.
///
/// `@unchecked Sendable`: touched on `eventLoop` alone; the threads see nothing of it.
final class NameResolver: @unchecked Sendable {
    /// Blocks until the name service has answered. Empty for a name that does not exist, or when there is no answer.
    typealias Lookup = @Sendable (_ host: String) -> [SocketAddress]

    /// Names that are looked up at the same time; more of them wait for a thread.
    static let maximumThreads = 16
    /// Addresses of one name that are of interest.
    static let maximumAddresses = 8
    /// Names whose last answer is kept.
    private static let maximumNames = 1024

    private let eventLoop: any EventLoop
    private let threads: LoopThreads
    private let lookup: Lookup

    private var lastGood: [String: [SocketAddress]] = [:]
    private var running: [String: [Question]] = [:]
    private var waiting: [String] = []
    private var threadCount = 0

    private final class Question {
        private var answer: (([SocketAddress]) -> Void)?

        init(_ answer: @escaping ([SocketAddress]) -> Void) {
            self.answer = answer
        }

        func resolve(_ addresses: [SocketAddress]) {
            let answer = answer
            self.answer = nil
            answer?(addresses)
        }
    }

    init(eventLoop: any EventLoop, threads: LoopThreads, lookup: @escaping Lookup = { NameResolver.system($0) }) {
        self.eventLoop = eventLoop
        self.threads = threads
        self.lookup = lookup
    }

    /// Calls back exactly once, on the loop; at once for what is an address already.
    ///
    /// - Parameters:
    ///   - patience: how long to wait for the name service.
    ///   - answer: gets the addresses with the port; none if nothing is known.
    func resolve(
        _ address: NetworkAddress,
        patience: TimeAmount,
        _ answer: @escaping ([SocketAddress]) -> Void
    ) {
        let (host, port) = (address.host, address.port)
        if let numeric = try? SocketAddress(ipAddress: host, port: port) { return answer([numeric]) }
        let question = Question { addresses in
            answer(
                addresses.map { address in
                    var address = address
                    address.port = port
                    return address
                }
            )
        }
        eventLoop.assumeIsolated().scheduleTask(in: patience) { [self] in question.resolve(lastGood[host] ?? []) }
        guard running[host] == nil else {
            running[host]?.append(question)
            return
        }
        running[host] = [question]
        waiting.append(host)
        startThreads()
    }

    private func startThreads() {
        while threadCount < NameResolver.maximumThreads, !waiting.isEmpty {
            let host = waiting.removeFirst()
            threadCount += 1
            // Nothing waits for its end: it touches nothing, and a name service takes as long as it likes.
            let isStarted = DiskThread.start("aviary-resolve") { [lookup, threads] in
                let addresses = lookup(host)
                threads.report { [self] in
                    threadCount -= 1
                    answered(host, addresses)
                    startThreads()
                }
            }
            guard !isStarted else { continue }
            threadCount -= 1
            answered(host, [])
        }
    }

    private func answered(_ host: String, _ addresses: [SocketAddress]) {
        if !addresses.isEmpty {
            if lastGood.count >= NameResolver.maximumNames { lastGood.removeAll() }
            lastGood[host] = addresses
        }
        let known = addresses.isEmpty ? lastGood[host] ?? [] : addresses
        for question in running.removeValue(forKey: host) ?? [] { question.resolve(known) }
    }

    /// Asks the system: `/etc/hosts`, the name service, whatever it is set up to do. Blocks.
    ///
    /// - Returns: addresses without a port, in the order in which the system would try them.
    static func system(_ host: String) -> [SocketAddress] {
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        hints.ai_socktype = streamType
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, nil, &hints, &list) == 0 else { return [] }
        defer { freeaddrinfo(list) }
        var addresses: [SocketAddress] = []
        var next = list
        while let entry = next?.pointee, addresses.count < maximumAddresses {
            next = entry.ai_next
            guard let raw = UnsafeRawPointer(entry.ai_addr) else { continue }
            switch entry.ai_family {
            case AF_INET where Int(entry.ai_addrlen) >= MemoryLayout<sockaddr_in>.size:
                addresses.append(SocketAddress(raw.loadUnaligned(as: sockaddr_in.self)))
            case AF_INET6 where Int(entry.ai_addrlen) >= MemoryLayout<sockaddr_in6>.size:
                addresses.append(SocketAddress(raw.loadUnaligned(as: sockaddr_in6.self)))
            default: break
            }
        }
        return addresses
    }
}

#if canImport(Glibc)
    private let streamType = CInt(SOCK_STREAM.rawValue)
#else
    private let streamType = CInt(SOCK_STREAM)
#endif
