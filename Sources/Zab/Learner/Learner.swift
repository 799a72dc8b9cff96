import ZooKeeperProtocol

/// A server that follows or observes a leader (docs/protocol/quorum-protocol.md sections 7, 8, 10 and 11).
///
/// Nothing that it says to the leader is ahead of its disk: the epoch is accepted before ACKEPOCH leaves, the history
/// and the epoch are stored before NEWLEADER is acknowledged, and each proposal before its own ACK.
///
/// A class, because it is large and asked for something with every packet; nobody but its `Peer` holds it.
final class Learner {
    enum Phase: Int, Comparable, Sendable {
        case connecting
        /// Waits before it connects again.
        case reconnecting
        /// Has introduced itself; waits for LEADERINFO.
        case discovery
        /// Stores the accepted epoch.
        case accepting
        /// Has sent ACKEPOCH; waits to hear what to do with its log.
        case acknowledging
        /// Receives the history.
        case synchronizing
        /// Has NEWLEADER; makes the history durable, then the epoch.
        case storing
        /// Has acknowledged NEWLEADER; waits for UPTODATE.
        case waiting
        /// Serves.
        case broadcast

        static func < (left: Phase, right: Phase) -> Bool { left.rawValue < right.rawValue }
    }

    /// Which of this server's roles this is.
    let role: UInt64
    let leader: ServerID
    let isObserver: Bool
    /// The epoch that the leader must have formed already; nil when this server may help it to form one.
    let requiredEpoch: Epoch?

    @exclusivity(unchecked) var phase = Phase.connecting
    @exclusivity(unchecked) var link: LinkID
    @exclusivity(unchecked) private var attempt = 1
    /// When connecting is given up, or goes on; and when it goes on with another server.
    @exclusivity(unchecked) private var connectDeadline: Int64
    @exclusivity(unchecked) private var attemptDeadline = Int64.max
    @exclusivity(unchecked) private var reconnectAt = Int64.max
    @exclusivity(unchecked) var heardAt: Int64

    @exclusivity(unchecked) var epoch = Epoch.zero
    /// Position of the transaction whose COMMIT is to come next.
    @exclusivity(unchecked) var nextCommit = 0
    /// The last proposal that was acknowledged, or needs none.
    @exclusivity(unchecked) var acked = Zxid.zero
    /// Position behind the history that NEWLEADER closed.
    @exclusivity(unchecked) var historyEnd = 0
    /// Whether the order to store the epoch waits for the log to be cut, or for a snapshot.
    @exclusivity(unchecked) var owesEpoch = false
    /// Who is to lead according to an activation that came before UPTODATE.
    @exclusivity(unchecked) var designatedLeader: ServerID?
    /// PINGs that the core has not answered yet, as the leader sent them.
    @exclusivity(unchecked) var pings: [Zxid] = []
    /// Reconfigurations that came into force, for observers that are served here.
    @exclusivity(unchecked) var activations: [Activated] = []
    /// Whom to connect to, one after the other: the leader, or who takes its place for observers.
    private let targets: [ServerID]

    /// Elected: connects to the leader (`ConnectAndFollowerSendFOLLOWERINFO`).
    init(
        leader: ServerID,
        requiredEpoch: Epoch?,
        state: inout PeerState,
        at time: Int64,
        into output: inout ZabOutput
    ) {
        role = state.role
        self.leader = leader
        self.requiredEpoch = requiredEpoch
        isObserver = state.isObserver
        targets = isObserver && state.options.hasObserverMasters ? state.masters(under: leader) : [leader]
        link = state.nextLink()
        connectDeadline = time + state.options.connectTime
        heardAt = time
        connect(to: targets[0], at: time, into: &output)
    }

    var isSynced: Bool { phase == .broadcast }

    // MARK: Connecting

    private func connect(to target: ServerID, at time: Int64, into output: inout ZabOutput) {
        phase = .connecting
        // Who is not there may answer nothing at all: as much is left for each of those who were not asked yet.
        let others = targets.count - attempt
        attemptDeadline = others > 0 ? time + (connectDeadline - time) / Int64(others + 1) : .max
        output.links.append(.connect(link, to: target))
    }

