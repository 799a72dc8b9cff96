internal import AviaryCore
internal import AviaryEnsemble
internal import AviaryStorage
internal import Logging
internal import Zab
internal import ZooKeeperProtocol

/// What the other servers say, and what becomes of the connections to them.
extension ServerLoop {
    /// Begins to take part: listens, and looks for a leader.
    ///
    /// - Parameter claimed: sockets of the quorum and the election port, bound already.
    func joinEnsemble(
        _ ensemble: EnsembleLink,
        lastZxid: Zxid,
        claimed: (quorum: [NetworkAddress: [BoundSocket]], election: [NetworkAddress: [BoundSocket]])
    ) {
        self.ensemble = ensemble
        beginTurn()
        core.restored(upTo: lastZxid)
        ensemble.links.handle = { [unowned self] event in linkEvent(event, ensemble) }
        ensemble.election.received = { [unowned self] message, server in electionMessage(message, server, ensemble) }
        ensemble.election.linkChanged = { [unowned self] server, isUp in
            beginTurn()
            ensemble.member.electionLink(server, isUp: isUp, &core, at: now, into: &output)
        }
        var members = ensemble.member.configuration.members
        let me = ensemble.configuration.me
        if ensemble.member.configuration.member(me) == nil {
            ServerLoop.add(ensemble.configuration.members.members, to: &members)
        }
        if let own = members.first(where: { $0.id == me }) {
            ensemble.links.listen(
                on: own.learnerAddresses(masterPort: ensemble.configuration.observerMasterPort),
                claimed: claimed.quorum
            )
        }
        ensemble.election.start(members: members, claimed: claimed.election)
        if let storage { ensemble.member.setLogRoom(storage.room, &core, at: now, into: &output) }
        checkFiles(ensemble)
        ensemble.member.start(&core, at: now, into: &output)
    }

    /// Who is to join, and is no member yet, listens where its own file says, and looks for others where this and where its
    /// data has them: of those that the data knows none may be left, or not where they were.
    private static func add(_ others: [QuorumMember], to members: inout [QuorumMember]) {
        for other in others {
            guard let index = members.firstIndex(where: { $0.id == other.id }) else {
                members.append(other)
                continue
            }
            let known = members[index]
            members[index] = QuorumMember(
                id: known.id,
                addresses: known.addresses + other.addresses.filter { !known.addresses.contains($0) },
                role: known.role,
                client: known.client
            )
        }
    }

    private func electionMessage(_ message: UnsafeRawBufferPointer, _ server: ServerID, _ ensemble: EnsembleLink) {
        let notification: Notification
        do {
            notification = try Notification.parse(message)
        } catch {
            logger.debug(
                "passing over a message of an election that cannot be read",
                metadata: ["server": "\(server)", "reason": "\(error)"]
            )
            return
        }
        beginTurn()
        ensemble.member.received(notification, from: server, &core, at: now, into: &output)
    }

    private func linkEvent(_ event: QuorumLinks.Event, _ ensemble: EnsembleLink) {
        beginTurn()
        let member = ensemble.member
        switch event {
        case .accepted(let link, let peer):
            logger.debug("a learner connects", metadata: ["link": "\(link)", "peer": "\(peer?.description ?? "?")"])
            opened(link, ensemble)
            member.linkAccepted(link, &core, at: now, into: &output)
        case .connected(let link):
            opened(link, ensemble)
            member.linkConnected(link, &core, at: now, into: &output)
        case .connectFailed(let link, let reason):
            logger.debug("the leader cannot be connected to", metadata: ["link": "\(link)", "reason": "\(reason)"])
            member.linkFailed(link, &core, at: now, into: &output)
        case .received(let link, let bytes):
            member.linkReceived(link, bytes, &core, at: now, into: &output)
        case .writable(let link, _):
            tellCredit(of: link, ensemble)
        case .closed(let link, let reason):
            logger.debug("a quorum connection has ended", metadata: ["link": "\(link)", "reason": "\(reason)"])
            forget(link, ensemble)
            member.linkClosed(link, &core, at: now, into: &output)
        }
    }

    private func opened(_ link: LinkID, _ ensemble: EnsembleLink) {
        ensemble.open[link] = EnsembleLink.OpenLink()
        if !ensemble.isReading { ensemble.links.setReading(false, on: link) }
    }

