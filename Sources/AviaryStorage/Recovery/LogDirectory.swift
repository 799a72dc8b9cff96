internal import ZooKeeperProtocol

/// The logs of a server: those with records, and newer ones that never got any.
struct LogDirectory {
    /// Oldest first.
    private(set) var files: [LogFileEntry] = []
    /// Logs behind all records, left by a server that ended while it made them; of no use.
    private(set) var empty: [Empty] = []

    struct Empty: Hashable {
        var name: String
        /// What the operator should know, if anything.
        var warning: String?
    }

    /// Reads the names in `directory`, and of the newest files whether there is anything in them.
    init<D: Disk>(disk: D, directory: String, limits: ReadingLimits) throws(StorageError) {
        let entries: [DirectoryEntry]
        do { entries = try disk.list(directory) } catch { throw .disk(error) }
        for entry in entries where !entry.isDirectory {
            guard let zxid = FileNames.logZxid(entry.name), zxid >= .zero else { continue }
            files.append(LogFileEntry(name: entry.name, zxid: zxid, size: entry.size))
        }
        files.sort { ($0.zxid, $0.name) < ($1.zxid, $1.name) }
        while let newest = files.last,
            let found = try LogDirectory.examine(newest, disk: disk, directory: directory, limits: limits)
        {
            empty.append(found)
            files.removeLast()
        }
    }

    /// The files that may hold what comes after `zxid`.
    func files(after zxid: Zxid) -> ArraySlice<LogFileEntry> {
        files[(files.lastIndex { $0.zxid <= zxid.next } ?? 0)...]
    }

    /// - Returns: nil when the file has records.
    private static func examine<D: Disk>(
        _ file: LogFileEntry,
        disk: D,
        directory: String,
        limits: ReadingLimits
    ) throws(StorageError) -> Empty? {
        let path = FileNames.join(directory, file.name)
        var reader = try TxnLogReader(
            disk: disk,
            directory: directory,
            name: file.name,
            maxRecordBytes: limits.maxBufferBytes
        )
        var mark: DurableMark?
        switch reader.header {
        case .empty:
            return Empty(name: file.name)
        case .notALog(let magic):
            let reason = "this is not a transaction log (magic 0x\(String(UInt32(bitPattern: magic), radix: 16)))"
            throw damaged(path, 0, reason)
        case .log(let found):
            mark = found
        case .logWithBrokenMark:
            break
        }
        guard case .end(let end) = try reader.next() else { return nil }
        guard let fault = end.fault else {
            guard let mark, end.offset < mark.stableEnd else { return Empty(name: file.name) }
            throw damaged(path, end.offset, "the file was written up to offset \(mark.stableEnd), and nothing is left")
        }
        let tail = LogTail(
            disk: disk,
            directory: directory,
            name: file.name,
            mark: mark,
            isMarkBroken: reader.header == .logWithBrokenMark,
            end: end,
            fault: fault,
            lastGood: Zxid(file.zxid.rawValue &- 1),
            maxRecordBytes: limits.maxBufferBytes
        )
        if let error = try tail.refusal(isNewest: true, lastGoodZxid: nil) { throw error }
        return Empty(
            name: file.name,
            warning: "\(path): removed: its only record at offset \(end.offset) was being written when the server "
                + "ended and was not acknowledged (\(fault))"
        )
    }

    private static func damaged(_ path: String, _ offset: Int64, _ reason: String) -> StorageError {
        .damagedLog(LogDamage(file: path, offset: offset, reason: reason, lastGoodZxid: nil))
    }
}
