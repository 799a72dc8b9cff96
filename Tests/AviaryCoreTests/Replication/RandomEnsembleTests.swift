import AviaryCore
import Foundation
import Testing
import ZooKeeperProtocol

/// Everything on its way in random order: what sessions were promised (docs/protocol/client-protocol.md section 4.5) is
/// checked reply by reply, and that all members are alike at the end.
@Suite("Ensembles whose messages take their time")
struct RandomEnsembleTests {
    /// `AVIARY_SEEDS=20000 swift test --filter RandomEnsembleTests` tries more; `AVIARY_SEED=n` one alone.
    static let seedCount = ProcessInfo.processInfo.environment["AVIARY_SEEDS"].flatMap(Int.init) ?? 240
    static let onlySeed = ProcessInfo.processInfo.environment["AVIARY_SEED"].flatMap(UInt64.init)
    static let shards = 8

    @Test("Random orders", arguments: 0..<shards)
    func random(shard: Int) {
        if let seed = Self.onlySeed {
            if shard == 0 { run(seed) }
            return
        }
        for seed in stride(from: shard, to: Self.seedCount, by: Self.shards) where !run(UInt64(seed)) { return }
    }

    @discardableResult
    private func run(_ seed: UInt64) -> Bool {
        let run = EnsembleRun(seed: seed)
        do {
            try run.run(steps: 400)
            return true
        } catch {
            Issue.record("seed \(seed): \(error)")
            return false
        }
    }
}

/// One seed.
private final class EnsembleRun {
    struct Violation: Error, CustomStringConvertible {
        var description: String

        init(_ description: String) {
            self.description = description
        }
    }

    /// A client's session over its connections.
    final class Session {
        var client: Client
        /// Where it is now.
        var member: Int
        var id: Int64 = 0
        var password: [UInt8] = []
        /// What was asked on this connection and is not answered.
        var asked: [(xid: Int32, operation: ZooKeeperProtocol.Operation, ackedBefore: Int64)] = []
        /// The highest zxid that any reply or event had.
        var seen: Int64 = 0
        var eventsSeen = 0
        var xid: Int32 = 0
        var isConnected = false
        var isEnding = false

        init(client: Client, member: Int) {
            self.client = client
            self.member = member
        }
    }

    private let ensemble: Ensemble
    private var random: ModelRandom
    private var sessions: [Session] = []
    /// Sessions whose clients gave up, for others to find.
    private var left: [Session] = []
    private var acked: Int64 = 0
    private let restarts: Bool

    init(seed: UInt64) {
        random = ModelRandom(seed: seed)
        let local = random.oneIn(3)
        let upgrading = random.oneIn(2)
        let count = random.oneIn(3) ? 4 : 3
        restarts = random.oneIn(2)
        ensemble = Ensemble(count: count, observers: [count - 1]) {
            $0.localSessionsEnabled = local
            $0.localSessionsUpgradingEnabled = upgrading
        }
        ensemble.isHeld = true
    }

    func run(steps: Int) throws {
        for _ in 0..<steps {
            try step()
            try look()
        }
        try finish()
    }

    private func step() throws {
        switch random.below(100) {
        case 0..<45: happen(1 + random.below(3))
        case 45..<80:
            guard !sessions.isEmpty else { return connect() }
            for _ in 0..<(1 + random.below(3)) { post(random.pick(sessions)) }
        case 80..<85: connect()
        case 85..<89: move()
        case 89..<91: disconnect()
        case 91..<96: ensemble.advance(milliseconds: Int64(random.below(1500)))
        case 96: restarts ? elect() : ()
        default: happen(20)
        }
    }

    private func happen(_ count: Int) {
        for _ in 0..<count {
            let possible = ensemble.possible
            guard !possible.isEmpty else { return }
            ensemble.happen(random.pick(possible))
        }
    }

