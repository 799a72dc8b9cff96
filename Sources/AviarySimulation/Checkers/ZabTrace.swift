package import ZooKeeperProtocol

/// What primaries broadcast and what servers delivered, and the invariants of the protocol's specifications over it.
///
/// - Source: the TLA+ specifications of Apache ZooKeeper (`Zab.tla`, `ZkV3_7_0.tla`), whose names the invariants bear.
package struct ZabTrace: Sendable {
    package struct Transaction: Hashable, Sendable {
        package var zxid: Zxid
        /// Tells its bytes from others with the same zxid.
        package var fingerprint: UInt64

        package init(_ zxid: Zxid, fingerprint: UInt64 = 0) {
            self.zxid = zxid
            self.fingerprint = fingerprint
        }

        var epoch: Int64 { zxid.rawValue >> 32 }
    }

    package struct Broadcast: Sendable {
        package var transaction: Transaction
        package var server: Int
        /// How many transactions the primary had delivered before.
        package var delivered: Int
    }

    /// Leaders that a quorum has followed, by epoch.
    package private(set) var leaders: [Int64: Int] = [:]
    /// By epoch, in order.
    package private(set) var broadcasts: [Int64: [Broadcast]] = [:]
    /// By server, in order.
    package private(set) var deliveries: [Int: [Transaction]] = [:]

    package init() {}

    /// A server leads an epoch from now on (Leadership).
    package mutating func lead(_ server: Int, epoch: Int64) throws(Violation) {
        if let other = leaders[epoch], other != server {
            throw Violation(.leadership, "servers \(other) and \(server) in epoch \(epoch)")
        }
        leaders[epoch] = server
    }

    package mutating func broadcast(_ transaction: Transaction, by server: Int) {
        broadcasts[transaction.epoch, default: []].append(
            Broadcast(transaction: transaction, server: server, delivered: deliveries[server]?.count ?? 0)
        )
    }

    package mutating func deliver(_ transaction: Transaction, at server: Int) {
        deliveries[server, default: []].append(transaction)
    }

    /// A server has loaded a state, and stands where these transactions lead to.
    package mutating func load(_ transactions: [Transaction], at server: Int) {
        deliveries[server] = transactions
    }

    // MARK: - Invariants

    package func check() throws(Violation) {
        try checkPrefixConsistency()
        try checkIntegrity()
        try checkTotalOrder()
        try checkAgreement()
        try checkLocalPrimaryOrder()
        try checkGlobalPrimaryOrder()
        try checkPrimaryIntegrity()
    }

    private var servers: [Int] { deliveries.keys.sorted() }

    private func delivered(_ server: Int) -> [Transaction] { deliveries[server] ?? [] }

    private func indexes(_ server: Int) -> [Transaction: Int] {
        Dictionary(
            delivered(server).enumerated().map { ($0.element, $0.offset) },
            uniquingKeysWith: { first, _ in first }
        )
    }

    /// Of two servers, as far as both have committed, both committed the same.
    package func checkPrefixConsistency() throws(Violation) {
        guard let longest = servers.max(by: { delivered($0).count < delivered($1).count }) else { return }
        for server in servers {
            for (index, pair) in zip(delivered(server), delivered(longest)).enumerated() where pair.0 != pair.1 {
                throw Violation(
                    .prefixConsistency,
                    "place \(index): \(pair.0.zxid) at server \(server), \(pair.1.zxid) at server \(longest)"
                )
            }
        }
    }

    /// What is delivered was broadcast.
    package func checkIntegrity() throws(Violation) {
        let sent = Set(broadcasts.values.lazy.joined().map(\.transaction))
        for server in servers {
            if let stranger = delivered(server).first(where: { !sent.contains($0) }) {
                throw Violation(.integrity, "\(stranger.zxid) at server \(server)")
            }
        }
    }

    /// Of two servers that delivered something, one has what the other has.
    package func checkAgreement() throws(Violation) {
        for (index, server) in servers.enumerated() {
            let own = Set(delivered(server))
            for other in servers[(index + 1)...] {
                let others = Set(delivered(other))
                guard let first = delivered(server).first(where: { !others.contains($0) }),
                    let second = delivered(other).first(where: { !own.contains($0) })
                else { continue }
                throw Violation(
                    .agreement,
                    "\(first.zxid) only at server \(server), \(second.zxid) only at server \(other)"
                )
            }
        }
    }

    /// If a server delivers a before b, every server that delivers b delivers a before it.
    package func checkTotalOrder() throws(Violation) {
        for server in servers {
            for other in servers where other != server {
                let indexes = indexes(other)
                for (before, after) in zip(delivered(server), delivered(server).dropFirst()) {
                    guard let place = indexes[after] else { continue }
                    guard let earlier = indexes[before], earlier < place else {
                        throw Violation(
                            .totalOrder,
                            "\(before.zxid) before \(after.zxid) at server \(server), not at server \(other)"
                        )
                    }
                }
            }
        }
    }

    /// What one primary broadcast is delivered in its order, without a hole.
    package func checkLocalPrimaryOrder() throws(Violation) {
        for server in servers {
            let indexes = indexes(server)
            for epoch in broadcasts.keys.sorted() {
                let sent = broadcasts[epoch] ?? []
                for (before, after) in zip(sent, sent.dropFirst()) {
                    guard let place = indexes[after.transaction] else { continue }
                    guard let earlier = indexes[before.transaction], earlier < place else {
                        throw Violation(
                            .localPrimaryOrder,
                            "\(after.transaction.zxid) without \(before.transaction.zxid) at server \(server)"
                        )
                    }
                }
            }
        }
    }

    /// Epochs never go back.
    package func checkGlobalPrimaryOrder() throws(Violation) {
        for server in servers {
            for (before, after) in zip(delivered(server), delivered(server).dropFirst())
            where after.epoch < before.epoch {
                throw Violation(.globalPrimaryOrder, "\(after.zxid) behind \(before.zxid) at server \(server)")
            }
        }
    }

    /// A primary has delivered all that is ever delivered of earlier epochs before it broadcasts.
    package func checkPrimaryIntegrity() throws(Violation) {
        for epoch in broadcasts.keys.sorted() {
            guard let first = broadcasts[epoch]?.first else { continue }
            for server in servers {
                let earlier = delivered(server).count { $0.epoch < epoch }
                guard earlier <= first.delivered else {
                    throw Violation(
                        .primaryIntegrity,
                        "server \(first.server) broadcast \(first.transaction.zxid) with \(first.delivered) delivered, "
                            + "\(earlier) of earlier epochs were at server \(server)"
                    )
                }
            }
        }
    }
}
