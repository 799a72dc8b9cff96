import Testing
import ZooKeeperProtocol

@testable import Zab

/// An ensemble in one thread: peers with their shells, a network with delays, partitions and broken connections, and
/// crashes that lose whatever the disk has not answered. Everything that happens follows from the seed.
final class Simulation {
    enum Event {
        case bytes(SimulatedLink, toEnd: Int, [UInt8])
        case notification(Notification, from: ServerID, to: ServerID)
        case electionLink(ServerID, at: ServerID, isUp: Bool)
        case connect(LinkID, from: ServerID, to: ServerID, incarnation: Int)
        case closed(SimulatedLink, end: Int)
        case disk(ServerID, incarnation: Int)
        case timer(ServerID, incarnation: Int)
        case streamed(SimulatedLink, end: Int, Zxid)
        case action(() -> Void)
    }

    var time: Int64 = 0
    var events = EventQueue<Event>()
    var random: SplitMix64
    var servers: [SimulatedServer] = []
    var checker = Checker()
    /// Pairs that cannot talk, lower id first.
    var cuts: Set<[ServerID]> = []
    var configuration: QuorumConfiguration
    /// The longest that a message, and a write, takes in microseconds.
    var maxDelay: UInt64 = 5_000
    var maxDiskDelay: UInt64 = 5_000
    /// Bytes that a direction of a link holds.
    var linkCapacity = 1 << 20
    var snapshotsTaken = 0
    private var cxid: Int32 = 0
    private var asked: [ServerID: [UInt64: Int]] = [:]
    private(set) var confirmedCount = 0
    /// The version of the newest configuration that came into force anywhere.
    private(set) var reconfigurationCount: Int64 = 0
    private(set) var lastNotifications: [[ServerID]: Notification] = [:]
    /// What leaves servers, for tests that look at it.
    var trace: ((ServerID, QuorumPacketType, Zxid, ServerID) -> Void)?
    var noteTrace: ((ServerID, ZabNote) -> Void)?
    var callTrace: ((ServerID, String) -> Void)?

    init(
        seed: UInt64,
        voters: Int,
        observers: Int = 0,
        isReconfigEnabled: Bool = false,
        hasObserverMasters: Bool = false
    ) throws {
        random = SplitMix64(seed: seed)
        configuration = try Simulation.configuration(voters: voters, observers: observers)
        for member in configuration.members {
            var options = PeerOptions(me: member.id, tickMilliseconds: 200, initLimit: 10, syncLimit: 5)
            options.reconfigEnabled = isReconfigEnabled
            options.recentCount = 8
            options.recentBytes = 2_000
            options.hasObserverMasters = hasObserverMasters
            servers.append(SimulatedServer(id: member.id, options: options))
        }
    }

    static func configuration(voters: Int, observers: Int = 0) throws -> QuorumConfiguration {
        try QuorumConfiguration(
            members: (1...voters + observers).map { number in
                QuorumMember(
                    id: ServerID(Int64(number)),
                    addresses: [ServerAddress(host: "s\(number)", quorumPort: 2888, electionPort: 3888)],
                    role: number <= voters ? .participant : .observer
                )
            }
        )
    }

    subscript(_ number: Int) -> SimulatedServer { servers[number - 1] }
    func server(_ id: ServerID) -> SimulatedServer { servers[Int(id.rawValue) - 1] }
    var now: Now { Now(wallMilliseconds: time / 1000, monotonicMicroseconds: time) }
    func chance(_ outOf: UInt64) -> UInt64 { random.next() % outOf }

    // MARK: Running

    func schedule(after delay: Int64, _ body: @escaping () -> Void) {
        events.push(.action(body), at: time + delay)
    }

    /// Runs until the condition holds.
    ///
    /// - Returns: whether it did within this many seconds.
    @discardableResult
    func run(seconds: Double, until isDone: () -> Bool = { false }) -> Bool {
        let end = time + Int64(seconds * 1_000_000)
        while checker.violations.isEmpty {
            if isDone() { return true }
            guard let next = events.nextTime, next <= end, let (at, event) = events.pop() else { break }
            time = max(time, at)
            handle(event)
        }
        time = max(time, end)
        return isDone()
    }

