internal import ZooKeeperProtocol

/// Removes snapshots and logs that nothing needs any more (docs/protocol/disk-format.md section 7).
///
/// The newest `retain` snapshots stay, and the logs that lead on from the oldest of them. A snapshot counts only when
/// all of it was read and its seals are right: one that cannot be loaded must not be the reason to remove one that can.
///
/// Work comes in steps, each of which reads one snapshot or removes one file, so that the thread that runs them can
/// stop in between. A run that stops half-way has removed old files only, snapshots before the logs that belong to
/// them, the oldest first.
package struct Purge<D: Disk, Gzip: StreamCodec> {
    private let disk: D
    private let directories: DataDirectories
    private let retain: Int
    private let reader: SnapshotReader<D, Gzip>
    private var phase = Phase.start
    /// Whole snapshots, by name and size: no need to read them again in the next run.
    private var checked: Set<String> = []

    package private(set) var report = Report()

    package struct Report: Sendable, Hashable {
        /// Names of what was removed.
        package var removed: [String] = []
        package var removedBytes: Int64 = 0
        /// Snapshots that cannot be loaded, and why. They stay, unless they are older than all that is retained.
        package var damaged: [SnapshotFailure] = []
    }

    package enum Step: Sendable, Hashable {
        /// Call again.
        case more
        case done
    }

    private enum Phase {
        case start
        case checking(candidates: ArraySlice<SnapshotFileEntry>, whole: [SnapshotFileEntry])
        case removing(snapshots: ArraySlice<DirectoryEntry>, logs: ArraySlice<DirectoryEntry>)
    }

    /// - Parameter retain: snapshots that stay; three at least.
    package init(
        disk: D,
        directories: DataDirectories,
        gzip: Gzip,
        retain: Int,
        maxBufferBytes: Int = JuteReader.defaultMaxBufferBytes
    ) {
        self.disk = disk
        self.directories = directories
        self.retain = max(retain, 3)
        // What the nodes are does not matter here.
        let limits = ReadingLimits(maxBufferBytes: maxBufferBytes, extendedTypes: true)
        reader = SnapshotReader(disk: disk, directory: directories.snapshots, gzip: gzip, limits: limits)
    }

    /// Gives up a run that was interrupted: what it has found is no longer all there is.
    package mutating func restart() {
        phase = .start
    }

    /// Does the next piece of work; after `done`, another call begins another run.
    ///
    /// - Throws: what the disk refuses; the run is over then, and the next call begins another.
    package mutating func step() throws(StorageError) -> Step {
        do throws(StorageError) {
            switch phase {
            case .start:
                report = Report()
                let files = try SnapshotDirectory(disk: disk, directory: directories.snapshots).files
                phase = .checking(candidates: files[...], whole: [])
                return .more
            case .checking(let candidates, let whole):
                return try check(candidates, whole)
            case .removing(let snapshots, let logs):
                return try remove(snapshots, logs)
            }
        } catch {
            phase = .start
            throw error
        }
    }

    private mutating func check(
        _ candidates: ArraySlice<SnapshotFileEntry>,
        _ whole: [SnapshotFileEntry]
    ) throws(StorageError) -> Step {
        if whole.count == retain {
            phase = try plan(oldestRetained: whole[retain - 1].zxid)
            return .more
        }
        guard let file = candidates.first else {
            // Fewer than are to stay: nothing may go.
            phase = .start
            return .done
        }
        var whole = whole
        if try isWhole(file) { whole.append(file) }
        phase = .checking(candidates: candidates.dropFirst(), whole: whole)
        return .more
    }

    private mutating func isWhole(_ file: SnapshotFileEntry) throws(StorageError) -> Bool {
        let identity = "\(file.name) \(file.size)"
        if checked.contains(identity) { return true }
        var sink = NoSink()
        do {
            _ = try reader.read(file.name, into: &sink)
        } catch {
            switch error {
            case .damaged(let failure):
                report.damaged.append(failure)
                return false
            case .refused(let error):
                throw error
            }
        }
        checked.insert(identity)
        return true
    }

    /// Everything below the oldest snapshot that stays, but the log that leads on from it.
    private func plan(oldestRetained zxid: Zxid) throws(StorageError) -> Phase {
        let inSnapshots: [DirectoryEntry]
        let inLogs: [DirectoryEntry]
        do {
            inSnapshots = try disk.list(directories.snapshots)
            inLogs = try disk.list(directories.logs)
        } catch {
            throw .disk(error)
        }
        let snapshots = older(inSnapshots, than: zxid) { FileNames.snapshotZxid($0)?.zxid }
        // The log that was begun last at or before the snapshot holds what comes after it.
        let needed = inLogs.compactMap { FileNames.logZxid($0.name) }.filter { $0 <= zxid }.max() ?? zxid
        let logs = older(inLogs, than: needed) { FileNames.logZxid($0) }
        return .removing(snapshots: snapshots[...], logs: logs[...])
    }

    /// Oldest first.
    private func older(
        _ entries: [DirectoryEntry],
        than limit: Zxid,
        _ zxid: (String) -> Zxid?
    ) -> [DirectoryEntry] {
        let named = entries.compactMap { entry in zxid(entry.name).map { (zxid: $0, entry: entry) } }
        return named.filter { $0.zxid >= .zero && $0.zxid < limit && !$0.entry.isDirectory }
            .sorted { ($0.zxid, $0.entry.name) < ($1.zxid, $1.entry.name) }
            .map { $0.entry }
    }

    private mutating func remove(
        _ snapshots: ArraySlice<DirectoryEntry>,
        _ logs: ArraySlice<DirectoryEntry>
    ) throws(StorageError) -> Step {
        if let file = snapshots.first {
            try remove(file, in: directories.snapshots)
            phase = .removing(snapshots: snapshots.dropFirst(), logs: logs)
            // The snapshots have to be gone for good before the logs go that they need.
            if snapshots.count == 1 { try sync(directories.snapshots) }
            return .more
        }
        if let file = logs.first {
            try remove(file, in: directories.logs)
            phase = .removing(snapshots: [], logs: logs.dropFirst())
            return .more
        }
        if !report.removed.isEmpty { try sync(directories.logs) }
        phase = .start
        return .done
    }

    private mutating func remove(_ file: DirectoryEntry, in directory: String) throws(StorageError) {
        do { try disk.remove(FileNames.join(directory, file.name)) } catch { throw .disk(error) }
        report.removed.append(file.name)
        report.removedBytes += file.size
    }

    private func sync(_ directory: String) throws(StorageError) {
        do { try disk.sync(directory: directory) } catch { throw .disk(error) }
    }
}
