import AviarySimulation
import AviaryStorage
import Testing
import ZooKeeperProtocol

@Suite("Log writer")
struct TxnLogWriterTests {
    private let options = TxnLogOptions(preallocationBytes: 64 << 10, reserveBytes: 16 << 10)

    private func writer(_ disk: SimulatedDisk, _ options: TxnLogOptions) -> TxnLogWriter<SimulatedDisk> {
        writer(disk, after: .zero, options)
    }

    private func writer(
        _ disk: SimulatedDisk,
        after zxid: Zxid = .zero,
        _ options: TxnLogOptions? = nil
    ) -> TxnLogWriter<SimulatedDisk> {
        TxnLogWriter(disk: disk, directory: "data/version-2", lastZxid: zxid, options: options ?? self.options)
    }

    private func zxids(_ disk: SimulatedDisk, _ name: String) throws -> [Zxid] {
        var reader = try TxnLogReader(disk: disk, directory: "data/version-2", name: name)
        var found: [Zxid] = []
        while case .record(let record) = try reader.next() { found.append(record.zxid) }
        return found
    }

    @Test("A group is one write and one sync of the data, however many records it has")
    func groupCommit() throws {
        let disk = SimulatedDisk.empty()
        var history = History()
        history.createMany(20)
        var log = writer(disk)
        log.append(history.records(1...1))
        #expect(try log.flush() == Zxid(1))
        disk.forgetTrace()
        log.append(history.records(2...20))
        #expect(log.durableZxid == Zxid(1))
        #expect(try log.flush() == Zxid(20))
        let path = "data/version-2/log.1"
        let syncs = disk.trace.filter { $0.kind == .sync }
        #expect(syncs == [SimulatedDisk.Operation(kind: .sync, path: ".aviary.next-log".inVersionFolder)])
        #expect(disk.trace.last == syncs.first)
        #expect(disk.contents(path) != nil)
        #expect(try zxids(disk, "log.1") == (1...20).map { Zxid($0) })
    }

    @Test("Without anything to write a flush touches nothing")
    func emptyFlush() throws {
        let disk = SimulatedDisk.empty()
        var log = writer(disk, after: Zxid(7))
        #expect(try log.flush() == Zxid(7))
        #expect(disk.trace.isEmpty)
    }

    @Test("What a flush reported survives a power failure, name and all")
    func durability() throws {
        let disk = SimulatedDisk.empty()
        var history = History()
        history.createMany(9)
        var log = writer(disk)
        try log.prepare()
        log.append(history.records(1...4))
        try log.flush()
        log.append(history.records(5...9))
        disk.restart(.everythingUnsynced)
        #expect(disk.logNames() == ["log.1"])
        #expect(try zxids(disk, "log.1") == (1...4).map { Zxid($0) })
    }

    @Test("A new file begins behind a roll, named by its first record; the old one keeps no reserved space")
    func roll() throws {
        let disk = SimulatedDisk.empty()
        var history = History()
        history.createMany(5)
        var log = writer(disk)
        log.append(history.records(1...3))
        #expect(try log.roll())
        #expect(log.durableZxid == Zxid(3))
        #expect(log.fileBytes == 0)
        #expect(disk.logNames() == ["log.1"])
        log.append(history.records(4...5))
        try log.flush()
        #expect(disk.logNames() == ["log.1", "log.4"])
        #expect(try zxids(disk, "log.4") == [Zxid(4), Zxid(5)])
        let end = FileBytes.offset(of: 4, in: history.records(1...3))
        #expect(disk.contents("log.1".inVersionFolder)?.count == end)
        #expect(log.fileBytes == Int64(FileBytes.offset(of: 6, in: history.records(4...5)) - 16))
    }

    @Test("A file is padded with zeros up to the space reserved for it, as other servers' files are")
    func padding() throws {
        let disk = SimulatedDisk.empty()
        var history = History()
        history.createMany(2)
        var log = writer(disk)
        log.append(history.records)
        try log.flush()
        let bytes = try #require(disk.contents("log.1".inVersionFolder))
        #expect(bytes.count == 64 << 10)
        #expect(Array(bytes[..<4]) == Array("ZKLG".utf8))
        let end = FileBytes.offset(of: 3, in: history.records)
        #expect(bytes[end...].allSatisfy { $0 == 0 })
        try log.close()
        #expect(disk.contents("log.1".inVersionFolder)?.count == end)
        #expect(Set(disk.files(in: "data/version-2").keys) == ["log.1"])
    }

    @Test("Nothing overwrites a log that is there already")
    func existingLog() throws {
        let disk = SimulatedDisk.empty()
        var history = History()
        history.createMany(1)
        disk.installLog("log.1", history.records)
        let before = disk.contents("log.1".inVersionFolder)
        var log = writer(disk)
        log.append(history.records)
        #expect(throws: StorageError.logExists(file: "log.1".inVersionFolder)) { try log.flush() }
        #expect(disk.contents("log.1".inVersionFolder) == before)
    }

