package import ZooKeeperProtocol

/// From a frame to what is done about it.
extension ServerCore {
    /// A new connection; its first frame must be a ConnectRequest.
    package mutating func accept(_ peer: PeerAddress, at now: Now) -> ConnectionID {
        connections.add(
            peer,
            now: now,
            isAuthenticated: options.requiredAuthSchemes?.contains("ip") ?? true,
            deadline: now.monotonicMilliseconds + options.handshakeTimeoutMilliseconds
        )
    }

    /// The socket is gone. The session stays until its time is over.
    package mutating func closed(_ id: ConnectionID, at now: Now, into output: inout Output) {
        guard let connection = connections[id] else { return }
        forget(connection)
        connections.remove(id, keepsSlot: !watches.abandon(id.slot))
    }

    /// Whether there is something left of connections that are gone; `clearLeftovers` does a little of it.
    package var hasLeftovers: Bool { watches.hasAbandoned }

    /// Takes some tenths of a millisecond. The owner calls it between other things for as long as `hasLeftovers`.
    package mutating func clearLeftovers() {
        if let slot = watches.removeAbandoned(), connections[slot: slot] == nil { connections.release(slot: slot) }
    }

    /// One frame, without its length.
    package mutating func receive(
        _ frame: UnsafeRawBufferPointer,
        from id: ConnectionID,
        at now: Now,
        into output: inout Output
    ) {
        guard let connection = connections[id] else { return }
        receive(frame, on: connection, at: now, into: &output)
    }

    mutating func receive(
        _ frame: UnsafeRawBufferPointer,
        on connection: ClientConnection,
        at now: Now,
        into output: inout Output
    ) {
        switch connection.phase {
        case .attached:
            request(frame, connection, at: now, into: &output)
        case .handshake:
            connect(frame, connection, at: now, into: &output)
        case .opening:
            // Not read further until the session exists; the shell bounds how much may wait.
            connection.waiting.append(.frame([UInt8](frame)))
            connections.waitingCount += 1
            if connection.waiting.count > 16 { overfull.append(connection.id) }
        case .ending, .closed:
            break
        }
    }

    /// Whether a frame asks for a transaction other than the end of its session. Not for a connection's first frame.
    package func isWrite(_ frame: UnsafeRawBufferPointer) -> Bool {
        guard frame.count >= 8 else { return false }
        let type = Int32(bigEndian: frame.loadUnaligned(fromByteOffset: 4, as: Int32.self))
        guard let operation = Operation(rawValue: type) else { return false }
        return operation.isWrite && operation != .closeSession
    }

    /// Ends a connection: nothing more is read from it or sent to it.
    mutating func close(_ id: ConnectionID, into output: inout Output) {
        guard let connection = connections[id], connection.phase != .closed else { return }
        forget(connection)
        statistics.connectionDrops += 1
        output.clients.append(.close(id))
    }

    private mutating func forget(_ connection: ClientConnection) {
        connection.phase = .closed
        connections.waitingCount -= connection.waiting.count
        connection.waiting.removeAll()
        connection.syncsWaiting = 0
        connection.syncsDone = 0
        if connection.session?.connection === connection { connection.session?.connection = nil }
        _ = watches.abandon(connection.id.slot)
    }

    // MARK: Requests

