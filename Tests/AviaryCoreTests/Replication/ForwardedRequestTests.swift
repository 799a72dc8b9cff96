import AviaryCore
import Testing
import ZooKeeperProtocol

@Suite("What a leader makes of what learners hand on")
struct ForwardedRequestTests {
    private let anyone = [Identity(scheme: "ip", id: "127.0.0.1")]

    private func create(_ path: String, flags: Int32 = 0) -> [UInt8] {
        var writer = JuteWriter()
        writer.string(path)
        writer.string("")
        ACL.write(ACL.open, to: &writer)
        writer.int32(flags)
        return writer.copy()
    }

    private func last(_ ensemble: Ensemble) throws -> Txn {
        let record = try #require(ensemble.committed.last)
        return try record.payload.withUnsafeBytes { try Txn(payload: $0) }
    }

    private func expectError(
        _ code: ErrorCode,
        _ ensemble: Ensemble,
        operation: Operation = .create,
        session: Int64,
        body: [UInt8],
        identities: [Identity]?,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let count = ensemble.committed.count
        ensemble.forward(
            from: 1,
            operation: operation.rawValue,
            cxid: 9,
            session: session,
            body: body,
            identities: identities
        )
        #expect(ensemble.committed.count == count + 1, sourceLocation: sourceLocation)
        let txn = try last(ensemble)
        #expect(txn.body == .error(code), sourceLocation: sourceLocation)
        #expect(txn.digest == nil, sourceLocation: sourceLocation)
        #expect(txn.header.cxid == 9 && txn.header.session.rawValue == session, sourceLocation: sourceLocation)
    }

    @Test("Every write becomes a transaction, however little sense it makes")
    func nonsense() throws {
        let ensemble = Ensemble()
        let session = ensemble.members[1].connect().session
        try expectError(.marshallingError, ensemble, session: session, body: create("/a"), identities: nil)
        try expectError(.sessionExpired, ensemble, session: 0x77, body: create("/a"), identities: anyone)
        try expectError(.sessionExpired, ensemble, session: 0, body: create("/a"), identities: anyone)
        try expectError(.marshallingError, ensemble, session: session, body: [1, 2], identities: anyone)
        let operations: [Operation] = [.delete, .setData, .setACL, .multi, .create2, .createTTL, .createContainer]
        for operation in operations {
            try expectError(
                .marshallingError,
                ensemble,
                operation: operation,
                session: session,
                body: [0],
                identities: anyone
            )
        }
        for operation in [Operation.check, .deleteContainer] {
            try expectError(
                .unimplemented,
                ensemble,
                operation: operation,
                session: session,
                body: create("/a"),
                identities: anyone
            )
        }
        try expectError(
            .sessionExpired,
            ensemble,
            operation: .closeSession,
            session: 0x77,
            body: [],
            identities: nil
        )
        try expectError(
            .marshallingError,
            ensemble,
            operation: .createSession,
            session: 0x200_0000_0000_0005,
            body: [1],
            identities: nil
        )
        for taken in [session, 0, Int64.min] {
            try expectError(
                .systemError,
                ensemble,
                operation: .createSession,
                session: taken,
                body: [0, 0, 0x20, 0],
                identities: nil
            )
        }
        ensemble.forward(
            from: 1,
            operation: Operation.create.rawValue,
            cxid: 1,
            session: session,
            body: create("/empty"),
            identities: []
        )
        guard case .create = try last(ensemble).body else { throw ErrorCode.systemError }
        ensemble.expectEqual()
    }

    @Test("What is no write is passed over", arguments: [0, 3, 4, 11, 100, 107, 9999, Int32.min])
    func noWrites(operation: Int32) {
        let ensemble = Ensemble()
        let session = ensemble.members[1].connect().session
        let count = ensemble.committed.count
        ensemble.forward(from: 1, operation: operation, cxid: 1, session: session, body: [], identities: anyone)
        #expect(ensemble.committed.count == count)
    }

