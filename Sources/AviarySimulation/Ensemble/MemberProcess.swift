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
    var core: ServerCore
    let member: Member
    let recovery: RecoveryReport
    /// Whether it began with all that it ever promised.
    let remembersAll: Bool
    /// Whether nothing but the end of its history was missing: a leader's snapshot took its place.
    let lacksEnd: Bool
    var room = LogRoom.plenty
    let directories: DataDirectories
    private let lock: DirectoryLock<SimulatedDisk>
    var output = Output()
    let election: ElectionTransport
    var random: SeededGenerator

    // Connections.
    var clients: [LinkKey: ClientLink] = [:]
    var clientKeys: [ConnectionID: LinkKey] = [:]
    var links: [LinkID: QuorumLink] = [:]
    var linkIDs: [LinkKey: LinkID] = [:]
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

    /// What ends the process with this turn.
    var failure: StorageError?
    /// When `advance` is planned to be called.
    var plannedTimer: Int64 = .max
    /// When this process heard of a session last, as far as anything told it.
    var heard: [SessionID: Heard] = [:]

    struct Heard {
        var at: Int64
        var by: String
    }
    /// As they were ordered last.
    var acceptedEpoch: Epoch
    var currentEpoch: Epoch
    var plantedTurns = 0
    var forgedPackets: [(LinkID, [UInt8])] = []
    /// Bytes on their way to the disk.
    var unstoredBytes = 0
    var readers: [LinkID: KeptReader] = [:]
    /// Since when it leads, if it does.
    var leadsSince: Int64 = 0

    struct ClientLink {
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
            try directories.noteDatabase(on: machine.disk, forcesSync: true)
        }
        core.restored(upTo: state.report.lastZxid)
        let (stored, former) = (core.storedConfiguration, core.formerConfiguration)
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
        lacksEnd = state.promised != nil
        acceptedEpoch = state.accepted
        currentEpoch = state.current
        var remembersAll = state.remembersAll
        if !remembersAll { run.counts[.memoryLost] += 1 }
        if run.planted == .memoryLossIgnored { remembersAll = true }
        if state.report.tailCut != nil { run.counts[.tailsCut] += 1 }
        let known = KnownConfigurations(
            file: machine.files.current,
            next: machine.files.next,
            stored: stored,
            former: former,
            lastZxid: state.report.lastZxid,
            isReconfigEnabled: run.settings.hasReconfigurations
        )
        member = Member(
            options: run.memberOptions(machine.id),
            configuration: known.current,
            proposed: known.proposed,
            acquaintances: machine.files.current.voters,
            durable: DurableState(
                lastZxid: state.report.lastZxid,
                acceptedEpoch: MemberProcess.plantedAccepted(state, run.planted),
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

    func open(_ link: LinkID, _ key: LinkKey, _ end: LinkEnd, _ peer: ServerID?) {
        links[link] = QuorumLink(key: key, end: end, peer: peer)
        linkIDs[key] = link
    }

    func forget(_ link: LinkID) {
        guard let gone = links.removeValue(forKey: link) else { return }
        if gone.sent.isInsideSnapshot { run.counts[.snapshotsInterrupted] += 1 }
        linkIDs[gone.key] = nil
        histories.removeAll { $0.link == link }
        readers[link] = nil
    }

    /// A snapshot that is being streamed has the link for itself.
    func tellCredit(_ link: LinkID, at now: Now) {
        guard let open = links[link], !histories.contains(where: { $0.link == link && $0.isStreaming }) else { return }
        let credit = run.network.credit(on: open.key, from: open.end)
        member.linkWritable(link, creditBytes: credit, &core, at: now, into: &output)
    }

    func takeElectionNews(at now: Now) {
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
}
