import AviaryCore
import Testing
import ZooKeeperProtocol

/// A leader and its learners, joined by queues that lose nothing: what the replication protocol does for them, without
/// the protocol. Everything is on its way until it is delivered, one thing at a time, in any order between the queues.
final class Ensemble {
    enum ToLeader {
        case request(session: SessionID, cxid: Int32, operation: Operation, body: [UInt8], identities: [Identity]?)
        case revalidate(SessionID, Int32)
        case touched([SessionTouch])
    }

    enum ToLearner {
        case commit(Zxid, [UInt8])
        case sync
        case revalidated(SessionID, isValid: Bool)
        case ping
    }

    /// What can happen next.
    enum Event: Hashable {
        case toLeader(Int)
        case toLearner(Int)
        case commit
        case confirm
    }

    private(set) var members: [CoreHarness] = []
    private(set) var leaderIndex = 0
    private(set) var now = Now(wallMilliseconds: 1_700_000_000_000, monotonicMicroseconds: 1_000_000)
    /// While true nothing is delivered by itself.
    var isHeld = false
    /// While true nothing is committed by itself.
    var commitsAreHeld = false
    var confirmationsAreHeld = false
    private(set) var epoch: Int64 = 0
    private var toLeader: [[ToLeader]] = []
    private var toLearner: [[ToLearner]] = []
    /// Made by the leader and not committed.
    private(set) var proposals: [(zxid: Zxid, payload: [UInt8])] = []
    private var confirmations: [UInt64] = []
    private var syncs: [LearnerID: [Zxid]] = [:]
    /// Everything that was committed, in order.
    private(set) var committed: [(zxid: Zxid, payload: [UInt8])] = []
    /// Why the leader would step down.
    private(set) var resignation: String?

    init(
        count: Int = 3,
        firstEpoch: Int64 = 1,
        observers: Set<Int> = [],
        _ configure: (inout CoreOptions) -> Void = { _ in }
    ) {
        self.observers = observers
        toLeader = Array(repeating: [], count: count)
        toLearner = Array(repeating: [], count: count)
        for index in 0..<count {
            members.append(CoreHarness(memberOf: self, id: Int64(index + 1), configure))
        }
        elect(0, epoch: firstEpoch)
    }

    private let observers: Set<Int>

    var leader: CoreHarness { members[leaderIndex] }
    /// The first and the second of those that do not lead.
    var learners: [CoreHarness] { members.indices.filter { $0 != leaderIndex }.map { members[$0] } }

    // MARK: Roles

    /// All stop serving, and everything on its way is lost.
    func stop() {
        for member in members {
            member.core.stopServing(at: now, into: &member.output)
            member.deliver()
            member.output.reset()
        }
        for index in members.indices {
            toLeader[index] = []
            toLearner[index] = []
        }
        proposals = []
        confirmations = []
    }

    /// Another leader, with all that was committed; who missed some of it gets it now.
    ///
    /// - Parameter keeping: how many proposals of the last leader its log had, and are committed by this one.
    func elect(_ index: Int, epoch: Int64? = nil, keeping: Int = 0) {
        committed += proposals.prefix(keeping)
        stop()
        leaderIndex = index
        self.epoch = epoch ?? self.epoch + 1
        let last = committed.last?.zxid ?? .zero
        for member in members {
            for (zxid, payload) in committed where zxid > member.core.lastProcessedZxid {
                apply(payload, at: member)
            }
        }
        leader.core.lead(epoch: Epoch(self.epoch), lastZxid: last, at: now, into: &leader.output)
        for (index, member) in members.enumerated() where index != leaderIndex {
            member.core.learn(
                isObserver: observers.contains(index),
                epoch: Epoch(self.epoch),
                at: now,
                into: &member.output
            )
        }
        for member in members { endTurn(of: member) }
    }

    private func apply(_ payload: [UInt8], at member: CoreHarness) {
        payload.withUnsafeBytes { payload in
            do throws(JuteError) {
                try member.core.applyCommitted(payload, at: now, into: &member.output)
            } catch {
                Issue.record("a committed transaction cannot be read: \(error)")
            }
        }
    }

    // MARK: Turns

    func endTurn(of member: CoreHarness) {
        collect(member)
        if !isHeld { settle() }
        while member.clearsLeftovers, member.core.hasLeftovers { member.core.clearLeftovers() }
    }

    private func index(of member: CoreHarness) -> Int {
        members.firstIndex { $0 === member } ?? 0
    }

    /// Takes what a member wants done, without doing it to others.
    private func collect(_ member: CoreHarness) {
        let own = index(of: member)
        member.deliver()
        let output = member.output.logBytes.copy()
        for record in member.output.log {
            proposals.append((record.zxid, [UInt8](output[record.range])))
        }
        let bodies = member.output.forwardBytes.copy()
        for forward in member.output.forwards {
            switch forward {
            case .request(let session, let cxid, let operation, let body, let identities):
                toLeader[own].append(
                    .request(
                        session: session,
                        cxid: cxid,
                        operation: operation,
                        body: [UInt8](bodies[body]),
                        identities: identities
                    )
                )
            case .revalidate(let session, let timeout):
                toLeader[own].append(.revalidate(session, timeout))
            }
        }
        confirmations += member.output.confirmations
        for answer in member.output.learnerAnswers {
            switch answer {
            case .syncTaken(let learner, let behind):
                syncs[learner, default: []].append(behind)
            case .syncDone(let learner):
                let behind = syncs[learner]?.removeFirst() ?? Zxid(.max)
                #expect(behind <= max(committed.last?.zxid ?? .zero, Epoch(epoch).newLeaderZxid))
                toLearner[Int(learner.rawValue)].append(.sync)
            case .revalidated(let learner, let session, let isValid, let behind):
                #expect(behind <= max(committed.last?.zxid ?? .zero, Epoch(epoch).newLeaderZxid))
                toLearner[Int(learner.rawValue)].append(.revalidated(session, isValid: isValid))
            }
        }
        if let reason = member.output.resignation { resignation = reason }
        member.notes += member.output.notes
        member.output.reset()
    }

