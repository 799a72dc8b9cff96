import AviaryCore
import Testing
import ZooKeeperProtocol

@Suite("Quotas")
struct QuotaTests {
    private static let stats = "/zookeeper/quota/q/zookeeper_stats"
    private static let limits = "/zookeeper/quota/q/zookeeper_limits"

    /// A core with a quota of these limits on /q.
    private func harness(_ limits: String, stats: String? = "") -> (CoreHarness, Client) {
        let harness = CoreHarness { $0.enforceQuota = true }
        let client = harness.connect()
        client.create("/q")
        client.create("/zookeeper/quota/q")
        client.create(Self.limits, limits)
        if let stats { client.create(Self.stats, stats) }
        return (harness, client)
    }

    private func data(_ client: Client, _ path: String) -> String? { client.read(.getData, path).string }

    @Test("Numbers that a client wrote into the statistics never stop the server, however large")
    func hugeStatistics() {
        let (_, client) = harness("count=-1,bytes=-1=;byteHardLimit=9223372036854775807;countHardLimit=100")
        for numbers in [
            "count=9223372036854775807,bytes=9223372036854775807",
            "count=-9223372036854775808,bytes=-9223372036854775808", "count=99999999999999999999,bytes=x", "",
        ] {
            #expect(client.set(Self.stats, numbers).error == .ok)
            _ = client.create("/q/a", "abc")
            #expect(client.set("/q", "abcdef").error == .ok)
            _ = client.delete("/q/a")
            #expect(client.set("/q", "").error == .ok)
        }
        #expect(client.create("/after").error == .ok)
    }

    @Test("A new ACL of the limits in flight, or a child below them, does not lift them")
    func limitsStayWhileTheirNodeIsTouched() {
        let (harness, client) = harness("count=-1,bytes=-1=;countHardLimit=1")
        #expect(client.create("/q/a").error == .quotaExceeded)
        harness.isDiskHeld = true
        client.post(.setACL) {
            $0.string(Self.limits)
            ACL.write(ACL.open, to: &$0)
            $0.int32(-1)
        }
        client.postCreate("/q/a")
        harness.releaseDisk()
        #expect(client.next()?.error == .ok)
        #expect(client.next()?.error == .quotaExceeded)
    }

    @Test("Statistics in flight count, also what they are made with and what was made before them in flight")
    func statisticsInFlight() {
        let (harness, client) = harness("count=-1,bytes=-1=;byteHardLimit=8;countHardLimit=3", stats: nil)
        harness.isDiskHeld = true
        func post(_ path: String, _ data: String) {
            client.postCreate(path, data)
        }
        post("/q/a", "1234")
        post(Self.stats, "count=100,bytes=100")
        post("/q/b", "12345")
        post("/q/b", "1234")
        post("/q/c", "")
        harness.releaseDisk()
        let expected: [ErrorCode] = [.ok, .ok, .quotaExceeded, .ok, .quotaExceeded]
        #expect((0..<5).map { _ in client.next()?.error } == expected)
        #expect(data(client, Self.stats) == "count=3,bytes=8")
    }

    @Test("Limits and statistics too long to be read at every write are none")
    func longNumbers() {
        let (_, client) = harness("countHardLimit=1" + String(repeating: ",", count: 2000))
        #expect(client.create("/q/a").error == .ok)
        #expect(data(client, Self.stats) == "count=2,bytes=0")
    }

    @Test("A node whose name only begins like the quota tree has nothing to do with quotas")
    func neighbourOfTheQuotaTree() {
        let harness = CoreHarness()
        let client = harness.connect()
        client.create("/zookeeper/quotas")
        client.create("/zookeeper/quotas/zookeeper_stats", "mine")
        #expect(data(client, "/zookeeper/quotas/zookeeper_stats") == "mine")
    }

    @Test("The deepest quota counts, also behind one that is longer than the path")
    func deepest() {
        let (_, client) = harness("count=-1,bytes=-1")
        client.create("/q/deep")
        client.create("/q/deep/er")
        client.create("/zookeeper/quota/q/deep")
        client.create("/zookeeper/quota/q/deep/er")
        client.create("/zookeeper/quota/q/deep/er/zookeeper_limits", "count=-1,bytes=-1")
        client.create("/zookeeper/quota/q/deep/er/zookeeper_stats")
        client.create("/q/x", "12")
        client.create("/q/deep/er/x", "123")
        #expect(data(client, Self.stats) == "count=4,bytes=2")
        #expect(data(client, "/zookeeper/quota/q/deep/er/zookeeper_stats") == "count=2,bytes=3")
    }
}