    private func handle(_ event: Event) {
        switch event {
        case .bytes(let link, let end, let bytes):
            deliver(bytes, link, end)
        case .notification(let notification, let from, let to):
            guard !isCut(from, to) else { return }
            if server(to).isPaused { return events.push(event, at: time + 20_000) }
            input(server(to)) { $0.receive(notification: notification, from: from, at: self.now, into: &$1) }
        case .electionLink(let other, let at, let isUp):
            input(server(at)) { $0.electionLink(other, isUp: isUp, at: self.now, into: &$1) }
        case .connect(let link, let from, let to, let incarnation):
            connect(link, from, to, incarnation)
        case .closed(let link, let end):
            closed(link, end)
        case .disk(let id, let incarnation):
            finishOperation(server(id), incarnation)
        case .timer(let id, let incarnation):
            let server = server(id)
            guard server.incarnation == incarnation else { return }
            if server.isPaused { return events.push(event, at: time + 20_000) }
            server.timerAt = .max
            input(server) { $0.advance(to: self.now, into: &$1) }
        case .streamed(let link, let end, let zxid):
            guard link.isOpen else { return }
            let id = link.ends[end].link
            input(server(link.ends[end].server)) {
                $0.historyRead(id, .snapshotStreamed(zxid), at: self.now, into: &$1)
            }
        case .action(let body):
            body()
        }
    }

    /// Gives a running server an input, and carries out what comes of it.
    func input(_ server: SimulatedServer, _ body: (inout Peer, inout ZabOutput) -> Void) {
        guard server.peer != nil else { return }
        body(&server.peer!, &server.output)
        carryOut(server)
    }

    // MARK: Servers

    func start(_ server: SimulatedServer) {
        guard server.peer == nil else { return }
        server.incarnation += 1
        server.tree = server.log
        server.timerAt = .max
        server.peer = Peer(
            options: server.options,
            configuration: server.configuration ?? configuration,
            proposed: server.proposed,
            durable: DurableState(
                lastZxid: server.lastLogged,
                acceptedEpoch: server.acceptedEpoch,
                currentEpoch: server.currentEpoch,
                remembersAll: server.remembersAll,
                promised: server.promised
            ),
            lastProcessed: server.lastLogged,
            seed: random.next(),
            now: now
        )
        input(server) { $0.start(at: self.now, into: &$1) }
        for other in servers where other.id != server.id {
            let isUp = other.isUp && !isCut(server.id, other.id)
            reportElectionLink(server.id, other.id, isUp: isUp)
        }
    }

    /// The disk of a server that is down is replaced by an empty one.
    func loseDisk(_ server: SimulatedServer) {
        invariant(!server.isUp, "the disk of a running server")
        server.log = []
        server.logStart = .zero
        server.snapshotZxid = .zero
        server.acceptedEpoch = .zero
        server.currentEpoch = .zero
        server.remembersAll = false
        server.promised = nil
    }

    func startAll() {
        for server in servers { start(server) }
    }

    /// Stops a server without warning. Of what its disk was at work on, a part may have been done.
    func crash(_ server: SimulatedServer) {
        guard server.isUp else { return }
        callTrace?(server.id, "crash")
        server.peer = nil
        server.incarnation += 1
        server.isServing = false
        server.isPaused = false
        var survivors = Int(chance(UInt64(server.operations.count + 1)))
        if server.isDiskStopped { survivors = 0 }
        for operation in server.operations.prefix(survivors) { _ = carryOut(operation, on: server) }
        server.operations.removeAll()
        server.isDiskStopped = false
        server.output.reset()
        asked[server.id] = nil
        for link in server.orderedLinks { breakLink(link) }
        server.links.removeAll()
        for other in servers where other.id != server.id && other.isUp {
            events.push(.electionLink(server.id, at: other.id, isUp: false), at: time + delay())
        }
    }

    // MARK: Network

    func delay() -> Int64 { Int64(chance(maxDelay)) + 50 }

    private func pair(_ one: ServerID, _ other: ServerID) -> [ServerID] { one < other ? [one, other] : [other, one] }
    func isCut(_ one: ServerID, _ other: ServerID) -> Bool { cuts.contains(pair(one, other)) }

