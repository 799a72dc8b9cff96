package import ZooKeeperProtocol

/// A snapshot file by its name.
package struct SnapshotFileEntry: Hashable, Sendable {
    package var name: String
    package var zxid: Zxid
    package var compression: SnapshotCompression
    package var size: Int64
}

/// The snapshots of a server.
package struct SnapshotDirectory: Sendable {
    /// Newest first; whole or not.
    package private(set) var files: [SnapshotFileEntry] = []
    /// What was being written when a server ended.
    package private(set) var unfinished: [String] = []

    package init<D: Disk>(disk: D, directory: String) throws(StorageError) {
        let entries: [DirectoryEntry]
        do { entries = try disk.list(directory) } catch { throw .disk(error) }
        for entry in entries where !entry.isDirectory {
            if FileNames.isUnfinishedSnapshot(entry.name) { unfinished.append(entry.name) }
            guard let (zxid, compression) = FileNames.snapshotZxid(entry.name), zxid >= .zero else { continue }
            files.append(
                SnapshotFileEntry(name: entry.name, zxid: zxid, compression: compression, size: entry.size)
            )
        }
        files.sort { $0.zxid == $1.zxid ? $0.name < $1.name : $0.zxid > $1.zxid }
        unfinished.sort()
    }
}