    func connected(state: borrowing PeerState, at time: Int64, into output: inout ZabOutput) {
        guard phase == .connecting else { return }
        phase = .discovery
        heardAt = time
        let info = LearnerInfo(
            server: state.me,
            configurationVersion: state.configurations.current.version
        )
        output.send(
            isObserver ? .observerInfo : .followerInfo,
            zxid: state.durable.acceptedEpoch.newLeaderZxid,
            on: link
        ) { info.write(to: &$0) }
    }

    /// A leader that was just elected may not listen yet; one that stays away is not waited for.
    func connectFailed(state: borrowing PeerState, at time: Int64) throws(RoleEnd) {
        guard phase == .connecting else { return }
        try connectAnew(state: state, at: time)
    }

    /// The link is gone. Where it has changed nothing yet, another server may take this one in.
    func closed(state: borrowing PeerState, at time: Int64) throws(RoleEnd) {
        switch phase {
        case .reconnecting:
            // That was given up already.
            break
        case .discovery where targets.count > 1, .acknowledging where targets.count > 1:
            // What this server has, and a master does not know of, the leader does.
            if phase == .acknowledging { attempt = max(attempt, targets.count - 1) }
            connectDeadline = time + state.options.connectTime
            try connectAnew(state: state, at: time)
        default:
            throw RoleEnd("leader \(leader) closed the link while \(phase)")
        }
    }

    private func connectAnew(state: borrowing PeerState, at time: Int64) throws(RoleEnd) {
        guard attempt < max(Learner.maxAttempts, targets.count) else {
            throw RoleEnd("leader \(leader) cannot be reached after \(attempt) attempts")
        }
        attempt += 1
        phase = .reconnecting
        reconnectAt = time + state.options.reconnectTime
    }

    static let maxAttempts = 5

    // MARK: Time

    func nextDeadline(options: PeerOptions) -> Int64 {
        switch phase {
        case .connecting: min(connectDeadline, attemptDeadline)
        case .reconnecting: min(connectDeadline, reconnectAt)
        default: heardAt + silenceLimit(options) + 1
        }
    }

    private func silenceLimit(_ options: PeerOptions) -> Int64 {
        phase < .storing ? options.initTime : options.syncTime
    }

    func advance(state: inout PeerState, at time: Int64, into output: inout ZabOutput) throws(RoleEnd) {
        switch phase {
        case .connecting, .reconnecting:
            guard time < connectDeadline else { throw RoleEnd("leader \(leader) did not accept a connection in time") }
            if phase == .connecting, time >= attemptDeadline {
                output.links.append(.close(link))
                try connectAnew(state: state, at: time)
            }
            guard phase == .reconnecting, time >= reconnectAt else { return }
            link = state.nextLink()
            connect(to: targets[(attempt - 1) % targets.count], at: time, into: &output)
        default:
            let silence = time - heardAt
            guard silence > silenceLimit(state.options) else { return }
            throw RoleEnd("nothing heard from leader \(leader) for \(silence / 1000) ms while \(phase)")
        }
    }

    // MARK: Packets

    func process(
        _ packet: QuorumPacket,
        state: inout PeerState,
        at time: Int64,
        into output: inout ZabOutput
    ) throws(RoleEnd) {
        heardAt = time
        do throws(JuteError) {
            switch phase {
            case .discovery:
                try process(leaderInfo: packet, state: &state, into: &output)
            case .acknowledging:
                process(syncMessage: packet, state: &state, into: &output)
            case .synchronizing, .storing, .waiting:
                try process(inSync: packet, state: &state, at: time, into: &output)
            case .broadcast:
                try process(broadcast: packet, state: &state, into: &output)
            case .connecting, .reconnecting, .accepting:
                refusal = RoleEnd("packet type \(packet.type) from leader \(leader) while \(phase)")
            }
        } catch {
            throw RoleEnd("unreadable packet of type \(packet.type) from leader \(leader) (\(error))")
        }
        if let refusal { throw refusal }
    }

    /// Why the packet ends the role, unless its bytes could not be read in the first place.
    @exclusivity(unchecked) var refusal: RoleEnd?

    func refuse(_ reason: String) {
        refusal = RoleEnd("\(reason) from leader \(leader) while \(phase)")
    }
}
