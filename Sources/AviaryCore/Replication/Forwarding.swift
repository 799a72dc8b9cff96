package import ZooKeeperProtocol

/// Of one session: the writes that this learner handed on to its leader and that did not come back yet, in their order.
///
/// They are kept by the session and not by its connection, because what a connection left behind when it broke still
/// comes back, and must not be taken for an answer to the next connection's writes, which may have the same numbers.
final class Forwarding {
    var writes = FIFO<ForwardedWrite>()
}

struct ForwardedWrite {
    var cxid: Int32
    var operation: Operation
    /// Who is to be answered; nil for the upgrade of a local session.
    var connection: ClientConnection?
    var arrivedMicroseconds: Int64
    /// What the client is told if the leader refuses, whatever the leader's reason is.
    var refusal: ErrorCode?

    /// Whether a transaction of its session is what became of it. The number alone does not say so: the server's own
    /// transactions have 0, and a client may choose that too.
    func becomes(_ txn: Txn) -> Bool {
        guard txn.header.cxid == cxid else { return false }
        switch txn.body {
        case .error: return true
        case .createSession: return operation == .createSession
        case .closeSession: return operation == .closeSession
        case .create:
            return operation == .create || operation == .create2 || operation == .createContainer
                || operation == .createTTL
        case .delete: return operation == .delete
        case .setData(_, _, _, let isReconfig): return operation == (isReconfig ? .reconfig : .setData)
        case .setACL: return operation == .setACL
        case .multi: return operation == .multi
        case .check: return false
        }
    }
}

/// What a learner asked its leader for, besides writes.
struct Requested: ~Copyable {
    /// The leader answers syncs in their order, without a name.
    var syncs = FIFO<ConnectionID>()
    /// Of each session the connections that came with it, in their order.
    var revalidations: [SessionID: [(connection: ConnectionID, timeoutMilliseconds: Int32)]] = [:]
    /// Sessions that were heard of since that was reported.
    var touched: [Session] = []

    init() {}

    mutating func removeAll() {
        self = Requested()
    }
}

/// A learner's clients: what they write goes to the leader.
extension ServerCore {
    mutating func request(
        _ operation: Operation,
        _ body: UnsafeRawBufferPointer,
        _ cxid: Int32,
        _ session: SessionID,
        _ identities: [Identity]?,
        into output: inout Output
    ) {
        let start = output.forwardBytes.count
        output.forwardBytes.raw(body)
        output.forwards.append(
            .request(
                session: session,
                cxid: cxid,
                operation: operation,
                body: start..<output.forwardBytes.count,
                identities: identities
            )
        )
    }

    private func remember(_ write: ForwardedWrite, of session: Session) {
        if session.forwarding == nil { session.forwarding = Forwarding() }
        session.forwarding?.writes.append(write)
    }

    mutating func learnerWrite(
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
        var body = UnsafeRawBufferPointer(rebasing: frame[8...])
        var operation = operation
        var refusal: ErrorCode?
        switch operation {
        case .closeSession:
            body = UnsafeRawBufferPointer(rebasing: body[..<0])
            connection.phase = .ending
        case .createSession:
            // One that cannot be read is answered as a list that cannot: by a transaction.
            body = UnsafeRawBufferPointer(rebasing: body[..<0])
            operation = .multi
        default:
            switch WriteForm(operation, JuteReader(body, maxBufferBytes: options.maxBufferBytes)) {
            case .undecodable:
                return refuse(.marshallingError, operation, xid, connection, at: now, into: &output)
            case .plain:
                break
            case .makesEphemeral where session.isLocal && !session.isUpgrading:
                if options.localSessionsUpgradingEnabled {
                    askForUpgrade(of: session, into: &output)
                } else if operation != .multi {
                    refusal = .ephemeralOnLocalSession
                }
            case .makesEphemeral:
                break
            }
        }
        request(operation, body, xid, session.id, identities.list, into: &output)
        remember(
            ForwardedWrite(
                cxid: xid,
                operation: operation,
                connection: connection,
                arrivedMicroseconds: arrived,
                refusal: refusal
            ),
            of: session
        )
        wait(.inFlight, connection)
    }

    /// What came back as a transaction that is now applied: answers it, and what waited behind it.
    mutating func answerForwarded(
        _ txn: Txn,
        _ applied: Applied,
        of session: Session,
        at now: Now,
        into output: inout Output
    ) {
        guard let write = session.forwarding?.writes.popFirst(where: { $0.becomes(txn) }) else { return }
        guard let connection = write.connection else {
            if case .refused = applied { session.isUpgrading = false }
            return
        }
        var applied = applied
        if let refusal = write.refusal, case .refused = applied { applied = .refused(refusal) }
        let entry = InFlight(
            txn: txn,
            operation: write.operation,
            connection: connection,
            arrivedMicroseconds: write.arrivedMicroseconds,
            touchedCount: 0,
            target: Target(),
            partTargets: []
        )
        reply(to: connection, entry, applied, at: now, into: &output)
        // The leader does not want it.
        if write.operation == .createSession, !session.isCreated { _ = sessions.remove(session.id) }
        // The leader knows no such session: its client has to find that out, by coming again.
        if case .refused(.sessionExpired) = applied, !session.isLocal { close(connection.id, into: &output) }
        guard connection.phase != .closed else { return }
        _ = connection.waiting.popFirst()
        connections.waitingCount -= 1
        drain(connection, at: now, into: &output)
    }

