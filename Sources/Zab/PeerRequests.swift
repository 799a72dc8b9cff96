package import ZooKeeperProtocol

/// What the core of a leader asks for.
extension Peer {
    /// Whether the core may make transactions.
    package var mayPropose: Bool { leading?.isEstablished == true }

    /// The core made a transaction, whose append the caller orders itself.
    ///
    /// - Parameter configuration: the new one, if it is a reconfiguration.
    package mutating func proposed(
        zxid: Zxid,
        payload: UnsafeRawBufferPointer,
        configuration: QuorumConfiguration? = nil,
        at now: Now,
        into output: inout ZabOutput
    ) {
        begin(at: now, output)
        invariant(mayPropose, "\(zxid) is proposed by a server that does not lead")
        inRole(&output) { peer, output throws(RoleEnd) in
            try peer.leading?.propose(
                zxid,
                payload,
                configuration: configuration,
                state: &peer.state,
                at: peer.time,
                into: &output
            )
        }
    }

    /// Asks for a proof that this server leads at some moment after the call: `.leadershipConfirmed(token)`.
    ///
    /// When it does not lead any more there is no answer but `.stop`.
    package mutating func confirm(token: UInt64, at now: Now, into output: inout ZabOutput) {
        begin(at: now, output)
        leading?.confirm(token, state: state, into: &output)
    }

    /// A learner has asked for a sync: SYNC will go out behind the commit of `zxid`, and later commits behind SYNC.
    package mutating func expectSync(
        on link: LinkID,
        behind zxid: Zxid,
        at now: Now,
        into output: inout ZabOutput
    ) {
        begin(at: now, output)
        leading?.expectSync(behind: zxid, on: link, state: state)
    }

    /// SYNC: answers the oldest sync that is expected on a link.
    package mutating func answerSync(on link: LinkID, at now: Now, into output: inout ZabOutput) {
        begin(at: now, output)
        leading?.answerSync(on: link, state: state, at: time, into: &output)
    }

    /// REVALIDATE: tells a learner whether a session lives, behind every commit so far: the session's creation may be
    /// one of them.
    package mutating func answerRevalidation(
        on link: LinkID,
        session: SessionID,
        isValid: Bool,
        at now: Now,
        into output: inout ZabOutput
    ) {
        begin(at: now, output)
        var writer = JuteWriter(capacity: 64)
        Revalidation.Reply(session: session, isValid: isValid).write(to: &writer)
        let committed = leading?.committed ?? .zero
        leading?.answer(
            .revalidate,
            zxid: Zxid(-1),
            data: writer.copy(),
            behind: committed,
            on: link,
            state: state,
            into: &output
        )
    }

    /// Whether a quorum of a configuration is connected and in sync: without it a reconfiguration would stop everything.
    package func isSynced(quorumOf configuration: QuorumConfiguration) -> Bool {
        guard let servers = leading?.servers(from: .serving, state: state) else { return false }
        return configuration.isQuorum(servers)
    }
}

/// What the core of a learner asks for.
extension Peer {
    /// REQUEST: forwards a client's write, or sync, to the leader.
    ///
    /// Whatever is asked for while there is no leader is lost, with the client connections that `.stop` closes.
    package mutating func forward(
        _ request: ForwardedRequest,
        identities: [Identity]?,
        at now: Now,
        into output: inout ZabOutput
    ) {
        begin(at: now, output)
        guard let link = learning?.link, learning?.isSynced == true else { return }
        if request.operation == Operation.sync.rawValue { mastering?.asked(syncBy: nil, into: &output) }
        output.send(.request, zxid: Zxid(-1), identities: identities, on: link) { request.write(to: &$0) }
    }

    /// REVALIDATE: asks whether a session that a client brings lives.
    package mutating func revalidate(
        session: SessionID,
        timeoutMilliseconds: Int32,
        at now: Now,
        into output: inout ZabOutput
    ) {
        begin(at: now, output)
        guard let link = learning?.link, learning?.isSynced == true else { return }
        mastering?.asked(revalidationOf: session, by: nil, into: &output)
        let request = Revalidation.Request(session: session, timeoutMilliseconds: timeoutMilliseconds)
        output.send(.revalidate, zxid: Zxid(-1), on: link) { request.write(to: &$0) }
    }

    /// Answers the oldest `.pingAsked` with the sessions that were active since the last.
    package mutating func answerPing(touched: [SessionTouch], at now: Now, into output: inout ZabOutput) {
        begin(at: now, output)
        learning?.answerPing(touched + (mastering?.takeTouches(besides: touched.count) ?? []), into: &output)
    }
}
