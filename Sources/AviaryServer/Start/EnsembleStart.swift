internal import AviaryCore
internal import AviaryEnsemble
internal import AviaryStorage
internal import Logging
internal import NIOCore
internal import Zab
internal import ZooKeeperProtocol

/// What a member of an ensemble needs besides: its ports for the others, and files that it may have to do without.
extension ServerStart {
    /// - Parameter port: for clients.
    func openMember(
        _ ensemble: EnsembleConfiguration,
        _ store: DataStore<D, Gzip>,
        _ core: consuming ServerCore,
        port: Int
    ) throws -> ServerLoop {
        let claimed = try claimPorts(ensemble)
        let isReconfigEnabled = configuration.features.reconfig
        var restorer = CoreRestorer(core)
        var startup = ShellMetrics.Startup()
        let state = try recover(store, into: &restorer, &startup)
        let report = state.report
        var core = restorer.finish()
        log(report, &startup)
        for note in state.notes { logger.warning("\(note)") }
        if !state.remembersAll {
            logger.warning(
                "this server does not know all that it has acknowledged: it has no vote until a leader has brought it up to date"
            )
        }
        if report.database == .created { try store.writeFirstSnapshot(of: &core) }

        let loop = makeLoop(store, core, startup, port: port)
        try startThreads(store, loop, report, hasLostMemory: !state.remembersAll)
        let history = HistoryThread()
        let threads = threads
        let hasHistory = history.start(
            store.history(),
            snapshotSizeFactor: ensemble.snapshotSizeFactor ?? -1,
            threads: threads,
            report: { report in threads.report { loop.historyReported(report) } }
        )
        guard hasHistory else {
            loop.storage?.log.stop()
            loop.storage?.snapshots.stop()
            throw StartError.noThread
        }
        let files = isReconfigEnabled ? startFiles(ensemble) : nil
        let resolver = NameResolver(eventLoop: eventLoop, threads: threads)
        let known = KnownConfigurations(
            file: ensemble.members,
            next: ensemble.proposed,
            stored: loop.core.storedConfiguration,
            former: loop.core.formerConfiguration,
            lastZxid: report.lastZxid,
            isReconfigEnabled: isReconfigEnabled
        )
        let link = EnsembleLink(
            member: Member(
                options: memberOptions(ensemble, loop.limits, store.readingLimits),
                configuration: known.current,
                proposed: known.proposed,
                acquaintances: ensemble.members.voters,
                durable: DurableState(
                    lastZxid: report.lastZxid,
                    acceptedEpoch: state.accepted,
                    currentEpoch: state.current,
                    remembersAll: state.remembersAll,
                    promised: state.promised
                ),
                seed: .random(in: .min ... .max),
                now: SystemClock.now()
            ),
            configuration: ensemble,
            election: ElectionTransport(
                options: electionOptions(ensemble),
                eventLoop: eventLoop,
                resolver: resolver,
                logger: logger
            ),
            links: QuorumLinks(
                options: linkOptions(ensemble),
                eventLoop: eventLoop,
                resolver: resolver,
                logger: logger
            ),
            history: history,
            files: files,
            durableZxid: report.lastZxid,
            wantsSnapshot: report.replayedCount > 0,
            reload: { (restorer) throws(StorageError) in try store.reload(into: &restorer) }
        )
        loop.joinEnsemble(link, lastZxid: report.lastZxid, claimed: claimed)
        return loop
    }

    // MARK: - Files

    /// The thread that writes configurations; nil where there is no file, and where there is no thread: it is not worth
    /// refusing to serve for.
    private func startFiles(_ ensemble: EnsembleConfiguration) -> ConfigurationThread? {
        guard let staticFile = ensemble.staticFile else { return nil }
        let thread = ConfigurationThread()
        let files = DynamicFiles(staticFile: staticFile, me: ensemble.me)
        return thread.start(files, threads: threads, logger: logger) ? thread : nil
    }

