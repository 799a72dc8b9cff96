import AviarySimulation
import AviaryStorage
import Testing
import ZooKeeperProtocol

/// What our own logs tell beyond that: how far they had been synced.
@Suite("The durable mark")
struct DurableMarkTests {
    /// Three groups: 1 to 4, 5 to 8, 9 to 12. The header knows that the second is stable and where the third ends.
    private let disk = SimulatedDisk.empty()
    private let history: History
    private let path = "log.1".inVersionFolder

    init() throws {
        var history = History()
        history.createMany(12)
        self.history = history
        try disk.writeSnapshot(History().tree, zxid: .zero)
        var log = DurableMarkTests.writer(disk)
        for group in [1...4, 5...8, 9...12] as [ClosedRange<Int64>] {
            log.append(history.records(group))
            try log.flush()
        }
        disk.restart(.everythingUnsynced)
    }

    private static func writer(_ disk: SimulatedDisk) -> TxnLogWriter<SimulatedDisk> {
        let options = TxnLogOptions(preallocationBytes: 64 << 10, reserveBytes: 16 << 10)
        return TxnLogWriter(disk: disk, directory: "data/version-2", lastZxid: .zero, options: options)
    }

    private func offset(_ zxid: Int64) -> Int { FileBytes.offset(of: zxid, in: history.records) }

    private func flip(_ zxid: Int64) { disk.flipBit(path, offset: offset(zxid) + 50) }

    private func damage() throws -> LogDamage? {
        var tree = NaiveTree()
        let error = try #require(throws: StorageError.self) { try recover(disk, into: &tree) }
        guard case .damagedLog(let damage) = error else {
            Issue.record("\(error)")
            return nil
        }
        return damage
    }

    @Test("A bad record in front of the mark is damage, even with nothing behind it")
    func acknowledged() throws {
        let bytes = try #require(disk.contents(path))
        disk.setContents(path, Array(bytes[..<(offset(8) + 30)]))
        #expect(try damage()?.offset == Int64(offset(8)))
    }

    @Test("Records that are gone without a trace in front of the mark are damage")
    func vanished() throws {
        let bytes = try #require(disk.contents(path))
        disk.setContents(path, Array(bytes[..<offset(7)]))
        #expect(try damage()?.reason.contains("written up to offset \(offset(9))") == true)
        disk.setContents(path, Array(bytes[..<offset(1)]))
        #expect(try damage()?.offset == Int64(offset(1)))
    }

    @Test("A record with a lost sector in the last group is cut although good ones follow: they come in any order")
    func lastGroup() throws {
        let (disk, history) = try largeGroup()
        let bytes = try #require(disk.contents(path))
        let begin = FileBytes.offset(of: 3, in: history.records)
        let end = FileBytes.offset(of: 41, in: history.records)
        for sector in begin / 512...(end - 1) / 512 {
            var torn = bytes
            for index in max(sector * 512, begin)..<min(sector * 512 + 512, end) { torn[index] = 0 }
            // A sector of zeros cannot be lost.
            guard torn != bytes else { continue }
            disk.setContents(path, torn)
            var tree = NaiveTree()
            let report = try recover(disk, into: &tree)
            let first = (3...40).first { FileBytes.offset(of: $0 + 1, in: history.records) > max(sector * 512, begin) }
            #expect(first.map { Zxid($0) } == report.lastZxid.next, "sector \(sector)")
            #expect(tree.difference(from: history.tree(at: report.lastZxid)) == nil)
        }
    }

    @Test("A bad record in the last group whose sectors all reached the disk is damage: it may have been acknowledged")
    func rotInLastGroup() throws {
        flip(10)
        #expect(try damage()?.lastGoodZxid == Zxid(9))
        flip(10)
        flip(12)
        let last = try #require(try damage())
        #expect(last.lastGoodZxid == Zxid(11))
        #expect(last.offset == offset(12))
    }