    private mutating func request(
        _ frame: UnsafeRawBufferPointer,
        _ connection: ClientConnection,
        at now: Now,
        into output: inout Output
    ) {
        connection.statistics.received += 1
        statistics.packetsReceived += 1
        guard let session = connection.session, frame.count >= 8 else { return close(connection.id, into: &output) }
        // Behind its closeSession, or its expiry: the close follows.
        if session.isClosing { return }
        sessions.touch(session, at: now.monotonicMilliseconds)
        if session.wantsReport { report(session) }
        var reader = JuteReader(UnsafeRawBufferPointer(rebasing: frame[8...]), maxBufferBytes: options.maxBufferBytes)
        let xid = Int32(bigEndian: frame.loadUnaligned(as: Int32.self))
        let type = Int32(bigEndian: frame.loadUnaligned(fromByteOffset: 4, as: Int32.self))
        let known = Operation(rawValue: type)
        if known == .auth { return authenticate(&reader, xid, connection, at: now, into: &output) }
        if !connection.isAuthenticated, known != .sasl {
            return refuseAndClose(.sessionClosedRequireAuth, zxid: .zero, xid, connection, into: &output)
        }
        guard let operation = known else {
            return refuseAndClose(.unimplemented, zxid: Zxid(-1), xid, connection, into: &output)
        }
        if !isStandalone, operation.concernsLeader {
            return memberRequest(operation, frame, xid, connection, session, at: now, into: &output)
        }
        switch operation {
        case .getData, .exists, .getChildren, .getChildren2, .getACL, .sync, .ping, .checkWatches, .removeWatches,
            .multiRead, .setWatches, .setWatches2, .getEphemerals, .getAllChildrenNumber, .addWatch, .whoAmI:
            if connection.waiting.isEmpty {
                answer(
                    operation,
                    &reader,
                    xid,
                    connection,
                    connection.identities,
                    arrived: now.monotonicMicroseconds,
                    at: now,
                    into: &output
                )
            } else {
                expectReply(to: operation, reader, connection)
                wait(
                    .read(
                        frame: [UInt8](frame),
                        identities: connection.identities,
                        arrivedMicroseconds: now.monotonicMicroseconds
                    ),
                    connection
                )
            }
        case .create, .create2, .createContainer, .createTTL, .delete, .setData, .setACL, .multi, .reconfig:
            write(
                operation,
                &reader,
                xid,
                connection,
                session,
                connection.identities,
                arrived: now.monotonicMicroseconds,
                at: now,
                into: &output
            )
        case .closeSession where logRoom == .exhausted:
            refuse(.systemError, operation, xid, connection, at: now, into: &output)
        case .closeSession:
            end(
                session,
                cxid: xid,
                from: connection,
                arrived: now.monotonicMicroseconds,
                at: now,
                into: &output
            )
        case .sasl:
            answerSASL(&reader, xid, connection, at: now, into: &output)
        case .deleteContainer:
            // Only the server itself decides when a container goes. A body that cannot be read is answered as any.
            if (try? reader.buffer()) ?? nil == nil {
                refuse(.marshallingError, operation, xid, connection, at: now, into: &output)
            } else {
                refuseAndClose(.unimplemented, zxid: Zxid(-1), xid, connection, into: &output)
            }
        case .createSession:
            // Sessions come from handshakes. A body that cannot be read is recorded as a refused write.
            if isSpaceLow {
                refuse(.systemError, operation, xid, connection, at: now, into: &output)
            } else if (try? reader.int32()) == nil {
                propose(
                    .error(.marshallingError),
                    session: session.id,
                    cxid: xid,
                    from: connection,
                    as: .multi,
                    now: now,
                    into: &output
                )
            } else {
                refuseAndClose(.unimplemented, zxid: Zxid(-1), xid, connection, into: &output)
            }
        case .auth, .check, .error:
            refuseAndClose(.unimplemented, zxid: Zxid(-1), xid, connection, into: &output)
        }
    }

    mutating func wait(_ waiting: Waiting, _ connection: ClientConnection) {
        connection.waiting.append(waiting)
        connections.waitingCount += 1
    }

    /// Answers with a code, in order, without a transaction.
    mutating func refuse(
        _ code: ErrorCode,
        _ operation: Operation,
        _ xid: Int32,
        _ connection: ClientConnection,
        at now: Now,
        into output: inout Output
    ) {
        if connection.waiting.isEmpty {
            let start = output.beginReply(xid: xid, zxid: lastProcessedZxid, error: code)
            finish(
                start,
                connection,
                operation,
                xid,
                lastProcessedZxid,
                arrived: now.monotonicMicroseconds,
                at: now,
                into: &output
            )
        } else {
            wait(
                .refusal(xid: xid, operation: operation, code, arrivedMicroseconds: now.monotonicMicroseconds),
                connection
            )
        }
    }

