import AviarySimulation
import AviaryStorage
import Testing
import ZooKeeperProtocol

/// Logs read for a learner, while this server goes on.
@Suite("History from the logs")
struct HistoryReaderTests {
    /// Epoch 1: transactions 1 to 9; epoch 2: three more.
    private static let history: History = {
        var history = History(after: Zxid(0x1_0000_0000))
        for number in 0..<9 { history.createMany(1, data: String(repeating: "d", count: 150 * number)) }
        history.beginEpoch(2)
        history.createMany(3)
        return history
    }()

    private static let zxids = history.records.map(\.zxid)

    /// Logs of four records, the last of which is still open.
    private static func disk() throws -> (disk: SimulatedDisk, worker: TestWorkerBox) {
        let disk = SimulatedDisk.empty()
        try disk.writeSnapshot(.fresh, zxid: Zxid(0x1_0000_0000))
        let box = TestWorkerBox(try disk.worker(after: Zxid(0x1_0000_0000)))
        for start in stride(from: 0, to: history.records.count, by: 4) {
            let records = Array(history.records[start..<min(start + 4, history.records.count)])
            try box.perform([.append(records, rolls: start + 4 < history.records.count)])
        }
        return (disk, box)
    }

    /// All that is given out until the end, or until it cannot go on.
    private func read(
        _ reader: inout HistoryReader<SimulatedDisk>,
        upTo durable: Zxid,
        maxBytes: Int = 100
    ) throws -> [History.Record] {
        var found: [History.Record] = []
        let batch = LogBatch()
        while true {
            batch.reset()
            let step = try reader.read(upTo: durable, maxBytes: maxBytes, into: batch)
            for record in batch.records {
                found.append(
                    History.Record(zxid: record.zxid, payload: batch.bytes.withBytes(in: record.range) { [UInt8]($0) })
                )
            }
            if step == .reached { return found }
        }
    }

    @Test("What comes behind any zxid is given out in order, however small the pieces", arguments: [1, 200, 1 << 20])
    func everyPlace(_ maxBytes: Int) throws {
        let (disk, _) = try Self.disk()
        for (index, zxid) in Self.zxids.enumerated() {
            for end in index..<Self.zxids.count {
                var reader = try disk.source.records(after: zxid)
                let found = try read(&reader, upTo: Self.zxids[end], maxBytes: maxBytes)
                #expect(found == Array(Self.history.records[(index + 1)..<(end + 1)]))
                let previous = reader.previous
                #expect(previous == zxid)
            }
        }
    }

    @Test("A piece has about as many bytes as were asked for, and one record at least")
    func pieces() throws {
        let (disk, _) = try Self.disk()
        var reader = try disk.source.records(after: Self.zxids[0])
        let batch = LogBatch()
        var pieces = 0
        while try reader.readRecords(upTo: Self.history.lastZxid, maxBytes: 1, into: batch) == .more {
            #expect(batch.records.count == 1)
            batch.reset()
            pieces += 1
        }
        #expect(pieces >= Self.zxids.count - 3)
    }

    @Test("A zxid that this history does not have is told by the one in front of it")
    func otherHistory() throws {
        let (disk, _) = try Self.disk()
        for (asked, previous) in [
            (0x1_0000_0020, 0x1_0000_0009), (0x2_0000_0000, 0x1_0000_0009), (0x1_0000_0009, 0x1_0000_0009),
        ] as [(Int64, Int64)] {
            var reader = try disk.source.records(after: Zxid(asked))
            let found = try read(&reader, upTo: Self.history.lastZxid)
            #expect(found.map(\.zxid) == Self.zxids.filter { $0 > Zxid(asked) })
            let before = reader.previous
            #expect(before == Zxid(previous))
        }
    }

    @Test("Logs that do not reach back so far are of no use, unless they begin behind a snapshot with that very zxid")
    func tooFarBack() throws {
        let (disk, _) = try Self.disk()
        #expect(throws: HistoryUnavailable.self) { _ = try disk.source.records(after: .zero) }
        var reader = try disk.source.records(after: Zxid(0x1_0000_0000))
        #expect(try read(&reader, upTo: Self.history.lastZxid) == Self.history.records)
        let previous = reader.previous
        #expect(previous == Zxid(0x1_0000_0000))
    }