    // MARK: Sessions

    /// A new global session: the leader makes it, this server chooses its id.
    mutating func askForSession(
        _ connection: ClientConnection,
        timeoutMilliseconds: Int32,
        at now: Now,
        into output: inout Output
    ) {
        let session = Session(id: takeSessionID(), timeoutMilliseconds: timeoutMilliseconds)
        sessions.addUntimed(session)
        session.connection = connection
        connection.session = session
        connection.phase = .opening
        requestSession(session, for: connection, arrived: now.monotonicMicroseconds, into: &output)
        wait(.inFlight, connection)
    }

    /// A local session needs to be a global one: the request that says so goes right before the one that needs it.
    private mutating func askForUpgrade(of session: Session, into output: inout Output) {
        session.isUpgrading = true
        requestSession(session, for: nil, arrived: 0, into: &output)
    }

    private mutating func requestSession(
        _ session: Session,
        for connection: ClientConnection?,
        arrived: Int64,
        into output: inout Output
    ) {
        withUnsafeBytes(of: session.timeoutMilliseconds.bigEndian) { timeout in
            request(.createSession, timeout, 0, session.id, nil, into: &output)
        }
        remember(
            ForwardedWrite(
                cxid: 0,
                operation: .createSession,
                connection: connection,
                arrivedMicroseconds: arrived,
                refusal: nil
            ),
            of: session
        )
    }

    /// A client came with a session and its password: only the leader knows whether there is such a session, and must
    /// know that it is here now.
    mutating func askForSession(
        _ connection: ClientConnection,
        _ session: SessionID,
        timeoutMilliseconds: Int32,
        into output: inout Output
    ) {
        connection.phase = .opening
        requested.revalidations[session, default: []].append((connection.id, timeoutMilliseconds))
        output.forwards.append(.revalidate(session: session, timeoutMilliseconds: timeoutMilliseconds))
        wait(.inFlight, connection)
    }

    /// The leader's word about a session that was asked for.
    package mutating func revalidated(
        _ id: SessionID,
        isValid: Bool,
        at now: Now,
        into output: inout Output
    ) {
        guard case .learner = role, var asking = requested.revalidations[id], !asking.isEmpty else { return }
        let (connectionID, timeout) = asking.removeFirst()
        requested.revalidations[id] = asking.isEmpty ? nil : asking
        guard let connection = connections[connectionID], connection.phase == .opening else { return }
        // An answer comes behind the commit that began the session: one that is not known here has ended since.
        guard isValid, let session = sessions[id] else { return refuseSession(connection, into: &output) }
        attach(connection, session, timeoutMilliseconds: timeout, at: now, into: &output)
        _ = connection.waiting.popFirst()
        connections.waitingCount -= 1
        drain(connection, at: now, into: &output)
    }

    /// A client has taken its session to a server that asks the leader by way of this one. The leader cannot tell the two
    /// apart, so nothing more may be asked for by connections that the session has here, or is about to have.
    package mutating func moved(_ id: SessionID, into output: inout Output) {
        guard case .learner = role else { return }
        for (connection, _) in requested.revalidations[id] ?? [] { close(connection, into: &output) }
        if let connection = sessions[id]?.connection { close(connection.id, into: &output) }
    }

    /// The leader has answered the oldest sync, and all that it had committed before is applied.
    package mutating func synced(at now: Now, into output: inout Output) {
        guard case .learner = role, let id = requested.syncs.popFirst() else { return }
        guard let connection = connections[id] else { return }
        syncIsDone(connection, at: now, into: &output)
    }

    // MARK: What is heard of sessions

    /// The leader must learn that a session lives.
    func noteHeard(of session: Session) -> Bool {
        session.wantsReport = false
        guard !session.isListed else { return false }
        session.isListed = true
        return true
    }

    mutating func report(_ session: Session) {
        if noteHeard(of: session) { requested.touched.append(session) }
    }

    /// Sessions that were heard of since the last call, each once; a new one whoever has its client. Not more than fit
    /// one packet: the rest comes with the next call.
    package mutating func takeTouched() -> [SessionTouch] {
        let count = min(requested.touched.count, ServerCore.maxTouchesAtOnce)
        var touches: [SessionTouch] = []
        touches.reserveCapacity(count)
        for session in requested.touched.prefix(count) {
            touches.append(SessionTouch(session: session.id, timeoutMilliseconds: session.timeoutMilliseconds))
            session.isListed = false
            session.wantsReport = session.connection != nil
        }
        if count == requested.touched.count {
            requested.touched.removeAll(keepingCapacity: true)
        } else {
            requested.touched.removeFirst(count)
        }
        return touches
    }

    /// Twelve bytes each, in a buffer that every server must accept.
    private static let maxTouchesAtOnce = 50_000
}
