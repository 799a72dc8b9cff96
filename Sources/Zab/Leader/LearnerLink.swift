import ZooKeeperProtocol

/// A connection that a learner opened: who it is, how far the handshake is, and what it has been sent and acknowledged.
///
/// Nothing is queued for a learner that is slow: two cursors into the history say what comes next, and move as far as
/// the connection takes more.
struct LearnerLink: Sendable {
    enum Phase: Int, Comparable, Sendable {
        /// Connected; FOLLOWERINFO or OBSERVERINFO is to come.
        case arrived
        /// Waits for LEADERINFO: for us to lead, to know the epoch, and to have stored it.
        case introduced
        /// Has LEADERINFO, owes ACKEPOCH.
        case electing
        /// Waits for a quorum of ACKEPOCH; at a master, for the commit of what it has already.
        case acknowledged
        /// The log is read for it.
        case readingLog
        /// A snapshot is streamed to it: nothing else may be sent.
        case receivingSnapshot
        /// Gets what is committed, then NEWLEADER.
        case synchronizing
        /// Has NEWLEADER, owes the acknowledgement.
        case storing
        /// Has all of the history that the epoch began with, durably; waits for a quorum of such.
        case synchronized
        /// Has UPTODATE.
        case serving

        static func < (left: Phase, right: Phase) -> Bool { left.rawValue < right.rawValue }
    }

    let id: LinkID
    var phase = Phase.arrived
    /// Known once it has introduced itself, welcome or not.
    var server = ServerID.none
    var isObserver = false
    var acceptedEpoch = Epoch.zero
    var configurationVersion: Int64 = 0
    /// It has lost its memory: until the epoch is established without it, it counts for nothing.
    var isForgetful = false
    /// From ACKEPOCH: where its log ends, and the epoch it belongs to unless it had accepted ours before.
    var lastZxid = Zxid.zero
    var currentEpoch: Epoch?

    // MARK: What it has been sent

    /// Bytes that the connection takes now. Goes below zero: a packet is sent whole, and some do not ask.
    var credit = LearnerLink.initialCredit
    /// Position of the next proposal to be sent, and of the next commit.
    var nextProposal = 0
    var nextCommit = 0
    /// While the log is read: the last transaction sent.
    var readThrough = Zxid.zero
    /// What was asked of the log goes no further.
    var readLimit = Zxid.zero
    /// Whether the disk owes an answer, and whether that is the first.
    var isReading = false
    var isFirstRead = false
    /// NEWLEADER follows the commit of everything up to here.
    var historyEnd = Zxid.zero
    /// Packets that must not overtake the commits they depend on, in order of their positions.
    private(set) var deferred: [Deferred] = []
    /// SYNCs that are not due yet: how many stand in front of which position. No commit from there on may overtake them.
    private var expected: [(position: Int, count: Int)] = []

    struct Deferred: Sendable {
        /// Goes once every commit in front of this position is sent.
        var position: Int
        var type: QuorumPacketType
        var zxid: Zxid
        var data: [UInt8]?
    }

    /// Where commits wait for a SYNC.
    var commitsHeldFrom: Int { expected.first?.position ?? .max }

    /// - Parameter position: not in front of that of the last one.
    mutating func expectSync(at position: Int) {
        if let last = expected.last, last.position == position {
            expected[expected.count - 1].count += 1
        } else {
            expected.append((position, 1))
        }
    }

    /// - Returns: the position of the oldest SYNC that was expected.
    mutating func takeExpectedSync() -> Int? {
        guard let first = expected.first else { return nil }
        if first.count == 1 { expected.removeFirst() } else { expected[0].count -= 1 }
        return first.position
    }

    mutating func expectNoSync() { expected.removeAll() }

    mutating func postpone(_ answer: Deferred) {
        let index = deferred.lastIndex { $0.position <= answer.position }.map { $0 + 1 } ?? 0
        deferred.insert(answer, at: index)
    }

    /// The answers in front of which every commit has been sent.
    mutating func takeDue() -> [Deferred] {
        guard let first = deferred.first, first.position <= nextCommit else { return [] }
        let due = deferred.prefix { $0.position <= nextCommit }
        deferred.removeFirst(due.count)
        return Array(due)
    }

    // MARK: What it has answered

    /// Everything up to here is durable at the learner. Counts from `synchronized` on.
    var acked = Zxid.zero
    /// When the learner last acknowledged something, or had nothing to acknowledge.
    var ackedAt: Int64 = 0
    /// When it was last heard of, or last took bytes.
    var heardAt: Int64
    var pingsSent: UInt64 = 0
    var pingsAnswered: UInt64 = 0

    /// What a connection takes before its owner has said so.
    static let initialCredit = 64 << 10
    /// More answers than this that wait for one learner: it does not read, but asks.
    static let maxDeferred = 10_000

    init(id: LinkID, at time: Int64) {
        self.id = id
        heardAt = time
        ackedAt = time
    }

    /// Whether a transaction of the history was sent without its commit: the two are never apart.
    var owesCommit: Bool { phase == .synchronizing && nextCommit < nextProposal }

    /// A voter whose acknowledgements count, or a follower that is no voter.
    var isFollower: Bool { !isObserver }
}
