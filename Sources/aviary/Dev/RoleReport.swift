/// Turns what servers say of themselves, many times a second, into the few lines that tell what changed.
///
/// That a server ended or was paused is told by whoever noticed; here it only counts.
struct RoleReport {
    struct Leader: Equatable {
        var number: Int
        var epoch: UInt64
    }

    /// As told last.
    private(set) var leader: Leader?
    /// Who leads an earlier epoch has been replaced, and was away since.
    private var latestEpoch: UInt64 = 0
    private var serving: Set<Int> = []
    private var silentSince: [Int: ContinuousClock.Instant] = [:]
    private var leaderlessSince: ContinuousClock.Instant?
    private var isLossTold = false

    /// An election or a new connection takes less; who is told of every one of them looks away.
    private static let patience = Duration.seconds(1)
    /// A hung leader is given up after two seconds.
    private static let electionPatience = Duration.seconds(3)

    /// What has changed since the last call.
    mutating func lines(_ servers: [DevServer], majority: Int, now: ContinuousClock.Instant) -> [String] {
        let before = serving
        serving = serving.filter { number in servers.contains { $0.number == number && $0.mayServe } }
        var lines: [String]
        if servers.count == 1 {
            lines = []
        } else if let current = Self.leader(of: servers), current.epoch >= latestEpoch {
            lines = found(current)
        } else {
            lines = missing(servers, majority, now)
        }
        for server in servers where server.mayServe {
            lines += change(of: server, wasServing: before.contains(server.number), now)
        }
        return lines
    }

    /// Of two that say so the one with the later epoch: the other one does not know yet.
    static func leader(of servers: [DevServer]) -> Leader? {
        let leaders = servers.filter(\.mayServe).compactMap { server -> Leader? in
            guard case .serving(.leader, let epoch) = server.standing else { return nil }
            return Leader(number: server.number, epoch: epoch)
        }
        return leaders.max { $0.epoch < $1.epoch }
    }

    private mutating func found(_ current: Leader) -> [String] {
        leaderlessSince = nil
        isLossTold = false
        guard current != leader else { return [] }
        leader = current
        latestEpoch = current.epoch
        serving.insert(current.number)
        return ["server \(current.number) leads now, epoch \(current.epoch)"]
    }

    private mutating func missing(
        _ servers: [DevServer],
        _ majority: Int,
        _ now: ContinuousClock.Instant
    ) -> [String] {
        let since = leaderlessSince ?? now
        leaderlessSince = since
        let running = servers.filter(\.mayServe).count
        guard !isLossTold, running < majority || now - since > Self.electionPatience else { return [] }
        isLossTold = true
        leader = nil
        serving = []
        return [
            running < majority
                ? "nobody serves: \(running) of \(servers.count) servers run, and \(majority) are needed"
                : "nobody leads, and \(running) of \(servers.count) servers run: their logs say why"
        ]
    }

    private mutating func change(of server: DevServer, wasServing: Bool, _ now: ContinuousClock.Instant) -> [String] {
        let number = server.number
        if case .serving(let role, _) = server.standing {
            silentSince[number] = nil
            // Without a leader in sight it does not know yet that it lost its own; and one that has been away may believe
            // for a moment that it still leads.
            if role != .standalone, leaderlessSince != nil { return [] }
            if role == .leader, leader?.number != number { return [] }
            guard serving.insert(number).inserted, !wasServing else { return [] }
            switch role {
            case .standalone: return ["server \(number) serves"]
            case .leader: return []
            case .follower, .observer:
                return ["server \(number) follows" + (leader.map { " server \($0.number)" } ?? "")]
            }
        }
        guard serving.contains(number), !isLossTold else { return [] }
        let since = silentSince[number] ?? now
        silentSince[number] = since
        guard now - since > Self.patience else { return [] }
        serving.remove(number)
        return ["server \(number) serves nobody: \(server.standing == .hung ? "it hangs" : "it looks for the leader")"]
    }
}

extension DevServer {
    /// Nothing is known that would keep it from serving. One that somebody else started in its place may, too.
    fileprivate var mayServe: Bool {
        switch process {
        case .running: true
        case .ended: standing.isServing
        case .paused, .stopping: false
        }
    }
}
