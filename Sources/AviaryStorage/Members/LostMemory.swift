package import ZooKeeperProtocol

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

    /// How far the history reached that is lost, if the note says that nothing else is.
    package func promised() throws(StorageError) -> HistoryEnd? {
        guard let line = try reason()?.split(separator: "\n").last, line.hasPrefix(Self.promise) else { return nil }
        let words = line.dropFirst(Self.promise.count).split(separator: " ")
        guard words.count == 2, let epoch = Int64(words[0]), let zxid = Int64(words[1], radix: 16), epoch >= 0,
            zxid >= 0
        else { return nil }
        return HistoryEnd(epoch: Epoch(epoch), zxid: Zxid(zxid))
    }

    private static var promise: String { "epoch and last zxid: " }

    /// Leaves the note, before anything is lost.
    ///
    /// - Parameter promised: how far the history reached, if nothing but its end is lost.
    package func note(_ reason: String, promised: HistoryEnd? = nil) throws(StorageError) {
        var text = reason
        if let promised { text += "\(Self.promise)\(promised.epoch) \(promised.zxid.hex)\n" }
        do {
            try SmallFile.replace(FileNames.lostMemory, in: directory, with: Array(text.utf8), on: disk)
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
