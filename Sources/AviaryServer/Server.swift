internal import AviaryCore
internal import AviaryStorage
internal import Logging
internal import NIOCore
internal import NIOPosix
internal import Synchronization
internal import ZooKeeperProtocol

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// A ZooKeeper server that stands alone.
package enum StandaloneServer {
    /// Claims the port, loads the data directory, and serves until the result is told to stop.
    ///
    /// - Parameters:
    ///   - notes: what reading the configuration had to say; logged.
    ///   - adjustLimits: has the last word on bounds that no configuration sets.
    ///   - fatal: called on the log thread when a transaction cannot be stored; nothing is acknowledged any more.
    /// - Throws: why it cannot serve. Nothing is left behind then: no thread, no lock, no port.
    static func start<D: Disk, Gzip: StreamCodec>(
        configuration: ServerConfiguration,
        notes: [ConfigurationNote] = [],
        logger: Logger,
        disk: D,
        gzip: Gzip,
        adjustLimits: @escaping @Sendable (inout Limits) -> Void = { _ in },
        fatal: @escaping @Sendable (StorageError) -> Void
    ) async throws(StartError) -> RunningServer {
        for note in notes {
            switch note.severity {
            case .info: logger.info("\(note.text)")
            case .warning: logger.warning("\(note.text)")
            }
        }
        let clients = configuration.clients
        let sockets = try BoundSocket.bind(clients.addresses, port: clients.port)
        let group = LoopGroup.start()
        do {
            let start = ServerStart(
                configuration: configuration,
                logger: logger,
                eventLoop: group.next(),
                disk: disk,
                gzip: gzip,
                adjustLimits: adjustLimits,
                fatal: fatal
            )
            let opened = try await start.eventLoop.submit { try start.open(port: sockets.first?.port ?? 0) }.get()
            let listener = ClientListener(loop: opened.loop, group: group)
            var channels: [any Channel] = []
            var addresses: [String] = []
            for socket in sockets {
                addresses.append(Peer.join(socket.address.ipAddress ?? "?", socket.port))
                do {
                    channels.append(try await opened.loop.eventLoop.flatSubmit { listener.listen(on: socket) }.get())
                } catch {
                    await opened.abandon()
                    let code = (error as? IOError)?.errnoCode ?? 0
                    throw BoundSocket.failure(code, socket.address.ipAddress ?? "?", socket.port, of: .clients)
                }
            }
            logger.info("serving clients", metadata: ["addresses": "\(addresses.joined(separator: " "))"])
            return RunningServer(opened, group: group, channels: channels, addresses: addresses)
        } catch {
            try? await group.shutdownGracefully()
            throw (error as? StartError) ?? StartError("\(error)")
        }
    }
}

/// The steps between a configuration and a loop that is ready for clients.
private struct ServerStart<D: Disk, Gzip: StreamCodec>: Sendable {
    let configuration: ServerConfiguration
    let logger: Logger
    let eventLoop: any EventLoop
    let disk: D
    let gzip: Gzip
    let adjustLimits: @Sendable (inout Limits) -> Void
    let fatal: @Sendable (StorageError) -> Void

    /// Everything from the lock to the threads, on the loop, which has nothing else to do yet.
    func open(port: Int) throws(StartError) -> OpenedServer {
        do {
            let owner = "process \(getpid()) on port \(port)"
            let (store, lock) = try DataStore.open(
                disk: disk,
                gzip: gzip,
                configuration: configuration,
                owner: owner
            )
            let now = SystemClock.now()
            let core = ServerCore(
                options: CoreOptions(configuration),
                seed: .random(in: .min ... .max),
                now: now
            )
            let loop = try open(store, core, port: port)
            return OpenedServer(loop: loop, dataDirectory: store.directories.data, lock: lock)
        } catch let error as StorageError {
            throw StartError(error)
        } catch {
            throw (error as? StartError) ?? StartError("\(error)")
        }
    }

