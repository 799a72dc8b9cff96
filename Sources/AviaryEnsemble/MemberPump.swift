internal import AviaryCore
internal import AviaryStorage
internal import Zab
internal import ZooKeeperProtocol

/// Between core and peer.
extension Member {
    /// Whether the core has made something that is the peer's.
    func hasMade(_ output: borrowing Output) -> Bool {
        !output.log.isEmpty || !output.forwards.isEmpty || !output.confirmations.isEmpty
            || !output.learnerAnswers.isEmpty || output.resignation != nil
    }

    /// Goes back and forth until neither has anything for the other.
    func pump(_ core: inout ServerCore, at now: Now, into output: inout Output) {
        repeat {
            if hasMade(output) { hand(output: &output, of: core, at: now) }
            obey(at: now, &core)
            call(&core, at: now, into: &output)
        } while hasMade(output) || zab.hasForCore
        beginSnapshotIfAsked(&core, at: now)
    }

    // MARK: - From the core

    private func hand(output: inout Output, of core: borrowing ServerCore, at now: Now) {
        if !output.log.isEmpty { propose(&output, at: now) }
        for forward in output.forwards {
            switch forward {
            case .request(let session, let cxid, let operation, let body, let identities):
                output.forwardBytes.withBytes(in: body) { body in
                    peer.forward(
                        ForwardedRequest(session: session, cxid: cxid, operation: operation.rawValue, body: body),
                        identities: identities,
                        at: now,
                        into: &zab
                    )
                }
            case .revalidate(let session, let timeoutMilliseconds):
                peer.revalidate(session: session, timeoutMilliseconds: timeoutMilliseconds, at: now, into: &zab)
            }
        }
        for token in output.confirmations { peer.confirm(token: token, at: now, into: &zab) }
        for answer in output.learnerAnswers {
            switch answer {
            case .syncTaken(let learner, let zxid):
                peer.expectSync(on: LinkID(learner.rawValue), behind: zxid, at: now, into: &zab)
            case .syncDone(let learner):
                peer.answerSync(on: LinkID(learner.rawValue), at: now, into: &zab)
            case .revalidated(let learner, let session, let isValid, _):
                peer.answerRevalidation(
                    on: LinkID(learner.rawValue),
                    session: session,
                    isValid: isValid,
                    at: now,
                    into: &zab
                )
            }
        }
        if let reason = output.resignation { peer.resign(reason, at: now, into: &zab) }
        output.handedOver()
    }

    /// A leader's new transactions. Of one that has lost its quorum in this very turn they are nothing: it was never told
    /// to anybody that they were made.
    private func propose(_ output: inout Output, at now: Now) {
        let leads = peer.mayPropose
        defer {
            output.logBytes.removeAll()
            reconfigured = nil
        }
        guard leads else { return output.log.removeAll(keepingCapacity: true) }
        let batch = openBatch ?? takeBatch()
        openBatch = batch
        let isOwnBatch = output.log.count > 1 && !peer.isInBatch
        if isOwnBatch { peer.beginBatch() }
        for record in output.log {
            let configuration = reconfigured.flatMap { $0.zxid == record.zxid ? $0.configuration : nil }
            output.logBytes.withBytes(in: record.range) { payload in
                batch.append(payload, zxid: record.zxid)
                peer.proposed(
                    zxid: record.zxid,
                    payload: payload,
                    configuration: configuration,
                    at: now,
                    into: &zab
                )
            }
        }
        if isOwnBatch { peer.endBatch(at: now, into: &zab) }
        output.log.removeAll(keepingCapacity: true)
    }

    // MARK: - From the peer

    /// Orders for the disk.
    private func obey(at now: Now, _ core: inout ServerCore) {
        guard !zab.storage.isEmpty else { return }
        let list = zab.storage
        zab.storage.removeAll(keepingCapacity: true)
        for order in list {
            switch order {
            case .append(let zxid):
                let batch = openBatch ?? takeBatch()
                openBatch = batch
                peer.history.withPayload(of: zxid) { batch.append($0, zxid: zxid) }
            case .storeAccepted(let epoch):
                closeBatch(at: now)
                submit(.storeAccepted(epoch))
            case .storeCurrent(let epoch):
                closeBatch(at: now)
                submit(.storeCurrent(epoch))
            case .truncate(let zxid):
                closeBatch(at: now)
                submit(.truncate(after: zxid))
            case .abandonSnapshot:
                abandonIncoming()
            }
        }
    }

