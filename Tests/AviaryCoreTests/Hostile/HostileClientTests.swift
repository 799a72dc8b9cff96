import AviaryCore
import Testing
import ZooKeeperProtocol

/// What well-formed requests can be abused for: memory, answers out of proportion, sessions of others.
@Suite("Hostile clients")
struct HostileClientTests {
    // MARK: Watches

    @Test("When all watches together are too many, the connection with the most goes; others keep theirs and set more")
    func totalWatches() {
        let harness = CoreHarness {
            $0.maxWatchBytes = 100_000
            $0.maxTotalWatchBytes = 150_000
        }
        let modest = harness.connect()
        modest.read(.exists, "/a", watch: true)
        let bombers = [harness.connect(), harness.connect(), harness.connect()]
        for round in 0..<700 {
            for (index, bomber) in bombers.enumerated() where !bomber.isClosed {
                bomber.read(.exists, "/bomb/\(index)/\(round)", watch: true)
            }
            #expect(modest.read(.exists, "/b\(round % 10)", watch: true).error == .noNode)
        }
        #expect(bombers.contains { $0.isClosed })
        #expect(!modest.isClosed)
        #expect(harness.notes.contains { $0.message.contains("all watches together") && $0.isLimited })
        modest.create("/a")
        _ = modest.next()
        #expect(modest.events.map(\.kind) == [.nodeCreated])
    }

    @Test("setWatches above the bound of all ends whoever has the most, which may be somebody else")
    func totalRearmedWatches() {
        let harness = CoreHarness { $0.maxTotalWatchBytes = 100_000 }
        let heavy = harness.connect()
        for round in 0..<900 { heavy.read(.exists, "/heavy/\(round)", watch: true) }
        #expect(!heavy.isClosed)
        let light = harness.connect()
        light.post(.setWatches) {
            $0.int64(0)
            $0.int32(0)
            $0.int32(500)
            for index in 0..<500 { $0.string("/light/\(index)") }
            $0.int32(0)
        }
        #expect(light.next()?.error == .ok)
        #expect(!light.isClosed)
        #expect(heavy.isClosed)
        #expect(harness.core.watchCount == 500)
    }

    @Test("A burst of missed events is as long as the request that asked for it, and no longer")
    func rearmedBurst() {
        let harness = CoreHarness()
        let client = harness.connect()
        client.create("/n")
        let count = 100_000
        client.post(.setWatches) {
            $0.int64(0)
            $0.int32(Int32(count))
            for _ in 0..<count { $0.string("/n") }
            $0.int32(0)
            $0.int32(0)
        }
        let bytes = harness.inbox[client.id]?.reduce(0) { $0 + $1.count + 4 } ?? 0
        #expect(bytes < 8 * 6 * count)
        #expect(client.next()?.error == .ok)
        #expect(client.events.count == count)
    }

    @Test("Many watches of a connection that is gone go in steps; whoever comes meanwhile has nothing to do with them")
    func abandonedWatches() {
        let harness = CoreHarness()
        harness.clearsLeftovers = false
        let count = 5_000
        let bomber = harness.connect()
        bomber.post(.setWatches) {
            $0.int64(0)
            $0.int32(0)
            $0.int32(Int32(count))
            for index in 0..<count { $0.string("/w\(index)") }
            $0.int32(0)
        }
        #expect(harness.core.watchCount == count)
        bomber.disconnect()
        #expect(harness.core.hasLeftovers == true)
        #expect(harness.core.watchCount > count / 2)
        let next = (0..<3).map { _ in harness.connect() }
        #expect(next.allSatisfy { $0.id.slot != bomber.id.slot })
        for index in 0..<count where index % 100 == 0 { next[0].create("/w\(index)") }
        #expect(next.allSatisfy { $0.events.isEmpty })
        var steps = 0
        while harness.core.hasLeftovers {
            harness.core.clearLeftovers()
            steps += 1
        }
        #expect(steps > 3)
        #expect(harness.core.watchCount == 0)
        // The slot can be had again.
        #expect(harness.connect().id.slot == bomber.id.slot)
    }

