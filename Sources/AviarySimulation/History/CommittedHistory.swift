internal import AviaryStorage
package import ZooKeeperProtocol

/// The transactions that were committed, in their one order, and the tree after each of them: what every reply, read,
/// event and replica is held against.
package struct CommittedHistory {
    package struct Entry: Sendable {
        package var txn: Txn
        /// Tells the very bytes from others with the same zxid.
        package var fingerprint: UInt64
        /// What whoever watches is told of, in order.
        package var events: [History.Event]
        /// Nothing says in which order: the end of a session that does not list its ephemerals
        /// (docs/protocol/client-protocol.md section 10.3).
        package var hasLooseEvents = false
        /// The tree's digest behind it.
        package var digest: UInt64
        package var zxid: Zxid { txn.header.zxid }
    }

    package struct Lifetime: Sendable {
        package var created: Zxid
        package var closed: Zxid?
        /// When that was committed, microseconds.
        package var closedAt: Int64?
        package var timeoutMilliseconds: Int32
    }

    package private(set) var entries: [Entry] = []
    package private(set) var tree: NaiveTree
    private var digest: UInt64
    private var versions: [String: [(zxid: Zxid, node: NaiveTree.Node?)]] = [:]
    /// Paths that ever were below a parent, in the order in which they came.
    private var paths: [String: [String]] = [:]
    package private(set) var sessions: [SessionID: Lifetime] = [:]
    private var bySession: [SessionID: [Int]] = [:]

    package init() {
        tree = NaiveTree()
        tree.restoreFreshTree()
        digest = tree.digest
        for path in tree.nodes.keys.sorted() { keepVersion(of: path, at: .zero) }
    }

    package var last: Zxid { entries.last?.zxid ?? .zero }

    /// How many transactions have a zxid up to this one.
    package func position(of zxid: Zxid) -> Int {
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].zxid <= zxid { low = middle + 1 } else { high = middle }
        }
        return low
    }

    package func entry(at zxid: Zxid) -> Entry? {
        let position = position(of: zxid)
        guard position > 0, entries[position - 1].zxid == zxid else { return nil }
        return entries[position - 1]
    }

    /// The tree's digest at a zxid.
    package func digest(at zxid: Zxid) -> UInt64 {
        let position = position(of: zxid)
        return position == 0 ? freshDigest : entries[position - 1].digest
    }

    private var freshDigest: UInt64 {
        var fresh = NaiveTree()
        fresh.restoreFreshTree()
        return fresh.digest
    }

    /// The transactions of a session, in order.
    package func entries(of session: SessionID) -> [Entry] { (bySession[session] ?? []).map { entries[$0] } }

    /// Adds the next transaction.
    ///
    /// - Parameter time: when it was seen to be committed, microseconds.
    package mutating func append(_ txn: Txn, fingerprint: UInt64, at time: Int64) throws(Violation) {
        let header = txn.header
        let follows = header.zxid == last.next && header.zxid.rawValue >> 32 == last.rawValue >> 32
        let begins = header.zxid.rawValue >> 32 > last.rawValue >> 32 && header.zxid.rawValue & 0xffff_ffff == 1
        guard follows || begins else {
            throw Violation(.notContiguous, "\(header.zxid) is committed behind \(last)")
        }
        let touched = CommittedHistory.touched(by: txn, in: tree)
        for path in touched { digest &-= CommittedHistory.digest(of: path, tree.nodes[path]) }
        let events = CommittedHistory.events(of: txn, in: tree)
        do throws(RestoreError) { try tree.replay(txn) } catch {
            throw Violation(.wrongTree, "\(header.zxid) cannot be applied: \(error)")
        }
        for path in touched {
            digest &+= CommittedHistory.digest(of: path, tree.nodes[path])
            keepVersion(of: path, at: header.zxid)
        }
        switch txn.body {
        case .createSession(let timeout):
            sessions[header.session] = Lifetime(created: header.zxid, timeoutMilliseconds: timeout)
        case .closeSession:
            // What is over already cannot end once more.
            if sessions[header.session]?.closed == nil {
                sessions[header.session]?.closed = header.zxid
                sessions[header.session]?.closedAt = time
            }
        case .error, .create, .delete, .setData, .setACL, .check, .multi:
            break
        }
        bySession[header.session, default: []].append(entries.count)
        var entry = Entry(txn: txn, fingerprint: fingerprint, events: events, digest: digest)
        if case .closeSession(nil) = txn.body { entry.hasLooseEvents = true }
        entries.append(entry)
    }

    private mutating func keepVersion(of path: String, at zxid: Zxid) {
        if versions[path] == nil, path != "" { paths[NaiveTree.parent(of: path), default: []].append(path) }
        versions[path, default: []].append((zxid, tree.nodes[path]))
    }

    // MARK: - The past

    /// A node as it was once a zxid was applied.
    package func node(_ path: String, at zxid: Zxid) -> NaiveTree.Node? {
        guard let list = versions[CommittedHistory.key(path)] else { return nil }
        var low = 0
        var high = list.count
        while low < high {
            let middle = (low + high) / 2
            if list[middle].zxid <= zxid { low = middle + 1 } else { high = middle }
        }
        return low == 0 ? nil : list[low - 1].node
    }

    /// A node as it was before a zxid was applied.
    package func node(_ path: String, before zxid: Zxid) -> NaiveTree.Node? {
        node(path, at: Zxid(zxid.rawValue - 1))
    }

    /// The names of the nodes below one, sorted.
    package func children(of path: String, at zxid: Zxid) -> [String] {
        let key = CommittedHistory.key(path)
        return (paths[key] ?? []).filter { node($0, at: zxid) != nil }.map { String($0.dropFirst(key.count + 1)) }
            .sorted()
    }

    /// Whether the table of sessions has one at a zxid.
    package func hasSession(_ session: SessionID, at zxid: Zxid) -> Bool {
        guard let lifetime = sessions[session], lifetime.created <= zxid else { return false }
        return lifetime.closed.map { $0 > zxid } ?? true
    }

    /// Whether the end of a session was committed by some time.
    package func isOver(_ session: SessionID, by time: Int64) -> Bool {
        sessions[session]?.closedAt.map { $0 <= time } ?? false
    }

    /// The whole tree at a zxid.
    package func tree(at zxid: Zxid) throws(Violation) -> NaiveTree {
        var tree = NaiveTree()
        tree.restoreFreshTree()
        for entry in entries.prefix(position(of: zxid)) {
            do throws(RestoreError) { try tree.replay(entry.txn) } catch {
                throw Violation(.wrongTree, "\(entry.zxid) cannot be applied: \(error)")
            }
        }
        return tree
    }

    // MARK: - One transaction

    /// Paths of the tree are "" for the root.
    static func key(_ path: String) -> String { path == "/" ? "" : path }

    private static func text(_ path: [UInt8]) -> String { String(decoding: path, as: UTF8.self) }

    private static func digest(of path: String, _ node: NaiveTree.Node?) -> UInt64 {
        guard let node, !path.hasPrefix("/zookeeper/") else { return 0 }
        return NaiveTree.digest(of: path, node)
    }

    private static func hasFailed(_ parts: [TxnBody]) -> Bool {
        parts.contains { if case .error = $0 { true } else { false } }
    }

    /// A multi of which a part has failed, and nothing was done therefore.
    static func hasFailed(_ body: TxnBody) -> Bool {
        if case .multi(let parts) = body { hasFailed(parts) } else { false }
    }

    /// Paths whose nodes may differ behind it.
    static func touched(by txn: Txn, in tree: NaiveTree) -> [String] {
        var paths: Set<String> = []
        func add(_ body: TxnBody) {
            switch body {
            case .createSession, .error, .check:
                break
            case .closeSession(let listed):
                var gone = (listed ?? []).map(text)
                gone += tree.nodes.filter { $0.value.stat.ephemeralOwner == txn.header.session.rawValue }.keys
                for path in gone {
                    paths.insert(path)
                    paths.insert(NaiveTree.parent(of: path))
                }
            case .create(let create):
                paths.insert(text(create.path))
                paths.insert(NaiveTree.parent(of: text(create.path)))
            case .delete(let path, _):
                paths.insert(text(path))
                paths.insert(NaiveTree.parent(of: text(path)))
            case .setData(let path, _, _, _), .setACL(let path, _, _):
                paths.insert(key(text(path)))
            case .multi(let parts):
                if !hasFailed(parts) { for part in parts { add(part) } }
            }
        }
        add(txn.body)
        return paths.sorted()
    }

    /// What watchers of anything would be told (docs/protocol/client-protocol.md section 10.3).
    static func events(of txn: Txn, in tree: NaiveTree) -> [History.Event] {
        let zxid = txn.header.zxid
        var events: [History.Event] = []
        func parent(of path: String) -> String {
            let parent = NaiveTree.parent(of: path)
            return parent == "" ? "/" : parent
        }
        func add(_ body: TxnBody) {
            switch body {
            case .createSession, .error, .check, .setACL:
                break
            case .closeSession(let listed):
                let listed = (listed ?? []).map(text)
                let left = tree.nodes.filter { $0.value.stat.ephemeralOwner == txn.header.session.rawValue }.keys
                    .sorted()
                for path in listed + left.filter({ !listed.contains($0) }) where tree.nodes[path] != nil {
                    events.append(History.Event(.nodeDeleted, path, zxid))
                    events.append(History.Event(.nodeChildrenChanged, parent(of: path), zxid))
                }
            case .create(let create):
                events.append(History.Event(.nodeCreated, text(create.path), zxid))
                events.append(History.Event(.nodeChildrenChanged, parent(of: text(create.path)), zxid))
            case .delete(let path, _):
                events.append(History.Event(.nodeDeleted, text(path), zxid))
                events.append(History.Event(.nodeChildrenChanged, parent(of: text(path)), zxid))
            case .setData(let path, _, _, _):
                events.append(History.Event(.nodeDataChanged, text(path), zxid))
            case .multi(let parts):
                if !hasFailed(parts) { for part in parts { add(part) } }
            }
        }
        add(txn.body)
        return events
    }
}
