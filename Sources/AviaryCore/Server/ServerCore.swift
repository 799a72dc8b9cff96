package import ZooKeeperProtocol

/// The server without its surroundings: tree, watches, sessions, and the writes in flight.
///
/// One owner calls it, one input at a time; it does no I/O, knows no clock and no chance but what it is given, and says
/// what it wants done by appending to an `Output`. A write becomes a transaction and goes to the log; once the owner
/// reports it durable it is applied, watches fire, the reply leaves, and what the same connection asked for behind it is
/// answered. Reads of connections that have no write in flight are answered at once.
package struct ServerCore: ~Copyable {
    let options: CoreOptions
    var tree: DataTree
    var watches: WatchTable
    var sessions: SessionTable
    var pending = PendingChanges()
    var quotas = QuotaIndex()
    var connections = ConnectionTable()
    var inFlight = FIFO<InFlight>(keeping: 2048)
    var reaper: Reaper
    var random: SplitMix64
    package internal(set) var statistics = ServerStatistics()
    var traffic = NamespaceTraffic()

    /// The last transaction applied: what reads see.
    package internal(set) var lastProcessedZxid = Zxid.zero
    /// The last transaction made; those above `lastProcessedZxid` are in flight.
    var lastPreparedZxid = Zxid.zero
    /// The id that the next session gets unless it is taken.
    var nextSessionID: Int64
    var logRoom = LogRoom.plenty
    var isSpaceLow: Bool { logRoom != .plenty }
    /// Bytes logged for new sessions since then.
    var sessionBytesWhileLow = 0
    var snapshotTrigger: SnapshotTrigger
    /// Tree digests at every 128th zxid.
    package internal(set) var digestLog = DigestLog()
    /// How often the tree did not come out as it was prepared: never, unless there is a bug.
    package internal(set) var digestMismatchCount = 0

    /// The ACL table of the snapshot being loaded.
    var restoredACLs: [Int64: [ACL]] = [:]
    /// Parents that replay has not found, each with a child that it had. A snapshot that is ahead lacks what a transaction
    /// still to come deletes; once that is replayed nothing is missing any more.
    var missingParents: [[UInt8]: [UInt8]] = [:]
    /// Connections that have asked for as much as may wait at once: to be read from again when nothing of theirs waits.
    /// Whoever looks at it empties it.
    package var overfull: [ConnectionID] = []
    /// Quotas whose soft limit is known to be passed, and what is to be said about quotas with the next write.
    var toldQuotas: Set<[UInt8]> = []
    var quotaNotes: [CoreNote] = []
    /// What the write now being prepared is about, part by part for a multi.
    var target = Target()
    var partTargets: [Target] = []
    /// Entries of `pending` that transactions in flight touch.
    var touchedByEarlier = 0
    /// The results of the multi that was applied last.
    var multiResults = JuteWriter(capacity: 256)
    /// Whom the event now being delivered concerns; kept for its memory.
    var eventTargets: [Int32] = []

    package internal(set) var role: Role
    /// What a leader owes itself and learners.
    var obligations = Obligations()
    /// What `/zookeeper/config` held before the last change of it in the log.
    package var formerConfiguration: [UInt8]?
    var postponed = PostponedRequests()
    var forwardedIdentities = ForwardedIdentities()
    /// What a learner waits for.
    var requested = Requested()
    /// Makes a reconfig request a configuration, or says why not; the leader's owner knows the members, this core does
    /// not. It gets the request and the zxid that the new configuration has for its version, and returns its text.
    /// Without it every reconfig is refused.
    package var reconfigure: ((ReconfigRequest, Zxid) throws(ErrorCode) -> [UInt8])?

    /// - Parameters:
    ///   - seed: for hashing and for spreading snapshots; from the system's randomness, or a test's.
    ///   - role: `standalone`, or `looking` for a member of an ensemble.
    package init(options: CoreOptions, seed: UInt64, now: Now, role: Role = .standalone) {
        self.options = options
        self.role = role
        random = SplitMix64(state: seed)
        tree = DataTree(
            hashSeed: random.next(),
            kinds: NodeKindRule(extendedTypes: options.extendedTypes, emulate353: options.emulate353)
        )
        watches = WatchTable(hashSeed: random.next())
        sessions = SessionTable(tickMilliseconds: options.tickTimeMilliseconds)
        reaper = Reaper(options: options)
        snapshotTrigger = SnapshotTrigger(options: options, random: &random)
        let clock = (UInt64(bitPattern: now.wallMilliseconds) << 24) >> 8
        nextSessionID = Int64(bitPattern: clock | UInt64(bitPattern: options.serverID) << 56)
        tree.makeFresh()
        pending.digest = tree.digest
    }

    /// Whether it knows the digest of its tree.
    package var keepsDigest: Bool { options.digestEnabled }

    /// Requests that wait for the disk or behind one that does.
    package var outstandingRequests: Int { connections.waitingCount }

    /// Memory that the requests of one connection take because they wait. Walks over them.
    package func waitingBytes(of id: ConnectionID) -> Int {
        var bytes = 0
        connections[id]?.waiting.forEach { waiting in
            switch waiting {
            case .read(let frame, _, _), .frame(let frame), .sync(let frame, _, _), .deferred(let frame, _, _):
                bytes += frame.count + 64
            case .inFlight, .refusal, .localClose: bytes += 64
            }
        }
        return bytes
    }

    /// Begins to serve what was recovered: every session gets its full timeout, and ephemerals whose session is gone go.
    ///
    /// - Parameter lastZxid: the last transaction recovered.
    package mutating func start(lastZxid: Zxid, at now: Now, into output: inout Output) {
        lastProcessedZxid = lastZxid
        beginPreparing(at: now, into: &output)
    }

    /// Every session has its full time before it, and ephemerals without a session go.
    mutating func beginPreparing(at now: Now, into output: inout Output) {
        lastPreparedZxid = lastProcessedZxid
        pending.digest = tree.digest
        sessions.start(at: now.monotonicMilliseconds)
        reaper.start(at: now.monotonicMilliseconds)
        for owner in tree.owners.ephemerals.keys.sorted(by: { $0.rawValue < $1.rawValue })
        where sessions[owner] == nil {
            output.note(
                .info,
                "removing ephemerals whose session is gone",
                [("session", owner.description)]
            )
            propose(prepareCloseSession(owner), session: owner, cxid: 0, from: nil, now: now, into: &output)
        }
    }

    // MARK: Disk

    /// Everything up to `zxid` is on disk: applies it, answers it, and what waited behind it.
    ///
    /// - Parameter maxBytes: how much may gather for clients before this stops in between; very many may have waited.
    /// - Returns: whether all is done. If not, the owner carries out `output` and calls again.
    @discardableResult
    package mutating func durable(
        upTo zxid: Zxid,
        at now: Now,
        maxBytes: Int = .max,
        into output: inout Output
    ) -> Bool {
        while output.clientBytes.count <= maxBytes {
            fetchAheadInFlight()
            guard let entry = inFlight.popFirst(where: { $0.txn.header.zxid <= zxid }) else {
                if !obligations.isEmpty { meetObligations(at: now, into: &output) }
                return true
            }
            commit(entry, at: now, into: &output)
        }
        return false
    }

    /// What the log can still take. While that is not plenty, client writes are answered −1 without taking a zxid.
    package mutating func setLogRoom(_ room: LogRoom, at now: Now, into output: inout Output) {
        guard room != logRoom else { return }
        let before = logRoom
        logRoom = room
        switch room {
        case .plenty:
            sessionBytesWhileLow = 0
            output.note(.info, "the disk of the transaction log has room again: writes are accepted")
        case .low where before == .plenty:
            output.note(
                .error,
                "the disk of the transaction log is full: writes are refused with error -1 until there is room again; reads go on"
            )
        case .low:
            break
        case .exhausted:
            output.note(
                .error,
                "nothing more fits on the disk of the transaction log: sessions neither begin nor end until there is room again; reads go on"
            )
        }
        if room != .exhausted, !postponed.isEmpty { takeUpPostponed(at: now, into: &output) }
    }

    // MARK: Time

    /// Sessions that are named when many end at once: a storm of them must not become a storm of lines.
    private static let maxExpiryNotes = 20

    /// When `advance` should be called next, monotonic microseconds.
    package var nextDeadlineMicroseconds: Int64 {
        let next = min(
            logRoom == .exhausted && endsSessions ? Int64.max : sessions.nextDeadlineMilliseconds,
            min(connections.nextHandshakeDeadline, reaper.nextDeadlineMilliseconds(isSpaceLow: isSpaceLow))
        )
        let (microseconds, overflows) = next.multipliedReportingOverflow(by: 1000)
        return overflows ? Int64.max : microseconds
    }

    /// Does what is due: ends sessions, removes containers and TTL nodes, closes connections that say nothing.
    package mutating func advance(to now: Now, into output: inout Output) {
        let milliseconds = now.monotonicMilliseconds
        // A session whose end cannot be recorded goes on until it can.
        let found = logRoom == .exhausted && endsSessions ? [] : sessions.expired(at: milliseconds)
        let expired = isStandalone ? found : endLocal(found, at: now, into: &output)
        for (index, session) in expired.enumerated() {
            statistics.staleSessionsExpired += 1
            if index < ServerCore.maxExpiryNotes {
                output.note(
                    .info,
                    "expiring session: nothing heard of it for its timeout",
                    [("session", session.id.description), ("timeout", "\(session.timeoutMilliseconds)")]
                )
            }
            end(session, cxid: 0, from: nil, arrived: now.monotonicMicroseconds, at: now, into: &output)
        }
        if expired.count > ServerCore.maxExpiryNotes {
            let more = expired.count - ServerCore.maxExpiryNotes
            output.note(.info, "expiring more sessions at the same time", [("sessions", "\(more)")])
        }
        while let id = connections.nextSilent(at: milliseconds) {
            statistics.sessionlessExpired += 1
            output.note(
                .warning,
                "closing a connection that did not say who it is in time",
                [("peer", connections[id]?.peer.text ?? "?")],
                isLimited: true
            )
            close(id, into: &output)
        }
        if endsSessions { reap(at: now, into: &output) }
    }

    // MARK: Snapshots

    /// Begins a point-in-time picture of what is applied.
    package mutating func beginSnapshot() -> SnapshotHead {
        tree.snapshot.begin()
        snapshotTrigger.reset(random: &random)
        let ids = sessions.sessions.keys.sorted { $0.rawValue < $1.rawValue }
        return SnapshotHead(
            zxid: lastProcessedZxid,
            sessions: ids.compactMap { id in
                guard let session = sessions[id], session.isCreated, !session.isLocal else { return nil }
                return (id, session.recordedTimeoutMilliseconds)
            },
            acls: tree.accessLists.table,
            digest: options.digestEnabled ? tree.digest : nil
        )
    }

    /// Appends about `maxBytes` of encoded nodes. Returns false once all are written, which ends the snapshot.
    package mutating func continueSnapshot(maxBytes: Int, into writer: inout JuteWriter) -> Bool {
        guard tree.snapshot.isActive else { return false }
        if tree.continueSnapshot(maxBytes: maxBytes, into: &writer) { return true }
        tree.snapshot.end()
        return false
    }

    package mutating func abandonSnapshot() {
        tree.snapshot.end()
    }

    /// Whether a picture was begun and is neither complete nor abandoned. `reset` ends one, and what was fetched of it
    /// until then is worth nothing.
    package var isSnapshotUnderWay: Bool { tree.snapshot.isActive }
}

