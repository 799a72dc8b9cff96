import AviarySimulation
import AviaryStorage
import Testing

@Suite("Data directories")
struct DataDirectoriesTests {
    private let disk = SimulatedDisk()

    private func open(
        _ data: String,
        _ log: String? = nil,
        creates: Bool = true
    ) throws -> (DataDirectories, DirectoryLock<SimulatedDisk>) {
        var directories = DataDirectories(data: data, log: log)
        let lock = try directories.open(on: disk, creates: creates, owner: "pid 1")
        return (directories, lock)
    }

    @Test("Missing folders are made, and survive a power failure")
    func creates() throws {
        let (directories, lock) = try open("deep/down/data", "other/log/")
        #expect(directories.snapshots == "deep/down/data/version-2")
        #expect(directories.logs == "other/log/version-2")
        withExtendedLifetime(lock) {}
        disk.restart(.everythingUnsynced)
        #expect(try disk.entry(at: "deep/down/data/version-2")?.isDirectory == true)
        #expect(try disk.entry(at: "other/log/version-2")?.isDirectory == true)
    }

    @Test("A folder that a killed server has made survives a power failure once another one serves from it")
    func madeByKilledServer() throws {
        for call in 0..<8 {
            let disk = SimulatedDisk()
            var directories = DataDirectories(data: "data", log: "log")
            disk.cutPower(after: call)
            #expect(throws: StorageError.self) { try directories.open(on: disk, creates: true, owner: "pid 1") }
            disk.restart(.processOnly)
            _ = try directories.open(on: disk, creates: true, owner: "pid 2")
            disk.restart(.everythingUnsynced)
            for path in ["data/version-2", "log/version-2"] {
                #expect(try disk.entry(at: path)?.isDirectory == true, "\(path) after \(call) calls")
            }
        }
    }

    @Test("A parent that this user cannot read does not keep the server from starting")
    func unreadableParent() throws {
        disk.makeStableDirectory("home/data")
        disk.setFault { $0.kind == .syncDirectory && $0.path == "home" ? .refuse(.permissionDenied) : nil }
        _ = try open("home/data")
    }

    @Test("With autocreate off a missing folder is an error, one that is there is not")
    func withoutCreating() throws {
        let error = try #require(throws: StorageError.self) { try open("data", creates: false) }
        #expect(error == .missingDirectory(path: "data/version-2"))
        #expect(disk.trace.isEmpty)
        disk.makeStableDirectory("data/version-2")
        _ = try open("data", creates: false)
    }

    @Test("A file where a folder should be is named")
    func notADirectory() throws {
        disk.setContents("data", [1])
        let error = try #require(throws: StorageError.self) { try open("data") }
        #expect(error == .notADirectory(path: "data"))
    }

    @Test("A folder that cannot be written is an error with a remedy")
    func notWritable() throws {
        disk.setFault { $0.kind == .makeDirectory || $0.kind == .lock ? .refuse(.permissionDenied) : nil }
        let making = try #require(throws: StorageError.self) { try open("data") }
        #expect(making.description.contains("make directory data"))
        #expect(making.description.contains("the user who owns the data"))
        disk.makeStableDirectory("data/version-2")
        let locking = try #require(throws: StorageError.self) { try open("data") }
        #expect(locking.description.contains("data/version-2/.aviary.lock"))
    }

    @Test("A place that takes no folder is an error that names the settings")
    func noPlace() throws {
        disk.setFault { $0.kind == .makeDirectory ? .refuse(.notFound) : nil }
        let error = try #require(throws: StorageError.self) { try open("data") }
        #expect(error.description.contains("make directory data"))
        #expect(error.description.contains("Correct dataDir"))
    }

    @Test("A second server is refused on either folder, and let in when the first is gone")
    func lock() throws {
        var first: (DataDirectories, DirectoryLock<SimulatedDisk>)? = try open("data", "log")
        withExtendedLifetime(first) {}
        for (data, log) in [("data", nil), ("fresh", "log"), ("data", "log")] as [(String, String?)] {
            var second = DataDirectories(data: data, log: log)
            let error = try #require(throws: StorageError.self) {
                try second.open(on: disk, creates: true, owner: "pid 2")
            }
            guard case .directoryInUse(_, "pid 1") = error else {
                Issue.record("\(error)")
                continue
            }
            #expect(error.description.contains("pid 1"))
        }
        first = nil
        _ = try open("data", "log")
        disk.restart(.processOnly)
        _ = try open("data", "log")
    }

    @Test("With separate folders a file in the wrong one is an error; in one folder both may be")
    func misplaced() throws {
        disk.setContents("data/version-2/snapshot.0", [])
        disk.setContents("data/version-2/log.1", [])
        _ = try open("data")
        _ = try open("data", "data/")
        let log = try #require(throws: StorageError.self) { try open("data", "log") }
        #expect(log == .misplacedFile(path: "data/version-2/log.1", belongsIn: "log/version-2"))
        let snapshot = try #require(throws: StorageError.self) { try open("other", "data") }
        #expect(snapshot == .misplacedFile(path: "data/version-2/snapshot.0", belongsIn: "other/version-2"))
    }
}
