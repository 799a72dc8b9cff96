import AviarySimulation
import AviaryStorage
import Testing
import ZooKeeperProtocol

/// The damage table of docs/protocol/disk-format.md section 3.4, row by row, on logs as other servers write them.
@Suite("Damaged logs")
struct DamageTests {
    /// A fresh snapshot, and two logs: 1 to 10 and 11 to 20.
    private static let history: History = {
        var history = History()
        history.createMany(20)
        return history
    }()

    private let disk = SimulatedDisk.empty()
    private let older = "log.1".inVersionFolder
    private let newest = "log.b".inVersionFolder

    init() throws {
        try disk.writeSnapshot(History().tree, zxid: .zero)
        disk.installLog("log.1", Self.history.records(1...10))
        disk.installLog("log.b", Self.history.records(11...20))
    }

    private struct Cut: Equatable {
        var file: String
        var offset: Int64
        var zxid: Zxid

        init(file: String, offset: Int64, zxid: Zxid) {
            self.file = file
            self.offset = offset
            self.zxid = zxid
        }

        init(_ cut: RecoveryReport.TailCut) {
            self.init(file: cut.file, offset: cut.offset, zxid: cut.zxid)
        }
    }

    private func offset(_ zxid: Int64) -> Int {
        zxid <= 10
            ? FileBytes.offset(of: zxid, in: Self.history.records(1...10))
            : FileBytes.offset(of: zxid, in: Self.history.records(11...20))
    }

    private func edit(_ path: String, _ change: (inout [UInt8]) -> Void) {
        var bytes = disk.contents(path) ?? []
        change(&bytes)
        disk.setContents(path, bytes)
    }

    private func expectLoad(
        upTo zxid: Int64,
        cut: Cut? = nil,
        removed: [String] = [],
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        var tree = NaiveTree()
        let report = try recover(disk, into: &tree)
        #expect(report.lastZxid == Zxid(zxid), sourceLocation: sourceLocation)
        #expect(report.tailCut.map(Cut.init) == cut, sourceLocation: sourceLocation)
        #expect(report.removedLogs == removed, sourceLocation: sourceLocation)
        #expect(tree.difference(from: Self.history.tree(at: Zxid(zxid))) == nil, sourceLocation: sourceLocation)
        #expect(report.alarms.isEmpty, sourceLocation: sourceLocation)
        // What was put in order stays in order.
        disk.restart(.everythingUnsynced)
        let again = try recover(disk, into: &tree)
        #expect(again.lastZxid == Zxid(zxid), sourceLocation: sourceLocation)
        #expect(again.warnings.isEmpty, "\(again.warnings)", sourceLocation: sourceLocation)
    }

