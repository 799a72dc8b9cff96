import ZooKeeperProtocol

/// Proofs that this server still leads, for reads that must not be stale (P9 of docs/reliability.md).
///
/// A proof is a round of PINGs that began after it was asked for and that a quorum answered. One round runs at a time;
/// whoever comes meanwhile shares the next one.
struct Confirmations: Sendable {
    /// Whose round runs.
    private(set) var running: [UInt64] = []
    /// Asked for after the running round began.
    private var waiting: [UInt64] = []
    /// The PING of each learner that counts, in order of the links.
    private var pings: [(link: LinkID, server: ServerID, number: UInt64)] = []

    var isRunning: Bool { !running.isEmpty }
    var count: Int { running.count + waiting.count }

    mutating func ask(_ token: UInt64) {
        waiting.append(token)
    }

    /// Whether a round is to begin: its PINGs are to be sent now.
    var isDue: Bool { running.isEmpty && !waiting.isEmpty }

    mutating func begin(_ pings: [(link: LinkID, server: ServerID, number: UInt64)]) {
        running = waiting
        waiting = []
        self.pings = pings
    }

    /// One more learner was sent a PING while the round runs.
    mutating func join(_ ping: (link: LinkID, server: ServerID, number: UInt64)) {
        pings.append(ping)
    }

    /// Whether the running round has sent a learner a PING.
    func asks(_ link: LinkID) -> Bool { pings.contains { $0.link == link } }

    /// Whoever answered its PING of the running round. Answers come in the order of the PINGs on a link.
    func servers(answeredBy links: [LearnerLink]) -> [ServerID] {
        pings.compactMap { ping in
            guard let link = links.first(where: { $0.id == ping.link }) else { return nil }
            return link.pingsAnswered >= ping.number ? ping.server : nil
        }
    }

    /// The round is over.
    ///
    /// - Returns: whose it was.
    mutating func finish() -> [UInt64] {
        defer { running = [] }
        pings = []
        return running
    }
}
