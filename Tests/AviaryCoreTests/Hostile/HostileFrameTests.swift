import AviaryCore
import Foundation
import Testing
import ZooKeeperProtocol

/// Frames that no client sends: whatever they are, nothing stops, memory stays bounded, and other connections are served.
@Suite("Hostile frames")
struct HostileFrameTests {
    static let rounds =
        ProcessInfo.processInfo.environment["AVIARY_SEEDS"].flatMap(Int.init).map { max($0 / 40, 4) } ?? 8

    @Test("Recorded frames with bytes changed, and noise", arguments: 0..<rounds)
    func mutations(seed: Int) throws {
        var attack = Attack(seed: UInt64(seed))
        try attack.run(frames: 1500)
    }

    @Test("Frames recorded from clients, in any order and on any connection", arguments: 0..<4)
    func shuffled(seed: Int) throws {
        var attack = Attack(seed: UInt64(seed) + 1_000_000)
        attack.mutates = false
        try attack.run(frames: 1500)
    }

    @Test("At a member of an ensemble", arguments: 0..<rounds, [0, 1])
    func member(seed: Int, index: Int) throws {
        var attack = Attack(seed: UInt64(seed) + 2_000_000, member: index)
        try attack.run(frames: 1000)
    }

    /// One server under attack, with one honest client that looks on.
    private struct Attack {
        let harness: CoreHarness
        /// That the server is a member of.
        private let ensemble: Ensemble?
        let honest: Client
        var random: ModelRandom
        var mutates = true
        private var attackers: [ConnectionID] = []

        /// - Parameter member: of an ensemble, the leader or another one; nil is a server alone.
        init(seed: UInt64, member: Int? = nil) {
            random = ModelRandom(seed: seed)
            let isOpen = random.oneIn(2)
            let enforces = random.oneIn(2)
            let local = random.oneIn(3)
            let configure: (inout CoreOptions) -> Void = {
                $0.extendedTypes = isOpen
                $0.enforceQuota = enforces
                $0.skipACL = isOpen
                $0.maxReplyBytes = 4 << 20
                $0.maxBufferBytes = 2 << 20
                $0.containerCheckIntervalMilliseconds = 500
                $0.localSessionsEnabled = local
                $0.localSessionsUpgradingEnabled = enforces
            }
            let ensemble = member.map { _ in Ensemble(configure) }
            self.ensemble = ensemble
            harness = member.flatMap { ensemble?.members[$0] } ?? CoreHarness(configure)
            honest = harness.connect(timeout: 20_000)
            honest.create("/honest", "mine", acl: [ACL(31, "ip", "127.0.0.1")])
        }

        mutating func run(frames: Int) throws {
            for round in 0..<frames {
                if random.oneIn(60) {
                    harness.isDiskHeld.toggle()
                    ensemble?.commitsAreHeld.toggle()
                }
                if random.oneIn(100) { harness.advance(milliseconds: Int64(random.below(3000))) }
                try attack()
                if round % 50 == 0 { try look() }
            }
            try look()
            if let ensemble { ensemble.expectEqual() } else { try replay() }
        }

        private mutating func attack() throws {
            attackers.removeAll { harness.closed.contains($0) }
            if attackers.count < 3 || random.oneIn(30) { return connect() }
            let id = random.pick(attackers)
            let before = harness.inbox[id]?.count ?? 0
            let frame = frame()
            lookAhead(at: frame)
            harness.send(frame, on: id)
            // What one frame of some kilobytes can ask for.
            let answer = harness.inbox[id]?.dropFirst(before).reduce(0) { $0 + $1.count } ?? 0
            #expect(answer < 8 << 20)
            if random.oneIn(10) { harness.inbox[id] = [] }
        }

        /// As a shell has it done with what it has read: frames back to back, the last cut short, a length not true.
        private mutating func lookAhead(at frame: [UInt8]) {
            var writer = JuteWriter()
            for _ in 0..<random.below(20) { writer.buffer(random.pick(RecordedFrames.sent.requests)) }
            writer.buffer(frame)
            if random.oneIn(4) { writer.int32(Int32(truncatingIfNeeded: random.next())) }
            let stream = [UInt8](writer.copy().dropLast(random.below(8)))
            #expect((1...16).contains(stream.withUnsafeBytes { harness.core.fetchAhead(frames: $0) }))
        }

        private mutating func connect() {
            let address = random.pick(["10.9.9.9", "::1", "no address", ""])
            let id = harness.core.accept(PeerAddress(text: address, port: 1), at: harness.now)
            attackers.append(id)
            if mutates, random.oneIn(4) {
                return harness.send(random.mutated(random.pick(RecordedFrames.sent.handshakes)), on: id)
            }
            var writer = JuteWriter()
            writer.int32(0)
            writer.int64(0)
            writer.int32(random.pick([0, Int32.max, Int32.min, 4000]))
            writer.int64(0)
            writer.buffer([UInt8](repeating: 0, count: 16))
            harness.send(writer.copy(), on: id)
        }

        private mutating func frame() -> [UInt8] {
            let recorded = random.pick(RecordedFrames.sent.requests)
            guard mutates else { return recorded }
            switch random.below(10) {
            case 0:
                let operation = random.pick(Array(Operation.allCases))
                var writer = JuteWriter()
                writer.int32(Int32(truncatingIfNeeded: random.next()))
                writer.int32(operation.rawValue)
                for _ in 0..<random.below(60) { writer.byte(UInt8(truncatingIfNeeded: random.next())) }
                return writer.copy()
            case 1: return (0..<random.below(40)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            case 2: return recorded
            default: return random.mutated(recorded, others: RecordedFrames.sent.requests)
            }
        }

        /// The honest client is served as if nothing were.
        private mutating func look() throws {
            harness.releaseDisk()
            ensemble?.commitsAreHeld = false
            ensemble?.settle()
            honest.post(.ping, xid: -2)
            #expect(honest.next()?.xid == -2)
            #expect(honest.read(.getData, "/honest").string == "mine")
            #expect(honest.set("/honest", "mine").error == .ok)
            #expect(harness.core.outstandingRequests == 0)
            #expect(harness.core.digestMismatchCount == 0)
            #expect(harness.core.watchCount < 100_000)
            try #require(!honest.isClosed)
        }

        /// What was logged is what is there.
        private func replay() throws {
            for payload in harness.log {
                let txn = try payload.withUnsafeBytes { try Txn(payload: $0) }
                var writer = JuteWriter()
                txn.write(to: &writer)
                #expect(writer.copy() == payload)
            }
            let again = CoreHarness()
            again.core.reset()
            again.core.restoreFreshTree()
            for payload in harness.log { try again.core.replay(try payload.withUnsafeBytes { try Txn(payload: $0) }) }
            try again.core.finishReplay()
            #expect(again.core.treeDigest == harness.core.treeDigest)
            #expect(again.core.nodeCount == harness.core.nodeCount)
        }
    }
}
