package import ZooKeeperProtocol

/// Why data could not be loaded or stored. The description is for the operator: what happened, to which file, what was
/// found, and what to do.
package enum StorageError: Error, Hashable, Sendable {
    /// The system refused something; nothing was lost by it.
    case disk(DiskError)

    /// A sync failed. What was written since the one before may be gone although the file still reads well, so nothing
    /// that depends on it may be acknowledged, and no second sync of that file proves anything. Fatal.
    case syncFailed(DiskError)

    /// A record could not be written into space that was reserved for it. Fatal.
    case logWriteFailed(DiskError)

    /// The log has neither reserved space left for a record nor can it get more. Fatal: the record has its zxid.
    case logOutOfSpace(file: String, missingBytes: Int64)

    /// The log that the next record opens is there already, written by somebody else.
    case logExists(file: String)

    /// A snapshot could not be finished; the one before still stands.
    case snapshotFailed(DiskError)

    /// The compressor failed, which no input should make it do.
    case compressionFailed(file: String, reason: String)

    case damagedLog(LogDamage)

    /// A log record longer than what is read, written when more was allowed. Nothing is wrong with the file.
    case recordAboveLimit(file: String, offset: Int64, length: Int, limit: Int)

    /// Log records are missing between what is loaded and what follows.
    case missingRecords(file: String, offset: Int64, expected: Zxid, found: Zxid)

    /// No snapshot, but transactions: a part of the data would be missing.
    case logsWithoutSnapshot(directory: String, firstLog: String)

    /// There are snapshots, and none can be used.
    case noUsableSnapshot(directory: String, failures: [SnapshotFailure])

    /// With the newest snapshots unusable, an older one and the logs do not reach as far as those did.
    case snapshotsLost(newest: String, lastZxid: Zxid, failures: [SnapshotFailure])

    /// A transaction with a right checksum that cannot be applied.
    case replayFailed(file: String, offset: Int64, zxid: Zxid, reason: String)

    /// Nodes that would be taken for ephemerals of sessions that never were, and deleted.
    case ttlNodesWithoutExtendedTypes(file: String, path: String)

    case missingDirectory(path: String)
    case notADirectory(path: String)

    /// A snapshot in the folder of logs, or a log in that of snapshots.
    case misplacedFile(path: String, belongsIn: String)

    case directoryInUse(path: String, owner: String)

    /// `acceptedEpoch` or `currentEpoch` is not a number.
    case damagedEpochFile(path: String, contents: String)

    /// What the epoch files promise and what the logs hold cannot both be (docs/protocol/quorum-protocol.md section 8).
    case inconsistentEpochs(directory: String, accepted: Epoch?, current: Epoch?, lastZxid: Zxid)

    /// An epoch could not be stored. Fatal: what depends on it must not be sent.
    case epochNotStored(DiskError)

    /// The log could not be cut behind a transaction. Fatal: what stands behind it belongs to no history any more.
    case truncationFailed(Zxid, DiskError)

    /// What a leader sent as a snapshot does not end with the signature of one.
    case incompleteSnapshotStream(Zxid)

    /// A leader's snapshot is stored, but what it takes the place of could not be moved away. Fatal.
    case installationFailed(Zxid, DiskError)

    /// Files that cannot be used could not be moved away.
    case quarantineFailed(DiskError)

    /// A member of an ensemble had lost what it knew, and is started alone.
    case memoryLost(note: String, reason: String)
}

/// Where a log is damaged.
package struct LogDamage: Hashable, Sendable {
    package var file: String
    /// Of the first byte of the record that is damaged.
    package var offset: Int64
    package var reason: String
    /// The last transaction in front of it; nil when the file has none there.
    package var lastGoodZxid: Zxid?

    package init(file: String, offset: Int64, reason: String, lastGoodZxid: Zxid?) {
        self.file = file
        self.offset = offset
        self.reason = reason
        self.lastGoodZxid = lastGoodZxid
    }
}

/// Why one snapshot was not used.
package struct SnapshotFailure: Hashable, Sendable, CustomStringConvertible {
    package var file: String
    /// Of the first byte that could not be read, counted without compression.
    package var offset: Int64
    package var reason: String

    package init(file: String, offset: Int64, reason: String) {
        self.file = file
        self.offset = offset
        self.reason = reason
    }

    package var description: String { "\(file): \(reason) (offset \(offset))" }
}