    /// What the core is to hear.
    private func call(_ core: inout ServerCore, at now: Now, into output: inout Output) {
        guard !zab.upcalls.isEmpty else { return }
        let list = zab.upcalls
        zab.upcalls.removeAll(keepingCapacity: true)
        var wantsPing = false
        for upcall in list {
            switch upcall {
            case .lead(let epoch):
                core.lead(epoch: epoch, lastZxid: core.lastProcessedZxid, at: now, into: &output)
                showConfiguration(&core, at: now)
            case .learn(_, let isObserver):
                core.learn(isObserver: isObserver, epoch: peer.epoch, at: now, into: &output)
                showConfiguration(&core, at: now)
            case .stop:
                // What is committed is not forgotten with what is not.
                if let unapplied { core.durable(upTo: unapplied, at: now, into: &output) }
                unapplied = nil
                core.stopServing(at: now, into: &output)
            case .committed(let zxid):
                apply(upTo: zxid, &core, at: now, into: &output)
            case .request(let link, _, let request):
                request.body.withUnsafeBytes { body in
                    core.forwarded(
                        operation: request.operation,
                        cxid: request.cxid,
                        session: request.session,
                        body: body,
                        identities: request.identities,
                        from: LearnerID(link.rawValue),
                        at: now,
                        into: &output
                    )
                }
            case .touched(let link, let touches):
                for touch in touches {
                    core.touch(
                        touch.session,
                        timeoutMilliseconds: touch.timeoutMilliseconds,
                        from: LearnerID(link.rawValue),
                        at: now
                    )
                }
            case .revalidate(let link, let session, let timeoutMilliseconds):
                core.revalidate(
                    session,
                    timeoutMilliseconds: timeoutMilliseconds,
                    from: LearnerID(link.rawValue),
                    at: now,
                    into: &output
                )
            case .leadershipConfirmed(let token):
                core.leadershipConfirmed(token, at: now, into: &output)
            case .learnerGone(let link):
                core.learnerGone(LearnerID(link.rawValue))
            case .revalidated(let session, let isValid):
                core.revalidated(session, isValid: isValid, at: now, into: &output)
            case .moved(let session):
                core.moved(session, into: &output)
            case .synced:
                core.synced(at: now, into: &output)
            case .pingAsked:
                wantsPing = true
            case .configuration(let configuration, let isCommitted):
                orders.configurations.append((configuration, isCommitted))
            }
        }
        if wantsPing { peer.answerPing(touched: core.takeTouched(), at: now, into: &zab) }
    }

    func apply(upTo zxid: Zxid, _ core: inout ServerCore, at now: Now, into output: inout Output) {
        if core.role == .leader {
            let isDone = core.durable(upTo: zxid, at: now, maxBytes: options.maximumAnswerBytes, into: &output)
            unapplied = isDone ? nil : zxid
            return
        }
        guard var position = peer.history.position(after: core.lastProcessedZxid),
            let end = peer.history.position(after: zxid)
        else { return }
        while position < end {
            let group = position..<min(position + ServerCore.fetchAheadCount, end)
            core.fetchAhead(transactions: group) { peer.history.withPayload(at: $0, $1) }
            for position in group {
                peer.history.withPayload(at: position) { payload in
                    // What cannot be read was refused when it came.
                    try? core.applyCommitted(payload, at: now, into: &output)
                }
            }
            position = group.upperBound
        }
    }

    /// What comes from links is checked there; here is who the members are, for `/zookeeper/config`.
    private func showConfiguration(_ core: inout ServerCore, at now: Now) {
        let configuration = peer.configurations.current
        core.setConfiguration([UInt8](configuration.text.utf8), version: Zxid(configuration.version), at: now)
    }

    /// A leader's answer to a reconfig request: the text of the next configuration.
    func reconfigure(_ request: ReconfigRequest, _ zxid: Zxid) throws(ErrorCode) -> [UInt8] {
        let next: QuorumConfiguration
        do throws(ReconfigurationRefusal) {
            next = try Reconfiguration.next(
                for: request,
                committed: peer.configurations.current,
                // One that was asked for in the same turn is under way, although the peer has not heard of it.
                lastSeen: reconfigured?.configuration ?? peer.configurations.lastSeen,
                zxid: zxid,
                isStandaloneEnabled: options.isStandaloneEnabled
            )
        } catch {
            note(.info, "a reconfiguration is refused: \(error.reason)")
            throw error.code
        }
        guard peer.isSynced(quorumOf: next) else { throw .newConfigNoQuorum }
        reconfigured = (zxid, next)
        return [UInt8](next.text.utf8)
    }

    /// Moves what the peer wants done outside to the orders.
    func takeOrders() {
        let offset = orders.linkBytes.count
        if offset == 0 {
            swap(&orders.linkBytes, &zab.linkBytes)
        } else {
            zab.linkBytes.withBytes { orders.linkBytes.raw($0) }
        }
        for action in zab.links {
            switch action {
            case .connect(let link, let server): orders.links.append(.connect(link, to: server))
            case .send(let link, let range):
                orders.links.append(.send(link, range.lowerBound + offset..<range.upperBound + offset))
            case .close(let link):
                links.removeValue(forKey: link)?.isClosed = true
                orders.links.append(.close(link))
            case .readHistory(let link, let request): orders.links.append(.readHistory(link, request))
            case .receiveSnapshot: break
            }
        }
        orders.notifications += zab.notifications
        if zab.connectAll { orders.connectAll = true }
        orders.notes += zab.notes
        zab.reset()
    }
}

extension ZabOutput {
    /// Whether something in here is not for the outside.
    var hasForCore: Bool { !storage.isEmpty || !upcalls.isEmpty }
}

extension Output {
    /// What was the peer's is with it.
    mutating func handedOver() {
        if !forwards.isEmpty {
            forwards.removeAll(keepingCapacity: true)
            forwardBytes.removeAll()
        }
        confirmations.removeAll(keepingCapacity: true)
        learnerAnswers.removeAll(keepingCapacity: true)
        resignation = nil
    }
}