    /// - Parameter isSilent: nobody is told; connections hang.
    func cut(_ one: ServerID, _ other: ServerID, isSilent: Bool) {
        cuts.insert(pair(one, other))
        guard !isSilent else { return }
        reportElectionLink(one, other, isUp: false)
        for link in server(one).orderedLinks
        where link.ends.contains(where: { $0.server == other }) {
            breakLink(link)
        }
    }

    func heal(_ one: ServerID, _ other: ServerID) {
        guard cuts.remove(pair(one, other)) != nil else { return }
        if server(one).isUp, server(other).isUp { reportElectionLink(one, other, isUp: true) }
    }

    private func reportElectionLink(_ one: ServerID, _ other: ServerID, isUp: Bool) {
        for (here, there) in [(one, other), (other, one)] where server(here).isUp {
            events.push(.electionLink(there, at: here, isUp: isUp), at: time + delay())
            // The transport repeats the last message on a new connection: it may be old.
            if isUp, let last = lastNotifications[[there, here]], server(there).isUp {
                events.push(.notification(last, from: there, to: here), at: time + delay())
            }
        }
    }

    private func connect(_ link: LinkID, _ from: ServerID, _ to: ServerID, _ incarnation: Int) {
        let connector = server(from)
        guard connector.incarnation == incarnation else { return }
        let acceptor = server(to)
        guard acceptor.isUp, !isCut(from, to) else {
            return input(connector) { $0.connectFailed(link, at: self.now, into: &$1) }
        }
        acceptor.acceptedLinks += 1
        let accepted = LinkID(acceptor.acceptedLinks)
        let connection = SimulatedLink(
            from: SimulatedLink.End(server: from, link: link, incarnation: incarnation),
            to: SimulatedLink.End(server: to, link: accepted, incarnation: acceptor.incarnation)
        )
        connector.links[link] = connection
        acceptor.links[accepted] = connection
        input(acceptor) { $0.accepted(accepted, at: self.now, into: &$1) }
        input(connector) { $0.connected(link, at: self.now, into: &$1) }
    }

    func breakLink(_ link: SimulatedLink) {
        guard link.isOpen else { return }
        link.isOpen = false
        for end in [0, 1] { events.push(.closed(link, end: end), at: time + delay()) }
    }

    private func closed(_ link: SimulatedLink, _ index: Int) {
        let end = link.ends[index]
        let server = server(end.server)
        guard server.incarnation == end.incarnation, server.links.removeValue(forKey: end.link) != nil else { return }
        input(server) { $0.closed(end.link, at: self.now, into: &$1) }
    }

    func send(_ bytes: [UInt8], on link: SimulatedLink, from index: Int) {
        let target = 1 - index
        link.ends[target].inFlight += bytes.count
        let at = max(link.ends[target].deliverAfter, time + delay())
        link.ends[target].deliverAfter = at
        events.push(.bytes(link, toEnd: target, bytes), at: at)
    }

    private func deliver(_ bytes: [UInt8], _ link: SimulatedLink, _ index: Int) {
        guard link.isOpen else { return }
        let sender = link.ends[1 - index]
        let receiver = server(link.ends[index].server)
        if isCut(sender.server, receiver.id) || receiver.isPaused {
            // Nothing is lost on a connection: it comes later, in order, or the connection breaks.
            link.ends[index].deliverAfter = max(link.ends[index].deliverAfter, time + 20_000)
            return events.push(.bytes(link, toEnd: index, bytes), at: time + 20_000)
        }
        link.ends[index].inFlight -= bytes.count
        link.ends[index].received += bytes
        readPackets(link, index)
        let credit = linkCapacity - link.ends[index].inFlight
        input(server(sender.server)) { $0.writable(sender.link, credit: credit, at: self.now, into: &$1) }
    }

    func readPackets(_ link: SimulatedLink, _ index: Int) {
        let server = server(link.ends[index].server)
        let id = link.ends[index].link
        while link.isOpen, server.links[id] != nil {
            if link.ends[index].isReceivingSnapshot {
                guard let (records, size) = SnapshotStream.parse(link.ends[index].received) else { return }
                link.ends[index].received.removeFirst(size)
                link.ends[index].isReceivingSnapshot = false
                order(.install(id, records, records.last?.zxid ?? .zero), server)
                continue
            }
            let buffer = link.ends[index].received
            let isBatch = server.peer?.role.isServing == true && chance(3) > 0
            let size = buffer.withUnsafeBytes { bytes in
                isBatch ? self.readBatch(bytes, on: id, server) : self.readPacket(bytes, on: id, server)
            }
            guard size > 0 else { return }
            link.ends[index].received.removeFirst(size)
        }
    }