    // MARK: - Failures

    @Test("A sync that fails is final: the same error again, and no second try")
    func failedSync() throws {
        let disk = SimulatedDisk.empty()
        var history = History()
        history.createMany(3)
        var log = writer(disk)
        log.append(history.records(1...1))
        try log.flush()
        disk.setFault { $0.kind == .sync ? .refuse(.inputOutput) : nil }
        log.append(history.records(2...2))
        let error = try #require(throws: StorageError.self) { try log.flush() }
        guard case .syncFailed(let cause) = error else {
            Issue.record("\(error)")
            return
        }
        #expect(cause.path == "log.1".inVersionFolder)
        disk.setFault(nil)
        disk.forgetTrace()
        #expect(throws: error) { try log.flush() }
        #expect(throws: error) { try log.roll() }
        #expect(throws: error) { try log.retryAllocation() }
        #expect(disk.trace.isEmpty)
        #expect(log.durableZxid == Zxid(1))
    }

    @Test("A failed sync of the directory is as final, and so is a record that was written in part")
    func otherFailures() throws {
        var history = History()
        history.createMany(3)
        let disk = SimulatedDisk.empty()
        var log = writer(disk)
        disk.setFault { $0.kind == .syncDirectory ? .refuse(.inputOutput) : nil }
        log.append(history.records(1...1))
        let error = try #require(throws: StorageError.self) { try log.flush() }
        if case .syncFailed = error {} else { Issue.record("\(String(describing: error))") }

        let other = SimulatedDisk.empty()
        var second = writer(other)
        second.append(history.records(1...1))
        try second.flush()
        other.setFault { $0.kind == .write ? .writeOnly(bytes: 5, .noSpace) : nil }
        second.append(history.records(2...2))
        let failure = try #require(throws: StorageError.self) { try second.flush() }
        if case .logWriteFailed = failure {} else { Issue.record("\(String(describing: failure))") }
        other.setFault(nil)
        #expect(throws: failure) { try second.flush() }
    }

    @Test("With forceSync=no nothing is synced and no mark claims that it was")
    func withoutSync() throws {
        let disk = SimulatedDisk.empty()
        var history = History()
        history.createMany(4)
        var log = writer(disk, TxnLogOptions(preallocationBytes: 64 << 10, forcesSync: false))
        log.append(history.records(1...2))
        #expect(try log.flush() == Zxid(2))
        log.append(history.records(3...4))
        try log.flush()
        try log.sealMark()
        try log.roll()
        #expect(!disk.trace.contains { $0.kind == .sync || $0.kind == .syncDirectory })
        let bytes = try #require(disk.contents("log.1".inVersionFolder))
        #expect(Array(bytes[..<16]) == FileBytes.logHeader)
    }

    // MARK: - Space

    @Test("A disk that fills up is noticed while there is a reserve, and the reserve takes records")
    func fullDisk() throws {
        let disk = SimulatedDisk.empty()
        var history = History()
        history.createMany(600, data: String(repeating: "x", count: 100))
        var log = writer(disk)
        #expect(try log.prepare() == .ok)
        // Not one block more than what is reserved.
        disk.setCapacity(disk.usedBytes)
        var number: Int64 = 1
        while log.space == .ok {
            log.append(history.records(number...number))
            try log.flush()
            number += 1
        }
        #expect(log.availableBytes > 15 << 10)
        #expect(log.availableBytes <= 16 << 10)
        // What closes sessions still finds room.
        for _ in 0..<50 {
            log.append(history.records(number...number))
            try log.flush()
            number += 1
        }
        #expect(log.space == .low)
        #expect(try log.retryAllocation() == .low)
        disk.setCapacity(nil)
        #expect(try log.retryAllocation() == .ok)
        #expect(log.availableBytes > 16 << 10)
        log.append(history.records(number...number))
        try log.flush()
        #expect(try zxids(disk, "log.1") == (1...number).map { Zxid($0) })
    }

    @Test("When the reserve is used up as well, a record is an error that says so")
    func reserveUsedUp() throws {
        let disk = SimulatedDisk.empty()
        var history = History()
        history.createMany(900, data: String(repeating: "x", count: 100))
        var log = writer(disk)
        try log.prepare()
        disk.setCapacity(disk.usedBytes)
        var failure: StorageError?
        for record in history.records where failure == nil {
            log.append([record])
            do throws(StorageError) { try log.flush() } catch { failure = error }
        }
        guard case .logOutOfSpace(_, let missing) = failure else {
            Issue.record("\(String(describing: failure))")
            return
        }
        #expect(missing > 0)
        // Everything acknowledged is there.
        disk.restart(.everythingUnsynced)
        #expect(try zxids(disk, "log.1").last == log.durableZxid)
    }

