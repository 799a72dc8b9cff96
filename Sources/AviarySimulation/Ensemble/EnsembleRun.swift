internal import AviaryCore
internal import AviaryEnsemble
internal import AviaryStorage
internal import Zab
internal import ZooKeeperProtocol

/// A step of a storage thread.
package enum StorageStep: Sendable {
    case perform, finish, report, wake
}

/// What happens in an ensemble, beside what clients and servers do because of it.
package enum SimulationEvent: Sendable {
    case network(NetworkEvent)
    case timer(server: Int, incarnation: Int)
    case storage(server: Int, incarnation: Int, StorageStep)
    case history(server: Int, incarnation: Int)
    case snapshot(server: Int, incarnation: Int)
    case forged(server: Int, incarnation: Int)
    case client(Int)
    case start(server: Int)
    case fault
    /// A fault comes to its end.
    case relief(Relief)
}

/// One seed: a whole ensemble with its clients, first under faults, then healed.
///
/// Everything happens in one thread, in the order of simulated time. What is by chance comes from the seed, so that a seed
/// is the same run wherever it runs.
package final class EnsembleRun {
    package let settings: EnsembleSettings
    package let planted: EnsemblePlantedFault?
    package let time = VirtualTime<SimulationEvent>()
    package let network: SimulatedNetwork
    package private(set) var machines: [Machine] = []
    package private(set) var clients: [EnsembleClient] = []
    package let recorder = HistoryRecorder()
    package private(set) var observer: EnsembleObserver!
    package var counts = EnsembleCounts()
    package private(set) var trace = TraceHash()
    /// Told what happens, for whoever has to find out.
    package var narrator: ((String) -> Void)?
    /// Packets between servers are told of too.
    package var tellsPackets = false
    var random: SeededGenerator
    let configuration: QuorumConfiguration
    /// Faults happen.
    var isFaulty = true
    private var plannedClients: [Int: Int64] = [:]

    package init(seed: UInt64, planted: EnsemblePlantedFault? = nil, settings given: EnsembleSettings? = nil)
        throws(Violation)
    {
        var random = SeededGenerator(seed: seed)
        var drawing = random.fork()
        var settings = given ?? EnsembleSettings(from: &drawing)
        if given == nil { planted?.focus(&settings) }
        self.settings = settings
        self.planted = planted
        let time = time
        network = SimulatedNetwork(seed: random.next(), clock: { time.microseconds }) { event, at in
            time.schedule(.network(event), at: at)
        }
        network.latency = settings.latency
        network.window = settings.window
        configuration = try EnsembleRun.configuration(settings)
        self.random = random.fork()
        observer = EnsembleObserver(self)
        for id in settings.servers.sorted() {
            let host = Host(Int(id))
            machines.append(Machine(id: ServerID(id), host: host, seed: random.next()))
            network.add(host)
        }
        for number in 1...settings.clients { addClient(number, &random) }
    }

    private static func configuration(_ settings: EnsembleSettings) throws(Violation) -> QuorumConfiguration {
        let lines = settings.servers.sorted().map { id in
            let role = settings.voters.contains(id) ? "participant" : "observer"
            return "server.\(id)=server-\(id):2888:3888:\(role);2181"
        }
        do throws(MalformedConfiguration) {
            return try QuorumConfiguration.parse(lines.joined(separator: "\n"))
        } catch {
            throw Violation(.complaint, "the configuration: \(error)")
        }
    }

    private func addClient(_ number: Int, _ random: inout SeededGenerator) {
        let host = Host(100 + number)
        network.add(host)
        network.startProcess(host, listening: [])
        clients.append(
            EnsembleClient(
                number: number,
                host: host,
                servers: machines.map(\.host),
                network: network,
                recorder: recorder,
                settings: settings.client,
                workload: EnsembleWorkload(random.fork(), client: number, maximumBytes: settings.maximumDataBytes),
                random: random.fork()
            )
        )
    }

    // MARK: - What servers are told

    var directories: DataDirectories {
        settings.hasSeparateLogs ? DataDirectories(data: "data", log: "log") : DataDirectories(data: "data")
    }

    var recoveryOptions: RecoveryOptions {
        var options = RecoveryOptions()
        options.limits = ReadingLimits(maxBufferBytes: 1 << 20, extendedTypes: true)
        options.comparesDigests = true
        options.createsDatabase = !settings.needsInitialize
        return options
    }

    var workerOptions: StorageWorkerOptions {
        StorageWorkerOptions(
            log: TxnLogOptions(preallocationBytes: 64 << 10, reserveBytes: 48 << 10, lastBytes: 8 << 10),
            flush: FlushPolicy(maximumFileBytes: settings.maximumLogBytes),
            limits: recoveryOptions.limits,
            compression: settings.compression ? .snappy : .none
        )
    }

    func coreOptions(_ id: ServerID) -> CoreOptions {
        var options = CoreOptions(passwordDigest: { Array($0.reversed()) })
        options.serverID = id.rawValue
        options.tickTimeMilliseconds = Int64(settings.tickMilliseconds)
        options.minSessionTimeoutMilliseconds = Int64(2 * settings.tickMilliseconds)
        options.maxSessionTimeoutMilliseconds = Int64(20 * settings.tickMilliseconds)
        options.containerCheckIntervalMilliseconds = 3000
        options.extendedTypes = true
        options.snapCount = settings.snapCount
        return options
    }

    func memberOptions(_ id: ServerID) -> MemberOptions {
        var peer = PeerOptions(
            me: id,
            tickMilliseconds: settings.tickMilliseconds,
            initLimit: settings.initLimit,
            syncLimit: settings.syncLimit
        )
        peer.recentCount = settings.recentCount
        peer.recentBytes = settings.recentBytes
        peer.maxNotificationMilliseconds = settings.maxNotificationMilliseconds
        peer.forceSnapshotSync = settings.forceSnapshotSync
        return MemberOptions(peer: peer, limits: recoveryOptions.limits, maximumUnstoredBytes: 32 << 10)
    }

    /// Faults that a standalone server's recovery can have too.
    var plantedInRecovery: PlantedFault? {
        switch planted {
        case .sequenceLost: .sequenceLost
        case .ephemeralsSurvive: .ephemeralsSurvive
        default: nil
        }
    }

    // MARK: - Time

    func now(_ machine: Machine) -> Now {
        Now(
            wallMilliseconds: 1_700_000_000_000 + time.microseconds / 1000 + machine.clockSkew,
            monotonicMicroseconds: time.microseconds
        )
    }

    func plan(_ event: SimulationEvent, at microseconds: Int64) { time.schedule(event, at: microseconds) }
    func plan(_ event: SimulationEvent, after microseconds: Int64) { time.schedule(event, after: microseconds) }

    /// How long a call of a disk takes now.
    func diskDelay(_ machine: Machine) -> Int64 {
        (settings.disk.base + random.range(0, settings.disk.jitter)) * machine.slowness
    }

    func narrate(_ text: @autoclosure () -> String) {
        guard let narrator else { return }
        let milliseconds = time.microseconds / 1000
        let rest = String(time.microseconds % 1000)
        narrator("\(milliseconds).\(String(repeating: "0", count: 3 - rest.count))\(rest) ms  \(text())")
    }

    func narratePacket(_ text: @autoclosure () -> String) {
        if tellsPackets { narrate(text()) }
    }

    // MARK: - Who is who

    func server(at host: Host) -> ServerID? { machine(at: host)?.id }
    func host(of server: ServerID) -> Host? { machines.first { $0.id == server }?.host }
    func machine(at host: Host) -> Machine? { machines.first { $0.host == host } }

    /// The session of the client at the other end of a connection.
    func session(at key: LinkKey) -> SessionID? {
        guard let host = network.peer(of: key, from: .acceptor),
            let client = clients.first(where: { $0.host == host }), client.phase == .attached(key)
        else { return nil }
        return client.session
    }

    /// Whether the client of a session is connected to a server, as far as it knows itself.
    func isAttached(_ session: SessionID, at server: ServerID?) -> Bool {
        guard let server, let host = host(of: server) else { return false }
        return clients.contains { $0.session == session && $0.attachedServer == host && $0.isAttached }
    }

    func isQuorum(_ servers: [ServerID]) -> Bool { configuration.isQuorum(Set(servers)) }

    // MARK: - The run

    /// Runs the seed.
    ///
    /// - Throws: the first promise that did not hold.
    package func run() throws(Violation) {
        do throws(Violation) {
            do throws(Violation) {
                try live()
            } catch {
                guard error.check == .needsHuman else { throw error }
                try observer.check(recorder.history)
            }
        } catch {
            if let narrator { recorder.history.tell(narrator) }
            throw error
        }
        countHistory()
    }

    private func live() throws(Violation) {
        narrate(settings.description)
        for machine in machines {
            machine.isStartPlanned = true
            plan(.start(server: machine.host.rawValue), after: random.range(0, 400_000))
        }
        for client in clients { planClient(client) }
        plan(.fault, after: random.range(0, 2 * settings.faults.interval))
        try runUntil(settings.faultPhase)
        try heal()
        try finish()
    }

    /// Where so much happens something goes round in circles.
    private static let maximumEvents = 2_000_000

    /// Lets everything happen up to a time.
    func runUntil(_ limit: Int64, orUntil isDone: () -> Bool = { false }) throws(Violation) {
        while let event = time.next(before: limit) {
            counts[.events] += 1
            guard counts[.events] < EnsembleRun.maximumEvents else {
                throw Violation(.noProgress, "\(EnsembleRun.maximumEvents) events by \(time.microseconds / 1000) ms")
            }
            try handle(event)
            if let violation = observer.violation { throw violation }
            if isDone() { return }
        }
    }

    private func handle(_ event: SimulationEvent) throws(Violation) {
        trace.mix(time.microseconds)
        switch event {
        case .network(let event):
            network.handle(event)
        case .timer(let server, let incarnation):
            with(server, incarnation, event) { (process) throws(StorageError) in process.advance() }
        case .storage(let server, let incarnation, let step):
            with(server, incarnation, event) { (process) throws(StorageError) in try process.storage(step) }
        case .history(let server, let incarnation):
            with(server, incarnation, event) { (process) throws(StorageError) in process.stepHistory() }
        case .snapshot(let server, let incarnation):
            with(server, incarnation, event) { (process) throws(StorageError) in process.stepSnapshots() }
        case .forged(let server, let incarnation):
            with(server, incarnation, event) { (process) throws(StorageError) in process.takeForged() }
        case .client(let number):
            let client = clients[number - 1]
            plannedClients[number] = nil
            client.advance(to: time.microseconds)
            planClient(client)
        case .start(let server):
            if let machine = machine(at: Host(server)) { start(machine) }
        case .fault:
            guard isFaulty else { return }
            strike()
            plan(.fault, after: random.range(0, 2 * settings.faults.interval))
        case .relief(let relief):
            relieve(relief)
        }
        try deliver()
    }

    /// Tells processes and clients what the network has for them.
    private func deliver() throws(Violation) {
        while !network.news.isEmpty {
            let list = network.news
            network.news = []
            for (host, news) in list {
                mix(host, news)
                if let machine = machine(at: host) {
                    if let process = machine.process {
                        process.take(news)
                        checkPower(machine)
                    }
                } else if let client = clients.first(where: { $0.host == host }) {
                    try client.take(news, at: time.microseconds)
                    planClient(client)
                }
            }
        }
    }

    private func mix(_ host: Host, _ news: LinkNews) {
        trace.mix(host.rawValue)
        switch news {
        case .received(let key, let bytes):
            trace.mix(key.rawValue)
            trace.mix(bytes)
        case .accepted(let key, _, _), .connected(let key), .refused(let key), .closed(let key):
            trace.mix(key.rawValue)
        case .writable(let key, let bytes):
            trace.mix(key.rawValue)
            trace.mix(bytes)
        }
    }

    private func planClient(_ client: EnsembleClient) {
        let deadline = max(client.nextDeadline, time.microseconds)
        if let planned = plannedClients[client.number], planned <= deadline { return }
        plannedClients[client.number] = deadline
        plan(.client(client.number), at: deadline)
    }

    /// Lets a process do something, unless it is gone; one that is stopped does it when it goes on.
    private func with(
        _ server: Int,
        _ incarnation: Int,
        _ event: SimulationEvent,
        _ body: (MemberProcess) throws(StorageError) -> Void
    ) {
        guard let machine = machine(at: Host(server)), machine.incarnation == incarnation, let process = machine.process
        else { return }
        if machine.isStopped { return machine.delayed.append(event) }
        do throws(StorageError) { try body(process) } catch { processFailed(machine, error) }
        checkPower(machine)
    }

    // MARK: - Processes

    func start(_ machine: Machine) {
        machine.isStartPlanned = false
        guard machine.process == nil else { return }
        machine.isOn = true
        machine.incarnation += 1
        counts[.starts] += 1
        if !machine.hasStarted, settings.needsInitialize { machine.disk.setContents("data/initialize", []) }
        machine.hasStarted = true
        do throws(StorageError) {
            let process = try MemberProcess(machine, self, seed: random.next())
            machine.process = process
            try started(process)
            process.begin()
        } catch {
            processFailed(machine, error)
        }
        checkPower(machine)
    }

    /// What was stable is there again.
    private func started(_ process: MemberProcess) throws(StorageError) {
        let machine = process.machine
        let last = process.recovery.lastZxid
        narrate("\(machine.id) starts at \(last)")
        // One that says that it lost something is believed: it has to be synchronized before it counts again.
        // What a leader asked it to cut off, and what may or may not be cut off, was not promised any more.
        let promised = min(machine.mirror.durableLast, machine.cutting ?? Zxid(.max))
        machine.cutting = nil
        if last < promised, !machine.isDamaged, process.remembersAll {
            observer.fail(
                Violation(
                    .acknowledgedLost,
                    "\(machine.id) has recovered \(last), \(machine.mirror.durableLast) was stable there"
                )
            )
        }
        if last > machine.mirror.last, machine.incomingSnapshot == last { machine.mirror.reset(to: last) }
        // A snapshot may bear the first zxid of an epoch, which is that of no transaction.
        if last > machine.mirror.last, last.rawValue & 0xffff_ffff != 0 {
            observer.fail(
                Violation(
                    .inventedWrite,
                    "\(machine.id) has recovered \(last), its log ended with \(machine.mirror.last)"
                )
            )
        }
        machine.mirror.recovered(upTo: last)
    }

    /// A process ends by itself: its disk has refused something.
    func processFailed(_ machine: Machine, _ error: StorageError) {
        narrate("\(machine.id) ends: \(error)")
        guard machine.disk.hasPower else { return }
        counts[.diskFailures] += 1
        if machine.disk.faultCount == 0, !machine.wasFull, !machine.isDamaged {
            observer.fail(Violation(.serverEnded, "\(machine.id): \(error)"))
        }
        end(machine)
        planStart(machine)
    }

    private func checkPower(_ machine: Machine) {
        guard !machine.disk.hasPower else { return }
        narrate("\(machine.id) loses power in a call of its disk")
        counts[.powerCutsInCall] += 1
        cutPower(machine, random.oneIn(3) ? .everythingUnsynced : .random)
        planStart(machine)
    }

    /// A process is gone.
    func end(_ machine: Machine) {
        machine.process = nil
        machine.isStopped = false
        machine.delayed = []
        machine.incarnation += 1
        network.endProcess(machine.host)
        machine.disk.restart(.processOnly)
    }

    func cutPower(_ machine: Machine, _ loss: SimulatedDisk.Loss) {
        machine.process = nil
        machine.isStopped = false
        machine.isOn = false
        machine.delayed = []
        machine.incarnation += 1
        network.cutPower(machine.host)
        machine.disk.restart(loss)
        counts[.powerCuts] += 1
    }

    func planStart(_ machine: Machine, after delay: Int64? = nil) {
        guard !machine.isStartPlanned else { return }
        machine.isStartPlanned = true
        plan(
            .start(server: machine.host.rawValue),
            after: delay ?? random.range(10_000, random.oneIn(3) ? 4_000_000 : 400_000)
        )
    }

    // MARK: - Healing

    /// Ends all faults, and starts all servers but a few that a quorum can do without.
    private func heal() throws(Violation) {
        isFaulty = false
        narrate("healing")
        counts[.healed] += 1
        relieveAll()
        var spare = random.oneIn(2) ? random.below(settings.spare + 1) : 0
        for machine in machines where machine.process == nil {
            let isVoter = settings.voters.contains(machine.id.rawValue)
            if isVoter, spare > 0, !machine.isDamaged {
                spare -= 1
                machine.staysDown = true
                narrate("\(machine.id) stays down")
            } else if !machine.isStartPlanned {
                planStart(machine, after: random.range(0, 200_000))
            }
        }
    }

    /// How long a healed quorum may take to whatever is demanded of it.
    private var patience: Int64 {
        let ticks = 3 * (settings.initLimit + settings.syncLimit) * settings.tickMilliseconds
        let sessions = 3 * Int(settings.client.timeoutMilliseconds)
        return Int64(ticks + sessions + 2 * min(settings.maxNotificationMilliseconds, 10_000) + 10_000) * 1000
    }

    private func finish() throws(Violation) {
        // Everybody writes.
        let before = clients.map(\.acknowledgedWrites)
        try demand("a write of each client") { () in
            zip(self.clients, before).allSatisfy { $0.acknowledgedWrites > $1 }
        }
        // Everybody reads all there is, behind a sync.
        for client in clients { client.isQuiet = true }
        for client in clients { client.ask(EnsembleRun.lastRequests) }
        try demand("an answer to everything") { () in
            self.clients.allSatisfy { $0.isAttached && !$0.hasOutstanding }
        }
        // Everybody has the same.
        try demand("that all servers have everything") { () in
            self.machines.allSatisfy { machine in
                guard !machine.staysDown else { return true }
                guard let process = machine.process, process.member.isServing else { return false }
                let applied = process.core.lastProcessedZxid
                return self.observer.committed.position(of: applied) == self.observer.committed.entries.count
            }
        }
        try compareTrees()
        try observer.check(recorder.history)
    }

    private static var lastRequests: [Request] {
        let paths = EnsembleWorkload.allPaths
        return [.sync("/")] + paths.map { .getData($0, watches: false) }
            + ["/", "/q", "/s"].map { .getChildren($0, watches: false) }
    }

    /// Whether so many voters have lost what they promised that the others are no quorum: then nothing may go on, and
    /// somebody has to decide.
    private var needsHuman: Bool {
        let able = machines.filter { machine in
            guard let process = machine.process else { return !machine.staysDown && !machine.isDamaged }
            return process.member.remembersAll
        }
        return !isQuorum(able.map(\.id).filter { settings.voters.contains($0.rawValue) })
    }

    private func demand(_ what: String, _ isDone: () -> Bool) throws(Violation) {
        narrate("now \(what)")
        let limit = time.microseconds + patience
        if isDone() { return }
        try runUntil(limit, orUntil: isDone)
        guard !isDone() else { return }
        if needsHuman {
            counts[.needsHuman] += 1
            throw Violation(.needsHuman, what)
        }
        var state = machines.map { machine in
            guard let process = machine.process else { return "\(machine.id) down" }
            return "\(machine.id) \(process.member.role) at \(process.core.lastProcessedZxid)"
        }
        state += clients.map { "client \($0.number) \($0.phase)" }
        for machine in machines { narrate("\(machine.id) \(machine.process?.election.description ?? "")") }
        for service in [Service.election, .quorum] { for link in network.describe(service) { narrate(link) } }
        throw Violation(.noProgress, "no \(what) within \(patience / 1_000_000) s: \(state.joined(separator: ", "))")
    }

    private func compareTrees() throws(Violation) {
        for machine in machines {
            guard let process = machine.process, process.member.isServing else { continue }
            var found = try process.picture()
            var expected = observer.committed.tree
            // Every server writes this one by itself.
            for path in ["/zookeeper/config"] {
                found.forget(path)
                expected.forget(path)
            }
            if found.sessions != expected.sessions {
                throw Violation(
                    .wrongSessions,
                    "\(machine.id): sessions \(found.sessions), expected \(expected.sessions)"
                )
            }
            if let difference = found.difference(from: expected) {
                throw Violation(.replicasDiffer, "\(machine.id): \(difference)")
            }
        }
    }

    private func countHistory() {
        let committed = observer.committed
        var done: [SessionID: Set<Int32>] = [:]
        for entry in committed.entries { done[entry.txn.header.session, default: []].insert(entry.txn.header.cxid) }
        var synced: Set<SessionID> = []
        for operation in recorder.history.operations {
            counts[.operations] += 1
            if operation.request.isWrite {
                if operation.reply?.error == .ok { counts[.acknowledged] += 1 }
                if operation.reply?.error == .systemError { counts[.writesRefused] += 1 }
                if operation.reply == nil {
                    let isDone = done[operation.session]?.contains(operation.xid) == true
                    counts[isDone ? .ambiguousDone : .ambiguousLost] += 1
                }
            }
            if case .sync = operation.request { synced.insert(operation.session) }
            if operation.request.isRead, synced.contains(operation.session) { counts[.syncedReads] += 1 }
        }
        for entry in recorder.history.entries {
            switch entry {
            case .event(_, _, let event):
                counts[.eventsTold] += 1
                if event.zxid.rawValue < 0 { counts[.eventsCaughtUp] += 1 }
            case .attached(_, _, _, _, let isNew, _): if !isNew { counts[.sessionsMoved] += 1 }
            case .expired: counts[.sessionsRefused] += 1
            case .invoked, .replied, .lost, .detached: break
            }
        }
        for entry in committed.entries {
            if case .error(.sessionMoved) = entry.txn.body { counts[.sessionMovedErrors] += 1 }
        }
    }
}
