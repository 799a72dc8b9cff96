package import ZooKeeperProtocol

/// The names of the files in a data directory (docs/protocol/disk-format.md section 1).
package enum FileNames {
    /// The folder below `dataDir` and `dataLogDir` that everything but `myid` and `initialize` is in.
    package static let versionFolder = "version-2"

    /// In `dataDir`: this server may start with an empty database although it must not create one by itself.
    package static let initialize = "initialize"

    /// Ours; a name that Apache's servers look past.
    package static let lock = ".aviary.lock"

    /// Ours: reserved space that becomes the next log file. Apache's servers look past it.
    package static let spareLog = ".aviary.next-log"

    /// Ends the name of a file that is not finished.
    package static let unfinishedSuffix = ".tmp"

    /// Ours: what a file is called that must not be read any more, and that somebody may want to look at.
    package static func setAside(_ name: String) -> String { ".aviary.aside." + name }

    /// The epochs of a member of an ensemble.
    package static let acceptedEpoch = "acceptedEpoch"
    package static let currentEpoch = "currentEpoch"

    /// Ours: this member has lost what it knew, and takes no part in a vote before a leader has synchronized it.
    package static let lostMemory = ".aviary.lost-memory"

    /// Ours: files are on their way into a quarantine folder, and which.
    static let quarantining = ".aviary.quarantining"

    /// Ours: a snapshot that a leader is sending.
    static let incomingSnapshot = ".aviary.incoming"

    private static let installPrefix = ".aviary.install."

    /// Ours: a leader's snapshot that is complete, and that takes the place of everything else; `name` is what it will be
    /// called then.
    static func installing(_ name: String) -> String { installPrefix + name }

    /// The name of the snapshot that is being installed under the name `name`; nil when that is none.
    static func installed(_ name: String) -> String? {
        guard name.hasPrefix(installPrefix) else { return nil }
        let snapshot = String(name.dropFirst(installPrefix.count))
        return snapshotZxid(snapshot) == nil ? nil : snapshot
    }

    private static let setAsidePrefix = "set-aside."
    private static let quarantinePrefix = "quarantine."

    /// The folder for what the state after `zxid`, as a leader had it, took the place of.
    package static func setAsideFolder(_ zxid: Zxid) -> String { setAsidePrefix + zxid.hex }

    static func isSetAsideFolder(_ name: String) -> Bool {
        name.hasPrefix(setAsidePrefix) && zxid(name.dropFirst(setAsidePrefix.count)) != nil
    }

    package static func quarantineFolder(_ number: Int) -> String { quarantinePrefix + String(number) }

    /// The number of the quarantine folder called `name`.
    static func quarantineNumber(_ name: String) -> Int? {
        name.hasPrefix(quarantinePrefix) ? Int(name.dropFirst(quarantinePrefix.count)) : nil
    }

    private static let logPrefix = "log."
    private static let snapshotPrefix = "snapshot."

    package static func log(_ firstZxid: Zxid) -> String { logPrefix + firstZxid.hex }

    package static func snapshot(_ zxid: Zxid, _ compression: SnapshotCompression = .none) -> String {
        snapshotPrefix + zxid.hex + compression.suffix
    }

    /// The zxid of the first record of the log called `name`; nil when that is not a log's name.
    package static func logZxid(_ name: String) -> Zxid? {
        name.hasPrefix(logPrefix) ? zxid(name.dropFirst(logPrefix.count)) : nil
    }

    /// What the name of a snapshot says; nil when `name` is not a snapshot's name.
    package static func snapshotZxid(_ name: String) -> (zxid: Zxid, compression: SnapshotCompression)? {
        guard name.hasPrefix(snapshotPrefix) else { return nil }
        var digits = name.dropFirst(snapshotPrefix.count)
        var compression = SnapshotCompression.none
        for candidate in [SnapshotCompression.gzip, .snappy] where digits.hasSuffix(candidate.suffix) {
            compression = candidate
            digits = digits.dropLast(candidate.suffix.count)
        }
        return zxid(digits).map { ($0, compression) }
    }

    /// Whether `name` is that of a snapshot which was never finished.
    package static func isUnfinishedSnapshot(_ name: String) -> Bool {
        name.hasSuffix(unfinishedSuffix) && snapshotZxid(String(name.dropLast(unfinishedSuffix.count))) != nil
    }

    package static func join(_ directory: String, _ name: String) -> String {
        directory.hasSuffix("/") ? directory + name : directory + "/" + name
    }

    /// Sixteen hex digits at most, of either case; anything else is no zxid.
    private static func zxid(_ digits: Substring) -> Zxid? {
        guard let first = digits.utf8.first, first != UInt8(ascii: "+"), first != UInt8(ascii: "-") else { return nil }
        return UInt64(digits, radix: 16).map { Zxid(Int64(bitPattern: $0)) }
    }
}

/// How a snapshot is packed; its name says so (docs/protocol/disk-format.md section 4.2).
package enum SnapshotCompression: Sendable, Hashable, CaseIterable {
    case none, gzip, snappy

    package var suffix: String {
        switch self {
        case .none: ""
        case .gzip: ".gz"
        case .snappy: ".snappy"
        }
    }
}
