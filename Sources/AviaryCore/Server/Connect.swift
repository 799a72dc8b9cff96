import ZooKeeperProtocol

/// The handshake (docs/protocol/client-protocol.md section 3).
extension ServerCore {
    mutating func connect(
        _ frame: UnsafeRawBufferPointer,
        _ connection: ClientConnection,
        at now: Now,
        into output: inout Output
    ) {
        connection.statistics.received += 1
        statistics.packetsReceived += 1
        statistics.connectionRequests += 1
        var reader = JuteReader(frame, maxBufferBytes: options.maxBufferBytes)
        guard let request = try? ConnectRequest(from: &reader) else {
            output.note(
                .warning,
                "closing a connection: what it sent is no ConnectRequest, so this is no ZooKeeper client",
                [("peer", connection.peer.text), ("bytes", "\(frame.count)")],
                isLimited: true
            )
            return close(connection.id, into: &output)
        }
        if !isStandalone, !serves(request, connection, into: &output) { return close(connection.id, into: &output) }
        // This client has seen what is not here: it must find another server.
        guard request.lastZxidSeen <= lastProcessedZxid else {
            output.note(
                .info,
                "refusing a client that has seen a later zxid than this server: it must try another",
                [
                    ("peer", connection.peer.text), ("seen", request.lastZxidSeen.description),
                    ("last", lastProcessedZxid.description),
                ],
                isLimited: true
            )
            return close(connection.id, into: &output)
        }
        connection.hasReadOnlyByte = request.readOnly != nil
        let timeout = min(
            max(Int64(request.timeoutMilliseconds), options.minSessionTimeoutMilliseconds),
            options.maxSessionTimeoutMilliseconds
        )
        if request.session == .none {
            open(connection, timeoutMilliseconds: Int32(clamping: timeout), at: now, into: &output)
        } else {
            reattach(
                connection,
                request,
                timeoutMilliseconds: Int32(clamping: timeout),
                at: now,
                into: &output
            )
        }
    }

    /// A new session: it exists once its transaction is on disk.
    private mutating func open(
        _ connection: ClientConnection,
        timeoutMilliseconds: Int32,
        at now: Now,
        into output: inout Output
    ) {
        if !isStandalone, keepsSessionsHere {
            return openLocal(connection, timeoutMilliseconds: timeoutMilliseconds, at: now, into: &output)
        }
        if case .learner = role {
            return askForSession(connection, timeoutMilliseconds: timeoutMilliseconds, at: now, into: &output)
        }
        if isSpaceLow {
            // What is left of the log's space is for the end of sessions; a part of it is for those who want to read.
            sessionBytesWhileLow += 128
            guard logRoom != .exhausted, sessionBytesWhileLow < 512 << 10 else {
                return close(connection.id, into: &output)
            }
        }
        let session = Session(id: takeSessionID(), timeoutMilliseconds: timeoutMilliseconds)
        session.owner = .here
        sessions.add(session, at: now.monotonicMilliseconds)
        session.connection = connection
        connection.session = session
        connection.phase = .opening
        propose(
            .createSession(timeoutMilliseconds: timeoutMilliseconds),
            session: session.id,
            cxid: 0,
            from: connection,
            as: .createSession,
            now: now,
            into: &output
        )
    }

    /// The next id that no session has.
    mutating func takeSessionID() -> SessionID {
        var id = SessionID(nextSessionID)
        while sessions[id] != nil || id == .none || id.rawValue == NodeKind.containerOwner {
            id = SessionID(id.rawValue &+ 1)
        }
        nextSessionID = id.rawValue &+ 1
        return id
    }

    private mutating func reattach(
        _ connection: ClientConnection,
        _ request: ConnectRequest,
        timeoutMilliseconds: Int32,
        at now: Now,
        into output: inout Output
    ) {
        statistics.connectionRevalidates += 1
        // The password comes first: who does not know it must not be able to disturb the session's owner.
        guard SessionPassword.matches(request.password, session: request.session) else {
            return refuseSession(connection, into: &output)
        }
        let known = sessions[request.session]
        if !isStandalone {
            switch whereIsSession(known) {
            case .here: break
            case .askLeader:
                return askForSession(
                    connection,
                    request.session,
                    timeoutMilliseconds: timeoutMilliseconds,
                    into: &output
                )
            case .unsettled: return close(connection.id, into: &output)
            }
        }
        guard let session = known, session.isCreated, !session.isClosing else {
            if role == .leader { return oweRefusal(to: connection, into: &output) }
            return refuseSession(connection, into: &output)
        }
        attach(connection, session, timeoutMilliseconds: timeoutMilliseconds, at: now, into: &output)
    }

    /// No such session: the client must begin another.
    mutating func refuseSession(_ connection: ClientConnection, into output: inout Output) {
        writeConnectResponse(connection, session: .none, timeoutMilliseconds: 0, into: &output)
        close(connection.id, into: &output)
    }

    /// The session's client is on this connection from now on, and nowhere else.
    mutating func attach(
        _ connection: ClientConnection,
        _ session: Session,
        timeoutMilliseconds: Int32,
        at now: Now,
        into output: inout Output
    ) {
        if let old = session.connection, old !== connection { close(old.id, into: &output) }
        session.connection = connection
        connection.session = session
        connection.phase = .attached
        session.owner = .here
        if endsSessions || session.isLocal {
            sessions.reattach(session, timeoutMilliseconds: timeoutMilliseconds, at: now.monotonicMilliseconds)
        } else {
            session.timeoutMilliseconds = timeoutMilliseconds
            report(session)
        }
        writeConnectResponse(connection, session: session.id, timeoutMilliseconds: timeoutMilliseconds, into: &output)
        connection.statistics.replied(
            "SESS",
            cxid: 0,
            zxid: lastProcessedZxid,
            arrived: now.monotonicMicroseconds,
            now: now
        )
    }

    /// The session's transaction is applied: the client may know.
    mutating func finishConnect(
        _ connection: ClientConnection,
        _ header: TxnHeader,
        at now: Now,
        into output: inout Output
    ) {
        guard let session = connection.session else { return }
        connection.phase = .attached
        beginAttached(connection, session, zxid: header.zxid, at: now, into: &output)
    }

    /// Tells the client of its new session.
    mutating func beginAttached(
        _ connection: ClientConnection,
        _ session: Session,
        zxid: Zxid,
        at now: Now,
        into output: inout Output
    ) {
        writeConnectResponse(
            connection,
            session: session.id,
            timeoutMilliseconds: session.timeoutMilliseconds,
            into: &output
        )
        connection.statistics.replied(
            "SESS",
            cxid: 0,
            zxid: zxid,
            arrived: now.monotonicMicroseconds,
            now: now
        )
    }

    /// - Parameter session: `.none` refuses: no timeout, no id, no password.
    private mutating func writeConnectResponse(
        _ connection: ClientConnection,
        session: SessionID,
        timeoutMilliseconds: Int32,
        into output: inout Output
    ) {
        let start = output.beginFrame()
        output.clientBytes.int32(0)
        output.clientBytes.int32(timeoutMilliseconds)
        output.clientBytes.int64(session.rawValue)
        output.clientBytes.int32(Int32(SessionPassword.byteCount))
        if session == .none {
            output.clientBytes.int64(0)
            output.clientBytes.int64(0)
        } else {
            SessionPassword.write(for: session, to: &output.clientBytes)
        }
        if connection.hasReadOnlyByte { output.clientBytes.bool(session != .none && role == .readOnly) }
        statistics.replied(bytes: output.endFrame(start, to: connection.id))
    }
}
