import AviaryCore
import ZooKeeperProtocol

/// What is compared with the model: one core that is alone, or a leader and two learners whose links take no time.
final class ModelSubject {
    /// A connection to one of the members.
    struct ID: Hashable {
        let member: Int
        let connection: ConnectionID
    }

    private final class Member {
        var core: ServerCore
        var output = Output()

        init(_ core: consuming ServerCore) {
            self.core = core
        }
    }

    private let members: [Member]
    private var now: Now

    // What came out and was not taken yet.
    private(set) var sent: [(ID, [UInt8])] = []
    private(set) var closed: [ID] = []
    private(set) var log: [[UInt8]] = []
    private(set) var notes: [CoreNote] = []

    /// Transactions that a learner could not read: none.
    private(set) var unreadable = 0
    /// Made by the leader and not committed.
    private var proposals: [(zxid: Zxid, payload: [UInt8])] = []

    var isEnsemble: Bool { members.count > 1 }
    var memberCount: Int { members.count }

    init(options: CoreOptions, seed: UInt64, isEnsemble: Bool, now: Now) {
        self.now = now
        guard isEnsemble else {
            members = [Member(ServerCore(options: options, seed: seed, now: now))]
            members[0].core.start(lastZxid: .zero, at: now, into: &members[0].output)
            return
        }
        members = (0..<3).map { index in
            var options = options
            options.serverID = Int64(index + 1)
            return Member(ServerCore(options: options, seed: seed &+ UInt64(index), now: now, role: .looking))
        }
        for (index, member) in members.enumerated() {
            if index == 0 {
                member.core.lead(epoch: Epoch(0), lastZxid: .zero, at: now, into: &member.output)
            } else {
                member.core.learn(isObserver: index == 2, at: now, into: &member.output)
            }
        }
    }

    func take() -> (sent: [(ID, [UInt8])], closed: [ID], log: [[UInt8]], notes: [CoreNote]) {
        defer { (sent, closed, log, notes) = ([], [], [], []) }
        return (sent, closed, log, notes)
    }

    // MARK: Inputs

    func accept(_ peer: PeerAddress, member: Int, at now: Now) -> ID {
        ID(member: member, connection: members[member].core.accept(peer, at: now))
    }

    func receive(_ frame: [UInt8], from id: ID, at now: Now) {
        self.now = now
        let member = members[id.member]
        frame.withUnsafeBytes { member.core.receive($0, from: id.connection, at: now, into: &member.output) }
        settle()
        touch(isTold: true)
    }

    func closed(_ id: ID, at now: Now) {
        self.now = now
        let member = members[id.member]
        member.core.closed(id.connection, at: now, into: &member.output)
        settle()
    }

    func advance(to now: Now) {
        self.now = now
        for member in members { member.core.advance(to: now, into: &member.output) }
        settle()
    }

    func durable(upTo zxid: Zxid, at now: Now) {
        self.now = now
        guard isEnsemble else {
            members[0].core.durable(upTo: zxid, at: now, into: &members[0].output)
            return settle()
        }
        while let proposal = proposals.first, proposal.zxid <= zxid {
            proposals.removeFirst()
            for member in members.dropFirst() {
                proposal.payload.withUnsafeBytes { payload in
                    do throws(JuteError) {
                        try member.core.applyCommitted(payload, at: now, into: &member.output)
                    } catch {
                        unreadable += 1
                    }
                }
            }
            members[0].core.durable(upTo: proposal.zxid, at: now, into: &members[0].output)
            settle()
        }
        touch(isTold: false)
    }

    func setLogRoom(_ room: LogRoom, at now: Now) {
        self.now = now
        members[0].core.setLogRoom(room, at: now, into: &members[0].output)
        settle()
    }

    // MARK: Links

    /// - Parameter isTold: a learner also reports what is new everywhere, of which the model knows nothing.
    private func touch(isTold: Bool) {
        for (index, member) in members.enumerated().dropFirst() {
            for touch in member.core.takeTouched() where isTold {
                members[0].core.touch(
                    touch.session,
                    timeoutMilliseconds: touch.timeoutMilliseconds,
                    from: LearnerID(UInt64(index)),
                    at: now
                )
            }
        }
    }

    private func settle() {
        var hasMore = true
        while hasMore {
            hasMore = false
            for index in members.indices where !members[index].output.isEmpty {
                hasMore = true
                carryOut(index)
            }
        }
    }

    private func carryOut(_ index: Int) {
        let member = members[index]
        let bytes = member.output.clientBytes.copy()
        for action in member.output.clients {
            switch action {
            case .send(let connection, let range):
                var rest = bytes[range]
                while rest.count >= 4 {
                    let length = rest.prefix(4).reduce(0) { $0 << 8 | Int($1) }
                    sent.append(
                        (ID(member: index, connection: connection), [UInt8](rest.dropFirst(4).prefix(length)))
                    )
                    rest = rest.dropFirst(4 + length)
                }
            case .close(let connection):
                closed.append(ID(member: index, connection: connection))
            }
        }
        let records = member.output.logBytes.copy()
        for record in member.output.log {
            log.append([UInt8](records[record.range]))
            if isEnsemble { proposals.append((record.zxid, [UInt8](records[record.range]))) }
        }
        notes += member.output.notes
        let forwards = member.output.forwards
        let bodies = member.output.forwardBytes.copy()
        let answers = member.output.learnerAnswers
        let confirmations = member.output.confirmations
        member.output.reset()
        for token in confirmations {
            member.core.leadershipConfirmed(token, at: now, into: &member.output)
        }
        for forward in forwards { toLeader(forward, bodies, from: index) }
        for answer in answers { toLearner(answer) }
    }

    private func toLeader(_ forward: Forward, _ bodies: [UInt8], from index: Int) {
        let leader = members[0]
        let learner = LearnerID(UInt64(index))
        switch forward {
        case .request(let session, let cxid, let operation, let body, let identities):
            bodies[body].withUnsafeBytes { body in
                leader.core.forwarded(
                    operation: operation.rawValue,
                    cxid: cxid,
                    session: session,
                    body: body,
                    identities: identities,
                    from: learner,
                    at: now,
                    into: &leader.output
                )
            }
        case .revalidate(let session, let timeout):
            leader.core.revalidate(
                session,
                timeoutMilliseconds: timeout,
                from: learner,
                at: now,
                into: &leader.output
            )
        }
    }

    private func toLearner(_ answer: LearnerAnswer) {
        switch answer {
        case .syncTaken:
            break
        case .syncDone(let learner):
            let member = members[Int(learner.rawValue)]
            member.core.synced(at: now, into: &member.output)
        case .revalidated(let learner, let session, let isValid, _):
            let member = members[Int(learner.rawValue)]
            member.core.revalidated(session, isValid: isValid, at: now, into: &member.output)
        }
    }

    // MARK: Looking in

    /// Calls `body` with each member's core.
    func forEachCore(_ body: (inout ServerCore) throws -> Void) rethrows {
        for member in members { try body(&member.core) }
    }

    func withCore<R>(_ member: Int = 0, _ body: (inout ServerCore) -> R) -> R {
        body(&members[member].core)
    }

    var outstandingRequests: Int { members.reduce(0) { $0 + $1.core.outstandingRequests } }
    var watchCount: Int { members.reduce(0) { $0 + $1.core.watchCount } }
}
