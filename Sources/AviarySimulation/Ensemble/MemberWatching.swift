internal import AviaryCore
internal import AviaryEnsemble
internal import AviaryStorage
internal import Zab
internal import ZooKeeperProtocol

/// What goes over the connections of a process, seen on the way: for the counts, and for what it has heard of sessions.
extension MemberProcess {
    func watchStream(_ bytes: [UInt8], _ link: LinkID) {
        guard links[link]?.sent.isInsideSnapshot == false else { return }
        parse(bytes) { packet in links[link]?.sent.send(packet, &run.counts) }
    }

    /// Packets that leave whole.
    func parse(_ bytes: [UInt8], _ body: (QuorumPacket) -> Void) {
        bytes.withUnsafeBytes { bytes in
            var offset = 0
            while offset < bytes.count {
                let rest = UnsafeRawBufferPointer(rebasing: bytes[offset...])
                guard let (packet, size) = try? QuorumPacket.parse(rest) else { return }
                body(packet)
                offset += size
            }
        }
    }

    func watchSent(_ bytes: [UInt8], _ link: LinkID, at now: Now) {
        if run.tellsPackets {
            let peer = links[link]?.peer?.description ?? "?"
            parse(bytes) { run.narrate("\(machine.id) ⇒ \(peer) \($0.brief)") }
        }
        if run.traffic != nil { countSent(bytes, link) }
        guard links[link]?.end == .acceptor else { return }
        var forged: [(QuorumPacketType, Zxid)] = []
        parse(bytes) { packet in
            links[link]?.sent.send(packet, &run.counts)
            if packet.kind == .upToDate, case .following = member.role { run.counts[.observersServed] += 1 }
            if packet.kind == .revalidate, packet.data?.last == 0 { run.counts[.revalidationsRefused] += 1 }
            switch (packet.kind, run.planted) {
            case (.proposal, .commitWithoutQuorum): forged.append((.ack, packet.zxid))
            case (.newLeader, .quorumAssumed): forged.append((.ack, packet.zxid))
            default: break
            }
        }
        for (type, zxid) in forged {
            var writer = JuteWriter()
            QuorumPacket.write(type, zxid: zxid, to: &writer)
            forgedPackets.append((link, writer.copy()))
        }
        if !forged.isEmpty { run.plan(.forged(server: machine.host.rawValue, incarnation: incarnation), after: 1) }
    }

    private func countSent(_ bytes: [UInt8], _ link: LinkID) {
        guard let open = links[link], let host = run.network.peer(of: open.key, from: open.end),
            let peer = run.machine(at: host)?.process
        else { return }
        let flow = Traffic.Flow(from: trafficRole, to: peer.trafficRole)
        var counted = 0
        bytes.withUnsafeBytes { bytes in
            while let (packet, size) = try? QuorumPacket.parse(UnsafeRawBufferPointer(rebasing: bytes[counted...])) {
                if let kind = packet.kind { run.traffic?.add(kind, bytes: size, flow) }
                counted += size
            }
        }
    }

    private var trafficRole: Traffic.Role {
        if case .leading = member.role { return .leader }
        return run.isVoter(machine.id) ? .follower : .observer
    }

    /// The planted mistake: what nobody has said is taken for said.
    func takeForged() {
        let list = forgedPackets
        forgedPackets = []
        let now = run.now(machine)
        for (link, bytes) in list where links[link] != nil {
            bytes.withUnsafeBytes { member.linkReceived(link, $0, &core, at: now, into: &output) }
        }
        endTurn()
    }

    /// What tells this process of sessions, and where proposals are spoilt on their way if that is planted.
    func watchReceived(_ bytes: [UInt8], _ link: LinkID, at now: Now) -> [UInt8] {
        guard var open = links[link] else { return bytes }
        if open.end == .opener { return planted(inPackets: bytes, open.peer) }
        open.received += bytes
        let whole = open.received
        var used = 0
        whole.withUnsafeBytes { whole in
            while let (packet, size) = try? QuorumPacket.parse(UnsafeRawBufferPointer(rebasing: whole[used...])) {
                hear(packet, from: open.peer, at: now)
                used += size
            }
        }
        open.received.removeFirst(used)
        links[link] = open
        return bytes
    }

    func hear(_ packet: QuorumPacket, from peer: ServerID?, at now: Now) {
        guard let data = packet.data else { return }
        var reader = JuteReader(data)
        switch packet.kind {
        case .ping:
            while let session = try? reader.int64(), (try? reader.int32()) != nil {
                heard[SessionID(session)] = Heard(at: now.monotonicMicroseconds, by: "a ping")
            }
        case .request, .revalidate:
            // What comes by a way that the session has left says nothing.
            if let session = try? reader.int64(), run.isAttached(SessionID(session), at: peer) {
                heard[SessionID(session)] = Heard(
                    at: now.monotonicMicroseconds,
                    by: packet.kind == .request ? "a request" : "a question"
                )
            }
        default:
            break
        }
    }
}

extension Notification {
    var brief: String {
        "\(state) leader=\(leader) zxid=\(zxid) round=\(electionEpoch) epoch=\(peerEpoch)"
    }
}

extension QuorumPacket {
    var brief: String { "\(kind.map { "\($0)" } ?? "\(type)") \(zxid) \(data?.count ?? 0) bytes" }
}