    private func open(
        _ store: DataStore<D, Gzip>,
        _ core: consuming ServerCore,
        port: Int
    ) throws -> ServerLoop {
        var restorer = CoreRestorer(core)
        var startup = ShellMetrics.Startup()
        let report = try recover(store, into: &restorer, &startup)
        guard report.database != .uninitialized else {
            throw StartError(
                "\(store.directories.data) holds no data, and db.autocreate=false forbids to begin without. If a new "
                    + "database is wanted, create an empty file \(FileNames.initialize) there; if not, restore the data"
            )
        }
        var core = restorer.finish()
        log(report, startup)
        if report.database == .created { try store.writeFirstSnapshot(of: &core) }

        var limits = Limits(configuration, maximumDescriptors: ProcessFacts.maximumDescriptors())
        adjustLimits(&limits)
        let loop = ServerLoop(
            eventLoop: eventLoop,
            core: core,
            configuration: configuration,
            limits: limits,
            directories: ServerLoop.Directories(data: store.directories.snapshots, log: store.directories.logs),
            directorySizes: { store.sizes() },
            logger: logger,
            now: SystemClock.now()
        )
        loop.metrics.startup = startup
        loop.clientPort = port
        try startThreads(store, loop, report)
        loop.beginService(lastZxid: report.lastZxid, takesSnapshot: report.replayedCount > 0)
        return loop
    }

    private func recover(
        _ store: DataStore<D, Gzip>,
        into restorer: inout CoreRestorer,
        _ startup: inout ShellMetrics.Startup
    ) throws(StorageError) -> RecoveryReport {
        var line = RecoveryProgressLine(logger: logger)
        defer { line.finish() }
        let begin = SystemClock.monotonicMicroseconds()
        var firstLog: Int64?
        func show(_ progress: RecoveryProgress) {
            if firstLog == nil, FileNames.logZxid(progress.file) != nil {
                firstLog = SystemClock.monotonicMicroseconds()
            }
            line.show(progress)
        }
        // The closure escapes in its type only: recovery is over when the call returns.
        let report = try withoutActuallyEscaping(show) { (show) throws(StorageError) in
            try store.recover(into: &restorer, progress: show)
        }
        let end = SystemClock.monotonicMicroseconds()
        startup.databaseMilliseconds = (end - begin) / 1000
        startup.snapshotMilliseconds = ((firstLog ?? end) - begin) / 1000
        startup.replayMilliseconds = (end - (firstLog ?? end)) / 1000
        startup.transactions = Int64(report.replayedCount)
        startup.digestMismatches = Int64(report.alarms.count)
        return report
    }

    private func log(_ report: RecoveryReport, _ startup: ShellMetrics.Startup) {
        for warning in report.warnings { logger.warning("\(warning)") }
        for alarm in report.alarms {
            logger.error("the data may not be what was stored: \(alarm)")
        }
        if let cut = report.tailCut {
            logger.warning(
                "cut an unfinished transaction from the end of the log: not all of it had reached the disk",
                metadata: ["file": "\(cut.file)", "offset": "\(cut.offset)", "zxid": "\(cut.zxid)"]
            )
        }
        switch report.database {
        case .created:
            logger.info("starting with an empty database")
        case .loaded, .uninitialized:
            logger.info(
                "recovered",
                metadata: [
                    "zxid": "\(report.lastZxid)", "snapshot": "\(report.snapshot ?? "none")",
                    "transactions": "\(report.replayedCount)", "milliseconds": "\(startup.databaseMilliseconds)",
                ]
            )
        }
    }

    private func startThreads(
        _ store: DataStore<D, Gzip>,
        _ loop: ServerLoop,
        _ report: RecoveryReport
    ) throws {
        let link = StorageLink(log: LogThread(), snapshots: SnapshotThread())
        loop.storage = link
        let eventLoop = eventLoop
        let worker = try store.openWorker(lastZxid: report.lastZxid, limits: loop.limits)
        // Before the core can want anything written.
        loop.setLogRoom(worker.space, availableBytes: worker.availableBytes)
        let hasLog = link.log.start(
            worker,
            report: { report in eventLoop.execute { loop.stored(report) } },
            failed: fatal
        )
        let hasSnapshots = link.snapshots.start(
            StoredSnapshots(store, log: logger),
            purgeInterval: configuration.storage.purge?.interval,
            purgesAtOnce: report.allowsPurge,
            report: { report in eventLoop.execute { loop.snapshotReported(report) } }
        )
        guard hasLog, hasSnapshots else {
            if hasLog { link.log.stop() }
            if hasSnapshots { link.snapshots.stop() }
            throw StartError(
                "the system has no thread to give: raise the limit on processes of this user (ulimit -u), or of its "
                    + "container"
            )
        }
    }
}

