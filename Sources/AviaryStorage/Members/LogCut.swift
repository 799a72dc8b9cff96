package import ZooKeeperProtocol

/// TRUNC: takes back what a leader does not know (docs/protocol/disk-format.md section 3.6), so that no start finds it
/// again: neither in a log nor in a snapshot (hazards H9, H11, H13 of docs/protocol/quorum-protocol.md section 18).
///
/// The order makes every interruption harmless. Snapshots that know too much go first: what is left is an older snapshot
/// and the whole log. Then logs go, the newest first, and the last of them is cut at the end: what is left is always a
/// beginning of the history, longer than it should be at worst, and the leader asks again.
package struct LogCut<D: Disk, Gzip: StreamCodec> {
    private let disk: D
    private let directories: DataDirectories
    private let gzip: Gzip
    private let limits: ReadingLimits

    package struct Result: Sendable, Hashable {
        /// Of the last transaction that is left. The zxid that was asked for, unless the log does not have it.
        package var lastZxid: Zxid
        package var removedLogs: [String] = []
        /// Names of snapshots that knew of a later transaction; they are in the folder `FileNames.setAsideFolder`.
        package var setAside: [String] = []
        /// Whether a snapshot is left to start from. Without one the next start needs a leader's snapshot, unless one is
        /// written from memory before.
        package var hasSnapshot = true
    }

    package init(disk: D, directories: DataDirectories, gzip: Gzip, limits: ReadingLimits) {
        self.disk = disk
        self.directories = directories
        self.gzip = gzip
        // What the nodes are does not matter here.
        self.limits = ReadingLimits(maxBufferBytes: limits.maxBufferBytes, extendedTypes: true)
    }

    /// Cuts off everything after `zxid`. No log may be open for writing, and no snapshot under way.
    ///
    /// - Throws: every error is fatal. The disk may be anywhere between before and after.
    package func cut(after zxid: Zxid) throws(StorageError) -> Result {
        var result = Result(lastZxid: zxid)
        let base = try setAsideSnapshots(after: zxid, &result)
        let last = try cutLogs(after: zxid, &result)
        let found = max(last ?? .zero, base ?? .zero)
        // The first zxid of an epoch is that of no transaction.
        if zxid.counter != 0 { result.lastZxid = found }
        result.hasSnapshot = base != nil
        return result
    }

    // MARK: - Snapshots

    /// - Returns: the zxid of the newest snapshot that is left and whole.
    private func setAsideSnapshots(after zxid: Zxid, _ result: inout Result) throws(StorageError) -> Zxid? {
        let files = try SnapshotDirectory(disk: disk, directory: directories.snapshots).files
        var newest: Zxid?
        for file in files {
            guard file.zxid <= zxid else {
                result.setAside.append(file.name)
                continue
            }
            guard let summary = try summary(of: file) else { continue }
            if summary.largestZxid > zxid {
                result.setAside.append(file.name)
            } else {
                newest = max(newest ?? .zero, file.zxid)
            }
        }
        do {
            try MovedFiles.move(
                result.setAside,
                from: directories.snapshots,
                to: FileNames.setAsideFolder(zxid),
                on: disk
            )
        } catch {
            throw .truncationFailed(zxid, error)
        }
        return newest
    }

    /// - Returns: nil when the snapshot is damaged: no start uses it.
    private func summary(of file: SnapshotFileEntry) throws(StorageError) -> SnapshotSummary? {
        let reader = SnapshotReader(disk: disk, directory: directories.snapshots, gzip: gzip, limits: limits)
        var sink = NoSink()
        do {
            return try reader.read(file.name, into: &sink)
        } catch {
            switch error {
            case .damaged: return nil
            case .refused(let error): throw error
            }
        }
    }

    // MARK: - Logs

    /// - Returns: the last zxid that is left in a log; nil when there is none.
    private func cutLogs(after zxid: Zxid, _ result: inout Result) throws(StorageError) -> Zxid? {
        let entries: [DirectoryEntry]
        do { entries = try disk.list(directories.logs) } catch { throw .disk(error) }
        var logs = entries.compactMap { entry in
            FileNames.logZxid(entry.name).map { LogFileEntry(name: entry.name, zxid: $0, size: entry.size) }
        }
        logs.sort { ($0.zxid, $0.name) < ($1.zxid, $1.name) }
        while let newest = logs.popLast() {
            if newest.zxid <= zxid, let kept = try end(of: newest, after: zxid) {
                try cut(newest, to: kept.offset, mark: kept.mark, zxid)
                return kept.last
            }
            do {
                try disk.remove(FileNames.join(directories.logs, newest.name))
                try disk.sync(directory: directories.logs)
            } catch {
                throw .truncationFailed(zxid, error)
            }
            result.removedLogs.append(newest.name)
        }
        return nil
    }

    private struct Kept {
        var last: Zxid
        /// Behind the record `last`.
        var offset: Int64
        /// Whether the header tells how far the file is synced.
        var mark: Bool
    }

    /// - Returns: nil when no record of the file is to be left.
    private func end(of file: LogFileEntry, after zxid: Zxid) throws(StorageError) -> Kept? {
        var reader = try TxnLogReader(
            disk: disk,
            directory: directories.logs,
            name: file.name,
            maxRecordBytes: limits.maxBufferBytes
        )
        let hasMark: Bool
        switch reader.header {
        case .log(let mark): hasMark = mark != nil
        case .logWithBrokenMark: hasMark = true
        case .empty: return nil
        case .notALog: throw damaged(file, at: 0, "this is not a transaction log", nil)
        }
        var last: Zxid?
        while true {
            switch try reader.next() {
            case .record(let record):
                guard record.zxid <= zxid else {
                    return last.map { Kept(last: $0, offset: record.offset, mark: hasMark) }
                }
                last = record.zxid
            case .end(let end):
                // Behind what is damaged there may be what is to be left.
                if let fault = end.fault, last != zxid {
                    throw damaged(file, at: end.offset, fault.description, last)
                }
                return last.map { Kept(last: $0, offset: end.offset, mark: hasMark) }
            }
        }
    }

    private func damaged(_ file: LogFileEntry, at offset: Int64, _ reason: String, _ last: Zxid?) -> StorageError {
        let path = FileNames.join(directories.logs, file.name)
        return .damagedLog(LogDamage(file: path, offset: offset, reason: reason, lastGoodZxid: last))
    }

    /// The mark first: a start must not find a file that ends in front of what its mark vouches for.
    private func cut(_ log: LogFileEntry, to offset: Int64, mark: Bool, _ zxid: Zxid) throws(StorageError) {
        do {
            let file = try disk.open(FileNames.join(directories.logs, log.name), .update)
            if mark {
                var bytes = JuteWriter(capacity: DurableMark.size)
                DurableMark(synced: offset, groupEnd: offset).write(to: &bytes)
                try bytes.withBytes { (bytes) throws(DiskError) in
                    try file.write(bytes, at: DurableMark.offsetInHeader)
                }
                try file.syncData()
            }
            try file.truncate(to: offset)
            try file.syncFile()
        } catch {
            throw .truncationFailed(zxid, error)
        }
    }
}
