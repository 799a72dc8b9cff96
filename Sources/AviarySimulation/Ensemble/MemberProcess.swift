internal import AviaryCore
internal import AviaryEnsemble
internal import AviaryStorage
internal import Zab
internal import ZooKeeperProtocol

/// One server process of an ensemble: the core, its member, and their disk, joined as `AviaryServer` joins them, on
/// simulated time and network. Threads are events.
///
/// An error that ends the process is thrown to whoever let the event happen.
package final class MemberProcess {
    let machine: Machine
    let incarnation: Int
    unowned let run: EnsembleRun
    private(set) var core: ServerCore
    let member: Member
    let recovery: RecoveryReport
    /// Whether it began with all that it ever promised.
    let remembersAll: Bool
    let directories: DataDirectories
    private let lock: DirectoryLock<SimulatedDisk>
    private var output = Output()
    let election: ElectionTransport
    private var random: SeededGenerator

    // Connections.
    private var clients: [LinkKey: ClientLink] = [:]
    private var clientKeys: [ConnectionID: LinkKey] = [:]
    private var links: [LinkID: QuorumLink] = [:]
    private var linkIDs: [LinkKey: LinkID] = [:]
    private var nextLink: UInt64 = 0

    // The disk threads.
    var worker: StorageWorker<SimulatedDisk, NoGzip>
    var driver = StorageReports()
    var storageQueue: [StorageOrder] = []
    var isStorageBusy = false
    var unreported: [StorageReport] = []
    var plannedWake: Int64 = .max
    var histories: [HistoryJob] = []
    var isHistoryBusy = false
    var history: HistorySource<SimulatedDisk, NoGzip>
    var snapshots: OwnSnapshots

    /// When `advance` is planned to be called.
    private var plannedTimer: Int64 = .max
    /// When this process heard of a session last, as far as anything told it.
    var heard: [SessionID: Heard] = [:]

    struct Heard {
        var at: Int64
        var by: String
    }
    private var plantedTurns = 0
    private var forgedPackets: [(LinkID, [UInt8])] = []
    /// Bytes on their way to the disk.
    var unstoredBytes = 0
    var readers: [LinkID: KeptReader] = [:]
    /// Since when it leads, if it does.
    var leadsSince: Int64 = 0

    private struct ClientLink {
        var connection: ConnectionID
        var bytes: [UInt8] = []
    }

    /// A connection to another server.
    struct QuorumLink {
        var key: LinkKey
        var end: LinkEnd
        var peer: ServerID?
        /// What this process has sent on it.
        var sent = SentPackets()
        /// What it has received, as far as it is no complete packet.
        var received: [UInt8] = []
        var isReading = true
    }

    // MARK: - Start

    /// Recovers what is on the disk, and looks for a leader.
    ///
    /// - Throws: why it does not start.
    init(_ machine: Machine, _ run: EnsembleRun, seed: UInt64) throws(StorageError) {
        self.machine = machine
        self.run = run
        incarnation = machine.incarnation
        random = SeededGenerator(seed: seed)
        let now = run.now(machine)
        var directories = run.directories
        lock = try directories.open(on: machine.disk, creates: true, owner: "\(machine.id)")
        self.directories = directories
        let options = run.recoveryOptions
        let recovery = MemberRecovery(
            disk: machine.disk,
            directories: directories,
            gzip: NoGzip(),
            options: options
        )
        var restored = RestoredCore(
            ServerCore(options: run.coreOptions(machine.id), seed: random.next(), now: now, role: .looking),
            planted: run.plantedInRecovery
        )
        let state = try MemberProcess.recover(recovery, &restored, machine, run)
        var core = restored.finish()
        snapshots = OwnSnapshots(machine.disk, directories, run.settings)
        if state.report.database == .created {
            try snapshots.writeFirst(of: &core)
        }
        core.restored(upTo: state.report.lastZxid)
        self.recovery = state.report
        self.core = core
        worker = try StorageWorker(
            disk: machine.disk,
            directories: directories,
            gzip: NoGzip(),
            lastZxid: state.report.lastZxid,
            options: run.workerOptions,
            hasLostMemory: !state.remembersAll
        )
        history = HistorySource(
            disk: machine.disk,
            directories: directories,
            gzip: NoGzip(),
            limits: options.limits
        )
        self.remembersAll = state.remembersAll
        var remembersAll = state.remembersAll
        if !remembersAll { run.counts[.memoryLost] += 1 }
        if run.planted == .memoryLossIgnored { remembersAll = true }
        if state.report.tailCut != nil { run.counts[.tailsCut] += 1 }
        member = Member(
            options: run.memberOptions(machine.id),
            configuration: run.configuration,
            durable: DurableState(
                lastZxid: state.report.lastZxid,
                acceptedEpoch: state.accepted,
                currentEpoch: state.current,
                remembersAll: remembersAll,
                promised: state.promised
            ),
            seed: random.next(),
            now: now
        )
        election = ElectionTransport(
            me: machine.id.rawValue,
            host: machine.host,
            network: run.network,
            peers: run.machines.map { ($0.id.rawValue, $0.host) }
        )
        snapshots.isPurging = state.report.allowsPurge
    }

    private static func recover(
        _ recovery: MemberRecovery<SimulatedDisk, NoGzip>,
        _ restored: inout RestoredCore,
        _ machine: Machine,
        _ run: EnsembleRun
    ) throws(StorageError) -> MemberState {
        switch try recovery.run(into: &restored) {
        case .loaded(let state):
            return state
        case .damaged(let error):
            run.counts[.quarantines] += 1
            run.narrate("\(machine.id) has damaged files: \(error)")
            _ = try recovery.quarantine(because: error)
            switch try recovery.run(into: &restored) {
            case .loaded(let state): return state
            case .damaged(let error): throw error
            }
        }
    }

    /// Begins to take part.
    func begin() {
        let now = run.now(machine)
        run.network.startProcess(machine.host, listening: [.client, .quorum, .election])
        setLogRoom(worker.space, worker.availableBytes, at: now)
        member.start(&core, at: now, into: &output)
        // A disk that is full already is looked at again by itself.
        planWake()
        endTurn()
    }

    // MARK: - What comes

    func advance() {
        let now = run.now(machine)
        plannedTimer = .max
        core.advance(to: now, into: &output)
        member.advance(&core, to: now, into: &output)
        election.advance(to: now.monotonicMicroseconds)
        takeElectionNews(at: now)
        plantTurn(at: now)
        endTurn()
    }

    func take(_ news: LinkNews) {
        let now = run.now(machine)
        if election.take(news, at: now.monotonicMicroseconds) {
            takeElectionNews(at: now)
            return endTurn()
        }
        switch news {
        case .accepted(let key, .client, let from):
            let connection = core.accept(PeerAddress(text: "10.0.0.\(from.rawValue)", port: 1), at: now)
            clients[key] = ClientLink(connection: connection)
            clientKeys[connection] = key
        case .accepted(let key, .quorum, let from):
            nextLink += 1
            let link = LinkID(nextLink)
            open(link, key, .acceptor, run.server(at: from))
            member.linkAccepted(link, &core, at: now, into: &output)
            tellCredit(link, at: now)
        case .accepted(let key, .election, _):
            run.network.close(key, .acceptor)
        case .connected(let key):
            guard let link = linkIDs[key] else { return }
            member.linkConnected(link, &core, at: now, into: &output)
            tellCredit(link, at: now)
        case .refused(let key):
            guard let link = linkIDs[key] else { return }
            forget(link)
            member.linkFailed(link, &core, at: now, into: &output)
        case .received(let key, let bytes):
            receive(bytes, on: key, at: now)
        case .closed(let key):
            if let client = clients.removeValue(forKey: key) {
                clientKeys[client.connection] = nil
                core.closed(client.connection, at: now, into: &output)
            } else if let link = linkIDs[key] {
                forget(link)
                member.linkClosed(link, &core, at: now, into: &output)
            }
        case .writable(let key, _):
            guard let link = linkIDs[key] else { return }
            streamHistories()
            tellCredit(link, at: now)
        }
        endTurn()
    }

    private func open(_ link: LinkID, _ key: LinkKey, _ end: LinkEnd, _ peer: ServerID?) {
        links[link] = QuorumLink(key: key, end: end, peer: peer)
        linkIDs[key] = link
    }

    private func forget(_ link: LinkID) {
        guard let gone = links.removeValue(forKey: link) else { return }
        if gone.sent.isInsideSnapshot { run.counts[.snapshotsInterrupted] += 1 }
        linkIDs[gone.key] = nil
        histories.removeAll { $0.link == link }
        readers[link] = nil
    }

    /// A snapshot that is being streamed has the link for itself.
    private func tellCredit(_ link: LinkID, at now: Now) {
        guard let open = links[link], !histories.contains(where: { $0.link == link && $0.isStreaming }) else { return }
        let credit = run.network.credit(on: open.key, from: open.end)
        member.linkWritable(link, creditBytes: credit, &core, at: now, into: &output)
    }

    private func takeElectionNews(at now: Now) {
        let list = election.news
        election.news = []
        for news in list {
            switch news {
            case .link(let id, let isUp):
                member.electionLink(ServerID(id), isUp: isUp, &core, at: now, into: &output)
            case .message(let bytes, let id):
                guard let notification = bytes.withUnsafeBytes({ try? Notification.parse($0) }) else { continue }
                run.narratePacket("\(id) → \(machine.id) \(notification.brief)")
                member.received(notification, from: ServerID(id), &core, at: now, into: &output)
            }
        }
    }

    private func receive(_ bytes: [UInt8], on key: LinkKey, at now: Now) {
        if let link = linkIDs[key] {
            let bytes = watchReceived(bytes, link, at: now)
            bytes.withUnsafeBytes { member.linkReceived(link, $0, &core, at: now, into: &output) }
            return
        }
        guard var client = clients[key] else { return }
        client.bytes += bytes
        while client.bytes.count >= 4 {
            let length = client.bytes.withUnsafeBytes { Int(Int32(bigEndian: $0.loadUnaligned(as: Int32.self))) }
            guard client.bytes.count >= 4 + length else { break }
            let frame = plantedFrame(Array(client.bytes[4..<4 + length]))
            client.bytes.removeFirst(4 + length)
            if let session = run.session(at: key) {
                heard[session] = Heard(at: now.monotonicMicroseconds, by: "a request here")
            }
            frame.withUnsafeBytes { core.receive($0, from: client.connection, at: now, into: &output) }
            if run.planted == .syncUnconfirmed, let token = output.confirmations.last {
                core.leadershipConfirmed(token, at: now, into: &output)
            }
        }
        // The core may have closed it meanwhile; then there is nothing to keep.
        if clients[key] != nil { clients[key] = client }
    }

    // MARK: - The end of a turn

    /// Carries out what core and member want done.
    func endTurn() {
        let now = run.now(machine)
        repeat {
            member.settle(&core, at: now, into: &output)
            carryOutOutput(at: now)
            carryOutOrders(at: now)
        } while !output.isEmpty || !member.orders.isEmpty
        holdReadingBack()
        run.observer.observe(self)
        planTimer()
    }

    private func carryOutOutput(at now: Now) {
        let bytes = output.clientBytes.copy()
        let actions = output.clients
        for note in output.notes { hear(note) }
        let isSnapshotDue = output.isSnapshotDue
        output.reset()
        for action in actions {
            switch action {
            case .send(let id, let range):
                if let key = clientKeys[id] { run.network.send(Array(bytes[range]), on: key, from: .acceptor) }
            case .close(let id):
                guard let key = clientKeys.removeValue(forKey: id) else { continue }
                run.network.close(key, .acceptor)
                clients[key] = nil
                core.closed(id, at: now, into: &output)
            }
        }
        if isSnapshotDue, member.isServing { beginSnapshot() }
    }

    private func hear(_ note: CoreNote) {
        run.narrate("\(machine.id): \(note.message) \(note.metadata.map { "\($0.key)=\($0.value)" })")
        if note.level == .error, !note.message.contains("disk") {
            run.observer.complain("\(machine.id): \(note.message)")
        }
    }

    private func carryOutOrders(at now: Now) {
        if member.orders.abandonsSnapshot { snapshots.abandon(&core) }
        let storage = member.orders.storage
        let notifications = member.orders.notifications
        let connectsAll = member.orders.connectAll
        let wantsReload = member.orders.wantsReload
        for note in member.orders.notes {
            run.narrate("\(machine.id): \(note.message) \(note.metadata.map { "\($0.key)=\($0.value)" })")
        }
        var sends: [(LinkOrder, [UInt8])] = []
        for order in member.orders.links {
            if case .send(_, let range) = order {
                sends.append((order, member.orders.linkBytes.withBytes(in: range) { [UInt8]($0) }))
            } else {
                sends.append((order, []))
            }
        }
        member.orders.reset()
        for order in storage { submit(order) }
        for (order, bytes) in sends { carryOut(order, bytes, at: now) }
        for (server, notification) in notifications {
            var writer = JuteWriter()
            notification.write(to: &writer)
            election.send(writer.copy(), to: server.rawValue, at: now.monotonicMicroseconds)
        }
        if connectsAll { election.connectAll(at: now.monotonicMicroseconds) }
        if wantsReload { reload(at: now) }
    }

    private func carryOut(_ order: LinkOrder, _ bytes: [UInt8], at now: Now) {
        switch order {
        case .connect(let link, let server):
            guard let host = run.host(of: server) else { return }
            open(link, run.network.connect(from: machine.host, to: host, .quorum), .opener, server)
        case .send(let link, _):
            guard links[link] != nil else { return }
            watchSent(bytes, link, at: now)
            guard let open = links[link] else { return }
            run.network.send(bytes, on: open.key, from: open.end)
        case .close(let link):
            guard let open = links[link] else { return }
            forget(link)
            run.network.close(open.key, open.end)
        case .readHistory(let link, let request):
            read(request, for: link)
        }
    }

    /// Nothing more is read from other servers while too much waits for the disk.
    private func holdReadingBack() {
        let isReading = !member.isBehind
        for link in links.keys.sorted(by: { $0.rawValue < $1.rawValue }) where links[link]?.isReading != isReading {
            guard let open = links[link] else { continue }
            links[link]?.isReading = isReading
            run.network.setReading(open.key, open.end, isReading)
        }
    }

    private func planTimer() {
        let next = min(
            core.nextDeadlineMicroseconds,
            min(member.nextDeadlineMicroseconds ?? .max, election.nextDeadline)
        )
        guard next < plannedTimer, next != .max else { return }
        plannedTimer = next
        run.plan(.timer(server: machine.host.rawValue, incarnation: incarnation), at: next)
    }

    /// The tree holds what the disk does not.
    private func reload(at now: Now) {
        run.counts[.reloads] += 1
        if run.planted == .memoryKept {
            return member.reloaded(upTo: recovery.lastZxid, &core, at: now, into: &output)
        }
        let recovery = MemberRecovery(
            disk: machine.disk,
            directories: directories,
            gzip: NoGzip(),
            options: run.recoveryOptions
        )
        let fresh = ServerCore(options: run.coreOptions(machine.id), seed: 1, now: now, role: .looking)
        var restored = RestoredCore(exchange(&core, with: fresh), planted: run.plantedInRecovery)
        var last: Zxid?
        do throws(StorageError) {
            last = try recovery.reload(into: &restored).lastZxid
        } catch {
            run.processFailed(machine, error)
        }
        core = restored.finish()
        guard let last else { return }
        member.reloaded(upTo: last, &core, at: now, into: &output)
    }

    // MARK: - The disk's side

    func tell(_ report: StorageReport, at now: Now) {
        member.storageReported(report, &core, at: now, into: &output)
    }

    /// As the shell computes it.
    func setLogRoom(_ space: LogSpace, _ availableBytes: Int64, at now: Now) {
        let room: LogRoom =
            switch space {
            case .ok: .plenty
            case .exhausted: .exhausted
            case .low:
                availableBytes - Int64(unstoredBytes) < Int64((8 << 10) + 80 * core.sessionCount) ? .exhausted : .low
            }
        if room != .plenty { run.counts[.fullDisks] += 1 }
        run.recorder.history.refusesWrites(room != .plenty, machine.id.rawValue, at: now.monotonicMicroseconds)
        member.setLogRoom(room, &core, at: now, into: &output)
    }

    // MARK: - Snapshots of its own

    /// The tree and the sessions as they are applied.
    func picture() throws(Violation) -> NaiveTree {
        snapshots.abandon(&core)
        let head = core.beginSnapshot()
        var nodes = JuteWriter()
        while core.continueSnapshot(maxBytes: 1 << 16, into: &nodes) {}
        do {
            return try nodes.withBytes { bytes in try NaiveTree(head, encodedNodes: bytes) }
        } catch {
            throw Violation(.wrongTree, "\(machine.id): \(error)")
        }
    }

    private func beginSnapshot() {
        snapshots.begin(&core)
        planSnapshots()
    }

    private func planSnapshots() {
        guard !snapshots.isPlanned, snapshots.hasWork else { return }
        snapshots.isPlanned = true
        run.plan(
            .snapshot(server: machine.host.rawValue, incarnation: incarnation),
            after: run.diskDelay(machine)
        )
    }

    func stepSnapshots() {
        snapshots.isPlanned = false
        _ = snapshots.step(&core, &run.counts)
        planSnapshots()
    }

    // MARK: - History for learners

    func credit(of link: LinkID) -> Int {
        guard let open = links[link] else { return 0 }
        return run.network.credit(on: open.key, from: open.end)
    }

    func sendDirectly(_ bytes: [UInt8], on link: LinkID) {
        guard let open = links[link] else { return }
        if !bytes.isEmpty { watchStream(bytes, link) }
        run.network.send(bytes, on: open.key, from: open.end)
    }

    func markFromDisk(_ link: LinkID) { links[link]?.sent.isFromDisk = true }

    func answer(_ link: LinkID, previous: Zxid, _ batch: LogBatch) {
        let now = run.now(machine)
        batch.bytes.withBytes { bytes in
            let records = batch.records.map { record in
                HistoryRecord(zxid: record.zxid, payload: UnsafeRawBufferPointer(rebasing: bytes[record.range]))
            }
            member.historyRead(link, .records(previous: previous, records), &core, at: now, into: &output)
        }
        tellCredit(link, at: now)
    }

    func answerStreamed(_ link: LinkID, _ zxid: Zxid) {
        let now = run.now(machine)
        member.historyRead(link, .snapshotStreamed(zxid), &core, at: now, into: &output)
        tellCredit(link, at: now)
    }

    func answerImpossible(_ link: LinkID) {
        let now = run.now(machine)
        member.historyRead(link, .impossible, &core, at: now, into: &output)
    }

    // MARK: - What is seen on the way

    private func watchStream(_ bytes: [UInt8], _ link: LinkID) {
        guard links[link]?.sent.isInsideSnapshot == false else { return }
        parse(bytes) { packet in links[link]?.sent.send(packet, &run.counts) }
    }

    /// Packets that leave whole.
    private func parse(_ bytes: [UInt8], _ body: (QuorumPacket) -> Void) {
        bytes.withUnsafeBytes { bytes in
            var offset = 0
            while offset < bytes.count {
                let rest = UnsafeRawBufferPointer(rebasing: bytes[offset...])
                guard let (packet, size) = try? QuorumPacket.parse(rest) else { return }
                body(packet)
                offset += size
            }
        }
    }

    private func watchSent(_ bytes: [UInt8], _ link: LinkID, at now: Now) {
        if run.tellsPackets {
            let peer = links[link]?.peer?.description ?? "?"
            parse(bytes) { run.narrate("\(machine.id) ⇒ \(peer) \($0.brief)") }
        }
        guard links[link]?.end == .acceptor else { return }
        var forged: [(QuorumPacketType, Zxid)] = []
        parse(bytes) { packet in
            links[link]?.sent.send(packet, &run.counts)
            switch (packet.kind, run.planted) {
            case (.proposal, .commitWithoutQuorum): forged.append((.ack, packet.zxid))
            case (.newLeader, .quorumAssumed): forged.append((.ack, packet.zxid))
            default: break
            }
        }
        for (type, zxid) in forged {
            var writer = JuteWriter()
            QuorumPacket.write(type, zxid: zxid, to: &writer)
            forgedPackets.append((link, writer.copy()))
        }
        if !forged.isEmpty { run.plan(.forged(server: machine.host.rawValue, incarnation: incarnation), after: 1) }
    }

    /// The planted mistake: what nobody has said is taken for said.
    func takeForged() {
        let list = forgedPackets
        forgedPackets = []
        let now = run.now(machine)
        for (link, bytes) in list where links[link] != nil {
            bytes.withUnsafeBytes { member.linkReceived(link, $0, &core, at: now, into: &output) }
        }
        endTurn()
    }

    /// What tells this process of sessions, and where proposals are spoilt on their way if that is planted.
    private func watchReceived(_ bytes: [UInt8], _ link: LinkID, at now: Now) -> [UInt8] {
        guard var open = links[link] else { return bytes }
        if open.end == .opener { return planted(inPackets: bytes, open.peer) }
        open.received += bytes
        let whole = open.received
        var used = 0
        whole.withUnsafeBytes { whole in
            while let (packet, size) = try? QuorumPacket.parse(UnsafeRawBufferPointer(rebasing: whole[used...])) {
                hear(packet, from: open.peer, at: now)
                used += size
            }
        }
        open.received.removeFirst(used)
        links[link] = open
        return bytes
    }

    private func hear(_ packet: QuorumPacket, from peer: ServerID?, at now: Now) {
        guard let data = packet.data else { return }
        var reader = JuteReader(data)
        switch packet.kind {
        case .ping:
            while let session = try? reader.int64(), (try? reader.int32()) != nil {
                heard[SessionID(session)] = Heard(at: now.monotonicMicroseconds, by: "a ping")
            }
        case .request, .revalidate:
            // What comes by a way that the session has left says nothing.
            if let session = try? reader.int64(), run.isAttached(SessionID(session), at: peer) {
                heard[SessionID(session)] = Heard(
                    at: now.monotonicMicroseconds,
                    by: packet.kind == .request ? "a request" : "a question"
                )
            }
        default:
            break
        }
    }

    // MARK: - Planted faults

    /// A request as it reaches the core.
    private func plantedFrame(_ frame: [UInt8]) -> [UInt8] {
        guard frame.count >= 8 else { return frame }
        switch run.planted {
        case .staleServerWelcomes where frame.count >= 28 && frame[0..<4].allSatisfy({ $0 == 0 }):
            // A ConnectRequest: version 0, then the last zxid that was seen.
            return Array(frame[..<4]) + [UInt8](repeating: 0, count: 8) + Array(frame[12...])
        case .watchesForgotten where frame[4..<8] == [0, 0, 0, 105]:
            return Array(frame[..<16]) + [UInt8](repeating: 0, count: 20)
        default:
            return frame
        }
    }

    private func planted(inPackets bytes: [UInt8], _ peer: ServerID?) -> [UInt8] {
        guard run.planted == .proposalsSwapped || run.planted == .proposalDamaged else { return bytes }
        guard member.isServing, run.random.oneIn(4) else { return bytes }
        return PlantedPackets.spoil(bytes, swaps: run.planted == .proposalsSwapped)
    }

    private func plantTurn(at now: Now) {
        guard run.planted == .followerExpires, case .following(isSynced: true) = member.role else { return }
        plantedTurns += 1
        guard plantedTurns % 20 == 0, let client = clients.values.map(\.connection).min(by: { $0.slot < $1.slot })
        else {
            return
        }
        let close: [UInt8] = [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xf5]
        close.withUnsafeBytes { core.receive($0, from: client, at: now, into: &output) }
    }

    func plantOrder(_ order: StorageOrder) {
        switch (order, run.planted) {
        case (.storeCurrent, .epochStoredEarly):
            // In front of everything that has not begun.
            storageQueue.removeLast()
            storageQueue.insert(order, at: 0)
        case (.storeCurrent(let epoch), .newLeaderAckedEarly):
            if let last = machine.mirror.entries.last { promise(upTo: last.zxid) }
            // It is stored all the same; that report is kept back.
            unreported.append(.currentEpochStored(epoch))
        default:
            break
        }
    }
}

extension Notification {
    fileprivate var brief: String {
        "\(state) leader=\(leader) zxid=\(zxid) round=\(electionEpoch) epoch=\(peerEpoch)"
    }
}

extension QuorumPacket {
    fileprivate var brief: String { "\(kind.map { "\($0)" } ?? "\(type)") \(zxid) \(data?.count ?? 0) bytes" }
}

/// Puts another value into a place, and gives the one that was there.
private func exchange(_ place: inout ServerCore, with new: consuming ServerCore) -> ServerCore {
    var other = new
    swap(&place, &other)
    return other
}
