internal import NIOCore
internal import ZooKeeperProtocol

/// What the election transport knows of one other server.
final class ElectionPeer {
    let id: ServerID
    /// Where its `server.N` line says it is; none for a server that no line names.
    var addresses: [NetworkAddress]
    /// Where it said itself that it is, when it asked to be connected to.
    var announced: [NetworkAddress] = []
    var isMember: Bool

    var connection: ElectionConnection?
    /// The system has not taken all of the last message yet.
    var isWriting = false
    /// The queue of capacity one: a newer message takes the place of one that was not sent.
    var pending: ByteBuffer?
    /// The last one that was sent or begun: a fresh connection begins with it if there is none newer.
    var last: ByteBuffer?

    var attempt: ConnectAttempt?
    var retry: Scheduled<Void>?
    /// How long to wait after an attempt that led to nothing, before chance is added.
    var backoff = ElectionPeer.shortestBackoff
    /// No attempt before this.
    var notBefore = NIODeadline.uptimeNanoseconds(0)
    /// What the owner of the transport was told last.
    var isUp: Bool?

    static let shortestBackoff = TimeAmount.milliseconds(100)
    static let longestBackoff = TimeAmount.seconds(1)

    init(id: ServerID, addresses: [NetworkAddress], isMember: Bool) {
        self.id = id
        self.addresses = addresses
        self.isMember = isMember
    }

    /// Where to connect to. Where the configuration says comes first: what a server says itself is right where it has
    /// moved, but many a server believes that it is `localhost`, and that would be us.
    var targets: [NetworkAddress] {
        addresses + announced.filter { !addresses.contains($0) }
    }

    /// After an attempt: the next one has to wait, half of that time at least and chance for the rest, so that servers that
    /// were started by one hand do not knock in step.
    func backOff() {
        let wait = backoff.nanoseconds
        notBefore = .now() + .nanoseconds(.random(in: wait / 2...wait))
        backoff = .nanoseconds(min(wait * 2, ElectionPeer.longestBackoff.nanoseconds))
    }

    func forgetBackoff() {
        backoff = ElectionPeer.shortestBackoff
        retry?.cancel()
        retry = nil
    }
}
