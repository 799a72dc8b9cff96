import ZooKeeperProtocol

/// Sessions that only one server knows (docs/protocol/quorum-protocol.md section 12.4), and what a member asks of those
/// who come.
extension ServerCore {
    /// Whether a member has anything for a client that comes with this.
    func serves(_ request: ConnectRequest, _ connection: ClientConnection, into output: inout Output) -> Bool {
        switch role {
        case .standalone, .leader, .learner: return true
        case .looking: return false
        case .readOnly:
            guard request.readOnly == true else { return false }
            guard options.localSessionsEnabled else {
                output.note(
                    .info,
                    "refusing a client that would only read: without a quorum there are only local sessions, and those are not enabled",
                    [("peer", connection.peer.text)],
                    isLimited: true
                )
                return false
            }
            return true
        }
    }

    /// Whether new sessions are local.
    var keepsSessionsHere: Bool { options.localSessionsEnabled }

    mutating func openLocal(
        _ connection: ClientConnection,
        timeoutMilliseconds: Int32,
        at now: Now,
        into output: inout Output
    ) {
        let session = Session(id: takeSessionID(), timeoutMilliseconds: timeoutMilliseconds)
        session.isLocal = true
        session.isCreated = true
        sessions.add(session, at: now.monotonicMilliseconds)
        session.connection = connection
        connection.session = session
        connection.phase = .attached
        beginAttached(connection, session, zxid: lastProcessedZxid, at: now, into: &output)
    }

    enum Whereabouts {
        /// This server knows best.
        case here
        case askLeader
        /// It cannot be told now: the client must come again.
        case unsettled
    }

    /// Who has to say whether a session that a client came with exists.
    func whereIsSession(_ session: Session?) -> Whereabouts {
        let isLocal = session.map { $0.isLocal && !$0.isUpgrading } ?? false
        if isLocal { return .here }
        switch role {
        case .standalone, .looking: return .here
        case .learner: return .askLeader
        // A global session must not be told that it has ended, and nobody here can say that it has not.
        case .readOnly: return .unsettled
        // Its beginning or its end is in flight, and may come to nothing.
        case .leader:
            guard let session else { return .here }
            return session.isClosing || !session.isCreated || session.isUpgrading ? .unsettled : .here
        }
    }

    /// Answers a closeSession of a local session; everything before it is answered.
    mutating func closeLocal(
        _ connection: ClientConnection,
        _ xid: Int32,
        arrived: Int64,
        at now: Now,
        into output: inout Output
    ) {
        let start = output.beginReply(xid: xid, zxid: lastProcessedZxid)
        finish(
            start,
            connection,
            .closeSession,
            xid,
            lastProcessedZxid,
            arrived: arrived,
            at: now,
            into: &output
        )
        if let session = connection.session { _ = sessions.remove(session.id) }
        close(connection.id, into: &output)
    }

    /// Ends those of the sessions whose time is over that this server has to itself; what is left is the ensemble's.
    mutating func endLocal(_ expired: [Session], at now: Now, into output: inout Output) -> [Session] {
        expired.filter { session in
            guard session.isLocal else { return endsSessions }
            guard !session.isUpgrading else {
                sessions.restart(session, at: now.monotonicMilliseconds)
                return false
            }
            statistics.staleSessionsExpired += 1
            output.note(
                .info,
                "expiring local session: nothing heard of it for its timeout",
                [("session", session.id.description), ("timeout", "\(session.timeoutMilliseconds)")],
                isLimited: true
            )
            _ = sessions.remove(session.id)
            if let connection = session.connection { close(connection.id, into: &output) }
            return false
        }
    }
}
