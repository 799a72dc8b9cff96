package import ZooKeeperProtocol

/// The election connections of one simulated server: one between each pair of servers, and of each peer the newest message
/// that has not left (docs/protocol/quorum-protocol.md section 4).
///
/// Who has the smaller id opens a connection only to be called back. Nothing waits for anybody: a message for a peer that
/// cannot be reached is replaced by the next one.
package final class ElectionTransport {
    package enum News: Sendable {
        /// A message came: what stands behind its length.
        case message([UInt8], from: Int64)
        /// There is a connection to a peer, or there is none and an attempt failed.
        case link(Int64, isUp: Bool)
    }

    private struct Peer {
        var host: Host
        var link: LinkKey?
        /// A connection that is being made.
        var attempt: LinkKey?
        var attemptEnds: Int64 = 0
        var waiting: [UInt8]?
        var last: [UInt8]?
    }

    /// What has come on a connection and is not a whole message yet.
    private struct Incoming {
        var end: LinkEnd
        /// 0 until it has said who it is.
        var peer: Int64 = 0
        var bytes: [UInt8] = []
    }

    private let me: Int64
    private let network: SimulatedNetwork
    private let host: Host
    private var peers: [Int64: Peer] = [:]
    private var incoming: [LinkKey: Incoming] = [:]

    package var news: [News] = []

    /// Microseconds that connecting may take.
    private static let patience: Int64 = 5_000_000
    private static let version: Int64 = -65536
    private static let maximumMessageBytes = 512 << 10

    package init(me: Int64, host: Host, network: SimulatedNetwork, peers: [(id: Int64, host: Host)]) {
        self.me = me
        self.host = host
        self.network = network
        for peer in peers where peer.id != me { self.peers[peer.id] = Peer(host: peer.host) }
    }

    /// - Parameter message: as on the wire, with its length.
    package func send(_ message: [UInt8], to id: Int64, at now: Int64) {
        guard let peer = peers[id] else { return }
        if let link = peer.link {
            peers[id]?.last = message
            network.send(message, on: link, from: end(of: link))
        } else {
            peers[id]?.waiting = message
            connect(to: id, at: now)
        }
    }

    package func connectAll(at now: Int64) {
        for id in peers.keys.sorted() { connect(to: id, at: now) }
    }

    private func connect(to id: Int64, at now: Int64) {
        guard let peer = peers[id], peer.link == nil, peer.attempt == nil else { return }
        peers[id]?.attempt = network.connect(from: host, to: peer.host, .election)
        peers[id]?.attemptEnds = now + ElectionTransport.patience
    }

    /// When `advance` is to be called next.
    package var nextDeadline: Int64 {
        peers.values.lazy.filter { $0.attempt != nil }.map(\.attemptEnds).min() ?? .max
    }

    package func advance(to now: Int64) {
        for (id, peer) in peers.sorted(by: { $0.key < $1.key }) {
            guard let attempt = peer.attempt, peer.attemptEnds <= now else { continue }
            peers[id]?.attempt = nil
            network.close(attempt, .opener)
            if peer.link == nil { news.append(.link(id, isUp: false)) }
        }
    }

    /// In words, for whoever has to find out.
    package var description: String {
        peers.sorted { $0.key < $1.key }.map { id, peer in
            "\(id): link \(peer.link?.rawValue ?? 0), attempt \(peer.attempt?.rawValue ?? 0)"
        }.joined(separator: "; ")
    }

    // MARK: - What the network says

    /// - Returns: false when it is not about an election connection.
    package func take(_ event: LinkNews, at now: Int64) -> Bool {
        switch event {
        case .accepted(let key, .election, _):
            incoming[key] = Incoming(end: .acceptor)
        case .connected(let key):
            guard let id = peers.first(where: { $0.value.attempt == key })?.key else { return false }
            connected(key, to: id)
        case .refused(let key):
            guard let id = peers.first(where: { $0.value.attempt == key })?.key else { return false }
            peers[id]?.attempt = nil
            if peers[id]?.link == nil { news.append(.link(id, isUp: false)) }
        case .received(let key, let bytes):
            guard incoming[key] != nil else { return false }
            incoming[key]?.bytes += bytes
            read(key, at: now)
        case .closed(let key):
            guard let gone = incoming.removeValue(forKey: key) else {
                guard let id = peers.first(where: { $0.value.attempt == key })?.key else { return false }
                peers[id]?.attempt = nil
                if peers[id]?.link == nil { news.append(.link(id, isUp: false)) }
                return true
            }
            guard peers[gone.peer]?.link == key else { return true }
            peers[gone.peer]?.link = nil
            news.append(.link(gone.peer, isUp: false))
        case .writable(let key, _):
            return incoming[key] != nil
        case .accepted:
            return false
        }
        return true
    }

    private func connected(_ key: LinkKey, to id: Int64) {
        peers[id]?.attempt = nil
        network.send(greeting(), on: key, from: .opener)
        guard me > id else { return network.close(key, .opener) }
        incoming[key] = Incoming(end: .opener, peer: id)
        adopt(key, of: id)
    }

    private func greeting() -> [UInt8] {
        var writer = JuteWriter()
        writer.int64(ElectionTransport.version)
        writer.int64(me)
        writer.string("server-\(me):3888")
        return writer.copy()
    }

    /// A connection is the one between two servers from now on; one that there was before goes.
    private func adopt(_ key: LinkKey, of id: Int64) {
        drop(id)
        peers[id]?.link = key
        news.append(.link(id, isUp: true))
        // What was sent last may have been lost with the connection before.
        guard let message = peers[id]?.waiting ?? peers[id]?.last else { return }
        peers[id]?.waiting = nil
        peers[id]?.last = message
        network.send(message, on: key, from: end(of: key))
    }

    private func drop(_ id: Int64) {
        guard let old = peers[id]?.link else { return }
        peers[id]?.link = nil
        network.close(old, end(of: old))
        incoming[old] = nil
    }

    private func end(of key: LinkKey) -> LinkEnd { incoming[key]?.end ?? .opener }

    private func read(_ key: LinkKey, at now: Int64) {
        if incoming[key]?.peer == 0 {
            guard readGreeting(key, at: now) else { return }
        }
        while let state = incoming[key] {
            guard state.bytes.count >= 4 else { return }
            let length = state.bytes.withUnsafeBytes { Int(Int32(bigEndian: $0.loadUnaligned(as: Int32.self))) }
            guard length > 0, length <= ElectionTransport.maximumMessageBytes else { return close(key) }
            guard state.bytes.count >= 4 + length else { return }
            incoming[key]?.bytes.removeFirst(4 + length)
            news.append(.message(Array(state.bytes[4..<4 + length]), from: state.peer))
        }
    }

    /// - Returns: whether messages follow.
    private func readGreeting(_ key: LinkKey, at now: Int64) -> Bool {
        guard let bytes = incoming[key]?.bytes else { return false }
        var id: Int64 = 0
        var size = 0
        let isWhole = bytes.withUnsafeBytes { bytes in
            var reader = JuteReader(bytes)
            guard (try? reader.int64()) == ElectionTransport.version, let sender = try? reader.int64(),
                (try? reader.string()) != nil
            else { return false }
            id = sender
            size = bytes.count - reader.remaining
            return true
        }
        guard isWhole else { return false }
        incoming[key]?.bytes.removeFirst(size)
        guard peers[id] != nil, id > me else {
            // It has to be called back: what there was is gone, or it would not call.
            close(key)
            guard peers[id] != nil else { return false }
            let hadLink = peers[id]?.link != nil
            drop(id)
            if hadLink { news.append(.link(id, isUp: false)) }
            connect(to: id, at: now)
            return false
        }
        incoming[key]?.peer = id
        adopt(key, of: id)
        return true
    }

    private func close(_ key: LinkKey) {
        guard let state = incoming.removeValue(forKey: key) else { return }
        network.close(key, state.end)
        guard peers[state.peer]?.link == key else { return }
        peers[state.peer]?.link = nil
        news.append(.link(state.peer, isUp: false))
    }
}
