import AviaryCore
import Testing
import ZooKeeperProtocol

@Suite("What waits behind a write")
struct WaitingTests {
    @Test("Reads of large nodes behind a write say that no more may be taken; answered in order, all is well again")
    func largeReadsWait() {
        let harness = CoreHarness()
        let client = harness.connect()
        client.create("/big")
        harness.isDiskHeld = true
        client.post(.setData) {
            $0.string("/big")
            $0.buffer([UInt8](repeating: 1, count: 600_000))
            $0.int32(-1)
        }
        for count in 1...3 {
            client.post(.getData) {
                $0.string("/big")
                $0.bool(false)
            }
            // The size is the one that the write in front will leave.
            #expect(harness.core.overfull.isEmpty == (count < 2))
        }
        #expect(harness.core.overfull.allSatisfy { $0 == client.id })
        harness.core.overfull.removeAll()
        harness.releaseDisk()
        #expect((0..<4).map { _ in client.next()?.stat?.dataLength } == [600_000, 600_000, 600_000, 600_000])
        client.post(.getData) {
            $0.string("/big")
            $0.bool(false)
        }
        #expect(client.next() != nil)
        #expect(harness.core.overfull.isEmpty)
    }

    @Test("Frames that pile up before the session exists say so too")
    func framesBeforeTheSession() {
        let harness = CoreHarness()
        harness.isDiskHeld = true
        let client = harness.connect()
        for _ in 0..<40 { client.post(.ping, xid: -2) }
        #expect(harness.core.overfull.contains(client.id))
        harness.releaseDisk()
        client.readConnectResponse()
        #expect((0..<40).allSatisfy { _ in client.next()?.xid == -2 })
    }
}

@Suite("What an operator is told")
struct NoteTests {
    private func notes(_ harness: CoreHarness) -> [String] { harness.notes.map(\.message) }

    @Test("A soft quota that is passed is told once, and limits that are none are told of")
    func quotas() {
        let harness = CoreHarness()
        let client = harness.connect()
        for path in ["/q", "/r", "/zookeeper/quota/q", "/zookeeper/quota/r"] { client.create(path) }
        client.create("/zookeeper/quota/q/zookeeper_limits", "count=2,bytes=-1")
        client.create("/zookeeper/quota/q/zookeeper_stats")
        client.create("/zookeeper/quota/r/zookeeper_limits", "rubbish")
        client.create("/zookeeper/quota/r/zookeeper_stats")
        client.create("/q/1")
        #expect(notes(harness).isEmpty)
        client.create("/q/2")
        client.create("/q/3")
        client.create("/r/1")
        #expect(
            notes(harness) == [
                "a quota is exceeded",
                "the limits of a quota cannot be read and count as none: expected count=N,bytes=N",
            ]
        )
    }

    @Test("What is no ConnectRequest is told of, and closed")
    func garbage() {
        let harness = CoreHarness()
        let id = harness.core.accept(PeerAddress(text: "10.1.1.1", port: 9), at: harness.now)
        harness.send(Array("abcde".utf8), on: id)
        #expect(harness.closed.contains(id))
        #expect(harness.notes.count == 1 && harness.notes.allSatisfy(\.isLimited))
    }
}
