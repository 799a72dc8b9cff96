import AviarySimulation
import AviaryStorage
import Testing
import ZooKeeperProtocol

@Suite("Log reader")
struct TxnLogReaderTests {
    private let disk = SimulatedDisk.empty()

    private func reader(_ name: String = "log.1") throws(StorageError) -> TxnLogReader<SimulatedDisk> {
        try TxnLogReader(disk: disk, directory: "data/version-2", name: name)
    }

    @Test(
        "Written again, the records of another server's log come out byte for byte",
        arguments: [
            ("c-features", "log.1"), ("b-snapshots-and-logs", "log.22"), ("g-ensemble-epochs/s3", "log.100000001"),
            ("j-no-digest-old-style", "log.1"), ("h-debian-3.8.0", "log.a"),
        ]
    )
    func sameBytes(_ directory: String, _ name: String) throws {
        try Golden.install(directory, on: disk)
        disk.makeStableDirectory("copy")
        var reader = try reader(name)
        var writer = TxnLogWriter(disk: disk, directory: "copy", lastZxid: .zero)
        var end: Int64 = 0
        reading: while true {
            switch try reader.next() {
            case .record(let record):
                writer.append(record.payload, zxid: record.zxid)
            case .end(let found):
                #expect(found.fault == nil)
                end = found.offset
                break reading
            }
        }
        try writer.close()
        let original = try #require(disk.contents("data/version-2/" + name))
        let copy = try #require(disk.contents("copy/" + name))
        #expect(copy.count == Int(end))
        #expect(copy[..<4] == original[..<4])
        #expect(copy[16...] == original[16..<Int(end)])
    }

    @Test("A log larger than the window is read to its end, with every record where it is")
    func largeLog() throws {
        var history = History()
        for number in 0..<9 {
            history.create("/n\(number)", String(repeating: "x", count: number % 2 == 0 ? 1_000_000 : 10))
        }
        disk.installLog("log.1", history.records, padding: 3_000_000)
        var reader = try reader()
        for record in history.records {
            guard case .record(let found) = try reader.next() else {
                Issue.record("\(record.zxid) is missing")
                return
            }
            #expect(found.zxid == record.zxid)
            #expect(found.offset == FileBytes.offset(of: record.zxid.rawValue, in: history.records))
            #expect(found.payload.elementsEqual(record.payload))
        }
        guard case .end(let end) = try reader.next() else { return }
        #expect(end.fault == nil)
        #expect(end.offset == FileBytes.offset(of: 10, in: history.records))
    }

    @Test("A record above the limit is not read into memory")
    func limit() throws {
        var history = History()
        history.create("/n", String(repeating: "x", count: 5000))
        disk.installLog("log.1", history.records)
        var reader = try TxnLogReader(disk: disk, directory: "data/version-2", name: "log.1", maxRecordBytes: 4000)
        guard case .end(let end) = try reader.next() else {
            Issue.record("the limit was passed over")
            return
        }
        #expect(end.fault == .badLength(Int32(history.records[0].payload.count)))
    }

    @Test("Damaged bytes lead to what came before or to an error, never to other data or a crash", arguments: 1...20)
    func mutations(_ seed: UInt64) throws {
        var history = History()
        history.createMany(12, data: "some data")
        try disk.writeSnapshot(History().tree, zxid: .zero)
        let bytes = FileBytes.log(history.records, padding: 200)
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<40 {
            var damaged = bytes
            for _ in 0...Int.random(in: 0...2, using: &generator) {
                let start = Int.random(in: 0..<damaged.count, using: &generator)
                for index in start..<min(start + Int.random(in: 1...16, using: &generator), damaged.count) {
                    damaged[index] = [0, 0xff, 0x7f, 0x80, 1, 66].randomElement(using: &generator) ?? 0
                }
            }
            if Bool.random(using: &generator) {
                damaged.removeLast(Int.random(in: 0...damaged.count, using: &generator))
            }
            disk.setContents("log.1".inVersionFolder, damaged)
            var tree = NaiveTree()
            guard let report = try? recover(disk, into: &tree, { $0.repairs = false }) else { continue }
            #expect(tree.difference(from: history.tree(at: report.lastZxid)) == nil, "seed \(seed)")
        }
    }

    @Test("Any bytes at all are read without a crash", arguments: 1...10)
    func garbage(_ seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<20 {
            let count = Int.random(in: 0...3000, using: &generator)
            let noise = (0..<count).map { _ in
                Bool.random(using: &generator) ? 0 : UInt8.random(in: 0...255, using: &generator)
            }
            disk.setContents("log.1".inVersionFolder, FileBytes.logHeader + noise)
            var tree = NaiveTree()
            _ = try? recover(disk, into: &tree) { $0.repairs = false }
        }
    }
}

@Suite("What an operator is told")
struct StorageErrorTests {
    @Test("Every error names its file and what to do")
    func remedies() {
        let full = DiskError(.write, "data/version-2/log.1", .noSpace, detail: "No space left on device")
        let failure = SnapshotFailure(file: "snapshot.14", offset: 77, reason: "the file ends among the nodes")
        let errors: [(StorageError, [String])] = [
            (.disk(full), ["data/version-2/log.1", "No space left on device", "Make room"]),
            (.syncFailed(full), ["data/version-2/log.1", "can be acknowledged", "Check the disk"]),
            (.logOutOfSpace(file: "log.1", missingBytes: 9), ["log.1", "disk is full", "Make room"]),
            (.logExists(file: "log.1"), ["log.1", "another process", "Stop it"]),
            (
                .damagedLog(LogDamage(file: "log.1", offset: 744, reason: "checksum mismatch", lastGoodZxid: Zxid(7))),
                ["log.1", "offset 744", "last good zxid 0x7", "restore this file"]
            ),
            (
                .missingRecords(file: "log.b", offset: 16, expected: Zxid(5), found: Zxid(11)),
                ["log.b", "0xb", "expected 0x5", "Restore the missing log"]
            ),
            (.logsWithoutSnapshot(directory: "d", firstLog: "log.1"), ["log.1", "snapshot.trust.empty"]),
            (.noUsableSnapshot(directory: "d", failures: [failure]), ["snapshot.14", "offset 77", "Restore"]),
            (.ttlNodesWithoutExtendedTypes(file: "f", path: "/ttl"), ["/ttl", "extendedTypesEnabled=true"]),
            (.missingDirectory(path: "data"), ["data does not exist", "datadir.autocreate"]),
            (.directoryInUse(path: "data", owner: "process 17"), ["data", "process 17", "its own dataDir"]),
            (.misplacedFile(path: "a/log.1", belongsIn: "b"), ["a/log.1", "belongs into b", "dataLogDir"]),
        ]
        for (error, parts) in errors {
            for part in parts { #expect(error.description.contains(part), "\(error)") }
        }
    }
}
