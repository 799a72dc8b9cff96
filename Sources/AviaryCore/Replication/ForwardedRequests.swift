package import ZooKeeperProtocol

/// A leader's learners: what their clients ask for.
extension ServerCore {
    /// A request of a learner's client. In the order of the learner's connection.
    ///
    /// A write becomes a transaction whatever it is, one that says what is wrong with it at worst: the learner waits for
    /// that, and its other requests behind it.
    ///
    /// - Parameters:
    ///   - operation: as it came.
    ///   - identities: nil for a null vector.
    package mutating func forwarded(
        operation: Int32,
        cxid: Int32,
        session id: SessionID,
        body: UnsafeRawBufferPointer,
        identities: [Identity]?,
        from learner: LearnerID,
        at now: Now,
        into output: inout Output
    ) {
        guard role == .leader else { return }
        hear(of: id, from: learner, at: now)
        let known = Operation(rawValue: operation)
        if known == .sync {
            guard postponed.isEmpty else { return postpone(.sync, of: id, from: learner, into: &output) }
            return oweSync(to: learner, into: &output)
        }
        guard let operation = known, operation.isWrite || operation == .check else {
            return output.note(
                .warning,
                "a learner forwarded a request that is no write: it is not answered",
                [("session", id.description), ("operation", "\(operation)")],
                isLimited: true
            )
        }
        guard logRoom != .exhausted else {
            let kind: PostponedRequests.Request.Kind =
                operation == .closeSession ? .end(cxid: cxid) : .write(cxid: cxid)
            return postpone(kind, of: id, from: learner, into: &output)
        }
        let body = prepareForwarded(operation, cxid, id, body, identities, learner, at: now)
        guard let body else { return end(forwardedBy: learner, id, cxid: cxid, at: now, into: &output) }
        propose(body, session: id, cxid: cxid, from: nil, now: now, into: &output)
    }

    /// - Returns: nil for the end of a session.
    private mutating func prepareForwarded(
        _ operation: Operation,
        _ cxid: Int32,
        _ id: SessionID,
        _ body: UnsafeRawBufferPointer,
        _ identities: [Identity]?,
        _ learner: LearnerID,
        at now: Now
    ) -> TxnBody? {
        var reader = JuteReader(body, maxBufferBytes: options.maxBufferBytes)
        if operation == .createSession {
            return isSpaceLow ? .error(.systemError) : prepareForwardedSession(id, &reader, learner, at: now)
        }
        let session = sessions[id]
        if let refusal = refusal(of: session, id, for: learner) { return .error(refusal) }
        if operation == .closeSession { return nil }
        if isSpaceLow { return .error(.systemError) }
        guard let identities else { return .error(.marshallingError) }
        let context = PrepareContext(
            zxid: lastPreparedZxid.next,
            time: now.wallMilliseconds,
            session: session,
            identities: forwardedIdentities.identities(identities),
            ephemeralRefusal: session == nil ? .sessionExpired : nil
        )
        do throws(WriteRefusal) {
            return try prepare(operation, &reader, context)
        } catch {
            guard case .takesZxid(let code) = error else { return .error(.marshallingError) }
            return .error(code)
        }
    }

    /// Why a learner's request is refused for its session, if it is.
    private func refusal(of session: Session?, _ id: SessionID, for learner: LearnerID) -> ErrorCode? {
        if let session, !session.isLocal {
            if session.isClosing { return .sessionExpired }
            return isOwner(.learner(learner), of: session) ? nil : .sessionMoved
        }
        // Possibly a local one of the learner. This server's own are known here, or gone.
        let isOwn = UInt64(bitPattern: id.rawValue) >> 56 == UInt64(bitPattern: options.serverID) & 0xff
        return options.localSessionsEnabled && !isOwn && id != .none ? nil : .sessionExpired
    }