    /// What can happen now.
    var possible: [Event] {
        var events: [Event] = []
        for index in members.indices {
            if !toLeader[index].isEmpty { events.append(.toLeader(index)) }
            if !toLearner[index].isEmpty { events.append(.toLearner(index)) }
        }
        if !proposals.isEmpty, !commitsAreHeld { events.append(.commit) }
        if !confirmations.isEmpty, !confirmationsAreHeld { events.append(.confirm) }
        return events
    }

    /// Delivers until nothing is on its way.
    func settle() {
        while let event = possible.first { happen(event) }
    }

    func happen(_ event: Event) {
        switch event {
        case .toLeader(let index): deliverToLeader(index)
        case .toLearner(let index): deliverToLearner(index)
        case .commit: commitNext()
        case .confirm:
            let token = confirmations.removeFirst()
            leader.core.leadershipConfirmed(token, at: now, into: &leader.output)
            collect(leader)
        }
    }

    func commitNext() {
        guard !proposals.isEmpty else { return }
        let proposal = proposals.removeFirst()
        committed.append(proposal)
        for index in members.indices where index != leaderIndex {
            toLearner[index].append(.commit(proposal.zxid, proposal.payload))
        }
        leader.core.durable(upTo: proposal.zxid, at: now, into: &leader.output)
        collect(leader)
    }

    private func deliverToLeader(_ index: Int) {
        let learner = LearnerID(UInt64(index))
        switch toLeader[index].removeFirst() {
        case .request(let session, let cxid, let operation, let body, let identities):
            body.withUnsafeBytes { body in
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
        case .touched(let touches):
            for touch in touches {
                leader.core.touch(
                    touch.session,
                    timeoutMilliseconds: touch.timeoutMilliseconds,
                    from: learner,
                    at: now
                )
            }
        }
        collect(leader)
    }

    private func deliverToLearner(_ index: Int) {
        let learner = members[index]
        switch toLearner[index].removeFirst() {
        case .commit(_, let payload): apply(payload, at: learner)
        case .sync: learner.core.synced(at: now, into: &learner.output)
        case .revalidated(let session, let isValid):
            learner.core.revalidated(session, isValid: isValid, at: now, into: &learner.output)
        case .ping: toLeader[index].append(.touched(learner.core.takeTouched()))
        }
        collect(learner)
    }

    /// Sends what no client of this ensemble would.
    func forward(
        from learner: Int,
        operation: Int32,
        cxid: Int32,
        session: Int64,
        body: [UInt8],
        identities: [Identity]?
    ) {
        body.withUnsafeBytes { body in
            leader.core.forwarded(
                operation: operation,
                cxid: cxid,
                session: SessionID(session),
                body: body,
                identities: identities,
                from: LearnerID(UInt64(learner)),
                at: now,
                into: &leader.output
            )
        }
        endTurn(of: leader)
    }

    // MARK: Time

    func ping() {
        for index in members.indices where index != leaderIndex { toLearner[index].append(.ping) }
        if !isHeld { settle() }
    }

    /// Half a tick at most between two pings.
    func advance(milliseconds: Int64) {
        var rest = milliseconds
        while rest > 0 {
            let step = min(rest, 250)
            rest -= step
            now.wallMilliseconds += step
            now.monotonicMicroseconds += step * 1000
            for member in members { member.now = now }
            ping()
            for member in members {
                member.core.advance(to: now, into: &member.output)
                endTurn(of: member)
            }
        }
    }

    // MARK: Comparing

    /// Every member holds the same.
    func expectEqual(sourceLocation: SourceLocation = #_sourceLocation) {
        let pictures = members.map { Picture(of: $0) }
        for picture in pictures.dropFirst() {
            #expect(picture == pictures[0], sourceLocation: sourceLocation)
        }
        for member in members {
            #expect(member.core.digestMismatchCount == 0, sourceLocation: sourceLocation)
            #expect(!member.notes.contains { $0.level == .error }, sourceLocation: sourceLocation)
        }
    }

    /// What is in a member's tree and session table, stats and ACLs included.
    struct Picture: Equatable {
        var nodes: [String: String] = [:]
        var sessions: [Int64: Int32] = [:]
        var digest: UInt64

        init(of member: CoreHarness) {
            let head = member.core.beginSnapshot()
            var writer = JuteWriter()
            while member.core.continueSnapshot(maxBytes: 1 << 16, into: &writer) {}
            for (session, timeout) in head.sessions { sessions[session.rawValue] = timeout }
            digest = member.core.treeDigest
            var lists: [Int64: [ACL]] = [:]
            for (id, list) in head.acls { lists[id] = list }
            writer.withBytes { bytes in
                var reader = JuteReader(bytes)
                do throws(JuteError) {
                    while reader.remaining > 0 {
                        let path = try reader.string() ?? "?"
                        let data = try reader.bytes()
                        let acl = lists[try reader.int64()] ?? ACL.open
                        let stat = try StatPersisted(from: &reader)
                        nodes[path] = "\(data.map { "\($0)" } ?? "null") \(acl) \(stat)"
                    }
                } catch {
                    nodes["?"] = "\(error)"
                }
            }
        }
    }
}