/// A server that is ready for clients and has not let any in.
private struct OpenedServer: Sendable {
    let loop: ServerLoop
    let dataDirectory: String
    /// Keeps other servers out of the directory.
    let lock: any Sendable

    /// Ends the threads of a server whose port could not be opened after all.
    func abandon() async {
        await withCheckedContinuation { continuation in
            loop.eventLoop.execute { [loop] in
                loop.stopLog(patience: .seconds(5)) {
                    loop.stopSnapshots(patience: .seconds(2)) { continuation.resume() }
                }
            }
        }
    }
}

/// A server at work.
package final class RunningServer: Sendable {
    /// Where clients can connect: `127.0.0.1:2181`, `[::1]:2181`.
    package let addresses: [String]
    /// The real one, also where the system was to choose it.
    package let port: Int
    /// Absolute.
    package let dataDirectory: String

    private let loop: ServerLoop
    private let lock: Mutex<(any Sendable)?>
    private let group: any EventLoopGroup
    private let channels: [any Channel]
    private let state = Mutex(State.running(waiting: []))

    private enum State {
        case running(waiting: [CheckedContinuation<Void, Never>])
        case stopping(waiting: [CheckedContinuation<Void, Never>])
        case stopped
    }

    /// How long unanswered requests may take, and clients to read their last replies.
    private static let patience = TimeAmount.seconds(5)

    fileprivate init(
        _ opened: OpenedServer,
        group: any EventLoopGroup,
        channels: [any Channel],
        addresses: [String]
    ) {
        loop = opened.loop
        lock = Mutex(opened.lock)
        self.group = group
        self.channels = channels
        self.addresses = addresses
        port = opened.loop.clientPort
        dataDirectory = opened.dataDirectory
    }

    /// Lets nobody in any more, answers and stores what was accepted, and ends; sessions stay alive in the data.
    ///
    /// Returns when all is done, within some ten seconds whatever clients do. May be called more than once.
    package func stop() async {
        let isFirst = state.withLock { state in
            guard case .running(let waiting) = state else { return false }
            state = .stopping(waiting: waiting)
            return true
        }
        guard isFirst else { return await waitUntilStopped() }
        loop.logger.debug("stopping")
        await run { loop, done in
            loop.beginStopping()
            done()
        }
        for channel in channels { try? await channel.close() }
        await run { $0.stopReading(patience: RunningServer.patience, whenQuiet: $1) }
        await run { $0.stopLog(patience: RunningServer.patience, $1) }
        await run { $0.closeConnections(patience: .seconds(1), whenClosed: $1) }
        await run { $0.stopSnapshots(patience: .seconds(2), $1) }
        try? await group.shutdownGracefully()
        lock.withLock { $0 = nil }
        loop.logger.debug("stopped")
        let waiting = state.withLock { state in
            guard case .stopping(let waiting) = state else { return [CheckedContinuation<Void, Never>]() }
            state = .stopped
            return waiting
        }
        for continuation in waiting { continuation.resume() }
    }

    /// Returns once the server has stopped.
    package func waitUntilStopped() async {
        await withCheckedContinuation { continuation in
            let isStopped = state.withLock { state in
                switch state {
                case .running(let waiting):
                    state = .running(waiting: waiting + [continuation])
                    return false
                case .stopping(let waiting):
                    state = .stopping(waiting: waiting + [continuation])
                    return false
                case .stopped:
                    return true
                }
            }
            if isStopped { continuation.resume() }
        }
    }

    /// One step of stopping, on the loop.
    private func run(_ step: @escaping @Sendable (ServerLoop, @escaping @Sendable () -> Void) -> Void) async {
        await withCheckedContinuation { continuation in
            loop.eventLoop.execute { [loop] in step(loop) { continuation.resume() } }
        }
    }
}
