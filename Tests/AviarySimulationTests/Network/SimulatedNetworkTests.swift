import AviarySimulation
import Testing

/// Two machines on a network, and the time that they share.
private final class Wire {
    let time = VirtualTime<NetworkEvent>()
    let network: SimulatedNetwork
    let left = Host(1)
    let right = Host(2)
    private(set) var heard: [Host: [LinkNews]] = [:]

    init(seed: UInt64 = 1) {
        let time = time
        network = SimulatedNetwork(seed: seed, clock: { time.microseconds }) { time.schedule($0, at: $1) }
        for host in [left, right] {
            network.add(host)
            network.startProcess(host, listening: [.quorum])
        }
    }

    func run(for microseconds: Int64 = 1_000_000) {
        let end = time.microseconds + microseconds
        while let event = time.next(before: end) {
            network.handle(event)
            take()
        }
        take()
    }

    private func take() {
        for (host, news) in network.news { heard[host, default: []].append(news) }
        network.news = []
    }

    func received(_ host: Host) -> [UInt8] {
        (heard[host] ?? []).flatMap { if case .received(_, let bytes) = $0 { bytes } else { [UInt8]() } }
    }

    func isClosed(_ host: Host) -> Bool {
        (heard[host] ?? []).contains { if case .closed = $0 { true } else { false } }
    }

    func isRefused(_ host: Host) -> Bool {
        (heard[host] ?? []).contains { if case .refused = $0 { true } else { false } }
    }

    func isAccepted(_ host: Host) -> Bool {
        (heard[host] ?? []).contains { if case .accepted = $0 { true } else { false } }
    }

    /// A connection from left to right that both know of.
    func connect() -> LinkKey {
        let key = network.connect(from: left, to: right, .quorum)
        run()
        return key
    }
}

@Suite("Simulated network")
struct SimulatedNetworkTests {
    @Test("Bytes come whole and in order, however they are split", arguments: 1...5 as ClosedRange<UInt64>)
    func order(seed: UInt64) {
        let wire = Wire(seed: seed)
        wire.network.splitOneIn = 2
        wire.network.latency = SimulatedNetwork.Latency(base: 100, jitter: 5000, lossOneIn: 10)
        let key = wire.connect()
        var sent: [UInt8] = []
        for number in 0..<200 {
            let bytes = [UInt8](repeating: UInt8(number), count: 1 + number % 7)
            sent += bytes
            wire.network.send(bytes, on: key, from: .opener)
            wire.run(for: 50)
        }
        wire.run(for: 60_000_000)
        #expect(wire.received(wire.right) == sent)
    }

    @Test("Packets are on their way at the same time: a stream takes one latency, not one for each packet")
    func pipelining() {
        let wire = Wire()
        wire.network.latency = SimulatedNetwork.Latency(base: 10_000, jitter: 0)
        let key = wire.connect()
        for number in 0..<100 { wire.network.send([UInt8(number)], on: key, from: .opener) }
        wire.run(for: 10_001)
        #expect(wire.received(wire.right).count == 100)
    }

    @Test("What a cut holds back comes once the way is mended; the other direction goes on until its window is full")
    func oneWay() {
        let wire = Wire()
        wire.network.window = 100
        let key = wire.connect()
        wire.network.setCut(from: wire.left, to: wire.right, true)
        wire.network.send([1], on: key, from: .opener)
        wire.network.send([UInt8](repeating: 2, count: 300), on: key, from: .acceptor)
        wire.run(for: 10_000_000)
        #expect(wire.received(wire.right).isEmpty)
        #expect(wire.received(wire.left).count == 100)
        #expect(!wire.isClosed(wire.left) && !wire.isClosed(wire.right))
        wire.network.setCut(from: wire.left, to: wire.right, false)
        wire.run(for: 10_000_000)
        #expect(wire.received(wire.right) == [1])
        #expect(wire.received(wire.left).count == 300)
    }

    @Test("Connecting over a cut way takes until it is mended")
    func connectOverCut() {
        let wire = Wire()
        wire.network.setCut(from: wire.right, to: wire.left, true)
        _ = wire.network.connect(from: wire.left, to: wire.right, .quorum)
        wire.run(for: 10_000_000)
        #expect(!wire.isAccepted(wire.right) && !wire.isRefused(wire.left))
        wire.network.setCut(from: wire.right, to: wire.left, false)
        wire.run(for: 10_000_000)
        #expect(wire.isAccepted(wire.right))
    }

    @Test("A process that ends closes what it had, behind what it sent; and nobody listens there any more")
    func kill() {
        let wire = Wire()
        let key = wire.connect()
        wire.network.send([1, 2, 3], on: key, from: .acceptor)
        wire.network.endProcess(wire.right)
        wire.run()
        #expect(wire.received(wire.left) == [1, 2, 3])
        #expect(wire.isClosed(wire.left))
        _ = wire.network.connect(from: wire.left, to: wire.right, .quorum)
        wire.run()
        #expect(wire.isRefused(wire.left))
    }

    @Test("A machine without power is silent; once it is back, whoever sends to it is told that there is no connection")
    func power() {
        let wire = Wire()
        let key = wire.connect()
        wire.network.cutPower(wire.right)
        _ = wire.network.connect(from: wire.left, to: wire.right, .quorum)
        wire.run(for: 60_000_000)
        #expect(!wire.isClosed(wire.left) && !wire.isRefused(wire.left))
        wire.network.startProcess(wire.right, listening: [.quorum])
        wire.run(for: 60_000_000)
        #expect(!wire.isClosed(wire.left), "half open: nothing was sent")
        wire.network.send([1], on: key, from: .opener)
        wire.run()
        #expect(wire.isClosed(wire.left))
        #expect(wire.received(wire.right).isEmpty)
    }

