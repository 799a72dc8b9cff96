import ZooKeeperProtocol

/// Requests of a member's own clients that are not answered from its own tree alone.
extension ServerCore {
    mutating func memberRequest(
        _ operation: Operation,
        _ frame: UnsafeRawBufferPointer,
        _ xid: Int32,
        _ connection: ClientConnection,
        _ session: Session,
        at now: Now,
        into output: inout Output
    ) {
        let arrived = now.monotonicMicroseconds
        switch role {
        case .leader, .learner: break
        case .readOnly: return readOnlyRequest(operation, xid, connection, session, at: now, into: &output)
        case .standalone, .looking: return close(connection.id, into: &output)
        }
        if operation == .deleteContainer {
            // Only a leader decides when a container goes. A body that cannot be read is answered as any.
            var reader = bodyReader(frame)
            if (try? reader.buffer()) ?? nil == nil {
                return refuse(.marshallingError, operation, xid, connection, at: now, into: &output)
            }
            return refuseAndClose(.unimplemented, zxid: Zxid(-1), xid, connection, into: &output)
        }
        if operation == .createSession {
            var reader = bodyReader(frame)
            if (try? reader.int32()) != nil {
                return refuseAndClose(.unimplemented, zxid: Zxid(-1), xid, connection, into: &output)
            }
        }
        if operation == .sync {
            wait(
                .sync(frame: [UInt8](frame), identities: connection.identities, arrivedMicroseconds: arrived),
                connection
            )
            connection.syncsWaiting += 1
            return beginSync(frame, xid, connection, session, into: &output)
        }
        // A reply with its zxid must not go out before that of the sync, nor wait while others with later ones do.
        guard connection.syncsWaiting == 0 else {
            return wait(
                .deferred(frame: [UInt8](frame), identities: connection.identities, arrivedMicroseconds: arrived),
                connection
            )
        }
        carryOut(operation, frame, xid, connection, session, connection.identities, arrived, at: now, into: &output)
    }

    private func bodyReader(_ frame: UnsafeRawBufferPointer) -> JuteReader {
        JuteReader(UnsafeRawBufferPointer(rebasing: frame[8...]), maxBufferBytes: options.maxBufferBytes)
    }

    private mutating func beginSync(
        _ frame: UnsafeRawBufferPointer,
        _ xid: Int32,
        _ connection: ClientConnection,
        _ session: Session,
        into output: inout Output
    ) {
        if role == .leader { return oweSync(to: connection, into: &output) }
        requested.syncs.append(connection.id)
        request(
            .sync,
            UnsafeRawBufferPointer(rebasing: frame[8...]),
            xid,
            session.id,
            connection.identities.list,
            into: &output
        )
    }

    /// A write, or the end of a session.
    private mutating func carryOut(
        _ operation: Operation,
        _ frame: UnsafeRawBufferPointer,
        _ xid: Int32,
        _ connection: ClientConnection,
        _ session: Session,
        _ identities: Identities,
        _ arrived: Int64,
        at now: Now,
        into output: inout Output
    ) {
        if operation == .closeSession, session.isLocal, !session.isUpgrading {
            connection.phase = .ending
            guard connection.waiting.isEmpty else {
                return wait(.localClose(xid: xid, arrivedMicroseconds: arrived), connection)
            }
            return closeLocal(connection, xid, arrived: arrived, at: now, into: &output)
        }
        if role == .leader {
            leaderWrite(operation, frame, xid, connection, session, identities, arrived, at: now, into: &output)
        } else {
            learnerWrite(operation, frame, xid, connection, session, identities, arrived, at: now, into: &output)
        }
    }

