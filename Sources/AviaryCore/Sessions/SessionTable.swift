import ZooKeeperProtocol

/// A session: what outlives its connections.
final class Session {
    let id: SessionID
    /// As negotiated at the last attach.
    var timeoutMilliseconds: Int32
    /// As negotiated when it was created: what logs and snapshots have.
    var recordedTimeoutMilliseconds: Int32
    /// Its createSession transaction is applied: before that nobody but its first connection may know of it.
    var isCreated = false
    /// When it ends unless heard of again: the end of a bucket of ticks, monotonic.
    @exclusivity(unchecked) var deadlineMilliseconds: Int64 = 0
    /// Its end is in flight: nothing more is accepted from it.
    @exclusivity(unchecked) var isClosing = false
    /// The bucket it is filed in; entries in other buckets are left over.
    var filedBucket: Int64 = -1
    /// Where its client is now, if anywhere. Cleared when either ends.
    @exclusivity(unchecked) var connection: ClientConnection?
    /// Paths of ephemerals whose creation is in flight, in order.
    var pendingEphemerals = FIFO<[UInt8]>()

    /// Known to this server alone: no transaction made it, no snapshot has it, and its end is nobody else's business.
    var isLocal = false
    /// A local one that becomes a global one: its createSession transaction is in flight.
    var isUpgrading = false
    /// Of a leader: by which way its requests come.
    var owner = SessionOwner.nobody
    /// Of a learner: hearing of it is to be reported to the leader, and is not reported yet.
    @exclusivity(unchecked) var wantsReport = false
    /// It stands in the list of those that are reported next.
    var isListed = false
    /// Of a learner: what was handed on to the leader and did not come back; nil when nothing ever was.
    var forwarding: Forwarding?

    init(id: SessionID, timeoutMilliseconds: Int32) {
        self.id = id
        self.timeoutMilliseconds = timeoutMilliseconds
        recordedTimeoutMilliseconds = timeoutMilliseconds
    }
}

/// All sessions, and when they end (docs/protocol/client-protocol.md section 13).
///
/// Hearing from a session only stores its new deadline; it stays in the bucket where it was filed and is filed anew when
/// that bucket comes up. So a request costs one store, and a session is looked at once per timeout.
struct SessionTable {
    private(set) var sessions: [SessionID: Session] = [:]
    /// How many of them are local.
    private(set) var localCount = 0
    private var buckets: [Int64: [Session]] = [:]
    private let tickMilliseconds: Int64
    private var nextBucket: Int64 = 0

    init(tickMilliseconds: Int64) {
        self.tickMilliseconds = max(1, tickMilliseconds)
    }

    var count: Int { sessions.count }

    subscript(id: SessionID) -> Session? { sessions[id] }

    /// A session's transaction is applied. During recovery this adds it, without a deadline.
    mutating func created(_ id: SessionID, timeoutMilliseconds: Int32) {
        let session = sessions[id] ?? Session(id: id, timeoutMilliseconds: timeoutMilliseconds)
        // A client that moved here before this was known here has said what it wants.
        if session.connection == nil { session.timeoutMilliseconds = timeoutMilliseconds }
        session.recordedTimeoutMilliseconds = timeoutMilliseconds
        session.isCreated = true
        if session.isLocal { localCount -= 1 }
        session.isLocal = false
        session.isUpgrading = false
        sessions[id] = session
    }

    mutating func removeAll() {
        sessions = [:]
        localCount = 0
        buckets = [:]
    }

    /// Starts the clocks of all restored sessions, each with its full timeout.
    mutating func start(at milliseconds: Int64) {
        nextBucket = milliseconds / tickMilliseconds
        for id in sessions.keys.sorted(by: { $0.rawValue < $1.rawValue }) {
            if let session = sessions[id] { file(session, at: milliseconds) }
        }
    }

    mutating func add(_ session: Session, at milliseconds: Int64) {
        addUntimed(session)
        file(session, at: milliseconds)
    }

