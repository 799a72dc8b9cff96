import ZooKeeperProtocol

/// A follower that serves observers in the leader's place, so that a leader with very many of them sends each transaction
/// to its followers alone (docs/protocol/quorum-protocol.md section 16.1, `observerMasterPort`).
///
/// Towards observers it is a leader whose epoch is formed, and whose commits are those that it has heard of. What they
/// ask is handed on to the leader, and the answers come back in the order of the questions.
final class ObserverMaster {
    /// The leader's side of the links.
    @exclusivity(unchecked) var serving: Leader
    /// Where the answers to syncs belong, in the order in which they were handed on; nil for this server's own.
    @exclusivity(unchecked) private var syncs: [LinkID?] = []
    /// The same for questions about sessions.
    @exclusivity(unchecked) private var revalidations: [(session: SessionID, link: LinkID?)] = []
    @exclusivity(unchecked) private var claims = SessionClaims()
    /// Sessions that observers have heard of since the leader last asked.
    @exclusivity(unchecked) private var touches: [SessionTouch] = []

    init(epoch: Epoch, state: borrowing PeerState, at time: Int64) {
        serving = Leader(masterIn: epoch, state: state, at: time)
    }

    /// More questions than this are waiting for the leader: there is something wrong with it, or with an observer.
    static let maxQuestions = 10_000

    // MARK: What observers say

    func process(
        _ packet: QuorumPacket,
        on link: LinkID,
        to leader: LinkID,
        state: inout PeerState,
        at time: Int64,
        into output: inout ZabOutput
    ) throws(RoleEnd) {
        guard let index = serving.index(of: link) else { return }
        switch (serving.links[index].phase, packet.kind) {
        case (.arrived, .followerInfo):
            serving.drop(link, "it wants to follow, and this server does not lead", into: &output)
        case (.serving, .request), (.serving, .revalidate):
            serving.links[index].heardAt = time
            do throws(JuteError) { try handOn(packet, from: link, to: leader, into: &output) } catch {
                serving.drop(link, "unreadable packet of type \(packet.type) (\(error))", into: &output)
            }
        case (.serving, .ping):
            serving.links[index].heardAt = time
            do throws(JuteError) { note(try SessionTouch.list(data: packet.data)) } catch {
                serving.drop(link, "unreadable PING (\(error))", into: &output)
            }
        default:
            try serving.process(packet, on: link, state: &state, at: time, into: &output)
        }
    }

    private func handOn(
        _ packet: QuorumPacket,
        from link: LinkID,
        to leader: LinkID,
        into output: inout ZabOutput
    ) throws(JuteError) {
        if packet.kind == .revalidate {
            asked(revalidationOf: try Revalidation.Request(data: packet.data).session, by: link, into: &output)
        } else {
            let request = try ForwardedRequest(data: packet.data)
            guard claims.allows(request.session, on: link) else {
                return output.note(
                    .info,
                    "a request of a session that has moved on is not handed on",
                    [("link", "\(link)"), ("session", request.session.description)]
                )
            }
            if request.operation == Operation.sync.rawValue { asked(syncBy: link, into: &output) }
        }
        guard serving.index(of: link) != nil else { return }
        output.send(
            packet.kind == .revalidate ? .revalidate : .request,
            zxid: packet.zxid,
            data: packet.data,
            identities: packet.identities,
            on: leader
        )
    }

    private func note(_ touched: [SessionTouch]) {
        touches += touched.prefix(ObserverMaster.maxTouches - touches.count)
    }

    /// Sessions that wait to be told; of those beyond the leader hears when their clients speak again.
    private static let maxTouches = 200_000

    /// What the leader hears of with one PING, which also has `count` of this server's own; the rest waits for the next.
    func takeTouches(besides count: Int) -> [SessionTouch] {
        let taken = Array(touches.prefix(max(ObserverMaster.maxTouchesAtOnce - count, 0)))
        touches.removeFirst(taken.count)
        return taken
    }