    /// - Returns: how many bytes it has.
    private func readPacket(_ bytes: UnsafeRawBufferPointer, on link: LinkID, _ server: SimulatedServer) -> Int {
        guard let (packet, size) = try? QuorumPacket.parse(bytes) else { return 0 }
        input(server) { $0.receive(packet: packet, on: link, at: self.now, into: &$1) }
        return size
    }

    /// Everything that has come at once, as a `Member` does it.
    private func readBatch(_ bytes: UnsafeRawBufferPointer, on link: LinkID, _ server: SimulatedServer) -> Int {
        var used = 0
        input(server) { peer, output in
            peer.beginBatch()
            while let (packet, size) = try? QuorumPacket.parse(UnsafeRawBufferPointer(rebasing: bytes[used...])) {
                peer.receive(packet: packet, on: link, at: self.now, into: &output)
                used += size
            }
            peer.endBatch(at: self.now, into: &output)
        }
        return used
    }

    // MARK: Output

    private func carryOut(_ server: SimulatedServer) {
        // Reading what an upcall names may not wait; everything else is copied before the output is used again.
        let output = server.output.take()
        if let noteTrace { for note in output.notes { noteTrace(server.id, note) } }
        if let callTrace {
            for order in output.storage { callTrace(server.id, "\(order)") }
            for call in output.upcalls { callTrace(server.id, "\(call)") }
        }
        for upcall in output.upcalls { carryOut(upcall, server) }
        for order in output.storage { carryOut(order, server) }
        for (to, notification) in output.notifications {
            lastNotifications[[server.id, to]] = notification
            guard self.server(to).isUp else { continue }
            events.push(.notification(notification, from: server.id, to: to), at: time + delay())
        }
        for action in output.links { carryOut(action, output.bytes, server) }
        guard let deadline = server.peer?.nextDeadlineMicroseconds, deadline < server.timerAt else { return }
        server.timerAt = deadline
        events.push(.timer(server.id, incarnation: server.incarnation), at: max(deadline, time))
    }

    private func carryOut(_ order: ZabStorageOrder, _ server: SimulatedServer) {
        switch order {
        case .append(let zxid):
            guard let payload = server.peer?.history.withPayload(of: zxid, { [UInt8]($0) }) else {
                return checker.fail("\(server.id) is to log \(zxid), which its history has not")
            }
            self.order(.append(Record(zxid: zxid, payload: payload)), server)
        case .storeAccepted(let epoch): self.order(.storeAccepted(epoch), server)
        case .storeCurrent(let epoch): self.order(.storeCurrent(epoch), server)
        case .truncate(let zxid): self.order(.truncate(zxid), server)
        case .abandonSnapshot(let link): self.order(.abandon(link), server)
        }
    }

    private func carryOut(_ action: LinkAction, _ bytes: [UInt8], _ server: SimulatedServer) {
        switch action {
        case .connect(let link, let to):
            events.push(.connect(link, from: server.id, to: to, incarnation: server.incarnation), at: time + delay())
        case .send(let id, let range):
            guard let link = server.links[id], link.isOpen else { return }
            if let trace { traceSends(Array(bytes[range]), server.id, link, trace) }
            send(Array(bytes[range]), on: link, from: link.index(of: server.id))
        case .close(let id):
            guard let link = server.links.removeValue(forKey: id), link.isOpen else { return }
            // What was sent before still arrives.
            let other = 1 - link.index(of: server.id)
            events.push(.action { link.isOpen = false }, at: max(link.ends[other].deliverAfter, time))
            events.push(.closed(link, end: other), at: max(link.ends[other].deliverAfter, time) + 1)
        case .readHistory(let id, let request):
            guard let link = server.links[id], link.isOpen else { return }
            read(request, for: link, server)
        case .receiveSnapshot(let id, _):
            guard let link = server.links[id] else { return }
            link.ends[link.index(of: server.id)].isReceivingSnapshot = true
        }
    }

