import ZooKeeperProtocol

/// How the other end of a connection is known.
package struct PeerAddress: Sendable, Hashable {
    /// The address without port, as ACLs of scheme ip have it.
    package var text: String
    package var port: Int

    package init(text: String, port: Int) {
        self.text = text
        self.port = port
    }
}

/// A connection as the core knows it.
final class ClientConnection {
    enum Phase {
        /// Nothing but a ConnectRequest is expected.
        case handshake
        /// The session is being created: frames wait.
        case opening
        case attached
        /// Its closeSession is on its way: what comes behind it is dropped.
        case ending
        /// Nothing is accepted any more.
        case closed
    }

    let id: ConnectionID
    let peer: PeerAddress
    let establishedWallMilliseconds: Int64
    /// By when a ConnectRequest must have come, monotonic.
    let handshakeDeadlineMilliseconds: Int64
    @exclusivity(unchecked) var phase = Phase.handshake
    @exclusivity(unchecked) var session: Session?
    @exclusivity(unchecked) var identities: Identities
    /// Whether it has an identity that the server requires.
    @exclusivity(unchecked) var isAuthenticated: Bool
    /// Its watches take more memory than they may.
    @exclusivity(unchecked) var watchesTooMuch = false
    /// Whether the ConnectRequest had the readOnly byte: the response mirrors it.
    var hasReadOnlyByte = false
    /// What is not answered yet, in the order of arrival: writes in flight and what came behind them.
    @exclusivity(unchecked) var waiting = FIFO<Waiting>()
    /// What the reads in `waiting` will be answered with, about.
    @exclusivity(unchecked) var waitingReplyBytes = 0
    /// Syncs in `waiting`, and how many of them are done but not answered.
    var syncsWaiting = 0
    var syncsDone = 0
    @exclusivity(unchecked) var statistics = ConnectionStatistics()

    init(
        id: ConnectionID,
        peer: PeerAddress,
        identities: Identities,
        now: Now,
        isAuthenticated: Bool,
        handshakeDeadline: Int64
    ) {
        self.id = id
        self.peer = peer
        self.isAuthenticated = isAuthenticated
        establishedWallMilliseconds = now.wallMilliseconds
        handshakeDeadlineMilliseconds = handshakeDeadline
        self.identities = identities
    }

    var sessionID: SessionID { session?.id ?? .none }
}

/// One unanswered request in a connection's queue.
enum Waiting {
    /// A transaction in flight, of this server or by way of the leader: answered when it is applied.
    case inFlight
    /// A request that reads: executed when all writes before it are applied, as the identities it came with.
    case read(frame: [UInt8], identities: Identities, arrivedMicroseconds: Int64)
    /// A reply that is known but must not overtake.
    case refusal(xid: Int32, operation: Operation, ErrorCode, arrivedMicroseconds: Int64)
    /// A sync that is not done before others have said so; answered as a read then.
    case sync(frame: [UInt8], identities: Identities, arrivedMicroseconds: Int64)
    /// A write that came behind a sync. It must not be carried out, and so answered, before the sync is.
    case deferred(frame: [UInt8], identities: Identities, arrivedMicroseconds: Int64)
    /// The end of a local session.
    case localClose(xid: Int32, arrivedMicroseconds: Int64)
    /// Came while the session was being created: not looked at yet.
    case frame([UInt8])
}
