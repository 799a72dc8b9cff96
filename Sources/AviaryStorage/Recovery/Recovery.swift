internal import ZooKeeperProtocol

package struct RecoveryOptions: Sendable {
    package var limits = ReadingLimits()
    /// Whether the target keeps the tree digest (`digest.enabled`).
    package var comparesDigests = true
    /// Logs without any snapshot are replayed from a fresh tree (`snapshot.trust.empty`).
    package var trustsMissingSnapshot = false
    /// Whether a server without data may begin with a fresh tree by itself (`db.autocreate`).
    package var createsDatabase = true
    /// Whether what was read is made stable before it is served (`forceSync`).
    package var forcesSync = true
    /// Whether files are put in order afterwards; a tool that only looks says no.
    package var repairs = true
    /// Whether somebody else can give back what this server has lost. A server alone does not start with a note that it
    /// has lost its memory.
    package var isMember = false

    package init() {}
}

/// Loads what a data directory holds: the newest snapshot that can be used, then the logs behind it
/// (docs/protocol/disk-format.md sections 3.3 to 6).
///
/// Stricter than Apache's servers: a record that is missing or damaged is never passed over, also not right behind the
/// snapshot. Where the tree digest says that a snapshot holds what its history does not, an older one is tried.
///
/// Nothing on disk changes before loading has succeeded, but that an installation of a leader's snapshot is finished which
/// was interrupted. Then a torn end is cut, leftovers are removed, and the newest
/// log is synced: what is served from now on must not be lost by the next power failure, and after a crash without one
/// a record may be in memory of the system only.
package struct Recovery<D: Disk, Gzip: StreamCodec> {
    private let disk: D
    private let directories: DataDirectories
    private let gzip: Gzip
    private let options: RecoveryOptions
    private let progress: (RecoveryProgress) -> Void

    /// As many snapshots are tried as Apache's servers try.
    private static var maxCandidates: Int { 100 }

    package init(
        disk: D,
        directories: DataDirectories,
        gzip: Gzip,
        options: RecoveryOptions = RecoveryOptions(),
        progress: @escaping (RecoveryProgress) -> Void = { _ in }
    ) {
        self.disk = disk
        self.directories = directories
        self.gzip = gzip
        self.options = options
        self.progress = progress
    }

    /// - Returns: what was loaded; the target holds it.
    /// - Throws: why nothing can be served. The target is in no particular state then, the disk as it was.
    package func run<Target: RecoveryTarget & ~Copyable>(
        into target: inout Target
    ) throws(StorageError) -> RecoveryReport {
        if options.repairs { _ = try SnapshotInstall.resume(on: disk, directories) }
        if !options.isMember { try checkMemory() }
        let snapshots = try SnapshotDirectory(disk: disk, directory: directories.snapshots)
        let logs = try LogDirectory(disk: disk, directory: directories.logs, limits: options.limits)
        var report: RecoveryReport
        if snapshots.files.isEmpty {
            report = try loadWithoutSnapshot(logs, into: &target)
        } else {
            report = try load(snapshots, logs, into: &target)
        }
        if options.repairs { try repair(&report, snapshots, logs) }
        return report
    }

    /// A server alone would begin with nothing, or with what is left.
    private func checkMemory() throws(StorageError) {
        let note = LostMemory(disk: disk, directory: directories.snapshots)
        guard let reason = try note.reason() else { return }
        throw .memoryLost(note: note.path, reason: reason.split(separator: "\n").first.map(String.init) ?? "")
    }

    // MARK: - Without a snapshot

    private func loadWithoutSnapshot<Target: RecoveryTarget & ~Copyable>(
        _ logs: LogDirectory,
        into target: inout Target
    ) throws(StorageError) -> RecoveryReport {
        if let first = logs.files.first {
            guard options.trustsMissingSnapshot else {
                throw .logsWithoutSnapshot(directory: directories.snapshots, firstLog: first.name)
            }
            do {
                return try load(nil, logs, into: &target).report
            } catch {
                switch error {
                case .damaged(let failure):
                    throw .noUsableSnapshot(directory: directories.snapshots, failures: [failure])
                case .unfit(let error), .refused(let error):
                    throw error
                }
            }
        }
        target.reset()
        target.restoreFreshTree()
        let permission: DirectoryEntry?
        do {
            permission = try disk.entry(at: FileNames.join(directories.data, FileNames.initialize))
        } catch {
            throw .disk(error)
        }
        return options.createsDatabase || permission != nil
            ? RecoveryReport(database: .created, lastZxid: .zero)
            : RecoveryReport(database: .uninitialized, lastZxid: Zxid(-1))
    }

    // MARK: - From a snapshot

    /// One snapshot with the logs behind it.
    private struct Attempt {
        var report: RecoveryReport
        var replay: LogReplay<D>.Result

        /// Nothing speaks against this tree.
        var isClean: Bool { replay.alarms.isEmpty }

        /// Between two epochs transactions can be missing without a gap in the numbers; only a digest tells.
        var isProvedComplete: Bool {
            guard let start = replay.lastEpochStart else { return true }
            return isClean && (replay.lastMatch ?? .zero) >= start
        }
    }

    private func load<Target: RecoveryTarget & ~Copyable>(
        _ snapshots: SnapshotDirectory,
        _ logs: LogDirectory,
        into target: inout Target
    ) throws(StorageError) -> RecoveryReport {
        var failures: [SnapshotFailure] = []
        var firstUnfit: StorageError?
        // Loads, but does not belong to the history in the logs. The first of them serves if there is nothing better.
        var doubtful: [(file: SnapshotFileEntry, attempt: Attempt)] = []
        var failuresBefore = 0
        search: for file in snapshots.files.prefix(Self.maxCandidates) {
            let attempt: Attempt
            do throws(AttemptError) {
                attempt = try load(file, logs, into: &target)
            } catch {
                switch error {
                case .damaged(let failure):
                    failures.append(failure)
                case .unfit(let error):
                    firstUnfit = firstUnfit ?? error
                    failures.append(SnapshotFailure(file: file.name, offset: 0, reason: error.description))
                case .refused(let error):
                    // Older snapshots need the same logs and more.
                    guard doubtful.isEmpty else { break search }
                    throw failures.isEmpty ? error : withFailures(error, file, failures)
                }
                continue
            }
            if let first = doubtful.first {
                if attempt.isClean, attempt.report.lastZxid == first.attempt.report.lastZxid {
                    return report(attempt, insteadOf: doubtful.map { $0.attempt }, failures)
                }
            } else {
                try check(attempt, reaches: snapshots, failures)
                if attempt.isClean { return report(attempt, failures) }
                failuresBefore = failures.count
            }
            doubtful.append((file, attempt))
        }
        guard let first = doubtful.first else {
            if let firstUnfit, failures.count == 1 { throw firstUnfit }
            throw .noUsableSnapshot(directory: directories.snapshots, failures: failures)
        }
        // No other is better. It was replaced in the target while they were tried.
        do throws(AttemptError) {
            return report(try load(first.file, logs, into: &target), Array(failures[..<failuresBefore]))
        } catch {
            switch error {
            case .damaged(let failure):
                throw .noUsableSnapshot(directory: directories.snapshots, failures: failures + [failure])
            case .unfit(let error), .refused(let error):
                throw error
            }
        }
    }

    private func load<Target: RecoveryTarget & ~Copyable>(
        _ file: SnapshotFileEntry?,
        _ logs: LogDirectory,
        into target: inout Target
    ) throws(AttemptError) -> Attempt {
        target.reset()
        let following = logs.files(after: file?.zxid ?? .zero)
        var done: Int64 = 0
        let total = (file?.size ?? 0) + following.reduce(0) { $0 + $1.size }
        var summary: SnapshotSummary?
        if let file {
            summary = try load(file, into: &target) { bytes in
                progress(RecoveryProgress(file: file.name, bytesDone: bytes, bytesTotal: total))
            }
            done = file.size
        } else {
            target.restoreFreshTree()
        }
        var replay = LogReplay(
            disk: disk,
            directory: directories.logs,
            limits: options.limits,
            snapshot: summary,
            comparesDigests: options.comparesDigests
        )
        var current: LogFileEntry?
        do {
            try replay.run(Array(following), snapshotName: file?.name, into: &target) { log, bytes in
                if let finished = current, finished != log { done += finished.size }
                current = log
                progress(RecoveryProgress(file: log.name, bytesDone: done + bytes, bytesTotal: total))
            }
        } catch {
            switch error {
            case .refused(let error): throw .refused(error)
            case .unfit(let error): throw .unfit(error)
            }
        }
        return attempt(file, replay.result)
    }

    private func load<Target: RecoveryTarget & ~Copyable>(
        _ file: SnapshotFileEntry,
        into target: inout Target,
        progress: (Int64) -> Void
    ) throws(AttemptError) -> SnapshotSummary {
        let reader = SnapshotReader(
            disk: disk,
            directory: directories.snapshots,
            gzip: gzip,
            limits: options.limits
        )
        let summary: SnapshotSummary
        do {
            summary = try reader.read(file.name, into: &target, progress: progress)
        } catch {
            switch error {
            case .damaged(let failure): throw .damaged(failure)
            case .refused(let error): throw .refused(error)
            }
        }
        do { try target.finishSnapshot() } catch {
            let path = FileNames.join(directories.snapshots, file.name)
            throw .damaged(SnapshotFailure(file: path, offset: 0, reason: error.description))
        }
        return summary
    }

    private func attempt(_ file: SnapshotFileEntry?, _ replay: LogReplay<D>.Result) -> Attempt {
        var report = RecoveryReport(database: .loaded, lastZxid: replay.lastZxid)
        report.snapshot = file?.name
        report.snapshotZxid = file?.zxid
        report.replayedCount = replay.replayedCount
        report.tailCut = replay.cut
        report.newestLog = replay.newestLog
        report.alarms = replay.alarms
        report.warnings = replay.warnings
        if file == nil {
            report.warnings.append(
                "\(directories.snapshots): no snapshot; the logs were applied to an empty tree, because "
                    + "snapshot.trust.empty is set"
            )
        }
        return Attempt(report: report, replay: replay)
    }

    // MARK: - Judging

    /// An older snapshot stands in for newer ones only if nothing that those held can be missing.
    private func check(
        _ attempt: Attempt,
        reaches snapshots: SnapshotDirectory,
        _ failures: [SnapshotFailure]
    ) throws(StorageError) {
        guard !failures.isEmpty, let newest = snapshots.files.first else { return }
        guard attempt.report.lastZxid >= newest.zxid, attempt.isProvedComplete else {
            throw .snapshotsLost(newest: newest.name, lastZxid: attempt.report.lastZxid, failures: failures)
        }
    }

    private func withFailures(
        _ error: StorageError,
        _ file: SnapshotFileEntry,
        _ failures: [SnapshotFailure]
    ) -> StorageError {
        guard case .missingRecords = error else { return error }
        let last = SnapshotFailure(file: file.name, offset: 0, reason: error.description)
        return .noUsableSnapshot(directory: directories.snapshots, failures: failures + [last])
    }

    private func report(_ attempt: Attempt, _ failures: [SnapshotFailure]) -> RecoveryReport {
        var report = attempt.report
        let used = report.snapshot ?? ""
        report.isFallback = !failures.isEmpty
        report.warnings += failures.map { "\($0); used \(used) and a longer replay instead" }
        return report
    }

    private func report(
        _ attempt: Attempt,
        insteadOf doubtful: [Attempt],
        _ failures: [SnapshotFailure]
    ) -> RecoveryReport {
        var result = report(attempt, failures)
        let used = result.snapshot ?? ""
        for other in doubtful {
            guard let name = other.report.snapshot, let alarm = other.report.alarms.first else { continue }
            result.setAside.append(name)
            result.warnings.append(
                "\(alarm): \(name) does not belong to this history and is set aside; with \(used) and a longer replay "
                    + "everything is right"
            )
        }
        return result
    }

    // MARK: - Putting in order

    private func repair(
        _ report: inout RecoveryReport,
        _ snapshots: SnapshotDirectory,
        _ logs: LogDirectory
    ) throws(StorageError) {
        let spare = FileNames.join(directories.logs, FileNames.spareLog)
        do {
            for log in logs.empty {
                try disk.remove(FileNames.join(directories.logs, log.name))
                report.removedLogs.append(log.name)
                if let warning = log.warning { report.warnings.append(warning) }
            }
            for name in report.setAside {
                try disk.rename(
                    FileNames.join(directories.snapshots, name),
                    to: FileNames.join(directories.snapshots, FileNames.setAside(name))
                )
            }
            for name in snapshots.unfinished { try disk.remove(FileNames.join(directories.snapshots, name)) }
            for path in [spare, FileNames.join(directories.snapshots, FileNames.incomingSnapshot)]
            where try disk.entry(at: path) != nil {
                try disk.remove(path)
            }
        } catch {
            throw .disk(error)
        }
        // A new database is not there before its first snapshot is: until then it is still wanted.
        if report.database == .loaded { try directories.noteDatabase(on: disk, forcesSync: options.forcesSync) }
        if let newest = report.newestLog { try settle(newest) }
        guard options.forcesSync else { return }
        do {
            try disk.sync(directory: directories.logs)
            if directories.isSeparate { try disk.sync(directory: directories.snapshots) }
        } catch {
            throw .syncFailed(error)
        }
    }

    /// Cuts the newest log where its records end, and makes it stable as it then is. Nothing is appended to it any more,
    /// and the next log may need the space that this one had reserved.
    ///
    /// After a sync that failed the system holds pages for clean that the disk never got, and a second sync would write
    /// nothing and succeed. So what the mark does not vouch for is written once more.
    private func settle(_ log: RecoveryReport.NewestLog) throws(StorageError) {
        let file: D.File
        do {
            file = try disk.open(FileNames.join(directories.logs, log.name), .update)
            // A cut whose sync failed reads as if it had been made, and is gone with the power. The same size once more would
            // be no change; another one in between is.
            if options.forcesSync, try file.size() == log.end { try file.truncate(to: log.end + 1) }
            if try file.size() > log.end { try file.truncate(to: log.end) }
        } catch {
            throw .disk(error)
        }
        guard options.forcesSync else { return }
        do {
            try rewrite(file, 0..<TxnLogFormat.headerSize)
            try rewrite(file, max(log.mark?.synced ?? 0, TxnLogFormat.headerSize)..<log.end)
        } catch {
            throw .disk(error)
        }
        do { try file.syncFile() } catch { throw .syncFailed(error) }
        let seal = DurableMark(synced: log.end, groupEnd: log.end)
        guard log.mark.map({ $0 != seal }) ?? log.isMarkBroken else { return }
        // Not in the same sync: a mark may reach the disk before what it vouches for.
        var bytes = JuteWriter(capacity: DurableMark.size)
        seal.write(to: &bytes)
        do {
            try bytes.withBytes { (bytes) throws(DiskError) in try file.write(bytes, at: DurableMark.offsetInHeader) }
        } catch {
            throw .disk(error)
        }
        do { try file.syncData() } catch { throw .syncFailed(error) }
    }

    /// Writes a part of a file back as it is.
    private func rewrite(_ file: D.File, _ range: Range<Int64>) throws(DiskError) {
        var bytes = [UInt8](repeating: 0, count: min(range.count, 1 << 20))
        var offset = range.lowerBound
        while offset < range.upperBound {
            let wanted = Int(min(range.upperBound - offset, Int64(bytes.count)))
            let count = try bytes.withUnsafeMutableBufferPointer { (bytes) throws(DiskError) in
                let part = UnsafeMutableRawBufferPointer(UnsafeMutableBufferPointer(rebasing: bytes[..<wanted]))
                let count = try file.read(into: part, at: offset)
                try file.write(UnsafeRawBufferPointer(rebasing: part[..<count]), at: offset)
                return count
            }
            guard count > 0 else { return }
            offset += Int64(count)
        }
    }
}

/// Why a snapshot with the logs behind it cannot be used. Not inside of `Recovery`: the optimizer of Swift 6.3 stops on
/// thrown types that depend on a generic parameter.
private enum AttemptError: Error {
    /// The snapshot is damaged; another one may do.
    case damaged(SnapshotFailure)
    /// The logs do not fit to it; they may fit to another one.
    case unfit(StorageError)
    /// Nothing that another snapshot would change.
    case refused(StorageError)
}
