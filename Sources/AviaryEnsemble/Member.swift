package import AviaryCore
package import AviaryStorage
package import Zab
package import ZooKeeperProtocol

/// What a member is told once.
package struct MemberOptions: Sendable {
    package var peer: PeerOptions
    /// Of what is read from links and of a leader's snapshot.
    package var limits: ReadingLimits
    /// `standaloneEnabled`: whether an ensemble may shrink to two voters at the least.
    package var isStandaloneEnabled: Bool
    /// Bytes on their way to the disk above which nothing more is read from links.
    package var maximumUnstoredBytes: Int
    /// How much a leader lets gather for clients before it stops applying in between: very many may have waited.
    package var maximumAnswerBytes: Int
    /// How long a leader is looked for until clients are served that only read; nil: never.
    package var readOnlyAfterMilliseconds: Int?

    package init(
        peer: PeerOptions,
        limits: ReadingLimits = ReadingLimits(),
        isStandaloneEnabled: Bool = true,
        maximumUnstoredBytes: Int = 32 << 20,
        maximumAnswerBytes: Int = .max,
        readOnlyAfterMilliseconds: Int? = nil
    ) {
        self.peer = peer
        self.limits = limits
        self.isStandaloneEnabled = isStandaloneEnabled
        self.maximumUnstoredBytes = maximumUnstoredBytes
        self.maximumAnswerBytes = maximumAnswerBytes
        self.readOnlyAfterMilliseconds = readOnlyAfterMilliseconds
    }
}