    private func traceSends(
        _ bytes: [UInt8],
        _ from: ServerID,
        _ link: SimulatedLink,
        _ trace: (ServerID, QuorumPacketType, Zxid, ServerID) -> Void
    ) {
        let to = link.ends[1 - link.index(of: from)].server
        bytes.withUnsafeBytes { all in
            var rest = all
            while let (packet, size) = try? QuorumPacket.parse(rest), let kind = packet.kind {
                trace(from, kind, packet.zxid, to)
                rest = UnsafeRawBufferPointer(rebasing: rest[size...])
            }
        }
    }

    private func read(_ request: HistoryRequest, for link: SimulatedLink, _ server: SimulatedServer) {
        let index = link.index(of: server.id)
        let id = link.ends[index].link
        switch request {
        case .snapshot:
            // That of the empty tree may be found, or not yet be written.
            guard server.snapshotZxid != .zero || chance(2) == 0 else {
                return schedule(after: delay()) { [self] in
                    input(server) { $0.historyRead(id, .impossible, at: self.now, into: &$1) }
                }
            }
            snapshotsTaken += 1
            let zxid = server.snapshotZxid
            let records = server.log.filter { $0.zxid <= zxid }
            send(SnapshotStream.bytes(records, zxid), on: link, from: index)
            events.push(.streamed(link, end: index, zxid), at: time + delay())
        case .records(let after, let through, let maxBytes, _):
            schedule(after: delay()) { [self] in
                guard link.isOpen, server.links[id] === link else { return }
                guard after >= server.logStart else {
                    return input(server) { $0.historyRead(id, .impossible, at: self.now, into: &$1) }
                }
                var size = 0
                var records: [Record] = []
                for record in server.log where record.zxid > after && record.zxid <= through && size < maxBytes {
                    records.append(record)
                    size += record.payload.count
                }
                let previous = server.log.last { $0.zxid <= after }?.zxid ?? server.logStart
                answer(records, previous, id, server)
            }
        }
    }

