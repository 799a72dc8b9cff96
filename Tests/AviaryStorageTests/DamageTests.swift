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
