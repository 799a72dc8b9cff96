/// The folders of one server (docs/protocol/disk-format.md section 1).
package struct DataDirectories: Sendable, Hashable {
    /// `dataDir`.
    package let data: String
    /// `dataLogDir`; the same as `data` unless it is given.
    package let log: String
    /// Whether logs have a folder of their own.
    package private(set) var isSeparate: Bool

    /// Where snapshots are.
    package var snapshots: String { FileNames.join(data, FileNames.versionFolder) }
    /// Where logs are.
    package var logs: String { FileNames.join(log, FileNames.versionFolder) }

    package init(data: String, log: String? = nil) {
        self.data = DataDirectories.withoutTrailingSlashes(data)
        self.log = log.map(DataDirectories.withoutTrailingSlashes) ?? self.data
        isSeparate = self.data != self.log
    }

    /// Makes the folders usable for this server alone, until the lock that it returns goes away.
    ///
    /// - Parameters:
    ///   - creates: whether missing folders are made (`datadir.autocreate`).
    ///   - owner: what a second server is told about this one, unique to this process.
    /// - Throws: `missingDirectory`, `notADirectory`, `directoryInUse`, `misplacedFile`, or what the disk refuses, such
    ///   as a folder that cannot be written.
    package mutating func open<D: Disk>(
        on disk: D,
        creates: Bool,
        owner: String
    ) throws(StorageError) -> DirectoryLock<D> {
        for path in isSeparate ? [snapshots, logs] : [snapshots] {
            try DataDirectories.make(path, on: disk, creates: creates)
        }
        var locks = [try DataDirectories.lock(snapshots, on: disk, owner: owner)]
        if isSeparate {
            do throws(StorageError) {
                locks.append(try DataDirectories.lock(logs, on: disk, owner: owner))
            } catch {
                // Two names of one folder: what stands in the way is our own lock.
                guard error == .directoryInUse(path: logs, owner: owner) else { throw error }
                isSeparate = false
            }
        }
        if isSeparate { try checkPlaces(on: disk) }
        return DirectoryLock(locks: locks)
    }

    /// There is a database, and it is stable: the file `initialize` is used up, for good. If it came back, a server that
    /// loses its data would be taken for one that never had any.
    package func noteDatabase<D: Disk>(on disk: D, forcesSync: Bool) throws(StorageError) {
        let initialize = FileNames.join(data, FileNames.initialize)
        do {
            guard try disk.entry(at: initialize) != nil else { return }
            try disk.remove(initialize)
        } catch {
            throw .disk(error)
        }
        guard forcesSync else { return }
        do { try disk.sync(directory: data) } catch { throw .syncFailed(error) }
    }

    /// With separate folders a file in the wrong one means that they were exchanged, or one forgotten.
    private func checkPlaces<D: Disk>(on disk: D) throws(StorageError) {
        let inLogs: [DirectoryEntry]
        let inSnapshots: [DirectoryEntry]
        do {
            inLogs = try disk.list(logs)
            inSnapshots = try disk.list(snapshots)
        } catch {
            throw .disk(error)
        }
        if let entry = inLogs.first(where: { FileNames.snapshotZxid($0.name) != nil }) {
            throw .misplacedFile(path: FileNames.join(logs, entry.name), belongsIn: snapshots)
        }
        if let entry = inSnapshots.first(where: { FileNames.logZxid($0.name) != nil }) {
            throw .misplacedFile(path: FileNames.join(snapshots, entry.name), belongsIn: logs)
        }
    }

    private static func lock<D: Disk>(
        _ directory: String,
        on disk: D,
        owner: String
    ) throws(StorageError) -> D.Lock {
        do {
            return try disk.lock(FileNames.join(directory, FileNames.lock), owner: owner)
        } catch {
            guard error.reason == .locked else { throw .disk(error) }
            throw .directoryInUse(path: directory, owner: error.detail)
        }
    }

    /// Makes a folder and those it is in; each is on disk before the next.
    private static func make<D: Disk>(_ path: String, on disk: D, creates: Bool) throws(StorageError) {
        let (existing, missing) = try folders(path, on: disk)
        guard missing.isEmpty || creates else { throw .missingDirectory(path: path) }
        do {
            // A server that was killed may have made this one and not have come to its sync.
            if let existing { try syncName(of: existing, on: disk) }
            for folder in missing {
                try disk.makeDirectory(String(folder))
                try disk.sync(directory: directory(of: folder))
            }
        } catch {
            throw .disk(error)
        }
    }

    /// Makes the name of a folder stable. It may be somebody else's folder that it is in, which this user cannot read; then
    /// it is that user's business too.
    private static func syncName<D: Disk>(of folder: Substring, on disk: D) throws(DiskError) {
        do {
            try disk.sync(directory: directory(of: folder))
        } catch {
            guard error.reason == .permissionDenied else { throw error }
        }
    }

    /// - Returns: of the folders that `path` leads through the innermost that is there, and those that are missing, the
    ///   outermost first.
    private static func folders<D: Disk>(
        _ path: String,
        on disk: D
    ) throws(StorageError) -> (existing: Substring?, missing: [Substring]) {
        var missing: [Substring] = []
        var folder = path[...]
        while !folder.isEmpty {
            let entry: DirectoryEntry?
            do { entry = try disk.entry(at: String(folder)) } catch { throw .disk(error) }
            if let entry {
                guard entry.isDirectory else { throw .notADirectory(path: String(folder)) }
                return (folder, missing.reversed())
            }
            missing.append(folder)
            folder = folder.lastIndex(of: "/").map { folder[..<$0] } ?? ""
        }
        return (nil, missing.reversed())
    }

    private static func directory(of path: Substring) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    private static func withoutTrailingSlashes(_ path: String) -> String {
        var path = path[...]
        while path.count > 1, path.hasSuffix("/") { path.removeLast() }
        return String(path)
    }
}

/// Keeps other servers out of the folders for as long as it lives.
package struct DirectoryLock<D: Disk>: Sendable {
    private let locks: [D.Lock]

    init(locks: [D.Lock]) {
        self.locks = locks
    }
}