    private func elect() {
        let keeping = random.below(ensemble.proposals.count + 1)
        // A leader has all that was committed, and what its own log has behind that.
        ensemble.elect(random.below(ensemble.members.count - 1), keeping: random.oneIn(2) ? keeping : 0)
        for member in ensemble.members {
            if member.core.lastProcessedZxid.rawValue < acked {
                Issue.record("what was acknowledged is gone")
            }
        }
    }

    // MARK: Clients

    private func connect() {
        guard sessions.count < 6 else { return disconnect() }
        let member = random.below(ensemble.members.count)
        let client = ensemble.members[member].connect(timeout: random.pick([2000, 4000, 20_000]))
        sessions.append(Session(client: client, member: member))
    }

    /// A client comes to another server, or the same, with the session that it had.
    private func move() {
        let session: Session
        if !left.isEmpty, random.oneIn(2) {
            session = left.remove(at: random.below(left.count))
            guard session.id != 0 else { return }
            sessions.append(session)
        } else {
            guard let known = sessions.filter({ $0.id != 0 }).randomElement(using: &random) else { return }
            session = known
            // The old server may notice late.
            if random.oneIn(2) { session.client.disconnect() }
        }
        session.member = random.below(ensemble.members.count)
        session.client = ensemble.members[session.member].connect(
            timeout: random.pick([2000, 4000, 20_000]),
            session: session.id,
            password: session.password,
            lastZxid: session.seen
        )
        session.asked = []
        session.eventsSeen = 0
        session.isConnected = session.client.session != 0
        session.isEnding = false
    }

    private func disconnect() {
        guard !sessions.isEmpty else { return }
        let session = sessions.remove(at: random.below(sessions.count))
        session.client.disconnect()
        left.append(session)
    }

    private func post(_ session: Session) {
        guard session.isConnected, !session.isEnding else { return }
        let path = random.pick(["/a", "/b", "/a/x", "/a/y", "/b/z"])
        // Clients begin anew with each connection, some of them.
        session.xid = random.oneIn(40) ? 1 : session.xid + 1
        func ask(_ operation: ZooKeeperProtocol.Operation, _ write: (inout JuteWriter) -> Void) {
            session.asked.append((session.xid, operation, acked))
            session.client.post(operation, xid: session.xid, write)
        }
        switch random.below(20) {
        case 0..<5:
            let flags: Int32 = random.pick([0, 0, 0, 1, 2, 3])
            ask(.create) {
                $0.string(flags > 1 ? "/a/s" : path)
                $0.string("data")
                ACL.write(self.random.oneIn(4) ? [ACL(31, "ip", "127.0.0.1")] : ACL.open, to: &$0)
                $0.int32(flags)
            }
        case 5..<8:
            ask(.setData) {
                $0.string(path)
                $0.string("\(session.xid)")
                $0.int32(self.random.oneIn(3) ? 1 : -1)
            }
        case 8..<10:
            ask(.delete) {
                $0.string(path)
                $0.int32(-1)
            }
        case 10, 11: ask(.sync) { $0.string("/") }
        case 12:
            ask(.multi) { writer in
                for part in [path, "/b"] {
                    MultiHeader.write(type: ZooKeeperProtocol.Operation.create2.rawValue, to: &writer)
                    writer.string(part)
                    writer.string("")
                    ACL.write(ACL.open, to: &writer)
                    writer.int32(self.random.oneIn(3) ? 1 : 0)
                }
                MultiHeader.writeEnd(to: &writer)
            }
        case 13:
            ask(.setACL) {
                $0.string(path)
                ACL.write([ACL(31, "ip", "127.0.0.1"), ACL(1, "world", "anyone")], to: &$0)
                $0.int32(-1)
            }
        case 14 where random.oneIn(3):
            session.isEnding = true
            ask(.closeSession) { _ in }
        case 15: ask(.setData) { $0.string(path) }
        case 16:
            ask(.addWatch) {
                $0.string("/")
                $0.int32(1)
            }
        default:
            let isWatching = random.oneIn(3)
            ask(random.pick([.getData, .exists, .getChildren2])) {
                $0.string(path)
                $0.bool(isWatching)
            }
        }
    }

