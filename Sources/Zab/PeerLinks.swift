package import ZooKeeperProtocol

/// Quorum connections, of either direction.
///
/// A link that this side has closed, or that was never reported, is not known: what is still said about it is nothing.
extension Peer {
    /// A server connected to our quorum port. It may be faster than our own election, or hear before us that a
    /// reconfiguration lets us lead, so it is held until that is over.
    package mutating func accepted(_ link: LinkID, at now: Now, into output: inout ZabOutput) {
        begin(at: now, output)
        let learner = LearnerLink(id: link, at: time)
        if leading != nil {
            leading?.links.append(learner)
        } else if mastering != nil {
            mastering?.serving.links.append(learner)
        } else if learning == nil || state.configurations.proposed != nil, !state.isWithdrawn,
            waiting.count < Peer.maxWaiting
        {
            waiting.append(learner)
        } else {
            output.links.append(.close(link))
        }
    }

    /// A `.connect` succeeded.
    package mutating func connected(_ link: LinkID, at now: Now, into output: inout ZabOutput) {
        begin(at: now, output)
        guard learning?.link == link else { return }
        learning?.connected(state: state, at: time, into: &output)
    }

    /// A `.connect` failed.
    package mutating func connectFailed(_ link: LinkID, at now: Now, into output: inout ZabOutput) {
        begin(at: now, output)
        guard learning?.link == link else { return }
        inRole(&output) { peer, _ throws(RoleEnd) in
            try peer.learning?.connectFailed(state: peer.state, at: peer.time)
        }
    }

    /// A link broke, or the other side closed it.
    package mutating func closed(_ link: LinkID, at now: Now, into output: inout ZabOutput) {
        begin(at: now, output)
        waiting.removeAll { $0.id == link }
        mastering?.serving.links.removeAll { $0.id == link }
        inRole(&output) { peer, output throws(RoleEnd) in
            peer.leading?.forget(link, into: &output)
            try peer.leading?.checkDeserters(state: peer.state)
            guard peer.learning?.link == link else { return }
            try peer.learning?.closed(state: peer.state, at: peer.time)
        }
    }

    /// A packet, in the order of its link.
    package mutating func receive(
        packet: QuorumPacket,
        on link: LinkID,
        at now: Now,
        into output: inout ZabOutput
    ) {
        begin(at: now, output)
        if packet.kind == .followerInfo { holdForHandOver(link) }
        if let index = waiting.firstIndex(where: { $0.id == link }) {
            return receive(early: packet, index, into: &output)
        }
        inRole(&output) { peer, output throws(RoleEnd) in
            try peer.leading?.process(packet, on: link, state: &peer.state, at: peer.time, into: &output)
            if let leader = peer.learning?.link, leader != link {
                try peer.mastering?.process(
                    packet,
                    on: link,
                    to: leader,
                    state: &peer.state,
                    at: peer.time,
                    into: &output
                )
            }
            guard peer.learning?.link == link, !peer.handOnAnswer(packet, into: &output) else { return }
            try peer.learning?.process(packet, state: &peer.state, at: peer.time, into: &output)
        }
    }

    /// A server that serves observers is to be followed. It may be about to lead, and not have heard of it yet.
    private mutating func holdForHandOver(_ link: LinkID) {
        guard state.configurations.proposed != nil, waiting.count < Peer.maxWaiting,
            let index = mastering?.serving.index(of: link), let learner = mastering?.serving.links[index],
            learner.phase == .arrived
        else { return }
        mastering?.serving.links.remove(at: index)
        waiting.append(learner)
    }

    /// A learner introduces itself before it is known who leads; more it may not say.
    private mutating func receive(early packet: QuorumPacket, _ index: Int, into output: inout ZabOutput) {
        let link = waiting[index].id
        let refusal: String?
        if waiting[index].phase == .arrived, packet.kind == .followerInfo || packet.kind == .observerInfo {
            refusal = waiting[index].introduce(packet, state: state)
        } else {
            refusal = "packet type \(packet.type) before there is a leader"
        }
        guard let refusal else { return }
        waiting.remove(at: index)
        output.links.append(.close(link))
        output.note(.warning, "closing the link of a learner: \(refusal)", [("link", "\(link)")])
    }

    /// How many bytes a link takes now, of which some have been taken since the last time.
    package mutating func writable(_ link: LinkID, credit: Int, at now: Now, into output: inout ZabOutput) {
        begin(at: now, output)
        if let index = waiting.firstIndex(where: { $0.id == link }) { waiting[index].credit = credit }
        leading?.writable(link, credit: credit, state: state, at: time, into: &output)
        mastering?.serving.writable(link, credit: credit, state: state, at: time, into: &output)
    }
}
