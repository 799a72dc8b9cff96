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