    @Test("A local session of a learner may write, and has no ephemerals before it is global")
    func foreignLocalSessions() throws {
        let ensemble = Ensemble { $0.localSessionsEnabled = true }
        let local: Int64 = 2 << 56 | 5
        ensemble.forward(
            from: 1,
            operation: Operation.create.rawValue,
            cxid: 1,
            session: local,
            body: create("/a"),
            identities: anyone
        )
        guard case .create = try last(ensemble).body else { throw ErrorCode.systemError }
        try expectError(.sessionExpired, ensemble, session: local, body: create("/e", flags: 1), identities: anyone)
        // One with the leader's own number can only be one that is gone.
        try expectError(.sessionExpired, ensemble, session: 1 << 56 | 5, body: create("/b"), identities: anyone)
        try expectError(
            .sessionExpired,
            ensemble,
            operation: .closeSession,
            session: local,
            body: [],
            identities: anyone
        )
    }

    @Test("Identities decide as at their own server")
    func identities() {
        let ensemble = Ensemble { $0.superDigest = "super:d3A6cmVwdXM=" }
        let owner = ensemble.learners[0].connect()
        owner.call(.auth) {
            $0.int32(0)
            $0.string("digest")
            $0.string("u1:p")
        }
        #expect(owner.create("/own", acl: [ACL(31, "auth", "")]).error == .ok)
        #expect(owner.create("/near", acl: [ACL(31, "ip", "10.1.0.0/16")]).error == .ok)
        let stranger = ensemble.learners[1].connect(address: "10.1.2.3")
        #expect(stranger.set("/own", "x").error == .noAuth)
        #expect(stranger.set("/near", "x").error == .ok)
        #expect(owner.set("/own", "x").error == .ok)
        #expect(owner.set("/near", "x").error == .noAuth)
        stranger.call(.auth) {
            $0.int32(0)
            $0.string("digest")
            $0.string("super:pw")
        }
        #expect(stranger.set("/own", "y").error == .ok)
        ensemble.expectEqual()
    }

    @Test("Noise from learners: every record can be read, and all members stay alike", arguments: 0..<8)
    func noise(seed: Int) throws {
        var random = ModelRandom(seed: UInt64(seed))
        let ensemble = Ensemble {
            $0.localSessionsEnabled = seed % 2 == 0
            $0.enforceQuota = seed % 3 == 0
        }
        let honest = ensemble.learners[0].connect(timeout: 20_000)
        #expect(honest.create("/honest", acl: [ACL(31, "ip", "127.0.0.1")]).error == .ok)
        let known = ensemble.members.map { $0.connect(timeout: 20_000).session } + [0, -1, 77, Int64.min]
        let anybody: [[Identity]?] = [
            nil, [], [Identity(scheme: "ip", id: "10.0.0.1")], [Identity(scheme: "", id: "")],
        ]
        for round in 0..<1500 {
            let frame = random.mutated(
                random.pick(RecordedFrames.sent.requests),
                others: RecordedFrames.sent.requests
            )
            var operation = random.pick(Array(ZooKeeperProtocol.Operation.allCases)).rawValue
            if frame.count >= 8, random.oneIn(2) { operation = frame[4..<8].reduce(0) { $0 << 8 | Int32($1) } }
            if random.oneIn(30) { operation = Int32(truncatingIfNeeded: random.next()) }
            ensemble.forward(
                from: random.below(3),
                operation: operation,
                cxid: Int32(truncatingIfNeeded: random.next()),
                session: random.pick(known),
                body: Array(frame.dropFirst(8)),
                identities: random.pick(anybody)
            )
            if round % 100 == 0 {
                ensemble.advance(milliseconds: 500)
                #expect(honest.set("/honest", "x").error == .ok)
            }
        }
        for (_, payload) in ensemble.committed {
            let txn = try payload.withUnsafeBytes { try Txn(payload: $0) }
            var writer = JuteWriter()
            txn.write(to: &writer)
            #expect(writer.copy() == payload)
        }
        ensemble.expectEqual()
    }

    @Test("A learner that is gone is owed nothing")
    func gone() {
        let ensemble = Ensemble()
        let client = ensemble.members[1].connect()
        let other = ensemble.members[2].connect()
        ensemble.confirmationsAreHeld = true
        client.post(.sync) { $0.string("/1") }
        other.post(.sync) { $0.string("/2") }
        ensemble.leader.core.learnerGone(LearnerID(1))
        ensemble.confirmationsAreHeld = false
        ensemble.settle()
        #expect(client.next() == nil)
        #expect(other.next()?.string == "/2")
    }