    /// Loads what is there. Files that cannot be used are put aside: a leader has everything that was in them.
    private func recover(
        _ store: DataStore<D, Gzip>,
        into restorer: inout CoreRestorer,
        _ startup: inout ShellMetrics.Startup
    ) throws -> MemberState {
        let outcome = try load(&startup) { (progress) throws(StorageError) in
            try store.recovery(progress).run(into: &restorer)
        }
        switch outcome {
        case .loaded(let state):
            return state
        case .damaged(let error):
            logger.error(
                "the files of this server cannot be used; it puts them aside and asks the leader for everything",
                metadata: ["reason": "\(error)"]
            )
            let folder = try store.recovery { _ in }.quarantine(because: error)
            logger.warning("the files that cannot be used are kept", metadata: ["folder": "\(folder)"])
        }
        switch try store.recovery({ _ in }).run(into: &restorer) {
        case .loaded(let state): return state
        case .damaged(let error): throw error
        }
    }

    // MARK: - Ports

    private func claimPorts(
        _ ensemble: EnsembleConfiguration
    ) throws(StartError) -> (quorum: [NetworkAddress: [BoundSocket]], election: [NetworkAddress: [BoundSocket]]) {
        guard let own = ensemble.ownMember else { return ([:], [:]) }
        func places(_ addresses: [NetworkAddress]) -> [NetworkAddress] {
            ensemble.listensOnAllAddresses ? PeerListener.onAllAddresses(addresses) : addresses
        }
        return (
            try PeerListener.claim(
                places(own.learnerAddresses(masterPort: ensemble.observerMasterPort)),
                for: .quorum
            ),
            try PeerListener.claim(places(own.electionAddresses), for: .election)
        )
    }

    // MARK: - Options

    private func memberOptions(
        _ ensemble: EnsembleConfiguration,
        _ limits: Limits,
        _ reading: ReadingLimits
    ) -> MemberOptions {
        var peer = PeerOptions(
            me: ensemble.me,
            tickMilliseconds: Int(configuration.sessions.tickTime.milliseconds),
            initLimit: ensemble.initLimit,
            syncLimit: ensemble.syncLimit
        )
        peer.connectToLeaderLimit = ensemble.connectLimit
        peer.recentCount = ensemble.recentTransactions
        peer.minNotificationMilliseconds = Int(ensemble.minimumNotificationInterval.milliseconds)
        peer.maxNotificationMilliseconds = Int(ensemble.maximumNotificationInterval.milliseconds)
        peer.observerElectionDelayMilliseconds = Int(ensemble.observerElectionDelay.milliseconds)
        peer.reconfigEnabled = configuration.features.reconfig
        peer.forceSnapshotSync = ensemble.forcesSnapshotSync
        peer.hasObserverMasters = ensemble.observerMasterPort != nil
        return MemberOptions(
            peer: peer,
            limits: reading,
            isStandaloneEnabled: ensemble.isStandaloneEnabled,
            maximumUnstoredBytes: limits.unstoredBytes,
            maximumAnswerBytes: ServerLoop.drainBytes,
            readOnlyAfterMilliseconds: configuration.features.readOnlyMode
                ? max(2_000, Int(configuration.sessions.tickTime.milliseconds)) : nil
        )
    }

    private func electionOptions(_ ensemble: EnsembleConfiguration) -> ElectionTransport.Options {
        var options = ElectionTransport.Options(me: ensemble.me)
        options.connecting.timeout = ensemble.connectTimeout.timeAmount
        options.connecting.sendsKeepAlive = ensemble.sendsTCPKeepAlive
        options.introductionTimeout = ensemble.introductionTimeout.timeAmount
        options.announcesAllAddresses = ensemble.allowsSeveralAddresses
        options.listensOnAllAddresses = ensemble.listensOnAllAddresses
        return options
    }

    private func linkOptions(_ ensemble: EnsembleConfiguration) -> QuorumLinks.Options {
        var options = QuorumLinks.Options()
        options.connecting.timeout = ensemble.connectTimeout.timeAmount
        options.connecting.sendsKeepAlive = ensemble.sendsTCPKeepAlive
        options.listensOnAllAddresses = ensemble.listensOnAllAddresses
        options.firstByteTimeout = (configuration.sessions.tickTime * ensemble.initLimit).timeAmount
        return options
    }
}

extension Duration {
    fileprivate var timeAmount: TimeAmount { .milliseconds(milliseconds) }
}