    /// Answers at once, before anything that waits, and ends the connection.
    mutating func refuseAndClose(
        _ code: ErrorCode,
        zxid: Zxid,
        _ xid: Int32,
        _ connection: ClientConnection,
        into output: inout Output
    ) {
        let start = output.beginReply(xid: xid, zxid: zxid, error: code)
        statistics.replied(bytes: output.endFrame(start, to: connection.id))
        close(connection.id, into: &output)
    }

    /// - Parameter ephemeralRefusal: why the session may have no ephemerals, if it may not.
    mutating func write(
        _ operation: Operation,
        _ reader: inout JuteReader,
        _ xid: Int32,
        _ connection: ClientConnection,
        _ session: Session,
        _ identities: Identities,
        arrived: Int64,
        ephemeralRefusal: ErrorCode? = nil,
        at now: Now,
        into output: inout Output
    ) {
        if isSpaceLow { return refuse(.systemError, operation, xid, connection, at: now, into: &output) }
        let context = PrepareContext(
            zxid: lastPreparedZxid.next,
            time: now.wallMilliseconds,
            session: session,
            identities: identities,
            ephemeralRefusal: ephemeralRefusal
        )
        let body: TxnBody
        do throws(WriteRefusal) {
            body = try prepare(operation, &reader, context)
        } catch {
            guard case .takesZxid(let code) = error else {
                return refuse(.marshallingError, operation, xid, connection, at: now, into: &output)
            }
            body = .error(code)
        }
        propose(
            body,
            session: session.id,
            cxid: xid,
            from: connection,
            as: operation,
            arrived: arrived,
            now: now,
            into: &output
        )
    }

    /// Why a write is refused: with a transaction that records it, or without.
    enum WriteRefusal: Error {
        case takesZxid(ErrorCode)
        case undecodable
    }

    mutating func prepare(
        _ operation: Operation,
        _ reader: inout JuteReader,
        _ context: PrepareContext
    ) throws(WriteRefusal) -> TxnBody {
        do {
            switch operation {
            case .create, .create2, .createContainer, .createTTL:
                let request = try CreateRequest(from: &reader, hasTTL: operation == .createTTL)
                let shape = try CreateShape(
                    operation,
                    flags: request.flags,
                    ttlMilliseconds: request.ttlMilliseconds,
                    extendedTypes: options.extendedTypes
                )
                return try prepareCreate(request, shape, context)
            case .delete: return try prepareDelete(try DeleteRequest(from: &reader), context)
            case .setData: return try prepareSetData(try SetDataRequest(from: &reader), context)
            case .setACL: return try prepareSetACL(try SetACLRequest(from: &reader), context)
            case .multi: return try prepareMulti(&reader, context)
            case .reconfig: return try prepareReconfig(try ReconfigRequest(from: &reader), context)
            case .exists, .getData, .getACL, .getChildren, .sync, .ping, .getChildren2, .check, .checkWatches,
                .removeWatches, .deleteContainer, .multiRead, .auth, .setWatches, .sasl, .getEphemerals,
                .getAllChildrenNumber, .setWatches2, .addWatch, .whoAmI, .createSession, .closeSession, .error:
                throw ErrorCode.unimplemented
            }
        } catch let code as ErrorCode {
            throw .takesZxid(code)
        } catch let refusal as MultiRefusal {
            if refusal.takesZxid { throw .takesZxid(refusal.code) }
            throw .undecodable
        } catch {
            throw .undecodable
        }
    }

    /// Ends a session: by its client, or because nothing was heard of it.
    mutating func end(
        _ session: Session,
        cxid: Int32,
        from connection: ClientConnection?,
        arrived: Int64,
        at now: Now,
        into output: inout Output
    ) {
        let body = prepareCloseSession(session.id)
        session.isClosing = true
        propose(
            body,
            session: session.id,
            cxid: cxid,
            from: connection ?? session.connection,
            as: connection == nil ? .error : .closeSession,
            arrived: arrived,
            now: now,
            into: &output
        )
    }
}