    /// Twelve bytes each, in a buffer that every server must accept.
    private static let maxTouchesAtOnce = 80_000

    // MARK: Questions and answers

    /// - Parameter link: nil where a client of this server asks.
    func asked(syncBy link: LinkID?, into output: inout ZabOutput) {
        if let link, syncs.count >= ObserverMaster.maxQuestions {
            return serving.drop(link, "\(syncs.count) syncs wait for the leader", into: &output)
        }
        syncs.append(link)
    }

    func asked(revalidationOf session: SessionID, by link: LinkID?, into output: inout ZabOutput) {
        if let link, revalidations.count >= ObserverMaster.maxQuestions {
            return serving.drop(link, "\(revalidations.count) sessions wait for the leader", into: &output)
        }
        revalidations.append((session, link))
        claims.claim(session, by: link)
        if link != nil { output.upcalls.append(.moved(session)) }
    }

    /// The leader answers: hands the answer on if it is an observer's.
    ///
    /// - Returns: whether it was.
    func answered(
        _ packet: QuorumPacket,
        state: borrowing PeerState,
        into output: inout ZabOutput
    ) throws(JuteError) -> Bool {
        switch packet.kind {
        case .sync:
            guard !syncs.isEmpty, let link = syncs.removeFirst() else { return false }
            answer(.sync, packet, on: link, state: state, into: &output)
        case .revalidate:
            let session = try Revalidation.Reply(data: packet.data).session
            guard let index = revalidations.firstIndex(where: { $0.session == session }),
                let link = revalidations.remove(at: index).link
            else { return false }
            answer(.revalidate, packet, on: link, state: state, into: &output)
        default:
            return false
        }
        return true
    }

    private func answer(
        _ type: QuorumPacketType,
        _ packet: QuorumPacket,
        on link: LinkID,
        state: borrowing PeerState,
        into output: inout ZabOutput
    ) {
        serving.answer(
            type,
            zxid: packet.zxid,
            data: packet.data.map { [UInt8]($0) },
            behind: serving.committed,
            on: link,
            state: state,
            into: &output
        )
    }

    // MARK: What the leader says

    /// Observers get what is committed by now.
    func committed(
        upTo zxid: Zxid,
        activations: [Activated],
        state: borrowing PeerState,
        at time: Int64,
        into output: inout ZabOutput
    ) {
        guard zxid > serving.committed else { return }
        serving.committed = zxid
        serving.activations = activations
        serving.syncHeldBack(state: state, at: time, into: &output)
        serving.pumpAll(state: state, at: time, into: &output)
    }
}

extension Peer {
    /// A follower in sync begins to serve observers, and goes on with what is committed now.
    mutating func keepMaster(into output: inout ZabOutput) {
        guard state.options.hasObserverMasters, case .following(isSynced: true) = role,
            let epoch = learning?.epoch, let activations = learning?.activations
        else { return }
        if mastering == nil { mastering = ObserverMaster(epoch: epoch, state: state, at: time) }
        mastering?.committed(
            upTo: state.history.applied,
            activations: activations,
            state: state,
            at: time,
            into: &output
        )
    }

    /// The leader's answer to an observer's question.
    ///
    /// - Returns: whether the packet was one, and is dealt with.
    mutating func handOnAnswer(_ packet: QuorumPacket, into output: inout ZabOutput) -> Bool {
        guard mastering != nil, learning?.isSynced == true else { return false }
        // What cannot be read is for the learner to complain about.
        guard let isDone = try? mastering?.answered(packet, state: state, into: &output), isDone else { return false }
        learning?.heardAt = time
        return true
    }

    /// Observers look for another server. Who has not said what it is may want to follow, and this server to lead.
    mutating func endMaster(into output: inout ZabOutput) {
        for link in mastering?.serving.links ?? [] {
            if link.phase == .arrived, waiting.count < Peer.maxWaiting {
                waiting.append(link)
            } else {
                output.links.append(.close(link.id))
            }
        }
        mastering = nil
    }
}
