package import ZooKeeperProtocol

/// What is to be done with a quorum connection, in this order.
package enum LinkAction: Equatable, Sendable {
    /// Connect to the quorum port of a server: answered by `connected` or `connectFailed`.
    case connect(LinkID, to: ServerID)
    /// Send these bytes of `ZabOutput.linkBytes`.
    case send(LinkID, Range<Int>)
    /// Close once everything before is sent; nothing about this link is reported or accepted any more.
    case close(LinkID)
    /// Look into the log, or stream a snapshot to this learner: answered by `historyRead`.
    case readHistory(LinkID, HistoryRequest)
    /// From the next byte on the link carries a snapshot stream: answered by `snapshotInstalled` or `snapshotFailed`.
    case receiveSnapshot(LinkID, zxid: Zxid)
}

/// What a leader wants to know of its own disk for a learner.
package enum HistoryRequest: Equatable, Sendable {
    /// Records of the log behind `after`, none behind `through`, together some `maxBytes` (at least one record).
    ///
    /// The first request of a learner may be refused when a snapshot is cheaper (Apache's `snapshotSizeFactor`).
    case records(after: Zxid, through: Zxid, maxBytes: Int, isFirst: Bool)
    /// Send the newest snapshot: the packet SNAP with its zxid, then the stream. Nothing else is sent meanwhile.
    case snapshot
}

/// The answer to a `HistoryRequest`. The bytes are lent for the call.
package enum HistoryAnswer {
    /// - Parameters:
    ///   - previous: the last transaction in our history that is not behind the `after` of the request: `after` itself
    ///     if the log has it (or a snapshot ends with it), the one before otherwise.
    ///   - records: in order, the one behind `previous` first.
    case records(previous: Zxid, [HistoryRecord])
    /// The snapshot is sent completely; it ends with this transaction.
    case snapshotStreamed(Zxid)
    /// The log does not reach back so far, or a snapshot is cheaper; for a snapshot: there is none.
    case impossible
}

/// A transaction read back from the log, lent.
package struct HistoryRecord {
    package var zxid: Zxid
    package var payload: UnsafeRawBufferPointer

    package init(zxid: Zxid, payload: UnsafeRawBufferPointer) {
        self.zxid = zxid
        self.payload = payload
    }
}

/// What the disk is to do, strictly in this order, together with what the caller itself appends while it leads.
package enum ZabStorageOrder: Equatable, Sendable {
    /// Append this transaction of `Peer.history`: reported by `stored(upTo:)`.
    case append(Zxid)
    /// Write `acceptedEpoch`: answered by `epochStored(accepted:)`.
    case storeAccepted(Epoch)
    /// Write `currentEpoch` once every append ordered before is durable: answered by `epochStored(current:)`.
    case storeCurrent(Epoch)
    /// Cut the log: answered by `truncated(to:)`, when the tree is ready as well.
    case truncate(after: Zxid)
    /// The link that a snapshot came from is gone. Answered like `receiveSnapshot`, by whichever of the two became true.
    case abandonSnapshot(LinkID)
}

/// What the caller's core is to hear, in this order.
package enum Upcall: Equatable, Sendable {
    /// A quorum follows: serve and propose. Everything in the log is committed and applied by now.
    case lead(Epoch)
    /// Synchronized with a leader: serve.
    case learn(leader: ServerID, isObserver: Bool)
    /// Serving ends: close all clients.
    case stop
    /// Apply what is not applied yet up to this transaction, from `Peer.history`.
    case committed(upTo: Zxid)

    // Leader
    case request(LinkID, from: ServerID, LearnerRequest)
    case touched(LinkID, [SessionTouch])
    case revalidate(LinkID, SessionID, timeoutMilliseconds: Int32)
    case leadershipConfirmed(UInt64)
    case learnerGone(LinkID)

    // Learner
    case revalidated(SessionID, isValid: Bool)
    /// A client has taken its session to an observer that this server serves: what it has here is over.
    case moved(SessionID)
    /// The oldest waiting sync of this server is answered.
    case synced
    /// The leader asks which sessions are alive: answered by `answerPing`.
    case pingAsked

    /// A configuration was proposed, or came into force.
    case configuration(QuorumConfiguration, isCommitted: Bool)
}