    @Test("A session that asks for something lives, also when its learner is gone before the next PING")
    func requestsAreHeardOf() {
        let ensemble = Ensemble()
        let client = ensemble.learners[0].connect(timeout: 6000)
        ensemble.advance(milliseconds: 4000)
        #expect(client.create("/a").error == .ok)
        ensemble.advance(milliseconds: 4000)
        client.post(.sync) { $0.string("/a") }
        ensemble.advance(milliseconds: 4000)
        #expect(ensemble.leader.core.sessionCount == 1)
        ensemble.advance(milliseconds: 10_000)
        #expect(ensemble.leader.core.sessionCount == 0)
    }

    @Test("A leader whose log is full refuses what learners hand on, but ends sessions")
    func fullDisk() throws {
        let ensemble = Ensemble()
        let leader = ensemble.leader
        let client = ensemble.learners[0].connect()
        leader.core.setLogRoom(.low, at: ensemble.now, into: &leader.output)
        leader.output.reset()
        #expect(client.create("/a").error == .systemError)
        let refused = ensemble.learners[0].connect()
        // Told that its session is over, a client would give up for good.
        #expect(refused.isClosed && refused.password.isEmpty, "closed without an answer")
        #expect(client.call(.closeSession).error == .ok)
    }

    @Test("What learners hand on while nothing fits into the log is refused once something does, in its order")
    func exhaustedDisk() throws {
        let ensemble = Ensemble()
        let leader = ensemble.leader
        let first = ensemble.learners[0].connect()
        let other = ensemble.learners[1].connect()
        let ending = ensemble.learners[1].connect()
        leader.core.setLogRoom(.exhausted, at: ensemble.now, into: &leader.output)
        leader.output.reset()
        first.postCreate("/a")
        for client in [first, other] {
            client.post(.exists) {
                $0.string("/a")
                $0.bool(false)
            }
        }
        ending.post(.closeSession)
        #expect(first.next() == nil)
        #expect(other.next()?.error == .noNode, "a reader is not held up")
        // Its client gives up waiting, and comes to another server: what it asked for must not follow it there.
        let moved = ensemble.learners[1].connect(session: first.session, password: first.password)
        let comesBack = ensemble.learners[0].connect(session: other.session, password: other.password)
        #expect(moved.password.isEmpty && !moved.isClosed)
        #expect(comesBack.session == other.session, "nothing of it waits")
        #expect(ensemble.committed.count == 3)

        leader.core.setLogRoom(.low, at: ensemble.now, into: &leader.output)
        ensemble.endTurn(of: leader)
        #expect(first.next()?.error == .systemError)
        #expect(first.next()?.error == .noNode)
        #expect(ending.next()?.error == .ok)
        moved.readConnectResponse()
        #expect(moved.session == first.session && !moved.password.isEmpty)
        leader.core.setLogRoom(.plenty, at: ensemble.now, into: &leader.output)
        leader.output.reset()
        #expect(moved.create("/b").error == .ok)
        ensemble.expectEqual()
    }

    @Test("A leader that can answer nobody lets another one lead")
    func tooManyPostponed() {
        let ensemble = Ensemble()
        let leader = ensemble.leader
        let session = ensemble.members[1].connect().session
        leader.core.setLogRoom(.exhausted, at: ensemble.now, into: &leader.output)
        for cxid in 1...10_000 as ClosedRange<Int32> {
            ensemble.forward(
                from: 1,
                operation: Operation.create.rawValue,
                cxid: cxid,
                session: session,
                body: create("/a"),
                identities: anyone
            )
        }
        #expect(ensemble.resignation == nil)
        ensemble.forward(
            from: 1,
            operation: Operation.create.rawValue,
            cxid: 10_001,
            session: session,
            body: create("/a"),
            identities: anyone
        )
        #expect(ensemble.resignation?.contains("room") == true)
        ensemble.elect(1)
        leader.core.setLogRoom(.plenty, at: ensemble.now, into: &leader.output)
        ensemble.endTurn(of: leader)
        #expect(ensemble.committed.count == 1)
    }
}
