package import ZooKeeperProtocol

/// What a connection looks like to `cons` and `stat`.
package struct ConnectionStatus: Sendable {
    package let peer: PeerAddress
    /// `.none` before the handshake.
    package let session: SessionID
    package let outstanding: Int
    package let received: Int
    /// Replies and events.
    package let sent: Int
    package let lastOperation: String
    package let establishedWallMilliseconds: Int64
    package let timeoutMilliseconds: Int32
    /// −1: none yet; else the xid as 32 unsigned bits.
    package let lastCxid: Int64
    /// −1: none yet.
    package let lastZxid: Int64
    /// Monotonic.
    package let lastResponseMicroseconds: Int64
    package let lastLatencyMilliseconds: Int64
    package let latency: Summary
}

/// What is used and allowed below one top-level node. −1 is no limit.
package struct NamespaceQuota: Sendable {
    package let namespace: String
    package let bytesLimit: Int64
    package let countLimit: Int64
    package let bytesUsed: Int64
    package let countUsed: Int64
}

/// Looking in from outside: for four-letter words and metrics. Nothing here changes anything but counters.
extension ServerCore {
    // MARK: Connections

    package var connectionCount: Int { connections.count }

    /// Whether requests of this connection wait for something.
    package func isOutstanding(_ id: ConnectionID) -> Bool {
        connections[id].map { !$0.waiting.isEmpty } ?? false
    }

    /// A four-letter word came instead of a ConnectRequest: a packet like any other.
    package mutating func noteFourLetterWord(_ id: ConnectionID) {
        statistics.packetsReceived += 1
        connections[id]?.statistics.received += 1
    }

    /// In the order of slots.
    package func forEachConnection(_ body: (ConnectionID, ConnectionStatus) -> Void) {
        for connection in connections.all where connection.phase != .closed {
            let statistics = connection.statistics
            body(
                connection.id,
                ConnectionStatus(
                    peer: connection.peer,
                    session: connection.sessionID,
                    outstanding: connection.waiting.count,
                    received: statistics.received,
                    sent: statistics.sent,
                    lastOperation: statistics.lastOperation,
                    establishedWallMilliseconds: connection.establishedWallMilliseconds,
                    timeoutMilliseconds: connection.session?.timeoutMilliseconds ?? 0,
                    lastCxid: statistics.lastCxid,
                    lastZxid: statistics.lastZxid,
                    lastResponseMicroseconds: statistics.lastResponseMicroseconds,
                    lastLatencyMilliseconds: statistics.lastLatency,
                    latency: statistics.latency
                )
            )
        }
    }

    package mutating func resetConnectionStatistics() {
        for connection in connections.all { connection.statistics.reset() }
    }

    package mutating func resetStatistics() {
        statistics = ServerStatistics()
        traffic = NamespaceTraffic()
    }

    /// Connections by the time at which they end unless heard of, ascending.
    package func forEachConnectionDeadline(_ body: (_ deadlineMicroseconds: Int64, [ConnectionID]) -> Void) {
        var byDeadline: [Int64: [ConnectionID]] = [:]
        for connection in connections.all where connection.phase != .closed {
            let deadline = connection.session?.deadlineMilliseconds ?? connection.handshakeDeadlineMilliseconds
            byDeadline[deadline, default: []].append(connection.id)
        }
        for deadline in byDeadline.keys.sorted() { body(deadline * 1000, byDeadline[deadline] ?? []) }
    }

    package func session(of id: ConnectionID) -> SessionID {
        connections[id]?.sessionID ?? .none
    }

    package func peer(of id: ConnectionID) -> PeerAddress? {
        connections[id]?.peer
    }

    // MARK: Sessions and ephemerals

    /// All that this server knows, its local ones too.
    package var sessionCount: Int { sessions.count }
    package var localSessionCount: Int { sessions.localCount }
    package var globalSessionCount: Int { sessions.count - sessions.localCount }

    /// Ascending, each with its timeout: what a learner knows of the ensemble's sessions, whose ends are not its to tell.
    package func forEachGlobalSession(_ body: (SessionID, _ timeoutMilliseconds: Int32) -> Void) {
        for session in sessions.sessions.values.sorted(by: { $0.id.rawValue < $1.id.rawValue }) where !session.isLocal {
            body(session.id, session.timeoutMilliseconds)
        }
    }

    /// Syncs of clients and learners that wait for a quorum, or for what was in flight.
    package var pendingSyncCount: Int { obligations.syncs.count }

