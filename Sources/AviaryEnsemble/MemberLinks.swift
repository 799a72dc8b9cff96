package import AviaryCore
internal import AviaryStorage
package import Zab
package import ZooKeeperProtocol

/// What happens on quorum connections.
extension Member {
    /// A learner has connected.
    package func linkAccepted(_ link: LinkID, _ core: inout ServerCore, at now: Now, into output: inout Output) {
        links[link] = MemberLink()
        tell(&core, at: now, into: &output) { peer, zab in peer.accepted(link, at: now, into: &zab) }
    }

    package func linkConnected(_ link: LinkID, _ core: inout ServerCore, at now: Now, into output: inout Output) {
        links[link] = MemberLink()
        tell(&core, at: now, into: &output) { peer, zab in peer.connected(link, at: now, into: &zab) }
    }

    /// The server that was to be connected to cannot be reached.
    package func linkFailed(_ link: LinkID, _ core: inout ServerCore, at now: Now, into output: inout Output) {
        links[link] = nil
        tell(&core, at: now, into: &output) { peer, zab in peer.connectFailed(link, at: now, into: &zab) }
    }

    package func linkClosed(_ link: LinkID, _ core: inout ServerCore, at now: Now, into output: inout Output) {
        links[link] = nil
        tell(&core, at: now, into: &output) { peer, zab in peer.closed(link, at: now, into: &zab) }
    }

    /// How many bytes a link takes now.
    package func linkWritable(
        _ link: LinkID,
        creditBytes: Int,
        _ core: inout ServerCore,
        at now: Now,
        into output: inout Output
    ) {
        tell(&core, at: now, into: &output) { peer, zab in
            peer.writable(link, credit: creditBytes, at: now, into: &zab)
        }
    }

    /// What was wanted to know of the log is read.
    package func historyRead(
        _ link: LinkID,
        _ answer: HistoryAnswer,
        _ core: inout ServerCore,
        at now: Now,
        into output: inout Output
    ) {
        tell(&core, at: now, into: &output) { peer, zab in
            peer.historyRead(link, answer, at: now, into: &zab)
        }
    }

    /// Bytes of a link, cut anywhere.
    ///
    /// Whatever cannot be read ends this link and nothing else.
    package func linkReceived(
        _ link: LinkID,
        _ bytes: UnsafeRawBufferPointer,
        _ core: inout ServerCore,
        at now: Now,
        into output: inout Output
    ) {
        guard let reading = links[link], !reading.isClosed else { return }
        prepare(&core, at: now, into: &output)
        var unreadable: UnreadableLink?
        // Between servers in sync one read brings many packets, and each is cheap where those around it are dealt with
        // at once. What comes before that may be followed by a snapshot, or ends the role.
        let isBatch = peer.role.isServing
        if isBatch { peer.beginBatch() }
        do throws(UnreadableLink) {
            try reading.receive(bytes) { (bytes) throws(UnreadableLink) in
                let count = try use(bytes, of: link, &core, at: now)
                if !isBatch { pump(&core, at: now, into: &output) }
                return count
            }
        } catch {
            unreadable = error
        }
        pump(&core, at: now, into: &output)
        if isBatch {
            peer.endBatch(at: now, into: &zab)
            pump(&core, at: now, into: &output)
        }
        serveReadOnly(&core, at: now, into: &output)
        guard let reason = unreadable?.reason else { return }
        note(
            .warning,
            "closing a quorum connection: what came over it cannot be read",
            [("link", link.description), ("reason", reason)]
        )
        zab.links.append(.close(link))
        linkClosed(link, &core, at: now, into: &output)
    }

    /// - Returns: how many bytes were used; 0 when more must come first.
    private func use(
        _ bytes: UnsafeRawBufferPointer,
        of link: LinkID,
        _ core: inout ServerCore,
        at now: Now
    ) throws(UnreadableLink) -> Int {
        if let incoming, incoming.link == link, !incoming.isComplete {
            return try receive(bytes, of: incoming, &core, at: now)
        }
        let parsed: (packet: QuorumPacket, size: Int)?
        do throws(JuteError) {
            parsed = try QuorumPacket.parse(bytes, maxBufferBytes: options.limits.maxBufferBytes)
        } catch {
            throw UnreadableLink(reason: "\(error)")
        }
        guard let parsed else { return 0 }
        peer.receive(packet: parsed.packet, on: link, at: now, into: &zab)
        return parsed.size
    }
}

/// What came over a link makes no sense, so nothing behind it does.
struct UnreadableLink: Error {
    let reason: String
}