/// A request that a learner forwards for one of its clients, copied.
package struct LearnerRequest: Equatable, Sendable {
    package var session: SessionID
    package var cxid: Int32
    /// As on the wire: what it is, the core decides.
    package var operation: Int32
    package var body: [UInt8]
    /// nil as createSession has it.
    package var identities: [Identity]?
}

/// Something that an operator may want to read.
package struct ZabNote: Equatable, Sendable {
    package enum Level: Sendable { case debug, info, warning, error }

    package var level: Level
    package var message: String
    package var metadata: [(key: String, value: String)]

    package init(level: Level, message: String, metadata: [(key: String, value: String)] = []) {
        self.level = level
        self.message = message
        self.metadata = metadata
    }

    package static func == (left: ZabNote, right: ZabNote) -> Bool {
        left.level == right.level && left.message == right.message
            && left.metadata.elementsEqual(right.metadata) { $0 == $1 }
    }
}

/// What the peer wants done. Order inside a list is the contract; between the lists there is none.
package struct ZabOutput: ~Copyable {
    package var notifications: [(to: ServerID, notification: Notification)] = []
    /// Some voter could not be reached: try all election connections again.
    package var connectAll = false
    /// Packets, back to back.
    package var linkBytes = JuteWriter(capacity: 4096)
    package var links: [LinkAction] = []
    package var storage: [ZabStorageOrder] = []
    package var upcalls: [Upcall] = []
    package var notes: [ZabNote] = []

    package init() {}

    package var isEmpty: Bool {
        notifications.isEmpty && !connectAll && links.isEmpty && storage.isEmpty && upcalls.isEmpty && notes.isEmpty
    }

    /// Whether something in here names transactions by their zxid only.
    var namesHistory: Bool { !storage.isEmpty || !upcalls.isEmpty }

    /// Forgets everything but the memory.
    package mutating func reset() {
        notifications.removeAll(keepingCapacity: true)
        connectAll = false
        linkBytes.removeAll()
        links.removeAll(keepingCapacity: true)
        storage.removeAll(keepingCapacity: true)
        upcalls.removeAll(keepingCapacity: true)
        notes.removeAll(keepingCapacity: false)
    }

    // MARK: For the peer

    /// Writes a packet to a link.
    ///
    /// - Returns: its bytes.
    @discardableResult
    mutating func send(
        _ type: QuorumPacketType,
        zxid: Zxid,
        data: UnsafeRawBufferPointer? = nil,
        identities: [Identity]? = nil,
        on link: LinkID
    ) -> Int {
        let start = linkBytes.count
        QuorumPacket.write(type, zxid: zxid, data: data, identities: identities, to: &linkBytes)
        send(start..<linkBytes.count, on: link)
        return linkBytes.count - start
    }

    /// Writes a packet whose data `body` writes.
    mutating func send(
        _ type: QuorumPacketType,
        zxid: Zxid,
        identities: [Identity]? = nil,
        on link: LinkID,
        data body: (inout JuteWriter) -> Void
    ) {
        let start = linkBytes.count
        QuorumPacket.write(type, zxid: zxid, identities: identities, to: &linkBytes, data: body)
        send(start..<linkBytes.count, on: link)
    }

    /// Neighbouring packets of one link leave as one piece.
    private mutating func send(_ range: Range<Int>, on link: LinkID) {
        if case .send(link, let previous) = links.last, previous.upperBound == range.lowerBound {
            links[links.count - 1] = .send(link, previous.lowerBound..<range.upperBound)
        } else {
            links.append(.send(link, range))
        }
    }

    /// Has the core apply everything up to a transaction; nothing lies between that and an order to apply less.
    mutating func commit(upTo zxid: Zxid) {
        if case .committed = upcalls.last {
            upcalls[upcalls.count - 1] = .committed(upTo: zxid)
        } else {
            upcalls.append(.committed(upTo: zxid))
        }
    }

    mutating func note(_ level: ZabNote.Level, _ message: String, _ metadata: [(key: String, value: String)] = []) {
        notes.append(ZabNote(level: level, message: message, metadata: metadata))
    }
}
