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
    case configuration(server: Int, incarnation: Int)
    case reconfiguration
    case client(Int)
    case start(server: Int)
    case fault
    /// A fault comes to its end.
    case relief(Relief)

    /// For the fingerprint of a run.
    var number: Int {
        switch self {
        case .network: 1
        case .timer: 2
        case .storage: 3
        case .history: 4
        case .snapshot: 5
        case .forged: 6
        case .configuration: 7
        case .reconfiguration: 8
        case .client: 9
        case .start: 10
        case .fault: 11
        case .relief: 12
        }
    }
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
    /// What is in force, as far as anybody has applied it.
    var configuration: QuorumConfiguration
    /// Faults happen.
    var isFaulty = true
    /// What servers send each other, while somebody wants to know.
    var traffic: Traffic?
    private var plannedClients: [Int: Int64] = [:]

    package init(seed: UInt64, planted: EnsemblePlantedFault? = nil, settings given: EnsembleSettings? = nil)
        throws(Violation)
    {
        var random = SeededGenerator(seed: seed)
        // What the settings are drawn from.
        _ = random.fork()
        settings = given ?? EnsembleSettings(of: seed, planted)
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
            let configuration = try EnsembleRun.configuration(settings, of: id)
            machines.append(
                Machine(id: ServerID(id), host: host, configuration: configuration, seed: random.next())
            )
            network.add(host)
        }
        for number in 1...settings.clients { addClient(number, &random) }
    }

    /// - Parameter server: who is to be in it although it is no member: it could not be started otherwise.
    private static func configuration(
        _ settings: EnsembleSettings,
        of server: Int64? = nil
    ) throws(Violation) -> QuorumConfiguration {
        let members = settings.servers.sorted().filter { !settings.outsiders.contains($0) || $0 == server }
        let lines = members.map { id in
            let role = settings.observers.contains(id) ? "observer" : "participant"
            return "server.\(id)=server-\(id):2888:3888:\(role);2181"
        }
        do throws(MalformedConfiguration) {
            return try QuorumConfiguration.parse(lines.joined(separator: "\n"))
        } catch {
            throw Violation(.complaint, "the configuration: \(error)")
        }
    }

    /// Hosts of servers have the servers' numbers.
    private static let firstClientHost = 100_000

    private func addClient(_ number: Int, _ random: inout SeededGenerator) {
        let host = Host(EnsembleRun.firstClientHost + number)
        network.add(host)
        network.startProcess(host, listening: [])
        clients.append(
            EnsembleClient(
                number: number,
                host: host,
                servers: machines.filter { !settings.clientsUseVoters || isVoter($0.id) }.map(\.host),
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

    /// Reserved bytes of a full disk that are left for the ends of sessions.
    static let lastLogBytes: Int64 = 8 << 10

    var workerOptions: StorageWorkerOptions {
        StorageWorkerOptions(
            log: TxnLogOptions(
                preallocationBytes: 64 << 10,
                reserveBytes: 48 << 10,
                lastBytes: EnsembleRun.lastLogBytes
            ),
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
        options.reconfigEnabled = settings.hasReconfigurations
        options.skipACL = settings.hasReconfigurations
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
        peer.hasObserverMasters = settings.hasObserverMasters
        peer.reconfigEnabled = settings.hasReconfigurations
        return MemberOptions(
            peer: peer,
            limits: recoveryOptions.limits,
            isStandaloneEnabled: false,
            maximumUnstoredBytes: 32 << 10
        )
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

    func isVoter(_ server: ServerID) -> Bool { configuration.isVoter(server) }
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
        planReconfiguration()
        try runUntil(settings.faultPhase)
        try heal()
        try finish()
    }

    /// Where so much happens something goes round in circles.
    private var maximumEvents: Int { 2_000_000 * max(1, settings.servers.count / 7) }

    /// Lets everything happen up to a time.
    func runUntil(_ limit: Int64, orUntil isDone: () -> Bool = { false }) throws(Violation) {
        while let event = time.next(before: limit) {
            counts[.events] += 1
            guard counts[.events] < maximumEvents else {
                throw Violation(.noProgress, "\(maximumEvents) events by \(time.microseconds / 1000) ms")
            }
            try handle(event)
            if let violation = observer.violation { throw violation }
            if isDone() { return }
        }
    }

    private func handle(_ event: SimulationEvent) throws(Violation) {
        trace.mix(time.microseconds)
        trace.mix(event.number)
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
        case .configuration(let server, let incarnation):
            if let machine = machine(at: Host(server)), machine.incarnation == incarnation {
                writeConfiguration(machine)
            }
        case .reconfiguration:
            reconfigure()
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

    /// What a server has come to is a part of the fingerprint.
    func mix(_ process: MemberProcess) {
        trace.mix(process.core.lastProcessedZxid.rawValue)
        trace.mix(process.core.digest)
    }

    /// Clients have been told to do something else.
    func plan(_ clients: [EnsembleClient]) { for client in clients { planClient(client) } }

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
}
