/// A mistake that is built in on purpose, to see that the checks find it.
package enum PlantedFault: String, Sendable, CaseIterable {
    /// The core is told that its transactions are stable before they are.
    case replyBeforeSync
    /// A log record whose checksum is wrong is taken for a good one.
    case checksumIgnored
    /// A record that ends in the middle is read as if what is missing were zeros.
    case tornTailRead
    /// New names of logs are not synced into their directory.
    case rollWithoutDirectorySync
    /// Logs that were begun before the newest snapshot go, the one that leads on from it too.
    case purgeOfNeededLog
    /// A snapshot gets its name before it is stable.
    case snapshotNamedBeforeSync
    /// A sync that failed is tried again and believed.
    case failedSyncRetried
    /// Nobody hears that the disk of the log is full.
    case fullDiskIgnored
    /// Nobody hears that the disk of the log has room again.
    case fullDiskRemembered
    /// Recovery loads the snapshot and leaves the log behind it out.
    case replaySkipped
    /// Recovery leaves out the first transaction behind the snapshot.
    case replayStartsLate
    /// Replay of a session's end leaves its ephemerals.
    case ephemeralsSurvive
    /// Replay of a multi does the first part only.
    case multiCutShort
    /// Replay of a create forgets to count it.
    case sequenceLost
    /// What recovery has read is served without being made stable.
    case recoveredUnsynced

    /// Within how many seeds, from 1 on, it is found: at least twice what it took when this was written.
    package var seeds: UInt64 {
        switch self {
        case .replyBeforeSync, .checksumIgnored, .rollWithoutDirectorySync, .snapshotNamedBeforeSync,
            .replaySkipped, .replayStartsLate, .ephemeralsSurvive, .multiCutShort, .sequenceLost:
            20
        // These show only where several rare things meet: damage to the newest snapshots, a disk that fails and then
        // loses power, a full disk, a kill with a power cut behind it.
        case .purgeOfNeededLog, .failedSyncRetried, .fullDiskIgnored, .fullDiskRemembered, .recoveredUnsynced: 100
        case .tornTailRead: 300
        }
    }
}