    @Test("A stopped process takes nothing; its machine keeps connections, and it finds all of it when it goes on")
    func stop() {
        let wire = Wire()
        wire.network.window = 50
        let key = wire.connect()
        wire.network.setStopped(wire.right, true)
        for number in 0..<60 as Range<UInt8> { wire.network.send([number], on: key, from: .opener) }
        wire.run(for: 60_000_000)
        #expect(wire.received(wire.right).isEmpty)
        #expect(wire.network.credit(on: key, from: .opener) == 0)
        wire.network.setStopped(wire.right, false)
        wire.run()
        #expect(wire.received(wire.right) == Array(0..<60))
        #expect(wire.network.credit(on: key, from: .opener) == 50)
    }

    @Test("A broken connection is gone at both ends")
    func broken() {
        let wire = Wire()
        let key = wire.connect()
        wire.network.breakLink(key)
        wire.run()
        #expect(wire.isClosed(wire.left) && wire.isClosed(wire.right))
        #expect(wire.network.openLinks(.quorum).isEmpty)
    }

    @Test("Who sends and closes at once is heard to the end")
    func sendAndClose() {
        let wire = Wire()
        let key = wire.network.connect(from: wire.left, to: wire.right, .quorum)
        wire.run(for: 700)
        while !(wire.heard[wire.left] ?? []).contains(where: { if case .connected = $0 { true } else { false } }) {
            wire.run(for: 10)
        }
        wire.network.send([9], on: key, from: .opener)
        wire.network.close(key, .opener)
        wire.run()
        #expect(wire.isAccepted(wire.right))
        #expect(wire.received(wire.right) == [9])
        #expect(wire.isClosed(wire.right))
    }
}

@Suite("Simulated election transport")
struct ElectionTransportTests {
    /// Servers 1 and 2, with what they heard.
    private final class Pair {
        let time = VirtualTime<NetworkEvent>()
        let network: SimulatedNetwork
        var transports: [Int: ElectionTransport] = [:]
        var messages: [Int: [[UInt8]]] = [:]
        var links: [Int: [Bool]] = [:]

        init() {
            let time = time
            network = SimulatedNetwork(seed: 3, clock: { time.microseconds }) { time.schedule($0, at: $1) }
            for server in 1...2 { start(server) }
        }

        func start(_ server: Int) {
            if transports[server] == nil { network.add(Host(server)) }
            network.startProcess(Host(server), listening: [.election])
            transports[server] = ElectionTransport(
                me: Int64(server),
                host: Host(server),
                network: network,
                peers: (1...2).map { (Int64($0), Host($0)) }
            )
        }

        func run(for microseconds: Int64 = 1_000_000) {
            let end = time.microseconds + microseconds
            while let event = time.next(before: end) {
                network.handle(event)
                while !network.news.isEmpty {
                    let (host, news) = network.news.removeFirst()
                    _ = transports[host.rawValue]?.take(news, at: time.microseconds)
                }
                for server in 1...2 {
                    for news in transports[server]?.news ?? [] {
                        switch news {
                        case .message(let bytes, _): messages[server, default: []].append(bytes)
                        case .link(_, let isUp): links[server, default: []].append(isUp)
                        }
                    }
                    transports[server]?.news = []
                }
            }
            for server in 1...2 { transports[server]?.advance(to: time.microseconds) }
        }

        static func message(_ text: UInt8) -> [UInt8] { [0, 0, 0, 1, text] }
    }

    @Test("Whoever begins, one connection comes about, and messages go both ways", arguments: 1...2)
    func connects(first: Int) {
        let pair = Pair()
        pair.transports[first]?.send(Pair.message(7), to: Int64(3 - first), at: 0)
        pair.run()
        #expect(pair.messages[3 - first] == [[7]])
        #expect(pair.links[1] == [true] && pair.links[2] == [true])
        pair.transports[3 - first]?.send(Pair.message(8), to: Int64(first), at: pair.time.microseconds)
        pair.run()
        #expect(pair.messages[first] == [[8]])
        #expect(pair.network.openLinks(.election).count == 1)
    }

    @Test("Of messages that could not leave the newest is kept, and the last one is sent again on a new connection")
    func replacement() {
        let pair = Pair()
        pair.network.endProcess(Host(2))
        for text in 1...3 as ClosedRange<UInt8> {
            pair.transports[1]?.send(Pair.message(text), to: 2, at: pair.time.microseconds)
            pair.run()
        }
        #expect(pair.links[1]?.contains(true) != true)
        pair.start(2)
        pair.transports[1]?.connectAll(at: pair.time.microseconds)
        pair.run()
        #expect(pair.messages[2] == [[3]])
        pair.network.endProcess(Host(2))
        pair.run()
        pair.start(2)
        pair.transports[1]?.connectAll(at: pair.time.microseconds)
        pair.run()
        #expect(pair.messages[2] == [[3], [3]])
    }

    @Test("A server that was started again is heard although its old connection still stands")
    func restart() {
        let pair = Pair()
        pair.transports[2]?.send(Pair.message(1), to: 1, at: 0)
        pair.run()
        pair.network.cutPower(Host(1))
        pair.start(1)
        pair.transports[1]?.send(Pair.message(2), to: 2, at: pair.time.microseconds)
        pair.run()
        #expect(pair.messages[2] == [[2]])
        #expect(pair.network.openLinks(.election).count == 1)
    }
}