/// How much the transaction log can still take.
package enum LogRoom: Sendable {
    case plenty
    /// What is reserved, for the end of sessions.
    case low
    /// Nothing.
    case exhausted
}

/// What a snapshot begins with.
package struct SnapshotHead: Sendable {
    package let zxid: Zxid
    package let sessions: [(SessionID, Int32)]
    package let acls: [(Int64, [ACL])]
    /// nil when digests are off.
    package let digest: UInt64?
}

/// A transaction that is made but not applied.
struct InFlight {
    var txn: Txn
    /// What was asked for; decides the form of the reply.
    var operation: Operation
    /// Who gets the reply, if anybody.
    var connection: ClientConnection?
    var arrivedMicroseconds: Int64
    /// How many changes of nodes it made.
    var touchedCount: Int
    var target: Target
    /// Of each part of a multi that succeeds.
    var partTargets: [Target]
}

/// The seeded source of everything random in here.
struct SplitMix64: RandomNumberGenerator {
    private var state: UInt64

    init(state: UInt64) {
        self.state = state
    }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var value = state
        value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
        return value ^ (value >> 31)
    }
}

/// Says when a snapshot is due: after `snapCount`/2 to `snapCount` transactions, so that the members of an ensemble do not
/// all do it at once; or the same by bytes (docs/protocol/disk-format.md section 3.2).
struct SnapshotTrigger {
    private let snapCount: Int
    private let sizeLimit: Int64?
    private var txns = 0
    private var bytes: Int64 = 0
    private var txnThreshold = 0
    private var byteThreshold = Int64.max