    @Test("Nothing behind what is durable is looked at, and what is written there later is read later")
    func whileWriting() throws {
        let (disk, worker) = try Self.disk()
        var reader = try disk.source.records(after: Self.zxids[0])
        var found = try read(&reader, upTo: Self.zxids[4])
        #expect(found.last?.zxid == Self.zxids[4])
        found += try read(&reader, upTo: Self.history.lastZxid)
        var next = Self.history
        for round in 0..<12 {
            next.createMany(1 + round % 3, data: String(repeating: "w", count: 900 * (round % 4)))
            let new = next.records.filter { $0.zxid > (found.last?.zxid ?? .zero) }
            // Half a group in place of it is what a reader may see meanwhile.
            #expect(try read(&reader, upTo: found.last?.zxid ?? .zero).isEmpty)
            try worker.perform([.append(new, rolls: round % 4 == 3)])
            found += try read(&reader, upTo: next.lastZxid)
        }
        #expect(found == Array(next.records.dropFirst()))
    }

    @Test("A torn group behind what is durable does no harm")
    func tornBehind() throws {
        let disk = SimulatedDisk.empty()
        var bytes = FileBytes.log(Self.history.records, padding: 0)
        bytes.removeLast(20)
        disk.setContents("log.100000001".inVersionFolder, bytes)
        var reader = try disk.source.records(after: Self.zxids[2])
        let durable = Self.zxids[10]
        #expect(try read(&reader, upTo: durable).last?.zxid == durable)
        disk.setContents("log.100000001".inVersionFolder, FileBytes.log(Self.history.records))
        // The file that is open is the one that was there.
        #expect(throws: HistoryUnavailable.self) { try read(&reader, upTo: Self.history.lastZxid) }
    }

    @Test(
        "A log that is purged under way is read to its end; one that is gone before is a gap, and no gap is passed over"
    )
    func purged() throws {
        let (disk, _) = try Self.disk()
        var reader = try disk.source.records(after: Self.zxids[0])
        _ = try read(&reader, upTo: Self.zxids[1])
        try disk.remove("log.100000001".inVersionFolder)
        #expect(try read(&reader, upTo: Self.history.lastZxid).last?.zxid == Self.history.lastZxid)

        let (other, _) = try Self.disk()
        reader = try other.source.records(after: Self.zxids[0])
        _ = try read(&reader, upTo: Self.zxids[1])
        try other.remove("log.100000005".inVersionFolder)
        #expect(throws: HistoryUnavailable.self) { try read(&reader, upTo: Self.history.lastZxid) }
    }

