import AviaryStorage
import Testing
import ZooKeeperProtocol

@Suite("File names")
struct FileNamesTests {
    @Test("Names are lower-case hex without leading zeros, with a suffix for packed snapshots")
    func names() {
        #expect(FileNames.log(Zxid(0x1_0000_002a)) == "log.10000002a")
        #expect(FileNames.snapshot(.zero) == "snapshot.0")
        #expect(FileNames.snapshot(Zxid(0xc), .gzip) == "snapshot.c.gz")
        #expect(FileNames.snapshot(Zxid(0xc), .snappy) == "snapshot.c.snappy")
    }

    @Test("Names read back, and what is no log or snapshot is looked past")
    func reading() {
        #expect(FileNames.logZxid("log.10000002a") == Zxid(0x1_0000_002a))
        #expect(FileNames.snapshotZxid("snapshot.c.gz")?.zxid == Zxid(0xc))
        #expect(FileNames.snapshotZxid("snapshot.c.gz")?.compression == .gzip)
        #expect(FileNames.snapshotZxid("snapshot.0.snappy")?.compression == .snappy)
        for name in ["log", "log.", "log.-1", "log.+1", "log.xyz", "log.1.tmp", "snapshot.1", ".aviary.next-log"] {
            #expect(FileNames.logZxid(name) == nil, "\(name)")
        }
        for name in ["snapshot.", "snapshot.5.tmp", "snapshot.5.zst", "log.5", "currentEpoch"] {
            #expect(FileNames.snapshotZxid(name) == nil, "\(name)")
        }
        #expect(FileNames.isUnfinishedSnapshot("snapshot.5.gz.tmp"))
        #expect(!FileNames.isUnfinishedSnapshot("currentEpoch.tmp"))
    }
}
