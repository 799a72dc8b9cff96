/// What is on its way in a stream.
enum SimulatedPacket {
    case bytes([UInt8])
    /// The end of the stream.
    case end
    /// The connection is gone, whatever is still on the way to the end that hears it.
    case reset
}

/// One of the two streams of a connection.
struct SimulatedStream {
    /// With the time at which each was sent.
    var packets = ArraySlice<(sentAt: Int64, packet: SimulatedPacket)>()
    /// When the last packet on the way arrives.
    var lastArrival: Int64 = 0
    /// An event for the first packet is scheduled.
    var isScheduled = false
    /// Bytes on the way, or not taken by the receiver yet.
    var untaken = 0
    /// Bytes sent since the sender was last told how many it may send.
    var sentSinceTold = 0
    /// Waits with the sender.
    var backlog: [UInt8] = []
    /// The sender has ended the stream behind its backlog.
    var endsAfterBacklog = false
    /// Acknowledgements that a cut way holds back.
    var heldTaken = 0

    /// Nothing is on its way, and nothing waits to be.
    var isEmpty: Bool { packets.isEmpty && backlog.isEmpty }
}

/// A connection, with its two streams and what either end knows of it.
final class SimulatedLink {
    let key: LinkKey
    let opener: Host
    let acceptor: Host
    let service: Service
    /// The next step of the handshake that has to arrive; 3 once both know.
    var handshake = 0
    var isHandshakeHeld = false
    /// By end: whether its process still has it.
    var isOpen = Ends(opener: true, acceptor: true)
    /// By end: its machine has lost power since.
    var isForgotten = Ends(opener: false, acceptor: false)
    /// By sending end.
    var streams = Ends(opener: SimulatedStream(), acceptor: SimulatedStream())
    /// Bytes that one direction may hold.
    let window: Int
    /// By end: its process does not read at present.
    var isHeldBack = Ends(opener: false, acceptor: false)
    /// By end: nothing is taken at present, whatever its process wants.
    var isAsleep = Ends(opener: false, acceptor: false)

    init(_ key: LinkKey, from opener: Host, to acceptor: Host, _ service: Service, window: Int) {
        self.key = key
        self.opener = opener
        self.acceptor = acceptor
        self.service = service
        self.window = window
    }

    func host(_ end: LinkEnd) -> Host { end == .opener ? opener : acceptor }

    /// Bytes that an end may send without having to wait.
    func credit(_ end: LinkEnd) -> Int { max(window - streams[end].untaken - streams[end].backlog.count, 0) }
}
