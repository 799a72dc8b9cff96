package import ZooKeeperProtocol

/// What a leader owes its own clients and learners, and when it is due.
///
/// A sync is done when everything that was in flight when it came is committed, and when a quorum has said after it came
/// that this server still leads: one that was deposed while it was paused must not say that it is up to date. Nor may it
/// say that there is no such session: the next leader may have begun it.
struct Obligations: ~Copyable {
    enum Creditor {
        case client(ConnectionID)
        case learner(LearnerID)
    }

    struct Sync {
        var creditor: Creditor
        /// All up to this must be committed.
        var zxid: Zxid
        /// This must be confirmed.
        var token: UInt64
    }

    /// A learner asked for a session of which something was in flight.
    struct Revalidation {
        var learner: LearnerID
        var session: SessionID
        var zxid: Zxid
        /// This must be confirmed; 0 where the session lives.
        var token: UInt64
    }

    /// A client of this leader came with a session that is not known here.
    struct Refusal {
        var connection: ConnectionID
        /// This must be confirmed.
        var token: UInt64
    }

    /// Each in the order in which they came, which is the order in which they fall due.
    var syncs = FIFO<Sync>()
    var revalidations = FIFO<Revalidation>()
    var refusals = FIFO<Refusal>()
    private var lastToken: UInt64 = 0
    private(set) var confirmed: UInt64 = 0

    init() {}

    var isEmpty: Bool { syncs.isEmpty && revalidations.isEmpty && refusals.isEmpty }

    /// All that comes in one turn shares a number: the exchange begins after it.
    mutating func nextToken(_ output: inout Output) -> UInt64 {
        if let token = output.confirmations.last { return token }
        lastToken += 1
        output.confirmations.append(lastToken)
        return lastToken
    }

    mutating func confirm(_ token: UInt64) {
        confirmed = max(confirmed, token)
    }

    mutating func removeAll() {
        syncs.removeAll()
        revalidations.removeAll()
        refusals.removeAll()
    }

    mutating func removeAll(of learner: LearnerID) {
        var oldSyncs = syncs.takeAll()
        while let sync = oldSyncs.popFirst() {
            if case .learner(learner) = sync.creditor { continue }
            syncs.append(sync)
        }
        var oldRevalidations = revalidations.takeAll()
        while let revalidation = oldRevalidations.popFirst() {
            if revalidation.learner != learner { revalidations.append(revalidation) }
        }
    }
}

extension ServerCore {
    /// A sync of a learner's client.
    mutating func oweSync(to learner: LearnerID, into output: inout Output) {
        let token = obligations.nextToken(&output)
        obligations.syncs.append(
            Obligations.Sync(creditor: .learner(learner), zxid: lastPreparedZxid, token: token)
        )
        output.learnerAnswers.append(.syncTaken(learner, behind: lastPreparedZxid))
    }

    /// A sync of a client of this leader.
    mutating func oweSync(to connection: ClientConnection, into output: inout Output) {
        let token = obligations.nextToken(&output)
        obligations.syncs.append(
            Obligations.Sync(creditor: .client(connection.id), zxid: lastPreparedZxid, token: token)
        )
    }

    /// A learner wants to know of a session.
    mutating func oweRevalidation(of id: SessionID, to learner: LearnerID, behind zxid: Zxid, into output: inout Output)
    {
        let token = isValid(sessions[id]) ? 0 : obligations.nextToken(&output)
        obligations.revalidations.append(
            Obligations.Revalidation(learner: learner, session: id, zxid: zxid, token: token)
        )
    }

    /// A client of this leader is to be told that there is no such session.
    mutating func oweRefusal(to connection: ClientConnection, into output: inout Output) {
        connection.phase = .opening
        let token = obligations.nextToken(&output)
        obligations.refusals.append(Obligations.Refusal(connection: connection.id, token: token))
        wait(.inFlight, connection)
    }

    private func isValid(_ session: Session?) -> Bool {
        session.map { $0.isCreated && !$0.isClosing && !$0.isLocal } ?? false
    }

    /// Answers what has fallen due.
    mutating func meetObligations(at now: Now, into output: inout Output) {
        let committed = lastProcessedZxid
        let confirmed = obligations.confirmed
        while let refusal = obligations.refusals.popFirst(where: { $0.token <= confirmed }) {
            guard let connection = connections[refusal.connection], connection.phase == .opening else { continue }
            refuseSession(connection, into: &output)
        }
        while let revalidation = obligations.revalidations.popFirst(where: {
            $0.zxid <= committed && $0.token <= confirmed
        }) {
            output.learnerAnswers.append(
                .revalidated(
                    revalidation.learner,
                    session: revalidation.session,
                    // A question of another learner that came later may be an older one: the client would believe that
                    // its session is over. If it is not, the first write says that the session is another learner's.
                    isValid: isValid(sessions[revalidation.session]),
                    behind: committed
                )
            )
        }
        while let sync = obligations.syncs.popFirst(where: { $0.token <= confirmed && $0.zxid <= committed }) {
            switch sync.creditor {
            case .learner(let learner):
                output.learnerAnswers.append(.syncDone(learner))
            case .client(let id):
                if let connection = connections[id] { syncIsDone(connection, at: now, into: &output) }
            }
        }
    }

    /// - Parameter connection: whose oldest sync that is not done yet it is.
    mutating func syncIsDone(_ connection: ClientConnection, at now: Now, into output: inout Output) {
        guard connection.phase != .closed else { return }
        connection.syncsDone += 1
        if case .sync = connection.waiting.first { drain(connection, at: now, into: &output) }
    }

    /// The exchange with a quorum that was asked for by `Output.confirmations` is over: this server leads still.
    package mutating func leadershipConfirmed(_ token: UInt64, at now: Now, into output: inout Output) {
        guard role == .leader else { return }
        obligations.confirm(token)
        meetObligations(at: now, into: &output)
    }
}