    init(options: CoreOptions, random: inout SplitMix64) {
        snapCount = max(2, options.snapCount)
        sizeLimit = options.snapSizeLimitBytes
        reset(random: &random)
    }

    mutating func reset(random: inout SplitMix64) {
        txns = 0
        bytes = 0
        txnThreshold = snapCount / 2 + Int(random.next() % UInt64(max(1, snapCount / 2)))
        if let sizeLimit, sizeLimit > 0 {
            byteThreshold = sizeLimit / 2 + Int64(random.next() % UInt64(max(1, sizeLimit / 2)))
        }
    }

    /// Counts a transaction; true when a snapshot is due.
    mutating func count(bytes size: Int, random: inout SplitMix64) -> Bool {
        txns += 1
        bytes += Int64(size)
        guard txns > txnThreshold || bytes > byteThreshold else { return false }
        reset(random: &random)
        return true
    }
}

/// Digests of the tree along the way, to compare servers with each other.
package struct DigestLog {
    package private(set) var entries: [(zxid: Zxid, digest: UInt64)] = []

    mutating func applied(_ zxid: Zxid, digest: UInt64) {
        guard zxid.rawValue & 127 == 0 else { return }
        if entries.count == 1024 { entries.removeFirst() }
        entries.append((zxid, digest))
    }
}