    /// Adds a session whose time is another server's to watch.
    mutating func addUntimed(_ session: Session) {
        sessions[session.id] = session
        if session.isLocal { localCount += 1 }
    }

    mutating func remove(_ id: SessionID) -> Session? {
        let session = sessions.removeValue(forKey: id)
        if session?.isLocal == true { localCount -= 1 }
        return session
    }

    /// The clocks stand still, and what is only in flight or only here is gone: what is left is what transactions made.
    mutating func keepCommitted() {
        for (id, session) in sessions {
            guard session.isCreated, !session.isLocal else {
                sessions[id] = nil
                continue
            }
            session.timeoutMilliseconds = session.recordedTimeoutMilliseconds
            session.isClosing = false
            session.pendingEphemerals.removeAll()
            session.owner = .nobody
            session.forwarding = nil
            session.wantsReport = false
            session.isListed = false
            session.filedBucket = -1
        }
        localCount = 0
        buckets = [:]
    }

    /// A session was heard of by way of another server, with the timeout that its client has there. Never sooner than
    /// was known: servers also report sessions whose clients are elsewhere.
    mutating func extend(_ session: Session, timeoutMilliseconds: Int32, at milliseconds: Int64) {
        let deadline = deadline(timeoutMilliseconds, at: milliseconds)
        guard deadline > session.deadlineMilliseconds else { return }
        session.deadlineMilliseconds = deadline
    }

    /// Gives a session that was found expired its time once more.
    mutating func restart(_ session: Session, at milliseconds: Int64) {
        file(session, at: milliseconds)
    }

    @inline(__always)
    func touch(_ session: Session, at milliseconds: Int64) {
        session.deadlineMilliseconds = deadline(session, at: milliseconds)
    }

    /// The client may have asked for another timeout, which may end sooner than what is filed.
    mutating func reattach(_ session: Session, timeoutMilliseconds: Int32, at milliseconds: Int64) {
        session.timeoutMilliseconds = timeoutMilliseconds
        file(session, at: milliseconds)
    }

    @inline(__always)
    private func deadline(_ session: Session, at milliseconds: Int64) -> Int64 {
        deadline(session.timeoutMilliseconds, at: milliseconds)
    }

    @inline(__always)
    private func deadline(_ timeoutMilliseconds: Int32, at milliseconds: Int64) -> Int64 {
        ((milliseconds + Int64(timeoutMilliseconds)) / tickMilliseconds + 1) * tickMilliseconds
    }

    private mutating func file(_ session: Session, at milliseconds: Int64) {
        touch(session, at: milliseconds)
        file(session, in: session.deadlineMilliseconds / tickMilliseconds)
    }

    private mutating func file(_ session: Session, in bucket: Int64) {
        // A file may hold any timeout, negative ones too: those are over at once.
        let bucket = max(bucket, nextBucket)
        guard session.filedBucket != bucket else { return }
        session.filedBucket = bucket
        buckets[bucket, default: []].append(session)
    }

    /// When `expired(at:)` should be called next, monotonic milliseconds.
    var nextDeadlineMilliseconds: Int64 {
        buckets.isEmpty ? Int64.max : nextBucket * tickMilliseconds
    }

    /// The sessions whose time is over, in the order of their deadlines.
    mutating func expired(at milliseconds: Int64) -> [Session] {
        var expired: [Session] = []
        // After a time without sessions there is nothing to look through.
        if buckets.isEmpty { nextBucket = max(nextBucket, milliseconds / tickMilliseconds) }
        while nextBucket * tickMilliseconds <= milliseconds {
            for session in buckets.removeValue(forKey: nextBucket) ?? [] {
                guard session.filedBucket == nextBucket else { continue }
                session.filedBucket = -1
                guard !session.isClosing, sessions[session.id] === session else { continue }
                let bucket = session.deadlineMilliseconds / tickMilliseconds
                if bucket <= nextBucket {
                    expired.append(session)
                } else {
                    file(session, in: bucket)
                }
            }
            nextBucket += 1
        }
        return expired
    }
}