    @Test("The slot of a connection whose last watch fires while the others are being removed is given out once")
    func abandonedWatchFires() {
        let harness = CoreHarness()
        harness.clearsLeftovers = false
        let other = harness.connect()
        let bomber = harness.connect()
        for index in 0..<501 {
            bomber.post(.exists) {
                $0.string("/w\(index)")
                $0.bool(true)
            }
        }
        #expect(harness.core.watchCount == 501)
        harness.isDiskHeld = true
        bomber.post(.closeSession) { _ in }
        // One of these is the watch that is left when the session ends; the watches go from the newest on.
        for index in [0, 500] {
            other.post(.create) {
                $0.string("/w\(index)")
                $0.buffer([])
                ACL.write(ACL.open, to: &$0)
                $0.int32(0)
            }
        }
        harness.releaseDisk()
        bomber.disconnect()
        #expect(harness.core.watchCount == 0)
        while harness.core.hasLeftovers { harness.core.clearLeftovers() }
        let next = (0..<3).map { _ in harness.connect() }
        #expect(Set(next.map(\.id.slot)).count == 3)
        for client in next { #expect(client.children("/").count == 3) }
    }

    // MARK: Answers

    @Test("Lists of children and of ephemerals longer than an answer may be are refused; the connection lives")
    func longLists() {
        let harness = CoreHarness { $0.maxListBytes = 20_000 }
        let client = harness.connect()
        client.create("/p")
        for index in 0..<100 { client.create("/p/" + String(repeating: "n", count: 150) + "\(index)", flags: 1) }
        #expect(client.children("/p").count == 100)
        for index in 100..<200 { client.create("/p/" + String(repeating: "n", count: 150) + "\(index)", flags: 1) }
        for operation in [Operation.getChildren, .getChildren2] {
            let refused = client.read(operation, "/p", watch: true)
            #expect(refused.error == .marshallingError)
            #expect(refused.body.isEmpty)
        }
        let ephemerals = client.call(.getEphemerals) { $0.string("/") }
        #expect(ephemerals.error == .marshallingError)
        #expect(ephemerals.body.isEmpty)
        let many = client.call(.multiRead) { writer in
            MultiHeader.write(type: 8, to: &writer)
            writer.string("/p")
            writer.bool(false)
            MultiHeader.writeEnd(to: &writer)
        }
        #expect(many.error == .marshallingError)
        #expect(many.body.isEmpty)
        #expect(harness.core.watchCount == 0)
        #expect(client.read(.getData, "/p").error == .ok)
    }

    @Test("A multiRead of many lists is given up at its bound, not after it")
    func amplifiedChildren() {
        let harness = CoreHarness { $0.maxReplyBytes = 100_000 }
        let client = harness.connect()
        client.create("/p")
        for index in 0..<100 { client.create("/p/child-\(index)") }
        let parts = { (count: Int) in
            client.call(.multiRead) { writer in
                for _ in 0..<count {
                    MultiHeader.write(type: 8, to: &writer)
                    writer.string("/p")
                    writer.bool(false)
                }
                MultiHeader.writeEnd(to: &writer)
            }
        }
        #expect(parts(50).error == .ok)
        // Seen while it is made, and before.
        for count in [150, 5_000] {
            let refused = parts(count)
            #expect(refused.error == .marshallingError)
            #expect(refused.body.isEmpty)
        }
        #expect(client.read(.exists, "/p").error == .ok)
    }

    // MARK: Sessions

    @Test("Who knows a session's id and not its password disturbs nobody")
    func wrongPassword() {
        let harness = CoreHarness()
        let owner = harness.connect()
        owner.create("/e", flags: 1)
        owner.read(.getData, "/e", watch: true)
        for password in [[], [UInt8](repeating: 0, count: 16), [UInt8](repeating: 0xff, count: 4096)] {
            let thief = harness.connect(session: owner.session, password: password)
            #expect(thief.session == 0)
            #expect(thief.isClosed)
        }
        #expect(!owner.isClosed)
        #expect(owner.set("/e", "still mine").error == .ok)
        #expect(owner.events.map(\.kind) == [.nodeDataChanged])
    }

    @Test(
        "What only servers ask each other for is refused",
        arguments: [Operation.createSession, .error, .deleteContainer]
    )
    func serverOperations(operation: Operation) {
        let harness = CoreHarness()
        let other = harness.connect()
        other.create("/c", as: .createContainer)
        let client = harness.connect()
        let sessions = harness.core.sessionCount
        client.post(operation) { $0.string("/c") }
        #expect(client.next()?.error == .unimplemented)
        #expect(client.isClosed)
        #expect(harness.core.sessionCount == sessions)
        #expect(other.read(.exists, "/c").error == .ok)
    }

    @Test("Many sessions that end at once are told of in few lines")
    func manyExpire() {
        let harness = CoreHarness()
        for _ in 0..<1000 { harness.connect(timeout: 2000).disconnect() }
        let before = harness.notes.count
        harness.advance(milliseconds: 10_000)
        #expect(harness.core.sessionCount == 0)
        #expect(harness.notes.count - before < 50)
        #expect(harness.notes.contains { $0.metadata.contains { $0 == ("sessions", "980") } })
    }
}
