package import ZooKeeperProtocol

/// Moves what a member of an ensemble cannot use out of the way, so that it starts with nothing and is synchronized by
/// its leader, instead of refusing to start again and again.
///
/// The member has lost its memory then, and that is noted before the first file goes. `acceptedEpoch` stays: it is a
/// promise, and a promise can be kept without remembering why. Everything else goes into the folder `quarantine.<n>`,
/// with a text that says why. What is interrupted is finished by the next start (`resume`).
struct Quarantine<D: Disk> {
    let disk: D
    let directories: DataDirectories

    static var reasonFile: String { "why.txt" }

    /// - Returns: the folder's name, the same below snapshots and logs.
    func begin(because error: StorageError) throws(StorageError) -> String {
        let folder = FileNames.quarantineFolder(try nextNumber())
        try LostMemory(disk: disk, directory: directories.snapshots).note("\(error)\nIt is in \(folder).\n")
        do {
            // From here on the files are not to be loaded, even if what is left of them could be.
            try SmallFile.replace(
                FileNames.quarantining,
                in: directories.snapshots,
                with: Array(folder.utf8),
                on: disk
            )
        } catch {
            throw .quarantineFailed(error)
        }
        try move(to: folder)
        return folder
    }

    /// Goes on with what was interrupted.
    ///
    /// - Returns: the folder's name; nil when there was nothing.
    func resume() throws(StorageError) -> String? {
        let found: [UInt8]?
        do {
            found = try SmallFile.read(FileNames.quarantining, in: directories.snapshots, on: disk)
        } catch {
            throw .disk(error)
        }
        guard let found else { return nil }
        let name = String(decoding: found, as: UTF8.self)
        // A name that cannot be read is damage of this very file; any free folder does.
        let folder = FileNames.quarantineNumber(name) == nil ? FileNames.quarantineFolder(try nextNumber()) : name
        try move(to: folder)
        return folder
    }

    private func move(to folder: String) throws(StorageError) {
        let reason = try LostMemory(disk: disk, directory: directories.snapshots).reason() ?? ""
        do {
            for directory in SnapshotInstall.places(directories) {
                let names = try disk.list(directory).filter { !$0.isDirectory && isData($0.name) }.map(\.name)
                try MovedFiles.move(names.sorted(), from: directory, to: folder, on: disk)
            }
            let path = FileNames.join(directories.snapshots, folder)
            if try disk.entry(at: path) != nil {
                try SmallFile.replace(Self.reasonFile, in: path, with: Array(reason.utf8), on: disk)
            }
            try SmallFile.remove(FileNames.quarantining, in: directories.snapshots, on: disk)
        } catch {
            throw .quarantineFailed(error)
        }
    }

    /// Everything that a start would read, but the promise.
    private func isData(_ name: String) -> Bool {
        let suffix = FileNames.unfinishedSuffix
        if name.hasSuffix(suffix) { return isData(String(name.dropLast(suffix.count))) }
        return FileNames.logZxid(name) != nil || FileNames.snapshotZxid(name) != nil
            || FileNames.installed(name) != nil || name == FileNames.currentEpoch
            || name == FileNames.incomingSnapshot
    }

    private func nextNumber() throws(StorageError) -> Int {
        var largest = 0
        for directory in SnapshotInstall.places(directories) {
            let entries: [DirectoryEntry]
            do { entries = try disk.list(directory) } catch { throw .disk(error) }
            largest = max(largest, entries.compactMap { FileNames.quarantineNumber($0.name) }.max() ?? 0)
        }
        return largest + 1
    }
}