    @Test("What is left of the disk is used before it counts as full, and not a block of it is kept in vain")
    func lastBlocks() throws {
        let disk = SimulatedDisk.empty()
        var history = History()
        history.createMany(400, data: String(repeating: "x", count: 300))
        var log = writer(disk)
        try log.prepare()
        let before = disk.usedBytes
        disk.setCapacity(before + 22 << 10)
        var number: Int64 = 1
        while log.space == .ok {
            log.append(history.records(number...number))
            try log.flush()
            number += 1
        }
        // 20 of the 22 KiB are whole blocks.
        #expect(disk.usedBytes == before + 20 << 10)
        #expect(log.availableBytes <= 16 << 10)
        #expect(log.availableBytes > 15 << 10)
        #expect(disk.contents("log.1".inVersionFolder)?.count == 84 << 10)
    }

    @Test("On a full disk a roll is put off and the old file goes on")
    func rollOnFullDisk() throws {
        let disk = SimulatedDisk.empty()
        var history = History()
        history.createMany(4)
        var log = writer(disk)
        log.append(history.records(1...2))
        try log.flush()
        disk.setCapacity(disk.usedBytes)
        let available = log.availableBytes
        #expect(try !log.roll())
        // Nothing about the file that goes on has changed.
        #expect(log.space == .ok)
        #expect(log.availableBytes == available)
        #expect(disk.contents(".aviary.next-log".inVersionFolder) == nil)
        log.append(history.records(3...3))
        try log.flush()
        #expect(disk.logNames() == ["log.1"])
        disk.setCapacity(nil)
        #expect(try log.roll())
        log.append(history.records(4...4))
        try log.flush()
        #expect(disk.logNames() == ["log.1", "log.4"])
    }

    @Test("A roll that the system has no descriptor or no right for is put off too")
    func rollWithoutFile() throws {
        for reason in [DiskError.Reason.tooManyFiles, .permissionDenied] {
            let disk = SimulatedDisk.empty()
            var history = History()
            history.createMany(3)
            var log = writer(disk)
            log.append(history.records(1...2))
            try log.flush()
            disk.setFault { $0.kind == .open ? .refuse(reason) : nil }
            #expect(try !log.roll())
            #expect(log.space == .ok)
            disk.setFault(nil)
            #expect(try log.roll())
            log.append(history.records(3...3))
            #expect(try log.flush() == Zxid(3))
        }
    }

    @Test("On a disk that is nearly full at the start the log begins with what there is, for closed sessions")
    func nearlyFullAtStart() throws {
        let disk = SimulatedDisk.empty()
        disk.setCapacity(300 << 10)
        let options = TxnLogOptions(preallocationBytes: 64 << 10, reserveBytes: 1 << 20, lastBytes: 64 << 10)
        var log = writer(disk, options)
        #expect(try log.prepare() == .low)
        #expect(log.availableBytes >= 256 << 10)
        var history = History()
        history.createMany(40, data: String(repeating: "x", count: 8000))
        var number: Int64 = 1
        while log.space == .low {
            log.append(history.records(number...number))
            try log.flush()
            number += 1
        }
        // Told while there is still room for what is on its way.
        #expect(log.space == .exhausted)
        #expect(log.availableBytes > 48 << 10)
        log.append(history.records(number...number))
        #expect(try log.flush() == Zxid(number))
        #expect(try log.retryAllocation() == .exhausted)
        disk.setCapacity(nil)
        #expect(try log.retryAllocation() == .ok)
        #expect(try zxids(disk, "log.1").last == Zxid(number))
    }

    @Test("On a disk that is full at the start nothing can be appended, and that is no error", arguments: [0, 2, 8])
    func fullAtStart(_ kibibytes: Int64) throws {
        let disk = SimulatedDisk.empty()
        disk.setCapacity(kibibytes << 10)
        var log = writer(disk, TxnLogOptions(reserveBytes: 1 << 20))
        #expect(try log.prepare() == .exhausted)
        #expect(try log.flush() == .zero)
        #expect(try log.roll())
        #expect(try log.retryAllocation() == .exhausted)
        try log.sealMark()
        disk.setCapacity(nil)
        #expect(try log.retryAllocation() == .ok)
        var history = History()
        history.createMany(1)
        log.append(history.records)
        #expect(try log.flush() == Zxid(1))
    }

