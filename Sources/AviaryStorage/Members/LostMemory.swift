/// The note of a member that has lost what it knew: until a leader has synchronized it, it must not vote as if it had
/// never promised anything (reliability: whole data directory lost).
package struct LostMemory<D: Disk>: Sendable {
    private let disk: D
    private let directory: String

    /// - Parameter directory: the `version-2` folder of `dataDir`.
    package init(disk: D, directory: String) {
        self.disk = disk
        self.directory = directory
    }

    /// The reason in the note; nil when there is none.
    package func reason() throws(StorageError) -> String? {
        do {
            return try SmallFile.read(FileNames.lostMemory, in: directory, on: disk)
                .map { String(decoding: $0, as: UTF8.self) }
        } catch {
            throw .disk(error)
        }
    }

    /// Leaves the note, before anything is lost.
    package func note(_ reason: String) throws(StorageError) {
        do {
            try SmallFile.replace(FileNames.lostMemory, in: directory, with: Array(reason.utf8), on: disk)
        } catch {
            throw .quarantineFailed(error)
        }
    }

    /// Removes the note: everything is there again, and stable.
    package func clear() throws(StorageError) {
        do { try SmallFile.remove(FileNames.lostMemory, in: directory, on: disk) } catch { throw .disk(error) }
    }

    var path: String { FileNames.join(directory, FileNames.lostMemory) }
}