    func forget(_ link: LinkID, _ ensemble: EnsembleLink) {
        guard let gone = ensemble.open.removeValue(forKey: link), gone.hasHistory else { return }
        ensemble.history.forget(link)
    }

    /// Tells the member what a link takes; a snapshot that is being sent takes all of it.
    private func tellCredit(of link: LinkID, _ ensemble: EnsembleLink) {
        guard let open = ensemble.open[link] else { return }
        if open.stream != nil { return streamOn(link, ensemble) }
        let credit = ensemble.links.credit(of: link)
        ensemble.member.linkWritable(link, creditBytes: credit, &core, at: now, into: &output)
    }

    // MARK: - History for learners

    func read(_ request: HistoryRequest, for link: LinkID, _ ensemble: EnsembleLink) {
        guard ensemble.open[link] != nil else { return }
        ensemble.open[link]?.hasHistory = true
        switch request {
        case .records(let after, let through, let maxBytes, let isFirst):
            ensemble.history.submit(
                .records(link, after: after, through: through, maxBytes: maxBytes, isFirst: isFirst)
            )
        case .snapshot:
            ensemble.history.submit(
                .snapshot(link, durable: ensemble.durableZxid, remembered: ensemble.member.historyFloor)
            )
        }
    }

    func historyReported(_ report: HistoryReport) {
        guard let ensemble else { return }
        beginTurn()
        let member = ensemble.member
        switch report {
        case .records(let link, let previous, let batch):
            guard ensemble.open[link] != nil else { return }
            batch.bytes.withBytes { bytes in
                let records = batch.records.map { record in
                    HistoryRecord(zxid: record.zxid, payload: UnsafeRawBufferPointer(rebasing: bytes[record.range]))
                }
                member.historyRead(
                    link,
                    .records(previous: previous, records),
                    &core,
                    at: now,
                    into: &output
                )
            }
        case .snapshot(let link, let zxid):
            guard ensemble.open[link] != nil else { return }
            logger.info("sending a snapshot to a learner", metadata: ["link": "\(link)", "zxid": "\(zxid)"])
            var packet = JuteWriter()
            QuorumPacket.write(.snap, zxid: zxid, to: &packet)
            packet.withBytes { ensemble.links.send($0, on: link) }
            ensemble.open[link]?.stream = EnsembleLink.Stream(zxid: zxid)
            streamOn(link, ensemble)
        case .piece(let link, let piece, let isLast):
            sendPiece(piece, isLast: isLast, link, ensemble)
        case .unavailable(let link, let reason):
            guard ensemble.open[link] != nil else { return }
            logger.info(
                "what a learner lacks is not in the files in one piece",
                metadata: ["link": "\(link)", "reason": "\(reason)"]
            )
            guard ensemble.open[link]?.stream == nil else {
                // The learner is in the middle of a snapshot: nothing else that is sent could be told from it.
                forget(link, ensemble)
                ensemble.links.close(link)
                return member.linkClosed(link, &core, at: now, into: &output)
            }
            member.historyRead(link, .impossible, &core, at: now, into: &output)
        }
    }

    /// Asks for the next piece of a snapshot if the link takes it.
    private func streamOn(_ link: LinkID, _ ensemble: EnsembleLink) {
        guard var stream = ensemble.open[link]?.stream, !stream.isReading else { return }
        let credit = ensemble.links.credit(of: link)
        guard credit > 0 else { return }
        stream.isReading = true
        ensemble.open[link]?.stream = stream
        stream.piece.bytes.removeAll()
        ensemble.history.submit(.next(link, maxBytes: min(credit, EnsembleLink.pieceBytes), stream.piece))
    }

    private func sendPiece(_ piece: SnapshotPiece, isLast: Bool, _ link: LinkID, _ ensemble: EnsembleLink) {
        guard let stream = ensemble.open[link]?.stream else { return }
        piece.bytes.withBytes { ensemble.links.send($0, on: link) }
        guard isLast else {
            ensemble.open[link]?.stream?.isReading = false
            return streamOn(link, ensemble)
        }
        ensemble.open[link]?.stream = nil
        ensemble.member.historyRead(link, .snapshotStreamed(stream.zxid), &core, at: now, into: &output)
        tellCredit(of: link, ensemble)
    }
}
