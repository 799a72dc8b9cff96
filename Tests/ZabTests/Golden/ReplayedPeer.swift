import Testing
import ZooKeeperProtocol

@testable import Zab

/// Our `Peer` in the place of a recorded server: leader, learner, or master of observers.
///
/// What others sent it is its input, in recorded order. What the recorded server sent, it must have sent as well, in the
/// order of each connection. Its disk and its core are as late as that allows: they do nothing before the recorded server
/// could not have said its next packet without them (`Surroundings.swift`).
///
/// PINGs from leaders are no part of that: they may stand anywhere. Those that nobody recorded are answered at once.
final class ReplayedPeer {
    let me: ServerID
    private(set) var peer: Peer
    private var output = ZabOutput()
    /// Microseconds, as in `Recording.Line`.
    private(set) var time: Int64
    private(set) var warnings: [String] = []

    // MARK: Connections

    /// By the name that the recording gives them.
    private var links: [String: LinkID] = [:]
    /// The one to the leader, while this server follows.
    private(set) var upstream: LinkID?
    private var acceptedLinks: UInt64 = 0
    /// Packets that nobody has compared yet.
    private var sent: [LinkID: [[UInt8]]] = [:]
    private var upToDate: Set<LinkID> = []
    /// Snapshots that the shell has begun to send.
    private var streamed: [LinkID: Zxid] = [:]
    private var replies: [(link: LinkID, packet: [UInt8])] = []
    /// A follower whose packets were not recorded.
    var unrecorded: UnrecordedFollower?
    /// What it says otherwise than the recorded server.
    var exceptions: [DialogueException] = []
    private var excepted: Set<String> = []

    // MARK: What is not answered yet

    var owed: [ZabStorageOrder] = []
    var readings: [LinkID: HistoryRequest] = [:]
    /// A leader's snapshot that has arrived.
    var arrived: Zxid?
    /// The log on disk.
    var log: [Record]
    /// What the core has heard since the last input.
    private var heard: [Upcall] = []
    /// Sessions that observers have told this master of, since its leader last asked.
    var touches: [SessionTouch] = []

    init(
        options: PeerOptions,
        configuration: QuorumConfiguration,
        durable: DurableState,
        log: [Record] = [],
        time: Int64
    ) {
        me = options.me
        self.time = time
        self.log = log
        peer = Peer(
            options: options,
            configuration: configuration,
            durable: durable,
            lastProcessed: durable.lastZxid,
            seed: 1,
            now: Now(wallMilliseconds: 0, monotonicMicroseconds: time)
        )
        input { $0.start(at: $1, into: &$2) }
    }

    /// The election is over.
    func elect(_ leader: ServerID) {
        input { peer, _, output in
            let zxid = peer.history.logged
            let epoch = peer.state.durable.currentEpoch
            peer.election.settle(on: Vote(leader: leader, zxid: zxid, peerEpoch: epoch, round: 1))
            peer.takeRole(into: &output)
        }
    }

    var committed: Zxid { peer.committed }
    var leader: ServerID? { peer.leader }
    var mayPropose: Bool { peer.mayPropose }
    var lastProposed: Zxid { peer.history.last }

    // MARK: Inputs and outputs

    func input(_ body: (inout Peer, Now, inout ZabOutput) -> Void) {
        body(&peer, Now(wallMilliseconds: 0, monotonicMicroseconds: time), &output)
        let taken = output.take()
        var written: Set<LinkID> = []
        for action in taken.links {
            switch action {
            case .connect(let link, _): upstream = link
            case .send(let link, let range):
                written.insert(link)
                take(taken.bytes[range], on: link)
            case .readHistory(let link, let request): readings[link] = request
            case .receiveSnapshot(_, let zxid): arrived = zxid
            case .close(let link): readings[link] = nil
            }
        }
        owed += taken.storage
        heard += taken.upcalls
        warnings += taken.notes.filter { $0.level == .warning || $0.level == .error }.map(\.message)
        for link in written.sorted() { input { $0.writable(link, credit: 1 << 20, at: $1, into: &$2) } }
    }

    private func take(_ bytes: ArraySlice<UInt8>, on link: LinkID) {
        Array(bytes).withUnsafeBytes { bytes in
            var rest = bytes
            while let (packet, size) = try? QuorumPacket.parse(rest) {
                take(packet, Array(rest[..<size]), on: link)
                rest = UnsafeRawBufferPointer(rebasing: rest[size...])
            }
        }
    }

    private func take(_ packet: QuorumPacket, _ bytes: [UInt8], on link: LinkID) {
        if link == unrecorded?.link {
            replies += (unrecorded?.answers(to: packet) ?? []).map { (link, $0) }
        } else if packet.kind == .ping, link != upstream {
            // Who is not up to date yet answers none.
            if upToDate.contains(link) { replies.append((link, Recording.packet(.ping, packet.zxid, data: []))) }
        } else {
            if packet.kind == .upToDate { upToDate.insert(link) }
            sent[link, default: []].append(bytes)
        }
    }