extension StorageError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .disk(let error):
            "\(error)\(StorageError.remedy(for: error))"
        case .syncFailed(let error):
            "\(error); what was written since the last sync may be lost, so nothing more can be acknowledged. "
                + "Check the disk, then start again: what was acknowledged is kept"
        case .logWriteFailed(let error):
            "\(error); a transaction could not be stored. Check the disk, then start again: what was acknowledged is "
                + "kept"
        case .logOutOfSpace(let file, let missingBytes):
            "\(file): the disk is full and the reserved space is used up (\(missingBytes) bytes are missing). "
                + "Make room, then start again: what was acknowledged is kept"
        case .logExists(let file):
            "\(file) exists already, although the server was to create it: another process writes into this "
                + "directory. Stop it, then start again"
        case .snapshotFailed(let error):
            "\(error); the snapshot was given up\(StorageError.remedy(for: error))"
        case .compressionFailed(let file, let reason):
            "\(file): the snapshot could not be compressed: \(reason)"
        case .damagedLog(let damage):
            "\(damage.file): \(damage.reason) at offset \(damage.offset), last good zxid "
                + "\(damage.lastGoodZxid.map { "\($0)" } ?? "none in this file"); restore this file from a copy. "
                + "To give up what is in it and in all later logs, move them away and start again"
        case .recordAboveLimit(let file, let offset, let length, let limit):
            "\(file): record of \(length) bytes at offset \(offset), above what jute.maxbuffer + "
                + "jute.maxbuffer.extrasize allow (\(limit)): raise jute.maxbuffer to what it was when this was written"
        case .missingRecords(let file, let offset, let expected, let found):
            "\(file): record \(found) at offset \(offset), expected \(expected): transactions \(expected) and later "
                + "are missing. Restore the missing log file or a newer snapshot"
        case .logsWithoutSnapshot(let directory, let firstLog):
            "\(directory) has transactions (from \(firstLog) on) but no snapshot to apply them to. Restore the newest "
                + "snapshot; only if there never was one, set snapshot.trust.empty=true for one start"
        case .noUsableSnapshot(let directory, let failures):
            "\(directory): no snapshot can be used. \(StorageError.list(failures)). Restore one of them, with the logs "
                + "from its zxid on"
        case .snapshotsLost(let newest, let lastZxid, let failures):
            "\(newest) cannot be used, and without it snapshots and logs end at \(lastZxid). "
                + "\(StorageError.list(failures)). Restore \(newest); to give up what came after \(lastZxid), move "
                + "it away and start again"
        case .replayFailed(let file, let offset, let zxid, let reason):
            "\(file): transaction \(zxid) at offset \(offset) cannot be applied: \(reason). Restore this file, or the "
                + "snapshot in front of it, from a copy"
        case .ttlNodesWithoutExtendedTypes(let file, let path):
            "\(file): \(path) is a TTL node, but extendedTypesEnabled is not set: every TTL node would be taken for "
                + "an ephemeral and deleted. Set extendedTypesEnabled=true"
        case .missingDirectory(let path):
            "\(path) does not exist and datadir.autocreate is false. Create it, or correct dataDir and dataLogDir"
        case .notADirectory(let path):
            "\(path) is not a directory. Correct dataDir and dataLogDir, or move the file away"
        case .misplacedFile(let path, let belongsIn):
            "\(path) belongs into \(belongsIn): with separate dataDir and dataLogDir the one holds snapshots, the "
                + "other logs. Move it, or correct dataDir and dataLogDir"
        case .directoryInUse(let path, let owner):
            "\(path) is in use by another server\(owner.isEmpty ? "" : " (\(owner))"). Stop it, or give this one its "
                + "own dataDir"
        case .damagedEpochFile(let path, let contents):
            "\(path) holds \"\(contents)\", which is not an epoch. Restore the file, or move the directory's content away "
                + "and let this server be synchronized"
        case .inconsistentEpochs(let directory, let accepted, let current, let lastZxid):
            "\(directory): acceptedEpoch \(StorageError.text(accepted)), currentEpoch \(StorageError.text(current)) and "
                + "the last transaction \(lastZxid) do not go together: files are missing, or come from different times. "
                + "Restore all of them from one copy, or move the directory's content away and let this server be "
                + "synchronized"
        case .epochNotStored(let error):
            "\(error); the epoch could not be stored, so this server takes no part in it"
                + StorageError.remedy(for: error)
        case .truncationFailed(let zxid, let error):
            "\(error); what comes after \(zxid) could not be cut off the log, although the leader asked for it. Check the "
                + "disk, then start again"
        case .incompleteSnapshotStream(let zxid):
            "the leader's snapshot \(zxid) does not end as it should; it was given up"
        case .installationFailed(let zxid, let error):
            "\(error); the leader's snapshot \(zxid) is stored, but older files could not be moved away. Check the disk, "
                + "then start again: the next start goes on with it"
        case .quarantineFailed(let error):
            "\(error); files that cannot be used could not be moved away\(StorageError.remedy(for: error))"
        case .memoryLost(let note, let reason):
            "\(note) says that this member of an ensemble had lost its data (\(reason)) and was not synchronized since. "
                + "Start it as a member, or restore its data and remove this file"
        }
    }

    private static func text(_ epoch: Epoch?) -> String { epoch.map { "\($0.rawValue)" } ?? "missing" }

    private static func list(_ failures: [SnapshotFailure]) -> String {
        failures.map { "\($0)" }.joined(separator: "; ")
    }

    private static func remedy(for error: DiskError) -> String {
        switch error.reason {
        case .permissionDenied: ". Start the server as the user who owns the data, or correct owner and mode"
        case .readOnly: ". The file system is mounted read-only"
        case .noSpace: ". Make room on the disk"
        case .tooManyFiles: ". Raise the limit of open files"
        case .inputOutput: ". Check the disk"
        case .notFound, .exists, .notADirectory, .unsupported, .locked, .powerLost, .other:
            error.operation == .makeDirectory
                ? ". Correct dataDir and dataLogDir, or create this directory for the user who runs the server" : ""
        }
    }
}
