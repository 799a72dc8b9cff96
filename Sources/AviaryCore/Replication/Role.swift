package import ZooKeeperProtocol

/// What this server is to others, and so what becomes of what its clients ask for.
package enum Role: Hashable, Sendable {
    /// There are no others: a write is done when it is on the own disk.
    case standalone
    /// A member without a leader: nobody is served. Committed transactions may still be applied.
    case looking
    /// Prepares the writes of all members; one is done when a quorum has it.
    case leader
    /// Follower or observer: hands writes on to the leader and answers them once they come back committed.
    case learner(isObserver: Bool)
    /// A member without a leader that lets clients read who say that this is enough for them
    /// (docs/protocol/client-protocol.md section 17).
    case readOnly

    /// As `srvr` and `mntr` call it; nil while nobody is served.
    package var modeName: String? {
        switch self {
        case .standalone: "standalone"
        case .looking: nil
        case .leader: "leader"
        case .learner(isObserver: false): "follower"
        case .learner(isObserver: true): "observer"
        case .readOnly: "read-only"
        }
    }
}

/// Names a learner's connection, as long as there is one: a learner that comes back is another.
@frozen
package struct LearnerID: Hashable, Sendable {
    package let rawValue: UInt64

    @inlinable
    package init(_ rawValue: UInt64) { self.rawValue = rawValue }
}

/// By which way the requests of a session come, as the leader sees it. What comes by another way comes too late.
enum SessionOwner: Hashable {
    /// Nothing came yet.
    case nobody
    /// A connection to this server.
    case here
    case learner(LearnerID)
}

/// What a learner wants from its leader, in the order in which it must reach it.
package enum Forward: Equatable, Sendable {
    /// REQUEST, with bytes of `Output.forwardBytes`; no identities: a null vector.
    case request(
        session: SessionID,
        cxid: Int32,
        operation: Operation,
        body: Range<Int>,
        identities: [Identity]?
    )
    /// REVALIDATE: a client is here now, which knew the password.
    case revalidate(session: SessionID, timeoutMilliseconds: Int32)
}

/// What the leader owes a learner. It must not reach it before the COMMIT (or INFORM) of `behind` and all before that.
package enum LearnerAnswer: Equatable, Sendable {
    /// A sync of the learner's will be done. What is behind `behind` was asked for later: no COMMIT of it may reach the
    /// learner before SYNC does. Apache's learners take what they are told for the oldest request that they wait with,
    /// or for somebody else's: one answer out of its turn, and none of their clients is answered any more.
    case syncTaken(LearnerID, behind: Zxid)
    /// SYNC: the oldest sync of the learner's is done.
    case syncDone(LearnerID)
    /// REVALIDATE.
    case revalidated(LearnerID, session: SessionID, isValid: Bool, behind: Zxid)
}
