/// TCP between simulated machines.
///
/// ## Model
///
/// - A connection is two streams of bytes, each in order and without loss. Bytes take the latency of their way, and chance
///   on top; a lost packet is one that takes a retransmission longer.
/// - An end may have `window` bytes on the way or unread at the other end. What it sends beyond waits with it, and it is
///   told how many more bytes it may send as they are taken.
/// - A way can be cut in one direction. What is on it waits, and goes on some time after it is mended; acknowledgements
///   that have to come back over it wait too, so that the other direction stops once its window is full.
/// - A process that ends has its connections closed by its machine: the other end hears of it behind what was sent before.
///   A machine that loses power says nothing: its connections are half open until somebody sends to the machine that has
///   come back, and is told that there is no such connection.
/// - A process that is stopped takes nothing, while its machine does: connections are made, and bytes wait.
/// - Nobody listens at a process that is not there: connecting is refused. A machine that is off does not answer at all.
///
/// Everything by chance comes from the seed.
package final class SimulatedNetwork {
    /// How long bytes take.
    package struct Latency: Sendable {
        /// Microseconds for every way.
        package var base: Int64
        /// Microseconds on top, evenly spread.
        package var jitter: Int64
        /// One in so many packets has to be sent again.
        package var lossOneIn: Int

        package init(base: Int64 = 200, jitter: Int64 = 300, lossOneIn: Int = 1 << 20) {
            self.base = base
            self.jitter = jitter
            self.lossOneIn = lossOneIn
        }
    }

    private struct Way: Hashable {
        var from: Host
        var to: Host
    }

    private struct Machine {
        var isOn = true
        var isRunning = false
        var isStopped = false
        var services: Set<Service> = []
    }

    private enum Packet {
        case bytes([UInt8])
        /// The end of the stream.
        case end
        /// The connection is gone, whatever is still on the way to the end that hears it.
        case reset
    }

    /// One of the two streams of a connection.
    private struct Stream {
        /// With the time at which each was sent.
        var packets = ArraySlice<(sentAt: Int64, packet: Packet)>()
        /// When the last packet on the way arrives.
        var lastArrival: Int64 = 0
        /// An event for the first packet is scheduled.
        var isScheduled = false
        /// Bytes on the way, or not taken by the receiver yet.
        var untaken = 0
        /// Waits with the sender.
        var backlog: [UInt8] = []
        /// The sender has ended the stream behind its backlog.
        var endsAfterBacklog = false
        /// Acknowledgements that a cut way holds back.
        var heldTaken = 0
    }

    private struct Link {
        var opener: Host
        var acceptor: Host
        var service: Service
        /// The next step of the handshake that has to arrive; 3 once both know.
        var handshake = 0
        var isHandshakeHeld = false
        /// By end: whether its process still has it.
        var isOpen = [true, true]
        /// By end: its machine has lost power since.
        var isForgotten = [false, false]
        /// By sending end.
        var streams = [Stream(), Stream()]
        /// Bytes that one direction may hold.
        var window: Int
        /// An end that does not read, for as long as this holds.
        var isReadingStopped = [false, false]

        func host(_ end: LinkEnd) -> Host { end == .opener ? opener : acceptor }
    }

    private let schedule: (NetworkEvent, Int64) -> Void
    private let clock: () -> Int64
    private var random: SeededGenerator
    private var machines: [Host: Machine] = [:]
    private var links: [LinkKey: Link] = [:]
    private var cuts: Set<Way> = []
    private var cutSince: [Way: Int64] = [:]
    private var slowness: [Way: Latency] = [:]
    private var nextLink = 1

    package var latency = Latency()
    /// Bytes that may be on their way in one direction of a new connection.
    package var window = 256 << 10
    /// One in so many pieces arrives in two.
    package var splitOneIn = 50
    /// What processes have to be told, in order; whoever owns this takes it after every call.
    package var news: [(Host, LinkNews)] = []
    /// The most bytes that ever waited with a sender of quorum packets.
    package private(set) var largestBacklog = 0

    /// - Parameters:
    ///   - clock: the time now, in microseconds.
    ///   - schedule: takes an event and the time at which `handle` is to be called with it.
    package init(
        seed: UInt64,
        clock: @escaping () -> Int64,
        schedule: @escaping (NetworkEvent, Int64) -> Void
    ) {
        random = SeededGenerator(seed: seed)
        self.clock = clock
        self.schedule = schedule
    }

    // MARK: - Machines and processes

    package func add(_ host: Host) { machines[host] = Machine() }

    /// A process begins on a machine, which is switched on if it was not.
    package func startProcess(_ host: Host, listening services: Set<Service>) {
        let wasOn = machines[host]?.isOn ?? false
        machines[host] = Machine(isOn: true, isRunning: true, isStopped: false, services: services)
        if !wasOn { answerAfterPowerLoss(host) }
    }

    /// A process ends; its machine closes what it had open.
    package func endProcess(_ host: Host) {
        machines[host]?.isRunning = false
        machines[host]?.isStopped = false
        machines[host]?.services = []
        for (key, end) in ends(of: host) {
            links[key]?.streams[end.rawValue].backlog = []
            close(key, end)
        }
        news.removeAll { $0.0 == host }
    }

    /// A machine is off from now on, and says nothing any more.
    package func cutPower(_ host: Host) {
        machines[host] = Machine(isOn: false, isRunning: false, isStopped: false, services: [])
        for (key, end) in ends(of: host) {
            links[key]?.isOpen[end.rawValue] = false
            links[key]?.isForgotten[end.rawValue] = true
            links[key]?.streams[end.rawValue] = Stream()
            forgetIfDone(key)
        }
        news.removeAll { $0.0 == host }
    }

    /// A machine without a process is switched on: it answers that there is nobody.
    package func switchOn(_ host: Host) {
        guard machines[host]?.isOn == false else { return }
        machines[host]?.isOn = true
        answerAfterPowerLoss(host)
    }

    /// A process takes nothing until it goes on.
    package func setStopped(_ host: Host, _ isStopped: Bool) {
        machines[host]?.isStopped = isStopped
        guard !isStopped else { return }
        wake { $0.opener == host || $0.acceptor == host }
        for (key, end) in ends(of: host) where links[key]?.handshake == 3 && links[key]?.isOpen[end.rawValue] == true {
            news.append((host, .writable(key, bytes: credit(on: key, from: end))))
        }
    }

    /// What was sent while the machine was off is sent again, and refused.
    private func answerAfterPowerLoss(_ host: Host) {
        for (key, link) in links.sorted(by: { $0.key < $1.key }) {
            for end in [LinkEnd.opener, .acceptor] where link.host(end) == host && link.isForgotten[end.rawValue] {
                if !link.streams[end.other.rawValue].packets.isEmpty { reset(key, at: end.other) }
            }
        }
        wake { $0.acceptor == host && $0.handshake == 0 }
    }

    // MARK: - Ways

    /// Cuts or mends the way from one machine to another.
    package func setCut(from: Host, to: Host, _ isCut: Bool) {
        let way = Way(from: from, to: to)
        if isCut {
            if cuts.insert(way).inserted { cutSince[way] = clock() }
            return
        }
        guard cuts.remove(way) != nil else { return }
        let cut = clock() - (cutSince.removeValue(forKey: way) ?? clock())
        // Who waits for an acknowledgement tries less and less often.
        let longest = min(max(cut, 1000), 2_000_000)
        wake(delay: { self.random.range(0, longest) }) { link in
            link.opener == from && link.acceptor == to || link.opener == to && link.acceptor == from
        }
    }

    package func isCut(from: Host, to: Host) -> Bool { cuts.contains(Way(from: from, to: to)) }

    /// Mends every way.
    package func mendAll() {
        for way in cuts.sorted(by: { ($0.from, $0.to) < ($1.from, $1.to) }) {
            setCut(from: way.from, to: way.to, false)
        }
        slowness = [:]
    }

    /// Gives one way its own latency; nil takes it back.
    package func setLatency(from: Host, to: Host, _ latency: Latency?) {
        slowness[Way(from: from, to: to)] = latency
    }

    private func delay(from: Host, to: Host) -> Int64 {
        let latency = slowness[Way(from: from, to: to)] ?? self.latency
        var delay = latency.base + Int64(random.below(Int(latency.jitter) + 1))
        if random.oneIn(latency.lossOneIn) { delay += 200_000 + Int64(random.below(200_000)) }
        return delay
    }

    // MARK: - What processes do

    /// Begins to connect. `connected` or `refused` follows, or neither.
    package func connect(from: Host, to: Host, _ service: Service) -> LinkKey {
        let key = LinkKey(nextLink)
        nextLink += 1
        links[key] = Link(opener: from, acceptor: to, service: service, window: window)
        schedule(.handshake(key, step: 0), clock() + delay(from: from, to: to))
        return key
    }

    package func peer(of key: LinkKey, from end: LinkEnd) -> Host? { links[key]?.host(end.other) }

    package func send(_ bytes: [UInt8], on key: LinkKey, from end: LinkEnd) {
        guard !bytes.isEmpty, var link = links[key], link.isOpen[end.rawValue] else { return }
        link.streams[end.rawValue].backlog += bytes
        links[key] = link
        push(key, end)
        if link.service == .quorum, let rest = links[key]?.streams[end.rawValue].backlog.count {
            largestBacklog = max(largestBacklog, rest)
        }
    }

    /// How many bytes an end may send without having to wait.
    package func credit(on key: LinkKey, from end: LinkEnd) -> Int {
        guard let link = links[key], link.isOpen[end.rawValue] else { return 0 }
        let stream = link.streams[end.rawValue]
        return max(link.window - stream.untaken - stream.backlog.count, 0)
    }

    /// Ends a connection behind what was sent.
    package func close(_ key: LinkKey, _ end: LinkEnd) {
        guard var link = links[key], link.isOpen[end.rawValue] else { return }
        link.isOpen[end.rawValue] = false
        link.streams[end.rawValue].endsAfterBacklog = true
        // What was not read yet is refused; the other end hears that with the end of the stream.
        links[key] = link
        push(key, end)
        forgetIfDone(key)
    }

    /// Breaks a connection at both ends, as a firewall may.
    package func breakLink(_ key: LinkKey) {
        for end in [LinkEnd.opener, .acceptor] { reset(key, at: end) }
    }

    /// An end does not read for a while.
    package func setReading(_ key: LinkKey, _ end: LinkEnd, _ isReading: Bool) {
        links[key]?.isReadingStopped[end.rawValue] = !isReading
        if isReading { wake { _ in true } }
    }

    /// Every end reads again.
    package func readAll() {
        for key in links.keys { links[key]?.isReadingStopped = [false, false] }
        wake { _ in true }
    }

    /// Connections that both ends have, oldest first.
    package func openLinks(_ service: Service) -> [LinkKey] {
        links.filter { $0.value.service == service && $0.value.handshake == 3 && !$0.value.isOpen.contains(false) }
            .keys.sorted()
    }

    /// Connections of one service, in words, for whoever has to find out.
    package func describe(_ service: Service) -> [String] {
        links.filter { $0.value.service == service }.sorted { $0.key < $1.key }.map { key, link in
            let ends = [LinkEnd.opener, .acceptor].map { end in
                let stream = link.streams[end.rawValue]
                let state = link.isForgotten[end.rawValue] ? "forgotten" : link.isOpen[end.rawValue] ? "open" : "closed"
                return "\(link.host(end)) \(state) packets=\(stream.packets.count) backlog=\(stream.backlog.count)"
                    + " untaken=\(stream.untaken)\(stream.isScheduled ? " scheduled" : "")"
                    + (link.isReadingStopped[end.rawValue] ? " not reading" : "")
            }
            return "link \(key.rawValue), handshake \(link.handshake)\(link.isHandshakeHeld ? " held" : ""): "
                + ends.joined(separator: "; ")
        }
    }

    // MARK: - What happens

    package func handle(_ event: NetworkEvent) {
        switch event {
        case .handshake(let key, let step): shakeHands(key, step)
        case .arrival(let key, let end): arrive(key, at: end)
        case .taken(let key, let end, let bytes): taken(key, end, bytes)
        }
    }

    private func shakeHands(_ key: LinkKey, _ step: Int) {
        guard var link = links[key], link.handshake == step else { return }
        // Steps 0 and 2 go to the acceptor, step 1 to the opener.
        let end: LinkEnd = step == 1 ? .opener : .acceptor
        let host = link.host(end)
        let isHeld = cuts.contains(Way(from: link.host(end.other), to: host)) || machines[host]?.isOn != true
        if isHeld {
            links[key]?.isHandshakeHeld = true
            return
        }
        // Behind the last step may be something that the opener said before it closed.
        guard link.isOpen[LinkEnd.opener.rawValue] || step == 2 else { return forget(key) }
        switch step {
        case 0:
            guard machines[host]?.services.contains(link.service) == true else {
                link.isOpen[LinkEnd.acceptor.rawValue] = false
                links[key] = link
                return reset(key, at: .opener)
            }
            link.handshake = 1
            links[key] = link
            schedule(.handshake(key, step: 1), clock() + delay(from: host, to: link.opener))
        case 1:
            guard !isStopped(host) else {
                links[key]?.isHandshakeHeld = true
                return
            }
            link.handshake = 2
            let at = clock() + delay(from: link.opener, to: link.acceptor)
            link.streams[LinkEnd.opener.rawValue].lastArrival = at
            links[key] = link
            news.append((host, .connected(key)))
            schedule(.handshake(key, step: 2), at)
        default:
            // Who had answered is gone, and never knew of it.
            guard link.isOpen[LinkEnd.acceptor.rawValue] else { return reset(key, at: .opener) }
            guard machines[host]?.services.contains(link.service) == true else {
                links[key]?.isOpen[LinkEnd.acceptor.rawValue] = false
                return reset(key, at: .opener)
            }
            guard !isStopped(host) else {
                links[key]?.isHandshakeHeld = true
                return
            }
            link.handshake = 3
            links[key] = link
            news.append((host, .accepted(key, link.service, from: link.opener)))
            scheduleFirst(key, LinkEnd.opener)
        }
    }

    private func isStopped(_ host: Host) -> Bool { machines[host]?.isStopped == true }

    private func arrive(_ key: LinkKey, at end: LinkEnd) {
        guard var link = links[key] else { return }
        let sender = end.other.rawValue
        link.streams[sender].isScheduled = false
        links[key] = link
        let host = link.host(end)
        guard let packet = link.streams[sender].packets.first?.packet else { return }
        let isHeld =
            cuts.contains(Way(from: link.host(end.other), to: host)) || machines[host]?.isOn != true
            || isStopped(host) || link.isReadingStopped[end.rawValue]
            // The last step of the handshake may have been held longer.
            || end == .acceptor && link.handshake < 3 && !link.isForgotten[end.rawValue]
        if isHeld { return }
        links[key]?.streams[sender].packets.removeFirst()
        if link.isForgotten[end.rawValue] { return reset(key, at: end.other) }
        switch packet {
        case .bytes(let bytes):
            // Who has closed already answers what still comes with a reset, which its peer does not need to hear: the end
            // of the stream is on its way.
            if link.isOpen[end.rawValue] { news.append((host, .received(key, bytes))) }
            acknowledge(key, end, bytes.count)
        case .end:
            if link.isOpen[end.rawValue] { hearEnd(key, end) }
        case .reset:
            links[key]?.streams[sender].packets = []
            dropStream(key, from: end)
            if link.isOpen[end.rawValue] { hearEnd(key, end) }
        }
        scheduleFirst(key, end.other)
        forgetIfDone(key)
    }

    /// What an end had sent goes nowhere any more, but for the news that the connection is gone.
    private func dropStream(_ key: LinkKey, from end: LinkEnd) {
        links[key]?.streams[end.rawValue].backlog = []
        if case .reset = links[key]?.streams[end.rawValue].packets.first?.packet { return }
        links[key]?.streams[end.rawValue].packets = []
    }

    private func hearEnd(_ key: LinkKey, _ end: LinkEnd) {
        guard let link = links[key] else { return }
        links[key]?.isOpen[end.rawValue] = false
        links[key]?.streams[end.rawValue].backlog = []
        let isRefusal = link.handshake < 2 && end == .opener
        news.append((link.host(end), isRefusal ? .refused(key) : .closed(key)))
    }

    private func acknowledge(_ key: LinkKey, _ end: LinkEnd, _ bytes: Int) {
        guard let link = links[key] else { return }
        let way = Way(from: link.host(end), to: link.host(end.other))
        if cuts.contains(way) {
            links[key]?.streams[end.other.rawValue].heldTaken += bytes
        } else {
            schedule(.taken(key, from: end.other, bytes: bytes), clock() + delay(from: way.from, to: way.to))
        }
    }

    private func taken(_ key: LinkKey, _ end: LinkEnd, _ bytes: Int) {
        guard let link = links[key] else { return }
        links[key]?.streams[end.rawValue].untaken -= bytes
        push(key, end)
        if link.isOpen[end.rawValue], !isStopped(link.host(end)) {
            news.append((link.host(end), .writable(key, bytes: credit(on: key, from: end))))
        }
    }

    // MARK: - Streams

    /// Puts on the way what the window allows.
    private func push(_ key: LinkKey, _ end: LinkEnd) {
        guard var link = links[key] else { return }
        var stream = link.streams[end.rawValue]
        let count = min(stream.backlog.count, max(link.window - stream.untaken, 0))
        if count > 0 {
            var piece = Array(stream.backlog[..<count])
            stream.backlog.removeFirst(count)
            stream.untaken += count
            if count > 1, random.oneIn(splitOneIn) {
                let first = 1 + random.below(count - 1)
                stream.packets.append((clock(), .bytes(Array(piece[..<first]))))
                piece.removeFirst(first)
            }
            stream.packets.append((clock(), .bytes(piece)))
        }
        if stream.endsAfterBacklog, stream.backlog.isEmpty {
            stream.endsAfterBacklog = false
            stream.packets.append((clock(), .end))
        }
        link.streams[end.rawValue] = stream
        links[key] = link
        scheduleFirst(key, end)
    }

    private func scheduleFirst(_ key: LinkKey, _ end: LinkEnd, extra: Int64 = 0) {
        guard let link = links[key] else { return }
        let stream = link.streams[end.rawValue]
        guard let first = stream.packets.first, !stream.isScheduled else { return }
        // The acceptor speaks once it knows of the connection; what the opener says comes behind the handshake.
        guard link.handshake == 3 || link.handshake == 2 && end == .opener else { return }
        let to = link.host(end.other)
        let at = max(stream.lastArrival, first.sentAt + delay(from: link.host(end), to: to), clock() + extra)
        links[key]?.streams[end.rawValue].lastArrival = at
        links[key]?.streams[end.rawValue].isScheduled = true
        schedule(.arrival(key, at: end.other), at)
    }

    /// One end hears that the connection is gone.
    private func reset(_ key: LinkKey, at end: LinkEnd) {
        guard var link = links[key] else { return }
        let sender = end.other.rawValue
        link.streams[sender].packets = [(clock(), .reset)]
        link.streams[sender].backlog = []
        link.streams[sender].isScheduled = true
        let at = clock() + delay(from: link.host(end.other), to: link.host(end))
        link.streams[sender].lastArrival = max(link.streams[sender].lastArrival, at)
        links[key] = link
        schedule(.arrival(key, at: end), at)
    }

    /// What was held goes on, if nothing holds it any more; if something does, it is held again.
    private func wake(delay: (() -> Int64)? = nil, where concerns: (Link) -> Bool) {
        for (key, link) in links.sorted(by: { $0.key < $1.key }) where concerns(link) {
            if link.isHandshakeHeld {
                links[key]?.isHandshakeHeld = false
                schedule(.handshake(key, step: link.handshake), clock() + (delay?() ?? 0))
            }
            for end in [LinkEnd.opener, .acceptor] {
                scheduleFirst(key, end, extra: delay?() ?? 0)
                let held = links[key]?.streams[end.rawValue].heldTaken ?? 0
                let way = Way(from: link.host(end.other), to: link.host(end))
                if held > 0, !cuts.contains(way) {
                    links[key]?.streams[end.rawValue].heldTaken = 0
                    schedule(.taken(key, from: end, bytes: held), clock() + self.delay(from: way.from, to: way.to))
                }
            }
        }
    }

    private func ends(of host: Host) -> [(LinkKey, LinkEnd)] {
        var found: [(LinkKey, LinkEnd)] = []
        for (key, link) in links.sorted(by: { $0.key < $1.key }) {
            if link.opener == host { found.append((key, .opener)) }
            if link.acceptor == host { found.append((key, .acceptor)) }
        }
        return found
    }

    private func forgetIfDone(_ key: LinkKey) {
        guard let link = links[key], link.isOpen == [false, false] else { return }
        guard link.streams.allSatisfy({ $0.packets.isEmpty && $0.backlog.isEmpty }) || link.isForgotten == [true, true]
        else { return }
        forget(key)
    }

    private func forget(_ key: LinkKey) { links[key] = nil }
}

extension SeededGenerator {
    /// `low` to `high`, both included.
    package mutating func range(_ low: Int64, _ high: Int64) -> Int64 {
        high > low ? low + Int64(next() >> 1) % (high - low + 1) : low
    }
}