    private func expectDamage(
        _ path: String,
        offset: Int,
        lastGood: Int64?,
        _ words: String,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let before = disk.files(in: "data/version-2")
        var tree = NaiveTree()
        let error = try #require(throws: StorageError.self, sourceLocation: sourceLocation) {
            try recover(disk, into: &tree)
        }
        guard case .damagedLog(let damage) = error else {
            Issue.record("\(error)", sourceLocation: sourceLocation)
            return
        }
        #expect(damage.file == path, sourceLocation: sourceLocation)
        #expect(damage.offset == offset, sourceLocation: sourceLocation)
        #expect(damage.lastGoodZxid == lastGood.map { Zxid($0) }, sourceLocation: sourceLocation)
        #expect(damage.reason.contains(words), "\(damage.reason)", sourceLocation: sourceLocation)
        #expect(disk.files(in: "data/version-2") == before, sourceLocation: sourceLocation)
    }

    @Test("Whole files load, up to the last record")
    func whole() throws {
        try expectLoad(upTo: 20)
    }

    // MARK: - The newest file

    @Test("A last record that is torn, at whatever byte, is cut", arguments: [1, 8, 12, 20, 60])
    func tornLast(_ kept: Int) throws {
        edit(newest) { $0.removeLast($0.count - offset(20) - kept) }
        // A checksum begins with zeros, which are no different from padding: nothing to cut then.
        let isPadding = kept == 1
        try expectLoad(
            upTo: 19,
            cut: isPadding ? nil : .init(file: "log.b", offset: Int64(offset(20)), zxid: Zxid(20))
        )
    }

    @Test("So is one whose end is still zeros, as in a file with space ahead", arguments: [1, 8, 12, 20, 60])
    func tornLastInPaddedFile(_ kept: Int) throws {
        edit(newest) { bytes in
            for index in (offset(20) + kept)..<bytes.count { bytes[index] = 0 }
        }
        let isPadding = kept == 1
        try expectLoad(
            upTo: 19,
            cut: isPadding ? nil : .init(file: "log.b", offset: Int64(offset(20)), zxid: Zxid(20))
        )
    }

    @Test("A last record with a wrong checksum and nothing behind it counts as torn")
    func flippedLast() throws {
        disk.flipBit(newest, offset: offset(20) + 50)
        try expectLoad(upTo: 19, cut: Cut(file: "log.b", offset: Int64(offset(20)), zxid: Zxid(20)))
    }

    @Test("A wrong checksum with good records behind it is refused")
    func flippedMiddle() throws {
        disk.flipBit(newest, offset: offset(15) + 50)
        try expectDamage(newest, offset: offset(15), lastGood: 14, "checksum mismatch")
    }

    @Test("Records written out of order with one lost in between are refused when nobody knows what was acknowledged")
    func lostSector() throws {
        edit(newest) { bytes in
            for index in offset(15)..<offset(16) { bytes[index] = 0 }
        }
        try expectDamage(newest, offset: offset(15), lastGood: 14, "zeros")
    }

    @Test("A length that cannot be is refused", arguments: [Int32.max, -1, -2, .min, 0x1f_ffff, 5] as [Int32])
    func badLength(_ length: Int32) throws {
        edit(newest) { bytes in
            withUnsafeBytes(of: length.bigEndian) { bytes.replaceSubrange(offset(15) + 8..<offset(15) + 12, with: $0) }
        }
        try expectDamage(newest, offset: offset(15), lastGood: 14, "a record of \(length) bytes")
    }

    @Test("A length that reaches beyond the file over good records is refused")
    func longLength() throws {
        edit(newest) { $0[offset(15) + 9] = 0x10 }
        try expectDamage(newest, offset: offset(15), lastGood: 14, "incomplete")
    }

    @Test("A wrong last byte of a record is refused when anything follows, and torn when nothing does")
    func badEnd() throws {
        edit(newest) { $0[offset(16) - 1] = 0 }
        try expectDamage(newest, offset: offset(15), lastGood: 14, "0x0 instead of 0x42")
        edit(newest) { bytes in
            bytes[offset(16) - 1] = UInt8(ascii: "B")
            bytes[offset(21) - 1] = 0
        }
        try expectLoad(upTo: 19, cut: Cut(file: "log.b", offset: Int64(offset(20)), zxid: Zxid(20)))
    }

    @Test("A newest log without records is removed: empty, too short, header only, all zeros")
    func emptyNewest() throws {
        let forms: [[UInt8]] = [
            [], Array(FileBytes.logHeader[..<7]), FileBytes.logHeader,
            FileBytes.logHeader + [UInt8](repeating: 0, count: 300), [UInt8](repeating: 0, count: 3000),
        ]
        for form in forms {
            disk.setContents("log.15".inVersionFolder, form)
            try expectLoad(upTo: 20, removed: ["log.15"])
        }
    }

    @Test("A newest log with only a torn record is removed, with a word")
    func onlyTornRecord() throws {
        let record = FileBytes.record(Self.history.records(20...20)[0].payload)
        disk.setContents("log.15".inVersionFolder, FileBytes.logHeader + record[..<40])
        var tree = NaiveTree()
        let report = try recover(disk, into: &tree)
        #expect(report.removedLogs == ["log.15"])
        #expect(report.warnings.first?.contains("log.15") == true)
        try expectLoad(upTo: 20)
    }

    @Test("Behind a newest log without records, the one before it may end torn")
    func tornBeforeEmpty() throws {
        edit(newest) { $0.removeLast($0.count - offset(20) - 30) }
        disk.setContents("log.15".inVersionFolder, [])
        try expectLoad(
            upTo: 19,
            cut: Cut(file: "log.b", offset: Int64(offset(20)), zxid: Zxid(20)),
            removed: ["log.15"]
        )
    }

    @Test("A newest file that is no log is refused")
    func notALog() throws {
        disk.setContents("log.15".inVersionFolder, Array("this is not a log".utf8))
        try expectDamage("log.15".inVersionFolder, offset: 0, lastGood: nil, "not a transaction log")
    }

    // MARK: - Older files

    @Test("A zero-length log in the middle is refused, and so is one with a header only")
    func emptyMiddle() throws {
        for form in [[], FileBytes.logHeader] {
            disk.setContents(older, form)
            try expectDamage(older, offset: form.count, lastGood: nil, "later logs exist")
        }
    }

    @Test("A torn record at the end of an older log is refused when its zxid does not come again")
    func tornOlder() throws {
        edit(older) { $0.removeLast($0.count - offset(10) - 30) }
        try expectDamage(older, offset: offset(10), lastGood: 9, "incomplete")
    }

    @Test("A wrong checksum at the end of an older log is refused when its zxid does not come again")
    func flippedOlder() throws {
        disk.flipBit(older, offset: offset(10) + 50)
        try expectDamage(older, offset: offset(10), lastGood: 9, "checksum mismatch")
    }

    @Test("A flipped bit anywhere in a record of an older log is refused")
    func everyByteOfOlder() throws {
        for index in offset(5)..<offset(6) {
            disk.flipBit(older, offset: index, bit: index % 8)
            var tree = NaiveTree()
            #expect(throws: StorageError.self) { try recover(disk, into: &tree) }
            disk.flipBit(older, offset: index, bit: index % 8)
        }
        try expectLoad(upTo: 20)
    }

    @Test("A log file that is missing in the middle is refused with what is missing")
    func missingMiddle() throws {
        disk.installLog("log.b", Self.history.records(11...15))
        disk.installLog("log.10", Self.history.records(16...20))
        try disk.remove(newest)
        var tree = NaiveTree()
        let file = "log.10".inVersionFolder
        #expect(throws: StorageError.missingRecords(file: file, offset: 16, expected: Zxid(11), found: Zxid(16))) {
            try recover(disk, into: &tree)
        }
    }

    @Test("A missing first log behind the snapshot is refused: Apache's servers load with a hole")
    func missingFirst() throws {
        try disk.remove(older)
        var tree = NaiveTree()
        #expect(throws: StorageError.missingRecords(file: newest, offset: 16, expected: Zxid(1), found: Zxid(11))) {
            try recover(disk, into: &tree)
        }
    }

    @Test("Records that came before already are passed over with a word")
    func duplicates() throws {
        disk.installLog("log.b", Self.history.records(11...20))
        disk.installLog("log.f", Self.history.records(15...20))
        var tree = NaiveTree()
        let report = try recover(disk, into: &tree)
        #expect(report.lastZxid == Zxid(20))
        #expect(report.replayedCount == 20)
        #expect(tree.difference(from: Self.history.tree) == nil)
        #expect(report.warnings.count == 1)
        #expect(report.warnings.first?.contains("6 transactions") == true)
    }

    @Test("A later epoch begins with its first transaction; any other is a gap")
    func epochs() throws {
        var history = History()
        history.createMany(3)
        history.beginEpoch(2)
        history.createMany(3)
        try disk.remove(older)
        try disk.remove(newest)
        disk.installLog("log.1", Array(history.records[..<3]))
        disk.installLog("log.200000001", Array(history.records[3...]))
        var tree = NaiveTree()
        let report = try recover(disk, into: &tree)
        #expect(report.lastZxid == Zxid(0x2_0000_0003))
        #expect(tree.difference(from: history.tree) == nil)

        try disk.remove("log.200000001".inVersionFolder)
        disk.installLog("log.200000002", Array(history.records[4...]))
        #expect(
            throws: StorageError.missingRecords(
                file: "log.200000002".inVersionFolder,
                offset: 16,
                expected: Zxid(4),
                found: Zxid(0x2_0000_0002)
            )
        ) { try recover(disk, into: &tree) }
    }

    @Test("A record with a right checksum that says nothing known is refused")
    func unknownType() throws {
        var record = Self.history.records(20...20)[0]
        record.payload[31] = 99
        disk.installLog("log.b", Self.history.records(11...19) + [record])
        var tree = NaiveTree()
        let error = try #require(throws: StorageError.self) { try recover(disk, into: &tree) }
        guard case .replayFailed(let file, let found, let zxid, _) = error else {
            Issue.record("\(error)")
            return
        }
        #expect(file == newest)
        #expect(found == offset(20))
        #expect(zxid == Zxid(20))
    }

    @Test("A log that cannot be read is refused, not taken for empty")
    func unreadable() throws {
        for path in [older, newest] {
            disk.setFault { $0.kind == .read && $0.path == path ? .refuse(.inputOutput) : nil }
            var tree = NaiveTree()
            let error = try #require(throws: StorageError.self) { try recover(disk, into: &tree) }
            #expect(error.description.contains(path))
        }
    }

    @Test("A znode that holds a copy of a log does not make a torn record look like damage")
    func logInsideZnode() throws {
        var other = History(after: Zxid(5000))
        other.createMany(3)
        var history = History()
        history.createMany(4)
        history.create("/backup", "")
        let data = FileBytes.log(other.records, padding: 0)
        history.add(.setData(path: Array("/backup".utf8), data: data, version: 1, isReconfig: false))
        try disk.remove(older)
        try disk.remove(newest)
        disk.installLog("log.1", history.records)
        let start = FileBytes.offset(of: 6, in: history.records)
        edit(older) { bytes in
            for index in bytes.count - 530..<bytes.count { bytes[index] = 0 }
        }
        var tree = NaiveTree()
        let report = try recover(disk, into: &tree)
        #expect(report.tailCut.map(Cut.init) == Cut(file: "log.1", offset: Int64(start), zxid: Zxid(6)))
    }
}

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