    private mutating func prepareForwardedSession(
        _ id: SessionID,
        _ reader: inout JuteReader,
        _ learner: LearnerID,
        at now: Now
    ) -> TxnBody {
        guard let timeout = try? reader.int32() else { return .error(.marshallingError) }
        // An id that is taken, or that would make its ephemerals something else, must not become a session.
        guard id != .none, id.rawValue != NodeKind.containerOwner, sessions[id] == nil else {
            return .error(.systemError)
        }
        let session = Session(id: id, timeoutMilliseconds: timeout)
        session.owner = .learner(learner)
        sessions.add(session, at: now.monotonicMilliseconds)
        return .createSession(timeoutMilliseconds: timeout)
    }

    private mutating func end(
        forwardedBy learner: LearnerID,
        _ id: SessionID,
        cxid: Int32,
        at now: Now,
        into output: inout Output
    ) {
        guard let session = sessions[id] else {
            // A local session of the learner is none of ours to end.
            return propose(.error(.sessionExpired), session: id, cxid: cxid, from: nil, now: now, into: &output)
        }
        end(session, cxid: cxid, from: nil, arrived: now.monotonicMicroseconds, at: now, into: &output)
    }

    // MARK: Sessions

    /// A session that asks for something lives. Its learner may be gone before its next PING could say so.
    private mutating func hear(of id: SessionID, from learner: LearnerID, at now: Now) {
        guard let session = sessions[id], !session.isLocal, !session.isClosing, isOwner(.learner(learner), of: session)
        else { return }
        sessions.touch(session, at: now.monotonicMilliseconds)
    }

    /// A learner has heard of a session.
    package mutating func touch(
        _ id: SessionID,
        timeoutMilliseconds: Int32,
        from learner: LearnerID,
        at now: Now
    ) {
        guard role == .leader, let session = sessions[id], !session.isLocal, !session.isClosing else { return }
        sessions.extend(session, timeoutMilliseconds: timeoutMilliseconds, at: now.monotonicMilliseconds)
    }

    /// A learner has a client that knows a session's password: from now on the session's requests come from there.
    ///
    /// The answer comes by `Output.learnerAnswers`. While something of the session is in flight, that comes first: its
    /// end may not be told before it is certain, and what an earlier connection asked for must not come to the learner
    /// later than what the new one asks for.
    package mutating func revalidate(
        _ id: SessionID,
        timeoutMilliseconds: Int32,
        from learner: LearnerID,
        at now: Now,
        into output: inout Output
    ) {
        guard role == .leader else { return }
        if !postponed.isEmpty, postponed.holdsAny(of: id) {
            return postpone(
                .revalidation(timeoutMilliseconds: timeoutMilliseconds),
                of: id,
                from: learner,
                into: &output
            )
        }
        if let session = sessions[id], !session.isLocal || session.isUpgrading {
            session.owner = .learner(learner)
            if !session.isClosing {
                sessions.reattach(session, timeoutMilliseconds: timeoutMilliseconds, at: now.monotonicMilliseconds)
            }
        }
        var hasInFlight = false
        inFlight.forEach { if $0.txn.header.session == id { hasInFlight = true } }
        oweRevalidation(of: id, to: learner, behind: hasInFlight ? lastPreparedZxid : .zero, into: &output)
        meetObligations(at: now, into: &output)
    }

    /// The connection to a learner is gone. Its sessions are still its, until their clients come by another way.
    package mutating func learnerGone(_ learner: LearnerID) {
        obligations.removeAll(of: learner)
        postponed.removeAll(of: learner)
    }
}

/// The identities that came with forwarded requests. Most come again and again; those that are long or many are not kept.
struct ForwardedIdentities: ~Copyable {
    private var known: [[Identity]: Identities] = [:]

    init() {}

    mutating func identities(_ list: [Identity]) -> Identities {
        if let identities = known[list] { return identities }
        let identities = Identities(forwarded: list)
        let bytes = list.reduce(0) { $0 + $1.scheme.utf8.count + $1.id.utf8.count }
        guard list.count <= 8, bytes <= 1024 else { return identities }
        if known.count >= 1000 { known.removeAll() }
        known[list] = identities
        return identities
    }
}