/// One server's part in an ensemble: joins its ZAB peer to the core above it, and both to the disk and the connections
/// below.
///
/// It decides nothing. What the core makes goes to the peer and to the disk, what the peer says goes to the core, and what
/// others are to do stands in `orders` when the call returns. Like the core it is owned by one loop, gets the time with
/// every call, and does no I/O. The core and its output belong to the caller and are lent for the call, because a server
/// without an ensemble has them too.
package final class Member {
    @exclusivity(unchecked) var peer: Peer
    @exclusivity(unchecked) package var orders = MemberOrders()
    let options: MemberOptions
    @exclusivity(unchecked) var zab = ZabOutput()
    @exclusivity(unchecked) var links: [LinkID: MemberLink] = [:]
    /// Transactions of this turn that are on their way to `orders.storage`.
    @exclusivity(unchecked) var openBatch: LogBatch?
    @exclusivity(unchecked) private var batches: [LogBatch] = []
    @exclusivity(unchecked) private var pieces: [SnapshotPiece] = []
    /// A leader's snapshot that is being received.
    @exclusivity(unchecked) var incoming: IncomingSnapshot?
    /// Handed to the disk and not reported.
    @exclusivity(unchecked) package private(set) var unstoredBytes = 0
    /// What the peer is told once the tree is loaded again.
    @exclusivity(unchecked) var afterReload: AfterReload?
    /// A leader has committed up to here and has not applied all of it.
    @exclusivity(unchecked) var unapplied: Zxid?
    /// What the log can still take.
    @exclusivity(unchecked) var logRoom = LogRoom.plenty
    /// Since there was plenty, this server has given leadership away for want of room.
    @exclusivity(unchecked) var hasHandedOver = false
    /// For want of room this server takes part in nothing.
    @exclusivity(unchecked) var isWithdrawn = false
    /// When clients are served that only read, unless there is a leader by then.
    @exclusivity(unchecked) var readOnlyAt: Int64?
    /// The configuration that a reconfig request in this turn made.
    @exclusivity(unchecked) var reconfigured: (zxid: Zxid, configuration: QuorumConfiguration)?

    /// - Parameters:
    ///   - configuration: the one in force.
    ///   - proposed: a newer one that the log or a file knows of.
    ///   - acquaintances: who may know of a newer one, should this server be in neither.
    ///   - durable: what recovery found on disk.
    ///   - seed: from the system's randomness, or a test's.
    package init(
        options: MemberOptions,
        configuration: QuorumConfiguration,
        proposed: QuorumConfiguration? = nil,
        acquaintances: [ServerID] = [],
        durable: DurableState,
        seed: UInt64,
        now: Now
    ) {
        self.options = options
        peer = Peer(
            options: options.peer,
            configuration: configuration,
            proposed: proposed,
            acquaintances: acquaintances,
            durable: durable,
            lastProcessed: durable.lastZxid,
            seed: seed,
            now: now
        )
    }

    /// Whether clients are to be served.
    package var isServing: Bool { role.isServing }

    package var role: Zab.Role { peer.role }
    package var leader: ServerID? { peer.leader }
    package var configuration: QuorumConfiguration { peer.configurations.current }
    /// A newer one that is not known to be committed.
    package var proposedConfiguration: QuorumConfiguration? { peer.configurations.proposed }

    /// More than this would only gather in memory: nothing is to be read from links until the disk has answered.
    package var isBehind: Bool { unstoredBytes > options.maximumUnstoredBytes }

    /// Not all that is committed is applied, because enough was answered for one turn: `settle` goes on with it.
    package var isApplying: Bool { unapplied != nil }

    /// When `advance` should be called next, monotonic microseconds.
    package var nextDeadlineMicroseconds: Int64? {
        guard let readOnlyAt else { return peer.nextDeadlineMicroseconds }
        return min(readOnlyAt, peer.nextDeadlineMicroseconds ?? .max)
    }

    // MARK: - What comes

    /// Begins to look for a leader.
    ///
    /// - Parameter core: restored from disk, and looking.
    package func start(_ core: inout ServerCore, at now: Now, into output: inout Output) {
        core.reconfigure = { [unowned self] (request, zxid) throws(ErrorCode) in
            try reconfigure(request, zxid)
        }
        tell(&core, at: now, into: &output) { peer, zab in peer.start(at: now, into: &zab) }
    }

    package func advance(_ core: inout ServerCore, to now: Now, into output: inout Output) {
        tell(&core, at: now, into: &output) { peer, zab in peer.advance(to: now, into: &zab) }
    }

    /// A message of another server's election.
    package func received(
        _ notification: Notification,
        from server: ServerID,
        _ core: inout ServerCore,
        at now: Now,
        into output: inout Output
    ) {
        tell(&core, at: now, into: &output) { peer, zab in
            peer.receive(notification: notification, from: server, at: now, into: &zab)
        }
    }

    /// An election connection came up; or it broke, or could not be made.
    package func electionLink(
        _ server: ServerID,
        isUp: Bool,
        _ core: inout ServerCore,
        at now: Now,
        into output: inout Output
    ) {
        tell(&core, at: now, into: &output) { peer, zab in
            peer.electionLink(server, isUp: isUp, at: now, into: &zab)
        }
    }

    /// The core has done something: takes what it made, and gives it what follows. To be called at the end of a turn.
    package func settle(_ core: inout ServerCore, at now: Now, into output: inout Output) {
        if let unapplied { apply(upTo: unapplied, &core, at: now, into: &output) }
        repeat { pump(&core, at: now, into: &output) } while hasMade(output)
        if output.isSnapshotDue { rollLog() }
        closeBatch(at: now)
        takeOrders()
    }

    /// The log goes on in a new file, so that the old one can be purged once there is a snapshot.
    private func rollLog() {
        // The log that a leader's snapshot is about to replace takes nothing.
        guard incoming == nil else { return }
        let batch = openBatch ?? takeBatch()
        batch.rollsAfter = true
        openBatch = batch
    }

    /// Hands the peer what the core made before, then something that came, then carries out what the peer says to the core.
    func tell(
        _ core: inout ServerCore,
        at now: Now,
        into output: inout Output,
        _ body: (inout Peer, inout ZabOutput) -> Void
    ) {
        prepare(&core, at: now, into: &output)
        body(&peer, &zab)
        pump(&core, at: now, into: &output)
        serveReadOnly(&core, at: now, into: &output)
    }

    /// Nothing of what was before waits when something comes.
    func prepare(_ core: inout ServerCore, at now: Now, into output: inout Output) {
        pump(&core, at: now, into: &output)
        // In front: a role that began in this turn has begun for everybody before it is given up.
        heedRoom(at: now)
        pump(&core, at: now, into: &output)
    }

    func note(_ level: ZabNote.Level, _ message: String, _ metadata: [(key: String, value: String)] = []) {
        orders.notes.append(ZabNote(level: level, message: message, metadata: metadata))
    }

    // MARK: - Memory on its way to the disk

    func takeBatch() -> LogBatch { batches.popLast() ?? LogBatch() }

    func takePiece() -> SnapshotPiece { pieces.popLast() ?? SnapshotPiece() }

    func submit(_ order: StorageOrder) {
        switch order {
        case .append(let batch): unstoredBytes += batch.storedBytes
        case .snapshotBytes(let piece): unstoredBytes += piece.bytes.count
        case .storeAccepted, .storeCurrent, .truncate, .beginSnapshot, .finishSnapshot, .abandonSnapshot: break
        }
        orders.storage.append(order)
    }

    /// Ends the batch of this turn, if there is one.
    func closeBatch(at now: Now) {
        guard let batch = openBatch else { return }
        openBatch = nil
        batch.submittedMicroseconds = now.monotonicMicroseconds
        submit(.append(batch))
    }

    func giveBack(_ returned: [LogBatch]) {
        for batch in returned {
            unstoredBytes -= batch.storedBytes
            guard batches.count < 8 else { continue }
            batch.reset()
            batches.append(batch)
        }
    }

    func giveBack(_ piece: SnapshotPiece) {
        unstoredBytes -= piece.bytes.count
        guard pieces.count < 4 else { return }
        piece.bytes.removeAll()
        pieces.append(piece)
    }
}
