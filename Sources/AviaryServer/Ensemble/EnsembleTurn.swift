internal import AviaryCore
internal import AviaryEnsemble
internal import AviaryStorage
internal import Logging
internal import Zab
internal import ZooKeeperProtocol

/// The ensemble's part of a turn: what the member wants done.
extension ServerLoop {
    /// Hands the member what the core has made in this turn, and carries out what it wants.
    func settle(_ ensemble: EnsembleLink) {
        ensemble.member.settle(&core, at: now, into: &output)
        if !ensemble.member.orders.isEmpty { carryOutOrders(of: ensemble) }
        ensemble.availability.note(
            ensemble.member.role,
            isServing: ensemble.member.isServing,
            at: now.monotonicMicroseconds
        )
        ensemble.links.flush()
        if ensemble.isReading == ensemble.member.isBehind { setReading(!ensemble.member.isBehind, ensemble) }
        if ensemble.wantsSnapshot, ensemble.member.isServing {
            ensemble.wantsSnapshot = false
            beginSnapshot()
        }
    }

    private func carryOutOrders(of ensemble: EnsembleLink) {
        swap(&ensemble.orders, &ensemble.member.orders)
        if ensemble.orders.abandonsSnapshot { abandonSnapshot() }
        if !ensemble.orders.storage.isEmpty { storage?.log.submit(ensemble.orders.storage) }
        for order in ensemble.orders.links {
            switch order {
            case .connect(let link, let server): connect(link, to: server, ensemble)
            case .send(let link, let range):
                ensemble.orders.linkBytes.withBytes(in: range) { ensemble.links.send($0, on: link) }
            case .close(let link):
                forget(link, ensemble)
                ensemble.links.close(link)
            case .readHistory(let link, let request):
                read(request, for: link, ensemble)
            }
        }
        for (server, notification) in ensemble.orders.notifications {
            var frame = JuteWriter(capacity: 512)
            notification.write(to: &frame)
            frame.withBytes { ensemble.election.send(frame: $0, to: server) }
        }
        if ensemble.orders.connectAll { ensemble.election.connectAll() }
        for (configuration, isCommitted) in ensemble.orders.configurations {
            configurationChanged(configuration, isCommitted: isCommitted, ensemble)
        }
        for note in ensemble.orders.notes { log(note) }
        let wantsReload = ensemble.orders.wantsReload
        ensemble.orders.reset()
        if wantsReload { reloadTree(ensemble) }
    }

    /// Names are looked up for every attempt, by where the newest configuration says the server is.
    private func connect(_ link: LinkID, to server: ServerID, _ ensemble: EnsembleLink) {
        guard let target = ensemble.member.member(server) else { return ensemble.links.connect(link, to: []) }
        // Who does not lead is asked as an observer's master.
        guard let port = ensemble.configuration.observerMasterPort, server != ensemble.member.leader else {
            return ensemble.links.connect(link, to: target.quorumAddresses)
        }
        ensemble.links.connect(link, to: target.masterAddresses(port: port))
    }

    /// Nothing more is read from other servers while too much waits for the disk.
    private func setReading(_ isReading: Bool, _ ensemble: EnsembleLink) {
        ensemble.isReading = isReading
        for link in ensemble.open.keys { ensemble.links.setReading(isReading, on: link) }
    }

    private func log(_ note: ZabNote) {
        let level: Logger.Level =
            switch note.level {
            case .debug: .debug
            case .info: .info
            case .warning: .warning
            case .error: .error
            }
        guard level >= logger.logLevel else { return }
        var metadata: Logger.Metadata = [:]
        for (key, value) in note.metadata { metadata[key] = .string(value) }
        logger.log(level: level, "\(note.message)", metadata: metadata)
    }

    // MARK: - The disk

    /// What the log thread has done for a member.
    func stored(_ report: StorageReport, _ ensemble: EnsembleLink) {
        beginTurn()
        if case .durable(let log) = report {
            metrics.flushed(log)
            ensemble.durableZxid = log.durable
            setLogRoom(log.space, availableBytes: log.availableBytes)
        }
        if case .truncated(let zxid, let setAside, _) = report {
            ensemble.durableZxid = zxid
            logger.info(
                "cut from the log what the leader does not have",
                metadata: ["after": "\(zxid)", "snapshots set aside": "\(setAside.joined(separator: " "))"]
            )
        }
        if case .snapshotInstalled(let zxid) = report {
            ensemble.durableZxid = zxid
            logger.info("the leader's snapshot is in place", metadata: ["zxid": "\(zxid)"])
        }
        ensemble.member.storageReported(report, &core, at: now, into: &output)
    }

    /// The tree holds what the disk does not: it is loaded again, which takes as long as a start. Nobody is served
    /// meanwhile, by this server's role.
    private func reloadTree(_ ensemble: EnsembleLink) {
        abandonSnapshot()
        // The core goes into the restorer and comes back; something has to stand in its place.
        var lent = ServerCore(options: CoreOptions(configuration), seed: 0, now: now, role: .looking)
        swap(&core, &lent)
        var restorer = CoreRestorer(lent)
        let result: Result<RecoveryReport, StorageError>
        do throws(StorageError) {
            result = .success(try ensemble.reload(&restorer))
        } catch {
            result = .failure(error)
        }
        core = restorer.finish()
        switch result {
        case .success(let report):
            logger.info("loaded the data again", metadata: ["zxid": "\(report.lastZxid)"])
            ensemble.member.reloaded(upTo: report.lastZxid, &core, at: now, into: &output)
        case .failure(let error):
            // The process ends, and the next start finds out what the disk holds.
            fatal(error)
        }
    }

    // MARK: - The end

    /// The others shall see at once that this server is gone. Its clients are let go.
    func leaveEnsemble() {
        guard let ensemble else { return }
        beginTurn()
        ensemble.close()
        core.stopServing(at: now, into: &output)
    }
}
