package import ZooKeeperProtocol

/// What recovery found and did.
package struct RecoveryReport: Sendable, Hashable {
    package enum Database: Sendable, Hashable {
        case loaded
        /// There was nothing; the target holds a fresh tree, which wants a snapshot.
        case created
        /// There was nothing, and nobody said that this server may begin with nothing (`db.autocreate=false`).
        /// `lastZxid` is −1.
        case uninitialized
    }

    package var database: Database
    /// Of the last transaction, or the snapshot's if no transaction follows it.
    package var lastZxid: Zxid
    /// The name of the snapshot; nil when there is none.
    package var snapshot: String?
    package var snapshotZxid: Zxid?
    /// Transactions applied on top of the snapshot.
    package var replayedCount = 0
    /// The end of the newest log was not acknowledged to anybody and is gone.
    package var tailCut: TailCut?
    /// Names of logs without any record, removed.
    package var removedLogs: [String] = []
    /// Names of snapshots that hold what history does not. They have another name now, which nobody reads.
    package var setAside: [String] = []
    /// The tree may not be what its history says. Nothing proves it wrong, but somebody has to know.
    package var alarms: [DigestAlarm] = []
    /// What else an operator should read once, in words.
    package var warnings: [String] = []
    /// A newer snapshot than the one that was used exists and could not be.
    var isFallback = false

    /// Whether old files may go before this server has written a snapshot of its own. Purging counts snapshots that are
    /// whole, and they may be the ones that could not be used.
    package var allowsPurge: Bool { alarms.isEmpty && setAside.isEmpty && !isFallback }

    /// Where records end in the newest log; nil when there is no log.
    var newestLog: NewestLog?

    package struct TailCut: Sendable, Hashable {
        package var file: String
        package var offset: Int64
        /// Of the record that was lost, had it been whole.
        package var zxid: Zxid
        /// What stood there.
        package var reason: String
    }

    struct NewestLog: Sendable, Hashable {
        var name: String
        /// Behind the last whole record.
        var end: Int64
        var mark: DurableMark?
        var isMarkBroken = false
    }

    init(database: Database, lastZxid: Zxid) {
        self.database = database
        self.lastZxid = lastZxid
    }
}

/// A difference between the tree and what a file says that it should be.
package struct DigestAlarm: Sendable, Hashable, CustomStringConvertible {
    package enum Kind: Sendable, Hashable {
        /// The digest that the transaction carries, or the snapshot, is not that of the tree.
        case mismatch(expected: UInt64, computed: UInt64)
        /// A node of the snapshot was changed by a transaction that no log has.
        case unknownTransaction
    }

    /// The file that says so: a log, or a snapshot.
    package var file: String
    package var zxid: Zxid
    package var kind: Kind

    package init(file: String, zxid: Zxid, kind: Kind) {
        self.file = file
        self.zxid = zxid
        self.kind = kind
    }

    package var description: String {
        switch kind {
        case .mismatch(let expected, let computed):
            "\(file): tree digest 0x\(String(computed, radix: 16)) after \(zxid), expected "
                + "0x\(String(expected, radix: 16))"
        case .unknownTransaction:
            "\(file): holds a node changed by \(zxid), a transaction that no log has"
        }
    }
}

/// How far recovery is, for showing it.
package struct RecoveryProgress: Sendable, Hashable {
    /// The file being read.
    package var file: String
    /// Bytes of all files read so far; starts again when another snapshot is tried.
    package var bytesDone: Int64
    package var bytesTotal: Int64
}
