import AviaryCore
import Testing
import ZooKeeperProtocol

@Suite("Snapshots while writes go on")
struct SnapshotTests {
    /// Loads encoded nodes as recovery does.
    private func load(_ bytes: [UInt8], _ head: SnapshotHead) throws -> CoreHarness {
        let harness = CoreHarness()
        harness.core.reset()
        for (id, timeout) in head.sessions { harness.core.restore(session: id, timeoutMilliseconds: timeout) }
        for (id, list) in head.acls { harness.core.restore(aclID: id, acl: list) }
        try bytes.withUnsafeBytes { bytes in
            var reader = JuteReader(bytes)
            while reader.remaining > 0 {
                let path = try reader.requiredBuffer()
                let data = try reader.buffer()
                let acl = try reader.int64()
                try harness.core.restore(
                    path: path,
                    data: data,
                    aclID: acl,
                    stat: try StatPersisted(from: &reader)
                )
            }
        }
        try harness.core.finishSnapshot()
        try harness.core.finishReplay()
        return harness
    }

    @Test("It holds the tree of its beginning, whatever happens meanwhile", arguments: 0..<20)
    func pointInTime(seed: Int) throws {
        var random = seed &* 7919 &+ 1
        func next(_ bound: Int) -> Int {
            random = (random &* 1_103_515_245 &+ 12345) & 0x7fff_ffff
            return (random >> 8) % bound
        }
        let harness = CoreHarness()
        let client = harness.connect()
        func change() {
            let path = "/n\(next(6))" + (next(2) == 0 ? "" : "/m\(next(6))")
            switch next(4) {
            case 0: client.delete(path)
            case 1: client.set(path, String(repeating: "d", count: next(50)))
            case 2:
                client.call(.setACL) {
                    $0.string(path)
                    ACL.write(
                        [ACL(31, "world", "anyone"), ACL(Int32(next(4) + 1), "ip", "10.0.0.\(next(3))")],
                        to: &$0
                    )
                    $0.int32(-1)
                }
            default: client.create(path, String(repeating: "c", count: next(50)))
            }
        }
        for _ in 0..<200 { change() }
        let digest = harness.core.treeDigest
        let count = harness.core.nodeCount
        let head = harness.core.beginSnapshot()
        #expect(head.digest == digest)
        var writer = JuteWriter()
        while harness.core.continueSnapshot(maxBytes: 200, into: &writer) {
            for _ in 0..<next(6) { change() }
        }
        let loaded = try load(writer.copy(), head)
        #expect(loaded.core.treeDigest == digest)
        #expect(loaded.core.nodeCount == count)
    }
}
