package import ZooKeeperProtocol

/// Whoever watches is told: of everything, once, in order, and before any reply that shows it (P7 a to e).
///
/// Follows each connection as its server must: transactions in order, each with the events that it means for what is
/// watched at that moment. What a client received must be exactly that, and all of it up to the zxid of a reply before that
/// reply.
package enum WatchCheck {
    package static func check(_ history: History, _ committed: CommittedHistory) throws(Violation) {
        var watchers: [Int: Watcher] = [:]
        for (position, entry) in history.entries.enumerated() {
            switch entry {
            case .attached(let client, let session, _, _, _, _):
                watchers[client] = Watcher(session: session)
            case .detached(let client, _), .expired(let client, _):
                watchers[client] = nil
            case .event(let client, _, let event):
                try watchers[client]?.hear(event, committed)
            case .replied(let index):
                let operation = history.operations[index]
                guard let reply = operation.reply, reply.position == position else { continue }
                try watchers[operation.client]?.hear(reply, to: operation.request, committed)
            case .invoked, .lost:
                break
            }
        }
    }
}

/// One connection, and what is watched on it.
private struct Watcher {
    enum Kind: Hashable { case data, exist, child, persistent, recursive }

    struct Watch: Hashable {
        var path: String
        var kind: Kind
    }

    let session: SessionID
    private var watches: Set<Watch> = []
    /// How many transactions are done with.
    private var cursor = 0
    /// What the transaction at the cursor still has to be told of.
    private var due: [History.Event] = []
    /// Whether the events of the transaction at the cursor are in `due`.
    private var isInside = false
    /// Events about what was missed, before the reply that they belong to.
    private var caughtUp: [History.Event] = []

    init(session: SessionID) { self.session = session }

    mutating func hear(_ event: History.Event, _ committed: CommittedHistory) throws(Violation) {
        guard event.zxid.rawValue > 0 else { return caughtUp.append(event) }
        try advance(before: event.zxid, committed)
        guard cursor < committed.entries.count, committed.entries[cursor].zxid == event.zxid else {
            throw Violation(
                .wrongEvent,
                "\(session) was told of \(event.kind) \(event.path) at \(event.zxid), which is over or none"
            )
        }
        if !isInside { enter(committed.entries[cursor]) }
        let isLoose = committed.entries[cursor].hasLooseEvents
        guard let place = isLoose ? due.firstIndex(of: event) : due.first == event ? 0 : nil else {
            let expected = due.first.map { "\($0.kind) \($0.path)" } ?? "nothing"
            throw Violation(
                .wrongEvent,
                "\(session) was told of \(event.kind) \(event.path) at \(event.zxid), expected \(expected)"
            )
        }
        due.remove(at: place)
    }

    mutating func hear(
        _ reply: History.Reply,
        to request: Request,
        _ committed: CommittedHistory
    ) throws(Violation) {
        guard reply.zxid.rawValue > 0 else { return }
        try advance(before: Zxid(reply.zxid.rawValue + 1), committed)
        if case .setWatches(let asked) = request {
            guard reply.error == .ok else { return }
            return try rearm(asked, at: reply.zxid, committed)
        }
        switch (request, reply.error) {
        case (.getData(let path, true), .ok), (.exists(let path, true), .ok): watch(path, .data)
        case (.exists(let path, true), .noNode): watch(path, .exist)
        case (.getChildren(let path, true), .ok): watch(path, .child)
        case (.addWatch(let path, let isRecursive), .ok): watch(path, isRecursive ? .recursive : .persistent)
        default: break
        }
    }

    private mutating func watch(_ path: String, _ kind: Kind) { watches.insert(Watch(path: path, kind: kind)) }

    /// Passes transactions by: nothing may be left to tell of them.
    private mutating func advance(before zxid: Zxid, _ committed: CommittedHistory) throws(Violation) {
        if watches.isEmpty, !isInside {
            cursor = max(cursor, committed.position(of: Zxid(zxid.rawValue - 1)))
            return
        }
        while cursor < committed.entries.count, committed.entries[cursor].zxid < zxid {
            let entry = committed.entries[cursor]
            if !isInside { enter(entry) }
            if let missed = due.first {
                throw Violation(
                    .missedEvent,
                    "\(session) was not told of \(missed.kind) \(missed.path) at \(missed.zxid), before \(zxid)"
                )
            }
            isInside = false
            cursor += 1
        }
    }

    private mutating func enter(_ entry: CommittedHistory.Entry) {
        isInside = true
        due = entry.events.filter { fire($0) }
    }

    /// Whether an event concerns what is watched here; what is watched once is used up by it.
    private mutating func fire(_ event: History.Event) -> Bool {
        var isWatched = false
        func used(_ kinds: [Kind]) {
            for kind in kinds where watches.remove(Watch(path: event.path, kind: kind)) != nil { isWatched = true }
        }
        func kept(_ path: String, _ kind: Kind) {
            if watches.contains(Watch(path: path, kind: kind)) { isWatched = true }
        }
        switch event.kind {
        case .nodeCreated, .nodeDataChanged: used([.data, .exist])
        case .nodeDeleted: used([.data, .exist, .child])
        case .nodeChildrenChanged: used([.child])
        }
        kept(event.path, .persistent)
        if event.kind != .nodeChildrenChanged {
            var path = event.path
            while path != "" {
                kept(path, .recursive)
                path = NaiveTree.parent(of: path)
            }
            kept("/", .recursive)
        }
        return isWatched
    }

    /// What was missed between two connections comes before the reply (P7 e).
    private mutating func rearm(
        _ asked: Request.Watches,
        at zxid: Zxid,
        _ committed: CommittedHistory
    ) throws(Violation) {
        var expected: [History.Event] = []
        func look(_ paths: [String], _ kind: Kind, _ missed: (NaiveTree.Node?) -> WatcherEvent.Kind?) {
            for path in paths {
                if let event = missed(committed.node(path, at: zxid)) {
                    expected.append(History.Event(event, path, Zxid(-1)))
                } else {
                    watch(path, kind)
                }
            }
        }
        look(asked.data, .data) { node in
            guard let node else { return .nodeDeleted }
            return node.stat.mzxid > asked.relative ? .nodeDataChanged : nil
        }
        look(asked.exist, .exist) { node in node == nil ? nil : .nodeCreated }
        look(asked.child, .child) { node in
            guard let node else { return .nodeDeleted }
            return node.stat.pzxid > asked.relative ? .nodeChildrenChanged : nil
        }
        for path in asked.persistent { watch(path, .persistent) }
        for path in asked.recursive { watch(path, .recursive) }
        let told = caughtUp
        caughtUp = []
        if let missed = expected.first(where: { !told.contains($0) }) {
            throw Violation(
                .missedEvent,
                "\(session) missed \(missed.kind) \(missed.path) behind \(asked.relative) and was not told, at \(zxid)"
            )
        }
        guard told == expected else {
            throw Violation(.wrongEvent, "\(session) was told \(told) of what it missed, expected \(expected)")
        }
    }
}