    /// The sync in front of a write is answered: carries it out, and those behind it up to the next sync.
    mutating func carryOutDeferred(_ connection: ClientConnection, at now: Now, into output: inout Output) {
        var rest = connection.waiting.takeAll()
        connections.waitingCount -= rest.count
        var isBehindSync = false
        while let waiting = rest.popFirst() {
            guard connection.phase != .closed else { return }
            if case .sync = waiting { isBehindSync = true }
            guard case .deferred(let frame, let identities, let arrived) = waiting, !isBehindSync else {
                wait(waiting, connection)
                continue
            }
            // Behind the end of the session nothing is carried out; nor may what is behind that be answered.
            guard connection.phase == .attached, let session = connection.session, !session.isClosing else { return }
            frame.withUnsafeBytes { frame in
                let xid = Int32(bigEndian: frame.loadUnaligned(as: Int32.self))
                let type = Int32(bigEndian: frame.loadUnaligned(fromByteOffset: 4, as: Int32.self))
                guard let operation = Operation(rawValue: type) else { return }
                carryOut(operation, frame, xid, connection, session, identities, arrived, at: now, into: &output)
            }
        }
    }

    // MARK: The leader's own clients

    private mutating func leaderWrite(
        _ operation: Operation,
        _ frame: UnsafeRawBufferPointer,
        _ xid: Int32,
        _ connection: ClientConnection,
        _ session: Session,
        _ identities: Identities,
        _ arrived: Int64,
        at now: Now,
        into output: inout Output
    ) {
        if logRoom == .exhausted || (isSpaceLow && operation != .closeSession) {
            return refuse(.systemError, operation, xid, connection, at: now, into: &output)
        }
        var refusal: ErrorCode?
        if session.isLocal {
            session.owner = .here
        } else if !isOwner(.here, of: session) {
            refusal = .sessionMoved
        } else if operation == .createSession {
            // Its body cannot be read; sessions come from handshakes.
            refusal = .marshallingError
        }
        if let refusal {
            return propose(
                .error(refusal),
                session: session.id,
                cxid: xid,
                from: connection,
                as: .multi,
                arrived: arrived,
                now: now,
                into: &output
            )
        }
        if operation == .closeSession {
            return end(session, cxid: xid, from: connection, arrived: arrived, at: now, into: &output)
        }
        var reader = bodyReader(frame)
        var ephemeralRefusal: ErrorCode?
        if session.isLocal, !session.isUpgrading, WriteForm(operation, reader) == .makesEphemeral {
            if options.localSessionsUpgradingEnabled {
                session.isUpgrading = true
                propose(
                    .createSession(timeoutMilliseconds: session.timeoutMilliseconds),
                    session: session.id,
                    cxid: 0,
                    from: nil,
                    now: now,
                    into: &output
                )
            } else {
                ephemeralRefusal = .ephemeralOnLocalSession
            }
        }
        write(
            operation,
            &reader,
            xid,
            connection,
            session,
            identities,
            arrived: arrived,
            ephemeralRefusal: ephemeralRefusal,
            at: now,
            into: &output
        )
    }

    /// Whether a session's requests come by this way. The first to bring one is who owns it.
    func isOwner(_ owner: SessionOwner, of session: Session) -> Bool {
        if session.owner == .nobody { session.owner = owner }
        return session.owner == owner
    }

    /// Whether a transaction says that its session is another server's by now. Who asked for it must not be told: its
    /// connection ends.
    func hasMoved(_ body: TxnBody) -> Bool {
        switch body {
        case .error(let code): code == .sessionMoved
        case .multi(let parts): parts.contains { if case .error(.sessionMoved) = $0 { true } else { false } }
        case .create, .delete, .setData, .setACL, .check, .createSession, .closeSession: false
        }
    }

    // MARK: Reading only

    private mutating func readOnlyRequest(
        _ operation: Operation,
        _ xid: Int32,
        _ connection: ClientConnection,
        _ session: Session,
        at now: Now,
        into output: inout Output
    ) {
        if operation == .createSession {
            return refuseAndClose(.unimplemented, zxid: Zxid(-1), xid, connection, into: &output)
        }
        guard operation == .closeSession else {
            return refuse(.notReadOnly, operation, xid, connection, at: now, into: &output)
        }
        closeLocal(connection, xid, arrived: now.monotonicMicroseconds, at: now, into: &output)
    }
}

extension Operation {
    /// Whether it changes something that all servers have, or asks what the leader has committed.
    @inline(__always)
    var concernsLeader: Bool { self == .sync || (isWrite && self != .error) }
}
