package import ZooKeeperProtocol

/// Names a connection. The generation tells a slot's present holder from an earlier one.
@frozen
package struct ConnectionID: Hashable, Sendable {
    package let slot: Int32
    package let generation: UInt32

    @inlinable
    package init(slot: Int32, generation: UInt32) {
        self.slot = slot
        self.generation = generation
    }
}

/// What is to be done for clients, in this order.
@frozen
package enum ClientAction: Equatable, Sendable {
    /// Send these bytes of `Output.clientBytes`.
    case send(ConnectionID, Range<Int>)
    /// Close once everything before is sent.
    case close(ConnectionID)
}

/// Something that an operator may want to read.
package struct CoreNote: Equatable, Sendable {
    package enum Level: Sendable { case debug, info, warning, error }

    package var level: Level
    package var message: String
    package var metadata: [(key: String, value: String)]
    /// Clients can cause it at will: once in a while for the same message and peer is enough.
    package var isLimited = false

    package static func == (left: CoreNote, right: CoreNote) -> Bool {
        left.level == right.level && left.message == right.message
            && left.metadata.elementsEqual(right.metadata) { $0 == $1 }
    }
}

/// What the core wants done. Order inside a list is the contract; between the lists there is none, because nothing that
/// must wait for the disk is in here before the disk has answered.
package struct Output: ~Copyable {
    /// Complete frames, with their lengths, back to back.
    package var clientBytes = JuteWriter(capacity: 4096)
    package var clients: [ClientAction] = []
    /// Payloads of log records, back to back.
    package var logBytes = JuteWriter(capacity: 4096)
    package var log: [LogRecord] = []
    /// The log shall go on in a new file, and a snapshot begin if none is under way.
    package var isSnapshotDue = false
    /// Of a learner: what goes to the leader, in this order.
    package var forwards: [Forward] = []
    /// Bodies of forwarded requests, back to back.
    package var forwardBytes = JuteWriter(capacity: 64)
    /// Of a leader: it must be proved that it still leads, by an exchange with a quorum that begins after this. What
    /// waits for it goes on with `leadershipConfirmed`, which holds for all smaller numbers too.
    package var confirmations: [UInt64] = []
    /// Of a leader: what is due to learners.
    package var learnerAnswers: [LearnerAnswer] = []
    /// Why this leader must step down, if it must: its epoch has no more zxids, or its disk no more room. What was asked
    /// for since is not answered.
    package var resignation: String?
    package var notes: [CoreNote] = []

    package init() {}

    /// Bytes for nobody count: an event whose watchers may all not read the node leaves some.
    @inlinable
    package var isEmpty: Bool {
        clients.isEmpty && clientBytes.count == 0 && log.isEmpty && notes.isEmpty && !isSnapshotDue
            && forwards.isEmpty && confirmations.isEmpty && learnerAnswers.isEmpty && resignation == nil
    }

    /// Forgets everything but the memory.
    package mutating func reset() {
        clientBytes.removeAll()
        clients.removeAll(keepingCapacity: true)
        logBytes.removeAll()
        log.removeAll(keepingCapacity: true)
        isSnapshotDue = false
        if !forwards.isEmpty {
            forwards.removeAll(keepingCapacity: true)
            forwardBytes.removeAll()
        }
        confirmations.removeAll(keepingCapacity: true)
        learnerAnswers.removeAll(keepingCapacity: true)
        resignation = nil
        notes.removeAll(keepingCapacity: false)
    }

    // MARK: For the core

    mutating func note(
        _ level: CoreNote.Level,
        _ message: String,
        _ metadata: [(key: String, value: String)] = [],
        isLimited: Bool = false
    ) {
        notes.append(CoreNote(level: level, message: message, metadata: metadata, isLimited: isLimited))
    }

    /// Starts a frame; its length follows in `endFrame`.
    @inline(__always)
    mutating func beginFrame() -> Int {
        let start = clientBytes.count
        clientBytes.int32(0)
        return start
    }

    @inline(__always)
    mutating func beginReply(xid: Int32, zxid: Zxid, error: ErrorCode = .ok) -> Int {
        let start = clientBytes.count
        clientBytes.reserve(20)
        clientBytes.int32(0)
        clientBytes.int32(xid)
        clientBytes.int64(zxid.rawValue)
        clientBytes.int32(error.rawValue)
        return start
    }

    /// - Returns: how many bytes the frame has without its length.
    @inline(__always)
    @discardableResult
    mutating func endFrame(_ start: Int, to connection: ConnectionID) -> Int {
        let end = clientBytes.count
        clientBytes.patch(Int32(truncatingIfNeeded: end - start - 4), at: start)
        send(start..<end, to: connection)
        return end - start - 4
    }

    /// Sends bytes that are already in `clientBytes`: one event may go to many connections.
    @inline(__always)
    mutating func send(_ range: Range<Int>, to connection: ConnectionID) {
        if let last = clients.last, case .send(connection, let previous) = last,
            previous.upperBound == range.lowerBound
        {
            clients[clients.count - 1] = .send(connection, previous.lowerBound..<range.upperBound)
        } else {
            clients.append(.send(connection, range))
        }
    }
}