    // MARK: What clients were promised

    private func look() throws {
        for session in sessions { try look(session) }
        sessions.removeAll { session in
            guard session.client.isClosed, ensemble.members[session.member].inbox[session.client.id]?.isEmpty ?? true
            else { return false }
            session.client.disconnect()
            left.append(session)
            return true
        }
        if left.count > 6 { left.removeFirst() }
    }

    private func look(_ session: Session) throws {
        if !session.isConnected {
            session.client.readConnectResponse()
            guard session.client.timeout != 0 else { return }
            if session.id != 0, session.id != session.client.session { throw Violation("another session's answer") }
            session.id = session.client.session
            session.password = session.client.password
            session.isConnected = true
        }
        while let reply = session.client.next() {
            try checkEvents(session, before: reply.zxid)
            guard let asked = session.asked.first else { throw Violation("nobody asked for \(reply)") }
            session.asked.removeFirst()
            guard asked.xid == reply.xid else { throw Violation("\(asked) is answered by \(reply)") }
            guard reply.zxid >= session.seen else {
                throw Violation("\(asked): zxid \(reply.zxid) after \(session.seen)")
            }
            session.seen = reply.zxid
            switch asked.operation {
            case .create, .setData, .delete, .multi, .setACL, .closeSession:
                // Refused without a transaction.
                if reply.error != .marshallingError { acked = max(acked, reply.zxid) }
                if asked.operation != .closeSession, reply.error == .sessionMoved {
                    throw Violation("\(asked) is told that its session has moved")
                }
            case .sync where reply.zxid < asked.ackedBefore:
                throw Violation("a sync knows \(reply.zxid), and \(asked.ackedBefore) was acknowledged before")
            default: break
            }
        }
        try checkEvents(session, before: .max)
    }

    private func checkEvents(_ session: Session, before zxid: Int64) throws {
        for event in session.client.events.dropFirst(session.eventsSeen) where event.zxid >= 0 {
            guard event.zxid >= session.seen, event.zxid <= zxid else {
                throw Violation("event \(event) between \(session.seen) and \(zxid)")
            }
            session.seen = event.zxid
        }
        session.eventsSeen = session.client.events.count
    }

    // MARK: The end

    private func finish() throws {
        ensemble.isHeld = false
        ensemble.settle()
        try look()
        for session in sessions where !session.client.isClosed && session.isConnected && !session.asked.isEmpty {
            throw Violation("never answered: \(session.asked[0])")
        }
        try compare()
        // Nobody says anything any more.
        ensemble.advance(milliseconds: 60_000)
        try compare()
        for member in ensemble.members {
            guard member.core.sessionCount == 0, member.core.ephemeralCount == 0 else {
                throw Violation("\(member.core.sessionCount) sessions, \(member.core.ephemeralCount) ephemerals left")
            }
            guard member.core.outstandingRequests == 0 else { throw Violation("something waits for ever") }
        }
    }

    private func compare() throws {
        // What the committed transactions alone make.
        let fresh = CoreHarness(memberOf: ensemble, id: 9) { _ in }
        for (_, payload) in ensemble.committed {
            try payload.withUnsafeBytes {
                try fresh.core.applyCommitted($0, at: ensemble.now, into: &fresh.output)
            }
        }
        let expected = Ensemble.Picture(of: fresh)
        for (index, member) in ensemble.members.enumerated() {
            guard Ensemble.Picture(of: member) == expected else { throw Violation("member \(index) differs") }
            guard member.core.digestMismatchCount == 0 else { throw Violation("digests differ at \(index)") }
            if let note = member.notes.first(where: { $0.level == .error }) { throw Violation("\(note)") }
        }
    }
}

extension ModelRandom: RandomNumberGenerator {}
