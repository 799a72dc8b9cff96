/// A machine on the simulated network: servers and clients alike.
package struct Host: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let rawValue: Int

    package init(_ rawValue: Int) { self.rawValue = rawValue }

    package static func < (left: Host, right: Host) -> Bool { left.rawValue < right.rawValue }

    package var description: String { "host \(rawValue)" }
}

/// What a server listens for.
package enum Service: Int, Sendable {
    case client, quorum, election
}

/// Names a simulated TCP connection.
package struct LinkKey: Hashable, Comparable, Sendable {
    package let rawValue: Int

    package init(_ rawValue: Int) { self.rawValue = rawValue }

    package static func < (left: LinkKey, right: LinkKey) -> Bool { left.rawValue < right.rawValue }
}

/// One of the two ends of a connection.
package enum LinkEnd: Int, Sendable {
    /// Who connected.
    case opener
    /// Who listened.
    case acceptor

    package var other: LinkEnd { self == .opener ? .acceptor : .opener }
}

/// Something of each end of a connection.
struct Ends<Value> {
    var opener: Value
    var acceptor: Value

    subscript(_ end: LinkEnd) -> Value {
        get { end == .opener ? opener : acceptor }
        _modify {
            if end == .opener { yield &opener } else { yield &acceptor }
        }
    }
}

/// What the network will do at some moment; whoever owns the clock hands it back then.
package enum NetworkEvent: Sendable {
    /// A step of the three-way handshake arrives: 0 the SYN, 1 its answer, 2 the answer to that.
    case handshake(LinkKey, step: Int)
    /// The oldest bytes on their way to an end arrive.
    case arrival(LinkKey, at: LinkEnd)
    /// An end hears that so many of the bytes that it sent are taken.
    case taken(LinkKey, from: LinkEnd, bytes: Int)
}

/// What a process hears from the network.
package enum LinkNews: Sendable {
    case accepted(LinkKey, Service, from: Host)
    case connected(LinkKey)
    /// Nobody listens there.
    case refused(LinkKey)
    case received(LinkKey, [UInt8])
    /// The other end is gone. Nothing more comes.
    case closed(LinkKey)
    /// More may be sent.
    case writable(LinkKey, bytes: Int)
}