    func receive(_ bytes: [UInt8], on link: LinkID) {
        bytes.withUnsafeBytes { bytes in
            guard let (packet, _) = try? QuorumPacket.parse(bytes) else { return }
            input { $0.receive(packet: packet, on: link, at: $1, into: &$2) }
        }
    }

    func deliverReplies() {
        while !replies.isEmpty {
            let reply = replies.removeFirst()
            receive(reply.packet, on: reply.link)
        }
    }

    func accept() -> LinkID {
        acceptedLinks += 1
        let link = LinkID(acceptedLinks)
        input { $0.accepted(link, at: $1, into: &$2) }
        return link
    }

    // MARK: The dialogue

    func play(_ lines: [Recording.Line]) throws {
        for line in lines {
            deliverReplies()
            advance(to: line.time)
            if line.event != nil {
                happen(line)
            } else if line.from == me {
                try say(line)
            } else {
                try hear(line)
            }
        }
        deliverReplies()
    }

    private func advance(to end: Int64) {
        while let deadline = peer.nextDeadlineMicroseconds, deadline <= end {
            time = max(time, deadline)
            input { $0.advance(to: $1, into: &$2) }
            deliverReplies()
        }
        time = max(time, end)
    }

    private func happen(_ line: Recording.Line) {
        let isOurs = line.from == me
        if line.event != .connect {
            // A server that was stopped hears nothing of it.
            guard !isOurs, let link = links[line.connection] else { return }
            let earlier = warnings
            input { $0.closed(link, at: $1, into: &$2) }
            // That its leader is gone is worth a warning.
            if link == upstream { warnings = earlier }
        } else if isOurs, let upstream {
            links[line.connection] = upstream
            input { $0.connected(upstream, at: $1, into: &$2) }
        } else {
            links[line.connection] = accept()
        }
    }

    private func hear(_ line: Recording.Line) throws {
        let link = try #require(links[line.connection], "\(line)")
        guard !line.isSnapshotStream else { return }
        heard = []
        receive(line.bytes, on: link)
        if link != upstream { try hearForCore(line, on: link, heard) }
    }

    /// What the recorded server sent next on this connection, ours has sent, or sends now.
    private func say(_ line: Recording.Line) throws {
        let link = try #require(links[line.connection], "\(line)")
        guard line.kind != .ping || link == upstream else { return }
        guard !line.isSnapshotStream else {
            return try #require(streamSnapshot(on: link) || excepted.contains(line.connection), "\(line)")
        }
        if hasNothing(on: link) {
            try prompt(line, on: link)
            deliverReplies()
        }
        while hasNothing(on: link), readings[link] != .snapshot, work(for: link) { deliverReplies() }
        if line.kind == .snap, readings[link] == .snapshot {
            streamed[link] = line.zxid
            return try #require(hasNothing(on: link), "\(line) comes too early")
        }
        let index = exceptions.firstIndex { $0.applies(to: line) }
        let expected = index.map { exceptions[$0].instead } ?? line.bytes
        if let index {
            exceptions.remove(at: index)
            excepted.insert(line.connection)
        }
        try #require(!hasNothing(on: link), "\(line) was not sent")
        let packet = sent[link]?.removeFirst() ?? []
        try #require(packet == expected, "\(line) was expected, not \(ReplayedPeer.name(packet))")
    }

    /// The shell has sent a snapshot, as the recorded server did.
    ///
    /// - Returns: whether it was to.
    private func streamSnapshot(on link: LinkID) -> Bool {
        guard readings[link] == .snapshot, let zxid = streamed.removeValue(forKey: link) else { return false }
        readings[link] = nil
        input { $0.historyRead(link, .snapshotStreamed(zxid), at: $1, into: &$2) }
        return true
    }

    private func hasNothing(on link: LinkID) -> Bool { sent[link]?.isEmpty ?? true }

    /// Everything was compared, and nothing was out of order.
    func finish() {
        for (name, link) in links.sorted(by: { $0.key < $1.key }) {
            #expect(sent[link, default: []].map(ReplayedPeer.name) == [], "\(name): nobody recorded that")
        }
        #expect(exceptions.map(\.connection) == [], "exceptions that were none")
        #expect(warnings == [])
    }

    private static func name(_ bytes: [UInt8]) -> String {
        bytes.withUnsafeBytes { bytes in
            guard let (packet, _) = try? QuorumPacket.parse(bytes) else { return "\(bytes.count) bytes" }
            return "\(packet.kind.map { "\($0)" } ?? "type \(packet.type)") \(packet.zxid)"
        }
    }
}
