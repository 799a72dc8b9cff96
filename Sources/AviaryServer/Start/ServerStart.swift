internal import AviaryCore
internal import AviaryEnsemble
internal import AviaryStorage
internal import Logging
internal import NIOCore
internal import ZooKeeperProtocol

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// The steps between a configuration and a loop that is ready for clients.
struct ServerStart<D: Disk, Gzip: StreamCodec>: Sendable {
    let configuration: ServerConfiguration
    let logger: Logger
    let eventLoop: any EventLoop
    let threads: LoopThreads
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
            // Nobody else may have the directory before the threads are gone that work in it.
            defer { withExtendedLifetime(lock) {} }
            do {
                let loop = try open(store, port: port)
                return OpenedServer(loop: loop, dataDirectory: store.directories.data, lock: lock)
            } catch {
                threads.waitUntilEnded(patience: .seconds(5))
                throw error
            }
        } catch let error as StorageError {
            throw StartError(error)
        } catch {
            throw (error as? StartError) ?? StartError("\(error)")
        }
    }

    private func open(_ store: DataStore<D, Gzip>, port: Int) throws -> ServerLoop {
        let core = ServerCore(
            options: CoreOptions(configuration),
            seed: .random(in: .min ... .max),
            now: SystemClock.now(),
            role: configuration.ensemble == nil ? .standalone : .looking
        )
        guard let ensemble = configuration.ensemble else { return try openAlone(store, core, port: port) }
        return try openMember(ensemble, store, core, port: port)
    }

    private func openAlone(
        _ store: DataStore<D, Gzip>,
        _ core: consuming ServerCore,
        port: Int
    ) throws -> ServerLoop {
        var restorer = CoreRestorer(core)
        var startup = ShellMetrics.Startup()
        let report = try load(&startup) { (progress) throws(StorageError) in
            try store.recover(into: &restorer, progress: progress)
        }
        guard report.database != .uninitialized else {
            throw StartError(
                "\(store.directories.data) holds no data, and db.autocreate=false forbids to begin without. If a new "
                    + "database is wanted, create an empty file \(FileNames.initialize) there; if not, restore the data"
            )
        }
        var core = restorer.finish()
        log(report, &startup)
        if report.database == .created { try store.writeFirstSnapshot(of: &core) }

        let loop = makeLoop(store, core, startup, port: port)
        try startThreads(store, loop, report)
        loop.beginService(lastZxid: report.lastZxid, takesSnapshot: report.replayedCount > 0)
        return loop
    }

    func makeLoop(
        _ store: DataStore<D, Gzip>,
        _ core: consuming ServerCore,
        _ startup: ShellMetrics.Startup,
        port: Int
    ) -> ServerLoop {
        var limits = Limits(configuration, maximumDescriptors: ProcessFacts.maximumDescriptors())
        adjustLimits(&limits)
        let loop = ServerLoop(
            eventLoop: eventLoop,
            threads: threads,
            core: core,
            configuration: configuration,
            limits: limits,
            directories: ServerLoop.Directories(data: store.directories.snapshots, log: store.directories.logs),
            directorySizes: { store.sizes() },
            logger: logger,
            now: SystemClock.now(),
            fatal: fatal
        )
        loop.metrics.startup = startup
        loop.clientPort = port
        return loop
    }

    /// Lets `body` load the data, shows how far it is, and measures it.
    func load<Loaded>(
        _ startup: inout ShellMetrics.Startup,
        _ body: (@escaping (RecoveryProgress) -> Void) throws(StorageError) -> Loaded
    ) throws(StorageError) -> Loaded {
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
        let loaded = try withoutActuallyEscaping(show) { (show) throws(StorageError) in try body(show) }
        let end = SystemClock.monotonicMicroseconds()
        startup.databaseMilliseconds = (end - begin) / 1000
        startup.snapshotMilliseconds = ((firstLog ?? end) - begin) / 1000
        startup.replayMilliseconds = (end - (firstLog ?? end)) / 1000
        return loaded
    }

    func log(_ report: RecoveryReport, _ startup: inout ShellMetrics.Startup) {
        startup.transactions = Int64(report.replayedCount)
        startup.digestMismatches = Int64(report.alarms.count)
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

    /// - Parameter hasLostMemory: of a member whose files do not say all that it ever promised.
    func startThreads(
        _ store: DataStore<D, Gzip>,
        _ loop: ServerLoop,
        _ report: RecoveryReport,
        hasLostMemory: Bool = false
    ) throws {
        let link = StorageLink(log: LogThread(), snapshots: SnapshotThread())
        loop.storage = link
        let threads = threads
        let worker = try store.openWorker(
            lastZxid: report.lastZxid,
            limits: loop.limits,
            hasLostMemory: hasLostMemory
        )
        // Before the core can want anything written.
        loop.setLogRoom(worker.space, availableBytes: worker.availableBytes)
        let hasLog = link.log.start(
            worker,
            threads: threads,
            report: { report in threads.report { loop.stored(report) } },
            failed: fatal
        )
        let hasSnapshots = link.snapshots.start(
            StoredSnapshots(store, log: logger),
            purgeInterval: configuration.storage.purge?.interval,
            purgesAtOnce: report.allowsPurge,
            threads: threads,
            report: { report in threads.report { loop.snapshotReported(report) } }
        )
        guard hasLog, hasSnapshots else {
            if hasLog { link.log.stop() }
            if hasSnapshots { link.snapshots.stop() }
            throw StartError.noThread
        }
    }
}

/// A server that is ready for clients and has not let any in.
struct OpenedServer: Sendable {
    let loop: ServerLoop
    let dataDirectory: String
    /// Keeps other servers out of the directory.
    let lock: any Sendable

    /// Ends a server whose port could not be opened after all, and its threads.
    func abandon(_ ports: ClientPorts) async {
        await withCheckedContinuation { continuation in
            loop.eventLoop.execute { [loop] in
                loop.beginStopping()
                ports.close {
                    loop.leaveEnsemble()
                    loop.stopLog(patience: .seconds(5)) {
                        loop.stopSnapshots(patience: .seconds(2)) {
                            loop.threads.whenAllEnded(patience: .seconds(2)) { continuation.resume() }
                        }
                    }
                }
            }
        }
    }
}