    @Test("Any turned bit: what is given out is right, and the end is reached or known not to be")
    func everyBit() throws {
        let (disk, worker) = try Self.disk()
        try worker.close()
        for (name, bytes) in disk.files(in: "data/version-2").sorted(by: { $0.key < $1.key })
        where FileNames.logZxid(name) != nil {
            for offset in stride(from: 0, to: bytes.count, by: 5) {
                disk.flipBit(name.inVersionFolder, offset: offset, bit: offset % 8)
                var found: [History.Record] = []
                var isReached = false
                do {
                    var reader = try disk.source.records(after: Self.zxids[1])
                    let batch = LogBatch()
                    while !isReached {
                        batch.reset()
                        isReached = try reader.read(upTo: Self.history.lastZxid, maxBytes: 1, into: batch) == .reached
                        for record in batch.records {
                            let payload = batch.bytes.withBytes(in: record.range) { [UInt8]($0) }
                            found.append(History.Record(zxid: record.zxid, payload: payload))
                        }
                    }
                } catch {
                    #expect(error is HistoryUnavailable)
                }
                let expected = Array(Self.history.records[2...])
                #expect(found == Array(expected.prefix(found.count)), "\(name) \(offset)")
                if isReached { #expect(found == expected, "\(name) \(offset)") }
                disk.flipBit(name.inVersionFolder, offset: offset, bit: offset % 8)
            }
        }
    }

    @Test("A torn end in an older log is passed over only where the next one has the very zxid")
    func tornEnds() throws {
        func disk(next: [History.Record]) -> SimulatedDisk {
            let disk = SimulatedDisk.empty()
            let whole = FileBytes.log(Array(Self.history.records[..<5]), padding: 0)
            disk.setContents("log.100000001".inVersionFolder, Array(whole.dropLast(7)))
            disk.installLog("log.\(next[0].zxid.hex)", next)
            return disk
        }
        let follows = disk(next: Array(Self.history.records[4...]))
        var reader = try follows.source.records(after: Self.zxids[0])
        #expect(try read(&reader, upTo: Self.history.lastZxid) == Array(Self.history.records[1...]))
        // The first of a later epoch could hide what was acknowledged.
        let jumps = disk(next: Array(Self.history.records[9...]))
        reader = try jumps.source.records(after: Self.zxids[0])
        #expect(throws: HistoryUnavailable.self) { try read(&reader, upTo: Self.history.lastZxid) }
    }

    @Test("A cut under way is noticed")
    func cutUnderWay() throws {
        let (disk, worker) = try Self.disk()
        var reader = try disk.source.records(after: Self.zxids[0])
        _ = try read(&reader, upTo: Self.zxids[5])
        try worker.perform([.truncate(after: Self.zxids[6])])
        #expect(throws: HistoryUnavailable.self) { try read(&reader, upTo: Self.history.lastZxid) }
    }

    @Test("The bytes of the files that are to be read are those of records, and not what a log has reserved")
    func fileBytes() throws {
        let (disk, _) = try Self.disk()
        let reader = try disk.source.records(after: Self.zxids[0])
        let records = Self.history.records.reduce(0) { $0 + $1.payload.count + 13 }
        let bytes = reader.fileBytes
        #expect(bytes == Int64(records + 3 * 16))
        let last = try disk.source.records(after: Self.zxids[9])
        let fewer = last.fileBytes
        #expect(fewer < bytes)
    }

    @Test("Records up to the limit are read, and longer ones are not")
    func longRecords() throws {
        var history = History()
        history.create("/first")
        history.create("/long", String(repeating: "l", count: 700_000))
        history.create("/last")
        let disk = SimulatedDisk.empty()
        disk.installLog("log.1", history.records)
        var reader = try disk.source.records(after: Zxid(1))
        #expect(try read(&reader, upTo: Zxid(3)) == Array(history.records[1...]))
        var limited = try HistoryReader(
            disk: disk,
            directory: "data/version-2",
            after: Zxid(1),
            maxRecordBytes: 100_000
        )
        #expect(throws: HistoryUnavailable.self) { try read(&limited, upTo: Zxid(3)) }
    }

    @Test("Golden: all four epochs of an ensemble of Apache's")
    func golden() throws {
        let disk = SimulatedDisk()
        try Golden.install("g-ensemble-epochs/s2", on: disk)
        let last = Zxid(Golden.number(try Golden.expected("g-ensemble-epochs/s2").lastZxid))
        var reader = try disk.source.records(after: Zxid(0x1_0000_0001))
        let found = try read(&reader, upTo: last)
        #expect(found.first?.zxid == Zxid(0x1_0000_0002))
        #expect(found.last?.zxid == last)
        #expect(Set(found.map(\.zxid.epoch)) == [Epoch(1), Epoch(2), Epoch(3), Epoch(4)])
    }
}

/// A worker that several parts of a test can hold.
final class TestWorkerBox {
    private var worker: TestWorker
    var driver = TestDriver()

    init(_ worker: consuming TestWorker) { self.worker = worker }

    func perform(_ orders: [StorageOrder]) throws(StorageError) {
        for order in orders { try worker.perform(order, &driver) }
        try worker.endGroup(&driver)
    }

    func close() throws(StorageError) { try worker.close(&driver) }
}
