import AviarySimulation
import AviaryStorage
import Testing
import ZooKeeperProtocol

/// docs/protocol/quorum-protocol.md section 8: what a member remembers of epochs.
@Suite("Epoch files")
struct EpochFilesTests {
    private func disk(accepted: String? = nil, current: String? = nil, unfinished: String? = nil) -> SimulatedDisk {
        let disk = SimulatedDisk.empty()
        if let accepted { disk.setText("acceptedEpoch", accepted) }
        if let current { disk.setText("currentEpoch", current) }
        if let unfinished { disk.setText("currentEpoch.tmp", unfinished) }
        return disk
    }

    @Test("They are decimal text without a newline, as Apache's servers write them")
    func text() throws {
        let disk = disk()
        try disk.epochs.store(accepted: Epoch(12))
        try disk.epochs.store(current: Epoch(11))
        #expect(disk.text("acceptedEpoch") == "12")
        #expect(disk.text("currentEpoch") == "11")
        #expect(disk.names() == ["acceptedEpoch", "currentEpoch"])
        let read = try disk.epochs.read()
        #expect(read.accepted == Epoch(12))
        #expect(read.current == Epoch(11))
    }

    @Test("What is stored survives a power failure at once, and what it replaces is there until then")
    func everyCall() throws {
        for loss in losses {
            for cut in 0... {
                let disk = disk(accepted: "4", current: "3")
                disk.cutPower(after: cut)
                var stored = 4
                do throws(StorageError) {
                    try disk.epochs.store(accepted: Epoch(5))
                    stored = 5
                    try disk.epochs.store(current: Epoch(5))
                } catch {
                    #expect(error.diskReason == .powerLost)
                }
                let isDone = disk.hasPower
                disk.restart(loss)
                let loaded = try disk.epochs.load(lastZxid: Zxid(0x3_0000_0007))
                #expect(loaded.accepted >= Epoch(Int64(stored)), "cut \(cut), \(loss)")
                #expect(loaded.accepted >= loaded.current)
                #expect([3, 5].contains(loaded.current.rawValue))
                if isDone {
                    #expect(loaded.current == Epoch(5))
                    break
                }
            }
        }
    }

    @Test("A server without the files begins with the epoch of its last transaction", arguments: [0, 5] as [Int64])
    func firstStart(epoch: Int64) throws {
        let disk = disk()
        let loaded = try disk.epochs.load(lastZxid: Zxid(epoch << 32 | 3))
        #expect(loaded.accepted == Epoch(epoch))
        #expect(loaded.current == Epoch(epoch))
        #expect(loaded.notes.isEmpty)
        disk.restart(.everythingUnsynced)
        #expect(disk.text("acceptedEpoch") == "\(epoch)")
        #expect(disk.text("currentEpoch") == "\(epoch)")
    }

    @Test("A server without a database begins with epoch 0")
    func withoutDatabase() throws {
        let loaded = try disk().epochs.load(lastZxid: Zxid(-1))
        #expect(loaded.accepted == Epoch(0))
        #expect(loaded.current == Epoch(0))
    }

    @Test("H15, museum 16: what a crash leaves as currentEpoch.tmp is adopted if the log is ahead, and harmless if not")
    func unfinished() throws {
        let ahead = disk(accepted: "7", current: "3", unfinished: "6")
        let loaded = try ahead.epochs.load(lastZxid: Zxid(0x5_0000_0001))
        #expect(loaded.current == Epoch(6))
        #expect(loaded.notes.count == 1)
        #expect(ahead.text("currentEpoch") == "6")

        for left in ["", "5", "x", "99", "-1"] {
            let torn = disk(accepted: "7", current: "3", unfinished: left)
            #expect(try torn.epochs.load(lastZxid: Zxid(0x5_0000_0001)).current == Epoch(5), "\(left)")
            let behind = disk(accepted: "7", current: "3", unfinished: left)
            #expect(try behind.epochs.load(lastZxid: Zxid(0x3_0000_0001)).current == Epoch(3), "\(left)")
        }
    }

    @Test("A log that is in a later epoch than currentEpoch is one whose synchronization was interrupted")
    func interruptedSync() throws {
        let disk = disk(accepted: "5", current: "3")
        let loaded = try disk.epochs.load(lastZxid: Zxid(0x5_0000_0002))
        #expect(loaded.accepted == Epoch(5))
        #expect(loaded.current == Epoch(5))
        disk.restart(.everythingUnsynced)
        #expect(disk.text("currentEpoch") == "5")
    }

    @Test("Epochs that cannot be are damage, and nothing is written over them")
    func inconsistent() throws {
        for (accepted, current, last) in [("2", "3", 3), (nil, "4", 3), ("4", "3", 5), ("2", nil, 3)]
            as [(String?, String?, Int64)]
        {
            let disk = disk(accepted: accepted, current: current)
            let before = disk.files(in: "data/version-2")
            let error = #expect(throws: StorageError.self) { try disk.epochs.load(lastZxid: Zxid(last << 32 | 1)) }
            guard case .inconsistentEpochs = error else {
                Issue.record("\(String(describing: error))")
                continue
            }
            #expect(disk.files(in: "data/version-2") == before)
        }
    }

    @Test("What is not a number is damage; whitespace behind it is none")
    func contents() throws {
        for text in ["", " 3", "3 4", "three", "+3", "0x3", "99999999999", "3\u{0}", String(repeating: "1", count: 40)]
        {
            let disk = disk(accepted: text)
            #expect(
                throws: StorageError.damagedEpochFile(
                    path: "data/version-2/acceptedEpoch",
                    contents: String(text.prefix(32))
                ),
                "\(text)"
            ) { try disk.epochs.read() }
        }
        #expect(try disk(current: "3\n").epochs.read().current == Epoch(3))
        #expect(try disk(current: "-1").epochs.read().current == Epoch(0))
    }

    @Test("A full disk and a rename that fails leave the old epoch, and nobody is told otherwise")
    func failures() throws {
        for kind in [.open, .write, .sync, .rename, .syncDirectory] as [DiskError.Operation] {
            let disk = disk(accepted: "4", current: "4")
            disk.fail(kind, after: 0, with: .refuse(kind == .write ? .noSpace : .inputOutput))
            let error = #expect(throws: StorageError.self) { try disk.epochs.store(accepted: Epoch(5)) }
            guard case .epochNotStored = error else {
                Issue.record("\(String(describing: error))")
                continue
            }
            disk.restart(.everythingUnsynced)
            #expect(try disk.epochs.load(lastZxid: Zxid(0x4_0000_0001)).accepted == Epoch(4))
            #expect(try disk.epochs.load(lastZxid: Zxid(0x4_0000_0001)).current == Epoch(4))
        }
    }
}