    @Test("Zeros in whole records of the last group do not make rot in another one a torn end")
    func rotBesideZeros() throws {
        let (disk, history) = try largeGroup()
        for zxid in [6, 19, 39] as [Int64] {
            let start = FileBytes.offset(of: zxid, in: history.records)
            for offset in stride(from: start, to: start + history.records[Int(zxid) - 1].payload.count + 13, by: 7) {
                disk.flipBit(path, offset: offset, bit: offset % 8)
                var tree = NaiveTree()
                #expect(throws: StorageError.self, "\(offset - start)") {
                    try recover(disk, into: &tree) { $0.repairs = false }
                }
                disk.flipBit(path, offset: offset, bit: offset % 8)
            }
        }
        var tree = NaiveTree()
        #expect(try recover(disk, into: &tree).lastZxid == Zxid(40))
    }

    @Test("The zeros that every record begins with are no lost sector", arguments: 1...4)
    func rotBehindBoundary(_ gap: Int) throws {
        // The last group begins so many bytes in front of a sector, with the zeros of a checksum.
        var history = History()
        history.create("/n")
        let empty = FileBytes.log(history.records, padding: 0).count
        history = History()
        history.create("/n", String(repeating: "d", count: 512 - gap - empty % 512))
        #expect(FileBytes.log(history.records, padding: 0).count % 512 == 512 - gap)
        history.create("/last", "acknowledged")
        let disk = SimulatedDisk.empty()
        try disk.writeSnapshot(History().tree, zxid: .zero)
        var log = DurableMarkTests.writer(disk)
        for group in [1...1, 2...2] as [ClosedRange<Int64>] {
            log.append(history.records(group))
            try log.flush()
        }
        disk.restart(.everythingUnsynced)
        let start = FileBytes.offset(of: 2, in: history.records)
        disk.flipBit(path, offset: start + 60)
        var tree = NaiveTree()
        let error = #expect(throws: StorageError.self) { try recover(disk, into: &tree) }
        guard case .damagedLog(let damage) = error else { return }
        #expect(damage.offset == Int64(start))
        #expect(damage.lastGoodZxid == Zxid(1))
    }

    @Test("A group whose end was never written is torn, also where the write stopped inside of a sector")
    func shortWrite() throws {
        for count in stride(from: 1, to: offset(13) - offset(9), by: 3) {
            let disk = SimulatedDisk.empty()
            try disk.writeSnapshot(History().tree, zxid: .zero)
            var log = DurableMarkTests.writer(disk)
            log.append(history.records(1...8))
            try log.flush()
            log.append(history.records(9...12))
            disk.fail(.write, after: 1, with: .writeOnly(bytes: count, .inputOutput))
            #expect(throws: StorageError.self) { try log.flush() }
            disk.restart(.processOnly)
            var tree = NaiveTree()
            let report = try recover(disk, into: &tree)
            #expect((8...11).contains(report.lastZxid.rawValue), "\(count)")
            #expect(tree.difference(from: history.tree(at: report.lastZxid)) == nil)
        }
    }

    @Test("In the first group of a log every bad record is damage: the name comes after the sync")
    func firstGroup() throws {
        let disk = SimulatedDisk.empty()
        try disk.writeSnapshot(History().tree, zxid: .zero)
        var log = DurableMarkTests.writer(disk)
        log.append(history.records)
        try log.flush()
        var bytes = try #require(disk.contents(path))
        for index in offset(8)..<offset(13) { bytes[index] = 0 }
        disk.setContents(path, bytes)
        var tree = NaiveTree()
        #expect(throws: StorageError.self) { try recover(disk, into: &tree) }
    }

    /// One group of 2, then one of 38, in which every fifth record holds two kibibytes of zeros.
    private func largeGroup() throws -> (SimulatedDisk, History) {
        var history = History()
        for number in 1...40 {
            history.create("/n\(number)", number % 5 == 0 ? String(repeating: "\0", count: 2048) : "data \(number)")
        }
        let disk = SimulatedDisk.empty()
        try disk.writeSnapshot(History().tree, zxid: .zero)
        var log = DurableMarkTests.writer(disk)
        for group in [1...2, 3...40] as [ClosedRange<Int64>] {
            log.append(history.records(group))
            try log.flush()
        }
        disk.restart(.everythingUnsynced)
        return (disk, history)
    }

    @Test("A good record behind the last known group proves that the group was stable: damage then")
    func provedByNextGroup() throws {
        var longer = history
        longer.createMany(2)
        let more = longer.records(13...14).flatMap { FileBytes.record($0.payload) }
        var bytes = try #require(disk.contents(path))
        bytes.replaceSubrange(offset(13)..<offset(13) + more.count, with: more)
        disk.setContents(path, bytes)
        flip(10)
        #expect(try damage()?.lastGoodZxid == Zxid(9))
    }

    @Test("Behind the last known group nothing was acknowledged: cut, whatever follows")
    func behindLastGroup() throws {
        var longer = history
        longer.createMany(3)
        let more = longer.records(13...15).flatMap { FileBytes.record($0.payload) }
        var bytes = try #require(disk.contents(path))
        bytes.replaceSubrange(offset(13)..<offset(13) + more.count, with: more)
        disk.setContents(path, bytes)
        disk.flipBit(path, offset: offset(13) + 50)
        var tree = NaiveTree()
        #expect(try recover(disk, into: &tree).lastZxid == Zxid(12))
    }

    @Test(
        "A whole record above the reader's limit is refused with the setting to raise, wherever it stands",
        arguments: [2, 6, 10, 13] as [Int64]
    )
    func aboveLimit(_ zxid: Int64) throws {
        var longer = History()
        for number in 1...13 as ClosedRange<Int64> {
            longer.create("/n\(number)", number == zxid ? String(repeating: "x", count: 5000) : "data")
        }
        let disk = SimulatedDisk.empty()
        try disk.writeSnapshot(History().tree, zxid: .zero)
        var log = DurableMarkTests.writer(disk)
        for group in [1...4, 5...8, 9...12] as [ClosedRange<Int64>] {
            log.append(longer.records(group))
            try log.flush()
        }
        var bytes = try #require(disk.contents(path))
        let end = FileBytes.offset(of: 13, in: longer.records)
        let last = FileBytes.record(longer.records[12].payload)
        bytes.replaceSubrange(end..<end + last.count, with: last)
        disk.setContents(path, bytes)
        var tree = NaiveTree()
        let error = try #require(throws: StorageError.self) {
            try recover(disk, into: &tree) { $0.limits.maxBufferBytes = 4096 }
        }
        let offset = FileBytes.offset(of: zxid, in: longer.records)
        let length = longer.records[Int(zxid) - 1].payload.count
        #expect(error == .recordAboveLimit(file: path, offset: Int64(offset), length: length, limit: 4096))
        #expect(error.description.contains("raise jute.maxbuffer"))
        #expect(!error.description.contains("move"))
        #expect(disk.contents(path) == bytes)
        #expect(try recover(disk, into: &tree).lastZxid == Zxid(13))
    }

    @Test("A length that no record can have is refused in the last group too", arguments: [Int32.max, -1, .min])
    func impossibleLength(_ length: Int32) throws {
        var bytes = try #require(disk.contents(path))
        withUnsafeBytes(of: length.bigEndian) { bytes.replaceSubrange(offset(10) + 8..<offset(10) + 12, with: $0) }
        disk.setContents(path, bytes)
        #expect(try damage()?.reason.contains("\(length)") == true)
    }

    @Test("With a mark that does not check what is doubtful is refused, the last record too", arguments: [1, 10, 12])
    func brokenMark(zxid: Int64) throws {
        disk.flipBit(path, offset: 9)
        flip(zxid)
        #expect(try damage()?.lastGoodZxid == (zxid == 1 ? nil : Zxid(zxid - 1)))
    }

    @Test("A mark that does not check is made anew by a start that finds every record whole")
    func brokenMarkIsRenewed() throws {
        disk.flipBit(path, offset: 9)
        var tree = NaiveTree()
        let report = try recover(disk, into: &tree)
        #expect(report.lastZxid == Zxid(12))
        flip(12)
        #expect(try damage()?.lastGoodZxid == Zxid(11))
    }

    @Test("What a lost cut brings back behind the last group of an older log does not keep the server from starting")
    func cutTakenBack() throws {
        var later = History()
        later.createMany(15)
        let record = Array(FileBytes.log(later.records(14...14), padding: 0)[16...])
        var bytes = try #require(disk.contents(path))
        let end = offset(12) + (offset(12) - offset(11))
        bytes.replaceSubrange(end + 64..<end + 64 + record.count, with: record)
        disk.setContents(path, bytes)
        disk.installLog("log.d", later.records(13...15))
        var tree = NaiveTree()
        #expect(try recover(disk, into: &tree).lastZxid == Zxid(15))
        // But not when the next log does not go on with the very next zxid.
        try disk.remove("log.d".inVersionFolder)
        disk.installLog("log.e", later.records(14...15))
        #expect(throws: StorageError.self) { try recover(disk, into: &tree) }
    }

    @Test("A log of ours that another server cut and went on from is loaded")
    func cutByAnother() throws {
        let bytes = try #require(disk.contents(path))
        disk.setContents(path, Array(bytes[..<offset(7)]))
        disk.installLog("log.7", history.records(7...12))
        var tree = NaiveTree()
        let report = try recover(disk, into: &tree)
        #expect(report.lastZxid == Zxid(12))
        #expect(report.warnings.count == 1)
    }
}