    private func answer(_ records: [Record], _ previous: Zxid, _ link: LinkID, _ server: SimulatedServer) {
        let all = records.flatMap(\.payload)
        all.withUnsafeBytes { bytes in
            var offset = 0
            var lent: [HistoryRecord] = []
            for record in records {
                let payload = UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + record.payload.count])
                lent.append(HistoryRecord(zxid: record.zxid, payload: payload))
                offset += record.payload.count
            }
            input(server) {
                $0.historyRead(link, .records(previous: previous, lent), at: self.now, into: &$1)
            }
        }
    }

    private func carryOut(_ upcall: Upcall, _ server: SimulatedServer) {
        server.upcalls.append(upcall)
        if server.upcalls.count > 10_000 { server.upcalls.removeFirst(5_000) }
        switch upcall {
        case .lead(let epoch):
            server.isServing = true
            checker.lead(epoch, by: server.id, tree: server.tree)
            checker.deliver(server.tree, from: 0, by: server.id)
        case .learn:
            server.isServing = true
            checker.deliver(server.tree, from: 0, by: server.id)
        case .stop:
            server.isServing = false
            asked[server.id] = nil
        case .committed(let zxid):
            let first = server.tree.count
            var applied: [Record] = []
            server.peer?.history.forEach(after: server.tree.last?.zxid ?? .zero, through: zxid) {
                applied.append(Record(zxid: $0, payload: [UInt8]($1)))
            }
            server.tree += applied
            if server.tree.last?.zxid != zxid { checker.fail("\(server.id) cannot apply up to \(zxid)") }
            if server.isServing { checker.deliver(server.tree, from: first, by: server.id) }
        case .configuration(let configuration, let isCommitted):
            if isCommitted {
                server.configuration = configuration
                reconfigurationCount = max(reconfigurationCount, configuration.version)
            }
            server.proposed = isCommitted ? nil : configuration
        case .leadershipConfirmed(let token):
            confirmedCount += 1
            // P9: whatever was visible anywhere when the proof was asked for is visible here.
            if let count = asked[server.id]?.removeValue(forKey: token), server.tree.count < count {
                checker.fail("P9: \(server.id) proved leadership with \(server.tree.count) of \(count)")
            }
        case .pingAsked:
            let now = self.now
            schedule(after: 0) { [self] in
                input(server) { $0.answerPing(touched: [], at: now, into: &$1) }
            }
        default:
            break
        }
    }

    // MARK: Clients

    /// The leader's core makes a transaction: of no effect, or one that gives the ensemble the `members`.
    func propose(on server: SimulatedServer, size: Int = 0, members: QuorumConfiguration? = nil) {
        guard server.peer?.mayPropose == true, let last = server.peer?.history.last, let epoch = server.peer?.epoch
        else { return }
        cxid += 1
        let zxid = max(last, epoch.newLeaderZxid).next
        let configuration = members?.with(version: zxid.rawValue)
        let body = configuration.map {
            TxnBody.setData(path: [], data: Array($0.text.utf8), version: 0, isReconfig: true)
        }
        var writer = JuteWriter(capacity: 64)
        Txn(
            header: TxnHeader(session: SessionID(server.id.rawValue), cxid: cxid, zxid: zxid, time: time),
            body: body ?? .error(.noNode),
            digest: nil
        ).write(to: &writer)
        writer.zeros(size)
        let record = Record(zxid: zxid, payload: writer.copy())
        checker.propose(record)
        order(.append(record), server)
        record.payload.withUnsafeBytes { payload in
            input(server) {
                $0.proposed(zxid: zxid, payload: payload, configuration: configuration, at: self.now, into: &$1)
            }
        }
    }

    /// An administrator asks for another role of a server, or to have it out or in; the leader refuses what it must.
    ///
    /// - Returns: whether it was proposed.
    @discardableResult
    func reconfigure(on server: SimulatedServer, _ other: ServerID, to role: QuorumMember.Role?) -> Bool {
        guard let peer = server.peer?.configurations, server.peer?.mayPropose == true,
            peer.lastSeen.version == peer.current.version, let last = server.peer?.history.last,
            let epoch = server.peer?.epoch, let member = configuration.member(other)
        else { return false }
        let zxid = max(last, epoch.newLeaderZxid).next
        var members = peer.current.members.filter { $0.id != other }
        if let role {
            members.append(QuorumMember(id: other, addresses: member.addresses, role: role))
        }
        guard members.count(where: { $0.role == .participant }) >= 2,
            let next = try? QuorumConfiguration(members: members, version: zxid.rawValue),
            server.peer?.isSynced(quorumOf: next) == true
        else { return false }
        cxid += 1
        var writer = JuteWriter(capacity: 256)
        Txn(
            header: TxnHeader(session: SessionID(server.id.rawValue), cxid: cxid, zxid: zxid, time: time),
            body: .setData(
                path: Array("/zookeeper/config".utf8),
                data: Array(next.text.utf8),
                version: -1,
                isReconfig: true
            ),
            digest: nil
        ).write(to: &writer)
        let record = Record(zxid: zxid, payload: writer.copy())
        checker.propose(record)
        order(.append(record), server)
        record.payload.withUnsafeBytes { payload in
            input(server) {
                $0.proposed(zxid: zxid, payload: payload, configuration: next, at: self.now, into: &$1)
            }
        }
        return true
    }

    func confirm(on server: SimulatedServer) {
        guard server.peer?.mayPropose == true else { return }
        server.nextToken += 1
        asked[server.id, default: [:]][server.nextToken] = checker.delivered.count
        let token = server.nextToken
        input(server) { $0.confirm(token: token, at: self.now, into: &$1) }
    }

    /// A server writes a snapshot of what it shows, and may throw away the log in front of it.
    func snapshot(_ server: SimulatedServer, purge: Bool) {
        guard server.isServing, let last = server.tree.last?.zxid, server.log.contains(where: { $0.zxid == last })
        else { return }
        server.snapshotZxid = max(server.snapshotZxid, last)
        if purge { server.logStart = server.snapshotZxid }
    }
}

extension ZabOutput {
    struct Taken {
        var notifications: [(to: ServerID, notification: Notification)]
        var bytes: [UInt8]
        var links: [LinkAction]
        var storage: [ZabStorageOrder]
        var upcalls: [Upcall]
        var notes: [ZabNote]
    }

    mutating func take() -> Taken {
        let taken = Taken(
            notifications: notifications,
            bytes: linkBytes.copy(),
            links: links,
            storage: storage,
            upcalls: upcalls,
            notes: notes
        )
        reset()
        return taken
    }
}
