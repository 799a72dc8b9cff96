package import ZooKeeperProtocol

/// Loads what a member of an ensemble has: history, epochs, and whether it remembers all that it ever promised.
///
/// Where `Recovery` refuses, a member need not: its leader has everything. Damage is therefore a result here, and whoever
/// asked may put the files into quarantine and run again, which gives a member without data that has to be synchronized.
package struct MemberRecovery<D: Disk, Gzip: StreamCodec> {
    private let disk: D
    private let directories: DataDirectories
    private let gzip: Gzip
    private let options: RecoveryOptions
    private let progress: (RecoveryProgress) -> Void

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

    package enum Outcome: Sendable {
        case loaded(MemberState)
        /// The files cannot be used, and the target holds nothing. Nothing on disk has changed.
        case damaged(StorageError)
    }

    /// Loads at the start of a process.
    ///
    /// - Throws: what no synchronization helps against: settings, permissions, a disk that refuses.
    package func run<Target: RecoveryTarget & ~Copyable>(
        into target: inout Target
    ) throws(StorageError) -> Outcome {
        let note = LostMemory(disk: disk, directory: directories.snapshots)
        let quarantined = try Quarantine(disk: disk, directories: directories).resume()
        var reason = try note.reason()
        if reason != nil, try isFreshStartWanted() {
            try note.clear()
            reason = nil
        }
        do throws(StorageError) {
            let report = try recovery(repairs: options.repairs, mayCreate: reason == nil).run(into: &target)
            let epochs = EpochFiles(disk: disk, directory: directories.snapshots)
            let loaded = try epochs.load(lastZxid: report.lastZxid)
            var state = MemberState(report: report, accepted: loaded.accepted, current: loaded.current)
            state.remembersAll = reason == nil && report.database != .uninitialized
            if !state.remembersAll, report.database != .uninitialized { state.promised = try note.promised() }
            state.notes = loaded.notes
            if let quarantined { state.notes.append("files that could not be used are in \(quarantined)") }
            return .loaded(state)
        } catch {
            guard error.isCuredBySynchronization else { throw error }
            target.reset()
            return .damaged(error)
        }
    }

    /// Loads once more in a running process, whose log is open but not written to meanwhile: after a TRUNC below what the
    /// tree holds, or after a SNAP that was not completed. Changes nothing on disk.
    package func reload<Target: RecoveryTarget & ~Copyable>(
        into target: inout Target
    ) throws(StorageError) -> RecoveryReport {
        try recovery(repairs: false, mayCreate: false).run(into: &target)
    }

    /// Moves the files that cannot be used away. Afterwards `run` finds a member without data.
    ///
    /// The epoch that it had accepted stays, as far as it can be known.
    ///
    /// - Parameter error: of the outcome `damaged`; its text is left beside the files.
    /// - Returns: the folder, below the folder of snapshots and below that of logs.
    package func quarantine(because error: StorageError) throws(StorageError) -> String {
        let epochs = EpochFiles(disk: disk, directory: directories.snapshots)
        var accepted: Epoch?
        var isAcceptedDamaged = false
        do throws(StorageError) { accepted = try epochs.readAccepted() } catch { isAcceptedDamaged = true }
        var promised = max((try? epochs.readCurrent()) ?? .zero, accepted ?? .zero, epochInNames())
        if case .inconsistentEpochs(_, _, _, let lastZxid) = error {
            promised = max(promised, max(lastZxid, .zero).epoch)
        }
        let folder = try Quarantine(disk: disk, directories: directories).begin(because: error)
        // Only now: without the note this member would pass for one that never promised more.
        if isAcceptedDamaged || (promised != accepted && promised > .zero) { try epochs.store(accepted: promised) }
        return folder
    }

    /// The last epoch that a log or a snapshot is named after: what such a file holds was promised before.
    private func epochInNames() -> Epoch {
        let logs = (try? disk.list(directories.logs)) ?? []
        let snapshots = (try? disk.list(directories.snapshots)) ?? []
        let zxids =
            logs.compactMap { FileNames.logZxid($0.name) }
            + snapshots.compactMap { FileNames.snapshotZxid($0.name)?.zxid }
        return max(zxids.max() ?? .zero, .zero).epoch
    }

    private func recovery(repairs: Bool, mayCreate: Bool) -> Recovery<D, Gzip> {
        var options = options
        options.isMember = true
        options.repairs = repairs
        if !mayCreate { options.createsDatabase = false }
        return Recovery(disk: disk, directories: directories, gzip: gzip, options: options, progress: progress)
    }

    /// Somebody says that this member shall begin anew.
    private func isFreshStartWanted() throws(StorageError) -> Bool {
        do {
            return try disk.entry(at: FileNames.join(directories.data, FileNames.initialize)) != nil
        } catch {
            throw .disk(error)
        }
    }
}

/// What a member of an ensemble starts with.
package struct MemberState: Sendable, Hashable {
    package var report: RecoveryReport
    package var accepted: Epoch
    package var current: Epoch
    /// False when it has lost its data, or has none and must not begin with nothing by itself: then it votes for nobody
    /// with what it has, until a leader has synchronized it.
    package var remembersAll = true
    /// Set when all that it does not remember is the end of its history, which reached this far: a leader's snapshot took
    /// its place, and the transactions behind that did not come any more.
    package var promised: HistoryEnd?
    /// What an operator should read once, besides what is in the report.
    package var notes: [String] = []

    init(report: RecoveryReport, accepted: Epoch, current: Epoch) {
        self.report = report
        self.accepted = accepted
        self.current = current
    }
}

extension StorageError {
    /// Whether a member need not wait for an operator: files are damaged, missing or from different times, and a leader has
    /// all of them.
    var isCuredBySynchronization: Bool {
        switch self {
        case .damagedLog, .missingRecords, .logsWithoutSnapshot, .noUsableSnapshot, .snapshotsLost, .replayFailed,
            .damagedEpochFile, .inconsistentEpochs:
            true
        case .disk(let error):
            // A place on the disk that cannot be read.
            error.operation == .read && error.reason == .inputOutput
        case .syncFailed, .logWriteFailed, .logOutOfSpace, .logExists, .snapshotFailed, .compressionFailed,
            .recordAboveLimit, .ttlNodesWithoutExtendedTypes, .missingDirectory, .notADirectory, .misplacedFile,
            .directoryInUse, .epochNotStored, .truncationFailed, .incompleteSnapshotStream, .installationFailed,
            .quarantineFailed, .memoryLost:
            false
        }
    }
}
