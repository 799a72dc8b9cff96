internal import AviaryCore
internal import AviaryEnsemble
internal import AviaryStorage
internal import Zab
internal import ZooKeeperProtocol

/// What core and member want done at the end of a turn, carried out as the shell does it.
extension MemberProcess {
    /// Carries out what core and member want done.
    func endTurn() {
        let now = run.now(machine)
        repeat {
            member.settle(&core, at: now, into: &output)
            carryOutOutput(at: now)
            carryOutOrders(at: now)
        } while failure == nil && (!output.isEmpty || !member.orders.isEmpty)
        if let failure { return run.processFailed(machine, failure) }
        holdReadingBack()
        run.observer.observe(self)
        planTimer()
    }

    func carryOutOutput(at now: Now) {
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

    func hear(_ note: CoreNote) {
        run.narrate("\(machine.id): \(note.message) \(note.metadata.map { "\($0.key)=\($0.value)" })")
        if note.level == .error, !note.message.contains("disk") {
            run.observer.complain("\(machine.id): \(note.message)")
        }
    }

    func carryOutOrders(at now: Now) {
        if member.orders.abandonsSnapshot { snapshots.abandon(&core) }
        let storage = member.orders.storage
        let notifications = member.orders.notifications
        let connectsAll = member.orders.connectAll
        let wantsReload = member.orders.wantsReload
        for (configuration, isCommitted) in member.orders.configurations {
            run.write(configuration, isCommitted: isCommitted, to: machine)
        }
        for note in member.orders.notes {
            if note.message.hasPrefix("closing the link of a learner: nothing") { run.counts[.learnersDropped] += 1 }
            if note.message.hasPrefix("closing the link of a learner: it is too slow") {
                run.counts[.learnersDropped] += 1
            }
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

    func carryOut(_ order: LinkOrder, _ bytes: [UInt8], at now: Now) {
        switch order {
        case .connect(let link, let server):
            guard let host = run.host(of: server) else { return }
            open(link, run.network.connect(from: machine.host, to: host, .quorum), .opener, server)
        case .send(let link, _):
            guard links[link] != nil else { return }
            watchSent(bytes, link, at: now)
            guard let open = links[link] else { return }
            run.network.send(plantedSent(bytes, open), on: open.key, from: open.end)
        case .close(let link):
            guard let open = links[link] else { return }
            forget(link)
            run.network.close(open.key, open.end)
        case .readHistory(let link, let request):
            read(request, for: link)
        }
    }

    /// Nothing more is read from other servers while too much waits for the disk.
    func holdReadingBack() {
        let isReading = !member.isBehind
        for link in links.keys.sorted(by: { $0.rawValue < $1.rawValue }) where links[link]?.isReading != isReading {
            guard let open = links[link] else { continue }
            links[link]?.isReading = isReading
            run.network.setReading(open.key, open.end, isReading)
        }
    }

    func planTimer() {
        let next = min(
            core.nextDeadlineMicroseconds,
            min(member.nextDeadlineMicroseconds ?? .max, election.nextDeadline)
        )
        guard next < plannedTimer, next != .max else { return }
        plannedTimer = next
        run.plan(.timer(server: machine.host.rawValue, incarnation: incarnation), at: next)
    }

    /// The tree holds what the disk does not. Without it this process cannot go on.
    func reload(at now: Now) {
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
            failure = error
        }
        core = restored.finish()
        guard let last else { return }
        member.reloaded(upTo: last, &core, at: now, into: &output)
    }
}

/// Puts another value into a place, and gives the one that was there.
private func exchange(_ place: inout ServerCore, with new: consuming ServerCore) -> ServerCore {
    var other = new
    swap(&place, &other)
    return other
}
