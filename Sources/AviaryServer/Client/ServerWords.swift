internal import AviaryCore
internal import ZooKeeperProtocol

// srvr, stat, cons, dump, hash: the server, its connections and its sessions.

extension ServerLoop {
    func addServerStatus(to text: inout StatusText, listsClients: Bool) {
        text.line("Zookeeper version: \(BuildInfo.zooKeeperVersion)")
        if core.role == .readOnly { text.line("READ-ONLY mode; serving only read-only clients") }
        if listsClients {
            text.line("Clients:")
            core.forEachConnection { id, status in
                text.line("\(briefLine(id, status)))")
            }
            text.line()
        }
        let statistics = core.statistics
        let latency = statistics.latency
        text.line("Latency min/avg/max: \(latency.min)/\(JavaNumber.rounded(latency.average))/\(latency.max)")
        text.line("Received: \(statistics.packetsReceived)")
        text.line("Sent: \(statistics.packetsSent)")
        text.line("Connections: \(core.connectionCount)")
        text.line("Outstanding: \(core.outstandingRequests)")
        text.line("Zxid: \(core.lastProcessedZxid)")
        text.line("Mode: \(core.role.modeName ?? "looking")")
        text.line("Node count: \(core.nodeCount)")
        if core.role == .leader {
            let sizes = [statistics.lastProposalBytes, statistics.minProposalBytes, statistics.maxProposalBytes]
            text.line("Proposal sizes last/min/max: \(sizes.map { "\($0)" }.joined(separator: "/"))")
        }
    }

    func addConnections(to text: inout StatusText) {
        core.forEachConnection { id, status in
            var line = briefLine(id, status)
            if status.session != .none {
                line += ",sid=\(status.session),lop=\(status.lastOperation)"
                line += ",est=\(status.establishedWallMilliseconds),to=\(status.timeoutMilliseconds)"
                if status.lastCxid >= 0 { line += ",lcxid=0x\(String(status.lastCxid, radix: 16))" }
                line += ",lzxid=0x\(String(UInt64(bitPattern: status.lastZxid), radix: 16))"
                line += ",lresp=\(status.lastResponseMicroseconds / 1000),llat=\(status.lastLatencyMilliseconds)"
                line += ",minlat=\(status.latency.min),avglat=\(Int64(status.latency.average))"
                line += ",maxlat=\(status.latency.max)"
            }
            text.line("\(line))")
        }
        text.line()
    }

    /// Without the closing parenthesis.
    private func briefLine(_ id: ConnectionID, _ status: ConnectionStatus) -> String {
        let peer = Peer.join(status.peer.text, status.peer.port)
        let interest = String(handler(of: id)?.interest ?? 0, radix: 16)
        return " /\(peer)[\(interest)](queued=\(status.outstanding),recved=\(status.received),sent=\(status.sent)"
    }

    func addDump(to text: inout StatusText) {
        text.line("SessionTracker dump:")
        addSessions(to: &text)

        text.line("ephemeral nodes dump:")
        var owners: [(session: SessionID, paths: [[UInt8]])] = []
        core.forEachEphemeralOwner { owners.append(($0, $1)) }
        text.line("Sessions with Ephemerals (\(owners.count)):")
        for owner in owners {
            text.line("\(owner.session):")
            for path in owner.paths { text.line("\t", path: path) }
        }

        text.line("Connections dump:")
        var sets: [(deadline: Int64, connections: [ConnectionID])] = []
        core.forEachConnectionDeadline { sets.append(($0, $1)) }
        text.line("Connections Sets (\(sets.count))/(\(core.connectionCount)):")
        for set in sets {
            text.line("\(set.connections.count) expire at \(date(of: set.deadline)):")
            for id in set.connections {
                guard let peer = core.peer(of: id) else { continue }
                text.line("\tip: /\(Peer.join(peer.text, peer.port)) sessionId: \(core.session(of: id))")
            }
        }
    }

    private func addSessions(to text: inout StatusText) {
        var buckets: [(deadline: Int64, sessions: [SessionID])] = []
        core.forEachSessionBucket { buckets.append(($0, $1)) }
        let count = buckets.reduce(0) { $0 + $1.sessions.count }
        let sets = "Session Sets (\(buckets.count))/(\(count)):"
        switch core.role {
        case .standalone, .leader, .looking:
            text.line(sets)
        case .learner, .readOnly:
            // When the ensemble's sessions end is the leader's to say.
            if core.localSessionCount > 0 { text.line("Local " + sets) }
        }
        for bucket in buckets {
            text.line("\(bucket.sessions.count) expire at \(date(of: bucket.deadline)):")
            for session in bucket.sessions { text.line("\t\(session)") }
        }
        guard case .learner = core.role else { return }
        text.line("Global Sessions(\(core.globalSessionCount)):")
        core.forEachGlobalSession { text.line("\($0)\t\($1)ms") }
    }

    func addDigests(to text: inout StatusText) {
        for entry in core.digestLog.entries {
            text.line("\(entry.zxid.hex): \(Int64(bitPattern: entry.digest))")
        }
    }

    private func date(of deadlineMicroseconds: Int64) -> String {
        let left = (deadlineMicroseconds - now.monotonicMicroseconds) / 1000
        return CalendarText.java(wallMilliseconds: now.wallMilliseconds + left)
    }
}