    @Test("A server that comes back on a full disk gets what the old log had reserved")
    func restartOnFullDisk() throws {
        let disk = SimulatedDisk.empty()
        try disk.writeSnapshot(History().tree, zxid: .zero)
        var history = History()
        history.createMany(5)
        var log = writer(disk)
        log.append(history.records(1...4))
        try log.flush()
        disk.setCapacity(disk.usedBytes)
        disk.restart(.processOnly)
        var tree = NaiveTree()
        let report = try recover(disk, into: &tree)
        #expect(report.tailCut == nil)
        let end = FileBytes.offset(of: 5, in: history.records)
        #expect(disk.contents("log.1".inVersionFolder)?.count == end)
        disk.restart(.everythingUnsynced)
        #expect(disk.contents("log.1".inVersionFolder)?.count == end)
        var next = writer(disk, after: report.lastZxid)
        #expect(try next.prepare() != .exhausted)
        next.append(history.records(5...5))
        #expect(try next.flush() == Zxid(5))
    }

    @Test("The reserve does not depend on the size of steps")
    func reserveWithSmallSteps() throws {
        let disk = SimulatedDisk.empty()
        var log = writer(disk, TxnLogOptions(preallocationBytes: 64 << 10, reserveBytes: 1 << 20))
        #expect(try log.prepare() == .ok)
        #expect(log.availableBytes >= 1 << 20)
        #expect(log.availableBytes < (1 << 20) + (128 << 10))
    }

    @Test("A first sync that fails names the log to be")
    func failedFirstSync() throws {
        let disk = SimulatedDisk.empty()
        var history = History()
        history.createMany(1)
        var log = writer(disk)
        try log.prepare()
        disk.setFault { $0.kind == .sync ? .refuse(.inputOutput) : nil }
        log.append(history.records)
        let error = try #require(throws: StorageError.self) { try log.flush() }
        guard case .syncFailed(let cause) = error else {
            Issue.record("\(error)")
            return
        }
        #expect(cause.path == "log.1".inVersionFolder)
    }

    @Test("A group larger than all that is reserved is written all the same where there is space")
    func largeGroup() throws {
        let disk = SimulatedDisk.empty()
        var history = History()
        history.createMany(100, data: String(repeating: "x", count: 10_000))
        var log = writer(disk)
        try log.prepare()
        log.append(history.records)
        try log.flush()
        #expect(log.space == .ok)
        #expect(log.availableBytes >= 16 << 10)
        #expect(try zxids(disk, "log.1").count == 100)
    }

    @Test("Where space cannot be reserved, zeros are written ahead instead")
    func withoutReservations() throws {
        let disk = SimulatedDisk.empty()
        disk.setCanAllocate(false)
        var history = History()
        history.createMany(600, data: String(repeating: "x", count: 100))
        var log = writer(disk)
        #expect(try log.prepare() == .ok)
        #expect(disk.usedBytes == 64 << 10)
        disk.setCapacity(disk.usedBytes)
        var number: Int64 = 1
        while log.space == .ok {
            log.append(history.records(number...number))
            try log.flush()
            number += 1
        }
        #expect(log.availableBytes > 15 << 10)
        #expect(disk.usedBytes == 64 << 10)
    }

    @Test("A preallocation of nothing still keeps a reserve")
    func smallPreallocation() throws {
        let disk = SimulatedDisk.empty()
        var log = writer(disk, TxnLogOptions(preallocationBytes: 0))
        try log.prepare()
        #expect(log.availableBytes > 32 << 10)
    }

    // MARK: - The mark

    @Test("The header says what the sync before had made stable; a seal says it of the last group too")
    func mark() throws {
        let disk = SimulatedDisk.empty()
        var history = History()
        history.createMany(3)
        var log = writer(disk)
        var ends: [Int64] = []
        for zxid in 1...3 as ClosedRange<Int64> {
            log.append(history.records(zxid...zxid))
            try log.flush()
            ends.append(Int64(FileBytes.offset(of: zxid + 1, in: history.records)))
            let previous = ends.count > 1 ? ends[ends.count - 2] : 0
            #expect(try header(disk) == .log(DurableMark(synced: previous, groupEnd: ends[ends.count - 1])))
        }
        try log.sealMark()
        #expect(try header(disk) == .log(DurableMark(synced: ends[2], groupEnd: ends[2])))
        disk.forgetTrace()
        try log.sealMark()
        #expect(disk.trace.isEmpty)
    }

    private func header(_ disk: SimulatedDisk) throws -> TxnLogHeader {
        try TxnLogReader(disk: disk, directory: "data/version-2", name: "log.1").header
    }

    @Test("A header of another server holds no mark")
    func foreignHeader() throws {
        let disk = SimulatedDisk.empty()
        var history = History()
        history.createMany(1)
        disk.installLog("log.1", history.records)
        #expect(try header(disk) == .log(nil))
        disk.flipBit("log.1".inVersionFolder, offset: 9)
        #expect(try header(disk) == .log(nil))
    }
}

extension String {
    var inVersionFolder: String { "data/version-2/" + self }
}
