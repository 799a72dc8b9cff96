package import ZooKeeperProtocol

/// What clients did and were told, in the order in which it happened to them: the only thing that a black-box tester sees.
///
/// A position in `entries` is a moment: of two entries the earlier one happened first, in real time.
package struct History: Sendable {
    package struct Operation: Sendable {
        package var client: Int
        package var session: SessionID
        /// Counts the connections of a session, from 1 on.
        package var connection: Int
        package var xid: Int32
        package var request: Request
        /// The position of its invocation.
        package var invoked: Int
        package var reply: Reply?
        /// Where the connection ended without a reply: it may have happened, or happen yet.
        package var lost: Int?
    }

    package struct Reply: Sendable {
        package var position: Int
        package var zxid: Zxid
        package var error: ErrorCode
        package var answer: Answer
    }

    package struct Event: Hashable, Sendable {
        package var kind: WatcherEvent.Kind
        package var path: String
        /// −1 when it is about what was missed between two connections.
        package var zxid: Zxid

        package init(_ kind: WatcherEvent.Kind, _ path: String, _ zxid: Zxid) {
            self.kind = kind
            self.path = path
            self.zxid = zxid
        }
    }

    package enum Entry: Sendable {
        /// By index in `operations`.
        case invoked(Int)
        case replied(Int)
        case lost(Int)
        case event(client: Int, session: SessionID, Event)
        /// A session is begun, or taken up again.
        case attached(
            client: Int,
            session: SessionID,
            connection: Int,
            server: Int,
            isNew: Bool,
            timeoutMilliseconds: Int32
        )
        case detached(client: Int, session: SessionID)
        /// The server said that the session is over.
        case expired(client: Int, session: SessionID)
    }

    package private(set) var entries: [Entry] = []
    /// Microseconds of virtual time, by position.
    package private(set) var times: [Int64] = []
    package private(set) var operations: [Operation] = []
    /// Servers that refuse writes because their disk is full, and since when.
    private var refusing: [Int64: Int64] = [:]
    private var refusals: [ClosedRange<Int64>] = []

    package init() {}

    private mutating func add(_ entry: Entry, at time: Int64) -> Int {
        entries.append(entry)
        times.append(time)
        return entries.count - 1
    }

    /// A server's disk is full, or has room again. What it refuses leaves no trace but the reply.
    package mutating func refusesWrites(_ isRefusing: Bool, _ server: Int64, at time: Int64) {
        if isRefusing {
            if refusing[server] == nil { refusing[server] = time }
        } else if let since = refusing.removeValue(forKey: server) {
            refusals.append(since...time)
        }
    }

    /// Whether a disk was full while an operation was under way, so that it may have been refused without a transaction.
    package func mayBeRefused(_ operation: Operation) -> Bool {
        let invoked = times[operation.invoked]
        let end = (operation.reply?.position ?? operation.lost).map { times[$0] } ?? .max
        return refusals.contains { $0.lowerBound <= end && $0.upperBound >= invoked }
            || refusing.values.contains { $0 <= end }
    }

    /// - Returns: the operation's index.
    package mutating func invoke(
        _ request: Request,
        client: Int,
        session: SessionID,
        connection: Int = 1,
        xid: Int32,
        at time: Int64
    ) -> Int {
        let index = operations.count
        let position = add(.invoked(index), at: time)
        operations.append(
            Operation(
                client: client,
                session: session,
                connection: connection,
                xid: xid,
                request: request,
                invoked: position
            )
        )
        return index
    }

    package mutating func reply(
        to index: Int,
        zxid: Zxid,
        error: ErrorCode = .ok,
        _ answer: Answer = .nothing,
        at time: Int64
    ) {
        let position = add(.replied(index), at: time)
        operations[index].reply = Reply(position: position, zxid: zxid, error: error, answer: answer)
    }

    package mutating func lose(_ index: Int, at time: Int64) {
        operations[index].lost = add(.lost(index), at: time)
    }

    package mutating func event(client: Int, session: SessionID, _ event: Event, at time: Int64) {
        _ = add(.event(client: client, session: session, event), at: time)
    }

    package mutating func attach(
        client: Int,
        session: SessionID,
        connection: Int = 1,
        server: Int = 1,
        isNew: Bool = true,
        timeoutMilliseconds: Int32 = 10_000,
        at time: Int64
    ) {
        _ = add(
            .attached(
                client: client,
                session: session,
                connection: connection,
                server: server,
                isNew: isNew,
                timeoutMilliseconds: timeoutMilliseconds
            ),
            at: time
        )
    }

    package mutating func detach(client: Int, session: SessionID, at time: Int64) {
        _ = add(.detached(client: client, session: session), at: time)
    }

    package mutating func expire(client: Int, session: SessionID, at time: Int64) {
        _ = add(.expired(client: client, session: session), at: time)
    }
}

extension History {
    /// What clients asked for and were told, in words.
    package func tell(_ narrator: (String) -> Void) {
        for (entry, time) in zip(entries, times) {
            let at = "\(time / 1000).\(time % 1000 / 100) ms  "
            switch entry {
            case .invoked(let index):
                let operation = operations[index]
                narrator("\(at)\(name(operation)) asks for \(operation.request)")
            case .replied(let index):
                guard let reply = operations[index].reply else { continue }
                narrator("\(at)\(name(operations[index])) is told \(reply.error) at \(reply.zxid)")
            case .lost(let index):
                narrator("\(at)\(name(operations[index])) is lost")
            case .event(let client, _, let event):
                narrator("\(at)client \(client) hears of \(event.kind) \(event.path) at \(event.zxid)")
            case .attached(let client, let session, let connection, let server, let isNew, _):
                let how = isNew ? "begins" : "takes up"
                narrator("\(at)client \(client) \(how) \(session) at server \(server), connection \(connection)")
            case .detached(let client, let session):
                narrator("\(at)client \(client) is cut off, session \(session)")
            case .expired(let client, let session):
                narrator("\(at)client \(client) is told that \(session) is over")
            }
        }
    }

    private func name(_ operation: Operation) -> String { "\(operation.session) xid \(operation.xid)" }
}
