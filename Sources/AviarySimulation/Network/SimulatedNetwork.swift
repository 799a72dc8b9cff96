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

    private let schedule: (NetworkEvent, Int64) -> Void
    private let clock: () -> Int64
    private var random: SeededGenerator
    private var machines: [Host: Machine] = [:]
    /// By number; nil once both ends are done with it.
    private var table: [SimulatedLink?] = [nil]
    private var cuts: Set<Way> = []
    private var cutSince: [Way: Int64] = [:]
    private var slowness: [Way: Latency] = [:]

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
        for (link, end) in ends(of: host) {
            link.streams[end].backlog = []
            close(link.key, end)
        }
        news.removeAll { $0.0 == host }
    }

    /// A machine is off from now on, and says nothing any more.
    package func cutPower(_ host: Host) {
        machines[host] = Machine(isOn: false, isRunning: false, isStopped: false, services: [])
        for (link, end) in ends(of: host) {
            link.isOpen[end] = false
            link.isForgotten[end] = true
            link.streams[end] = SimulatedStream()
            forgetIfDone(link)
        }
        news.removeAll { $0.0 == host }
    }

    /// A process takes nothing until it goes on.
    package func setStopped(_ host: Host, _ isStopped: Bool) {
        machines[host]?.isStopped = isStopped
        guard !isStopped else { return }
        wake { $0.opener == host || $0.acceptor == host }
        for (link, end) in ends(of: host) where link.handshake == 3 && link.isOpen[end] {
            tellWritable(link, end)
        }
    }

    /// What was sent while the machine was off is sent again, and refused.
    private func answerAfterPowerLoss(_ host: Host) {
        for link in links {
            for end in [LinkEnd.opener, .acceptor] where link.host(end) == host && link.isForgotten[end] {
                if !link.streams[end.other].packets.isEmpty { reset(link, at: end.other) }
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
        let key = LinkKey(table.count)
        table.append(SimulatedLink(key, from: from, to: to, service, window: window))
        schedule(.handshake(key, step: 0), clock() + delay(from: from, to: to))
        return key
    }

    private func link(_ key: LinkKey) -> SimulatedLink? { table[key.rawValue] }

    /// Oldest first.
    private var links: [SimulatedLink] { table.compactMap { $0 } }

    package func peer(of key: LinkKey, from end: LinkEnd) -> Host? { link(key)?.host(end.other) }

    package func send(_ bytes: [UInt8], on key: LinkKey, from end: LinkEnd) {
        guard !bytes.isEmpty, let link = link(key), link.isOpen[end] else { return }
        link.streams[end].backlog += bytes
        push(link, end)
        if link.service == .quorum { largestBacklog = max(largestBacklog, link.streams[end].backlog.count) }
    }

    /// How many bytes an end may send without having to wait.
    package func credit(on key: LinkKey, from end: LinkEnd) -> Int {
        guard let link = link(key), link.isOpen[end] else { return 0 }
        return link.credit(end)
    }

    /// Ends a connection behind what was sent.
    package func close(_ key: LinkKey, _ end: LinkEnd) {
        guard let link = link(key), link.isOpen[end] else { return }
        link.isOpen[end] = false
        link.streams[end].endsAfterBacklog = true
        // What was not read yet is refused; the other end hears that with the end of the stream.
        push(link, end)
        forgetIfDone(link)
    }

    /// Breaks a connection at both ends, as a firewall may.
    package func breakLink(_ key: LinkKey) {
        guard let link = link(key) else { return }
        for end in [LinkEnd.opener, .acceptor] { reset(link, at: end) }
    }

    /// A process reads from a connection, or does not at present.
    package func setReading(_ key: LinkKey, _ end: LinkEnd, _ isReading: Bool) {
        link(key)?.isHeldBack[end] = !isReading
        if isReading { wake { $0.key == key } }
    }

    /// An end takes nothing for a while, whatever its process wants.
    package func setAsleep(_ key: LinkKey, _ end: LinkEnd, _ isAsleep: Bool) {
        link(key)?.isAsleep[end] = isAsleep
        if !isAsleep { wake { $0.key == key } }
    }

    /// No end is asleep any more.
    package func wakeAll() {
        for link in links { link.isAsleep = Ends(opener: false, acceptor: false) }
        wake { _ in true }
    }

    /// Connections that both ends have, oldest first.
    package func openLinks(_ service: Service) -> [LinkKey] {
        links.filter { $0.service == service && $0.handshake == 3 && $0.isOpen.opener && $0.isOpen.acceptor }
            .map(\.key)
    }

    /// Connections of one service, in words, for whoever has to find out.
    package func describe(_ service: Service) -> [String] {
        links.filter { $0.service == service }.map { link in
            let ends = [LinkEnd.opener, .acceptor].map { end in
                let stream = link.streams[end]
                let state = link.isForgotten[end] ? "forgotten" : link.isOpen[end] ? "open" : "closed"
                return "\(link.host(end)) \(state) packets=\(stream.packets.count) backlog=\(stream.backlog.count)"
                    + " untaken=\(stream.untaken)\(stream.isScheduled ? " scheduled" : "")"
                    + (link.isHeldBack[end] ? " held back" : "") + (link.isAsleep[end] ? " asleep" : "")
            }
            return "link \(link.key.rawValue), handshake \(link.handshake)\(link.isHandshakeHeld ? " held" : ""): "
                + ends.joined(separator: "; ")
        }
    }

    // MARK: - What happens

    package func handle(_ event: NetworkEvent) {
        switch event {
        case .handshake(let key, let step): if let link = link(key) { shakeHands(link, step) }
        case .arrival(let key, let end): if let link = link(key) { arrive(link, at: end) }
        case .taken(let key, let end, let bytes): if let link = link(key) { taken(link, end, bytes) }
        }
    }

    private func isCut(_ link: SimulatedLink, to end: LinkEnd) -> Bool {
        !cuts.isEmpty && cuts.contains(Way(from: link.host(end.other), to: link.host(end)))
    }

    private func shakeHands(_ link: SimulatedLink, _ step: Int) {
        guard link.handshake == step else { return }
        // Steps 0 and 2 go to the acceptor, step 1 to the opener.
        let end: LinkEnd = step == 1 ? .opener : .acceptor
        let host = link.host(end)
        guard !isCut(link, to: end), machines[host]?.isOn == true else {
            link.isHandshakeHeld = true
            return
        }
        // Behind the last step may be something that the opener said before it closed.
        guard link.isOpen.opener || step == 2 else { return forget(link) }
        switch step {
        case 0:
            guard machines[host]?.services.contains(link.service) == true else {
                link.isOpen.acceptor = false
                return reset(link, at: .opener)
            }
            link.handshake = 1
            schedule(.handshake(link.key, step: 1), clock() + delay(from: host, to: link.opener))
        case 1:
            guard !isStopped(host) else {
                link.isHandshakeHeld = true
                return
            }
            link.handshake = 2
            let at = clock() + delay(from: link.opener, to: link.acceptor)
            link.streams.opener.lastArrival = at
            news.append((host, .connected(link.key)))
            schedule(.handshake(link.key, step: 2), at)
        default:
            // Who had answered is gone, and never knew of it.
            guard link.isOpen.acceptor else { return reset(link, at: .opener) }
            guard machines[host]?.services.contains(link.service) == true else {
                link.isOpen.acceptor = false
                return reset(link, at: .opener)
            }
            guard !isStopped(host) else {
                link.isHandshakeHeld = true
                return
            }
            link.handshake = 3
            news.append((host, .accepted(link.key, link.service, from: link.opener)))
            scheduleFirst(link, .opener)
        }
    }

    private func isStopped(_ host: Host) -> Bool { machines[host]?.isStopped == true }

    private func arrive(_ link: SimulatedLink, at end: LinkEnd) {
        let sender = end.other
        link.streams[sender].isScheduled = false
        let host = link.host(end)
        guard let packet = link.streams[sender].packets.first?.packet else { return }
        let isHeld =
            isCut(link, to: end) || machines[host]?.isOn != true || isStopped(host)
            || link.isHeldBack[end] || link.isAsleep[end]
            // The last step of the handshake may have been held longer.
            || end == .acceptor && link.handshake < 3 && !link.isForgotten[end]
        if isHeld { return }
        link.streams[sender].packets.removeFirst()
        if link.isForgotten[end] { return reset(link, at: sender) }
        switch packet {
        case .bytes(let bytes):
            // Who has closed already answers what still comes with a reset, which its peer does not need to hear: the end
            // of the stream is on its way.
            if link.isOpen[end] { news.append((host, .received(link.key, bytes))) }
            acknowledge(link, end, bytes.count)
        case .end:
            if link.isOpen[end] { hearEnd(link, end) }
        case .reset:
            link.streams[sender].packets = []
            dropStream(link, from: end)
            if link.isOpen[end] { hearEnd(link, end) }
        }
        scheduleFirst(link, sender)
        forgetIfDone(link)
    }

    /// What an end had sent goes nowhere any more, but for the news that the connection is gone.
    private func dropStream(_ link: SimulatedLink, from end: LinkEnd) {
        link.streams[end].backlog = []
        if case .reset = link.streams[end].packets.first?.packet { return }
        link.streams[end].packets = []
    }

    private func hearEnd(_ link: SimulatedLink, _ end: LinkEnd) {
        link.isOpen[end] = false
        link.streams[end].backlog = []
        let isRefusal = link.handshake < 2 && end == .opener
        news.append((link.host(end), isRefusal ? .refused(link.key) : .closed(link.key)))
    }

    /// The other end hears that bytes are taken. As long as it is far from having to wait for that, it need not be told at
    /// its own moment: most packets of most runs are small.
    private func acknowledge(_ link: SimulatedLink, _ end: LinkEnd, _ bytes: Int) {
        let sender = end.other
        if isCut(link, to: sender) {
            link.streams[sender].heldTaken += bytes
        } else if link.streams[sender].backlog.isEmpty, link.streams[sender].untaken < link.window / 2,
            link.streams[sender].sentSinceTold < link.window / 2
        {
            link.streams[sender].untaken -= bytes
        } else {
            let way = delay(from: link.host(end), to: link.host(sender))
            schedule(.taken(link.key, from: sender, bytes: bytes), clock() + way)
        }
    }

    private func taken(_ link: SimulatedLink, _ end: LinkEnd, _ bytes: Int) {
        link.streams[end].untaken -= bytes
        push(link, end)
        if link.isOpen[end], !isStopped(link.host(end)) { tellWritable(link, end) }
    }

    /// Only servers among each other keep books about what they may send.
    private func tellWritable(_ link: SimulatedLink, _ end: LinkEnd) {
        guard link.service == .quorum else { return }
        link.streams[end].sentSinceTold = 0
        news.append((link.host(end), .writable(link.key, bytes: link.credit(end))))
    }

    // MARK: - Streams

    /// Puts on the way what the window allows.
    private func push(_ link: SimulatedLink, _ end: LinkEnd) {
        let backlog = link.streams[end].backlog.count
        let count = min(backlog, max(link.window - link.streams[end].untaken, 0))
        if count > 0 {
            var piece: [UInt8] = []
            if count == backlog {
                swap(&piece, &link.streams[end].backlog)
            } else {
                piece = Array(link.streams[end].backlog[..<count])
                link.streams[end].backlog.removeFirst(count)
            }
            link.streams[end].untaken += count
            link.streams[end].sentSinceTold += count
            if count > 1, random.oneIn(splitOneIn) {
                let first = 1 + random.below(count - 1)
                link.streams[end].packets.append((clock(), .bytes(Array(piece[..<first]))))
                piece.removeFirst(first)
            }
            link.streams[end].packets.append((clock(), .bytes(piece)))
        }
        if link.streams[end].endsAfterBacklog, count == backlog {
            link.streams[end].endsAfterBacklog = false
            link.streams[end].packets.append((clock(), .end))
        }
        scheduleFirst(link, end)
    }

    private func scheduleFirst(_ link: SimulatedLink, _ end: LinkEnd, extra: Int64 = 0) {
        guard !link.streams[end].isScheduled, let sentAt = link.streams[end].packets.first?.sentAt else { return }
        // The acceptor speaks once it knows of the connection; what the opener says comes behind the handshake.
        guard link.handshake == 3 || link.handshake == 2 && end == .opener else { return }
        let arrival = sentAt + delay(from: link.host(end), to: link.host(end.other))
        let at = max(link.streams[end].lastArrival, arrival, clock() + extra)
        link.streams[end].lastArrival = at
        link.streams[end].isScheduled = true
        schedule(.arrival(link.key, at: end.other), at)
    }

    /// One end hears that the connection is gone.
    private func reset(_ link: SimulatedLink, at end: LinkEnd) {
        let sender = end.other
        link.streams[sender].packets = [(clock(), .reset)]
        link.streams[sender].backlog = []
        link.streams[sender].isScheduled = true
        let at = clock() + delay(from: link.host(sender), to: link.host(end))
        link.streams[sender].lastArrival = max(link.streams[sender].lastArrival, at)
        schedule(.arrival(link.key, at: end), at)
    }

    /// What was held goes on, if nothing holds it any more; if something does, it is held again.
    private func wake(delay: (() -> Int64)? = nil, where concerns: (SimulatedLink) -> Bool) {
        for link in links where concerns(link) {
            if link.isHandshakeHeld {
                link.isHandshakeHeld = false
                schedule(.handshake(link.key, step: link.handshake), clock() + (delay?() ?? 0))
            }
            for end in [LinkEnd.opener, .acceptor] {
                scheduleFirst(link, end, extra: delay?() ?? 0)
                let held = link.streams[end].heldTaken
                guard held > 0, !isCut(link, to: end) else { continue }
                link.streams[end].heldTaken = 0
                let way = self.delay(from: link.host(end.other), to: link.host(end))
                schedule(.taken(link.key, from: end, bytes: held), clock() + way)
            }
        }
    }

    private func ends(of host: Host) -> [(SimulatedLink, LinkEnd)] {
        var found: [(SimulatedLink, LinkEnd)] = []
        for link in links {
            if link.opener == host { found.append((link, .opener)) }
            if link.acceptor == host { found.append((link, .acceptor)) }
        }
        return found
    }

    private func forgetIfDone(_ link: SimulatedLink) {
        guard !link.isOpen.opener, !link.isOpen.acceptor else { return }
        let isEmpty = link.streams.opener.isEmpty && link.streams.acceptor.isEmpty
        if isEmpty || link.isForgotten.opener && link.isForgotten.acceptor { forget(link) }
    }

    private func forget(_ link: SimulatedLink) { table[link.key.rawValue] = nil }
}

extension SeededGenerator {
    /// `low` to `high`, both included.
    package mutating func range(_ low: Int64, _ high: Int64) -> Int64 {
        high > low ? low + Int64(next() >> 1) % (high - low + 1) : low
    }
}