    /// Sessions that this server ends by the time at which it does unless it hears of them, ascending.
    package func forEachSessionBucket(_ body: (_ deadlineMicroseconds: Int64, [SessionID]) -> Void) {
        var byDeadline: [Int64: [SessionID]] = [:]
        for session in sessions.sessions.values where endsSessions || session.isLocal {
            byDeadline[session.deadlineMilliseconds, default: []].append(session.id)
        }
        for deadline in byDeadline.keys.sorted() {
            body(deadline * 1000, (byDeadline[deadline] ?? []).sorted { $0.rawValue < $1.rawValue })
        }
    }

    package var ephemeralCount: Int { tree.owners.ephemeralCount }

    /// Ascending by session.
    package func forEachEphemeralOwner(_ body: (SessionID, [[UInt8]]) -> Void) {
        for owner in tree.owners.ephemerals.keys.sorted(by: { $0.rawValue < $1.rawValue }) {
            var paths: [[UInt8]] = []
            var handle = tree.owners.firstEphemeral(of: owner)
            while handle != none {
                paths.append([UInt8](tree.nodes[handle].path))
                handle = tree.nodes[handle].nextOwned
            }
            body(owner, paths)
        }
    }

    // MARK: Watches

    /// As `mntr` counts them: persistent and recursive ones twice.
    package var watchCount: Int { watches.tableEntryCount }

    /// As `wchs` counts them: without child watches.
    package func watchSummary() -> (connections: Int, paths: Int, watches: Int) {
        var paths: Set<[UInt8]> = []
        var count = 0
        for connection in connections.all {
            var has = false
            forEachDataWatch(connection) { path in
                paths.insert(path)
                has = true
            }
            if has { count += 1 }
        }
        return (count, paths.count, watches.dataTableCount)
    }

    private func forEachDataWatch(_ connection: ClientConnection, _ body: ([UInt8]) -> Void) {
        watches.forEach(ofConnection: connection.id.slot) { path, kinds in
            if !kinds.subtracting(.child).isEmpty { body([UInt8](path)) }
        }
    }

    package func forEachWatchingSession(_ body: (SessionID, [[UInt8]]) -> Void) {
        for connection in connections.all where connection.phase != .closed {
            var paths: [[UInt8]] = []
            forEachDataWatch(connection) { paths.append($0) }
            if !paths.isEmpty { body(connection.sessionID, paths) }
        }
    }

    package func forEachWatchedPath(_ body: ([UInt8], [SessionID]) -> Void) {
        var order: [[UInt8]] = []
        var watchers: [[UInt8]: [SessionID]] = [:]
        for connection in connections.all where connection.phase != .closed {
            forEachDataWatch(connection) { path in
                if watchers[path] == nil { order.append(path) }
                watchers[path, default: []].append(connection.sessionID)
            }
        }
        for path in order { body(path, watchers[path] ?? []) }
    }

    // MARK: Tree

    /// As `srvr` counts them: the root has two names.
    package var nodeCount: Int { tree.count + 1 }
    package var approximateDataSize: Int64 { Int64(tree.approximateDataSize) }
    package var treeDigest: UInt64 { tree.digest }

    /// Bytes read and written below each top-level node that was asked for, in the order in which they came up.
    package func forEachNamespaceTraffic(_ body: (_ namespace: String, _ read: Summary, _ write: Summary) -> Void) {
        for entry in traffic.entries { body(String(decoding: entry.name, as: UTF8.self), entry.read, entry.write) }
    }

    package func forEachNamespaceQuota(_ body: (NamespaceQuota) -> Void) {
        for path in quotas.paths.sorted(by: { $0.lexicographicallyPrecedes($1) }) {
            guard path.lastIndex(of: UInt8(ascii: "/")) == 0 else { continue }
            let limits = QuotaNumbers(limits: tree.data(at: QuotaIndex.limitsPath(path)) ?? [])
            let used = QuotaNumbers(usage: tree.data(at: QuotaIndex.statsPath(path)) ?? [])
            body(
                NamespaceQuota(
                    namespace: String(decoding: path.dropFirst(), as: UTF8.self),
                    bytesLimit: limits.bytesHard > -1 ? limits.bytesHard : limits.bytes,
                    countLimit: limits.countHard > -1 ? limits.countHard : limits.count,
                    bytesUsed: used.bytes,
                    countUsed: used.count
                )
            )
        }
    }
}
