package import ZooKeeperProtocol

/// What a storage worker is to do. Orders are carried out one after the other, in the order in which they come.
package enum StorageOrder: Sendable {
    /// Appends transactions to the log. Consecutive ones become one group with one sync.
    case append(LogBatch)
    /// Stores `acceptedEpoch`, once every transaction before it is durable.
    case storeAccepted(Epoch)
    /// Stores `currentEpoch`, once every transaction before it is durable. With it a member has its memory back.
    case storeCurrent(Epoch)
    /// TRUNC: the log ends with this transaction, and no snapshot knows of a later one.
    case truncate(after: Zxid)
    /// SNAP: a leader's snapshot of the state after this transaction begins. Nothing is appended before it is finished or
    /// abandoned.
    case beginSnapshot(Zxid)
    /// The bytes of the stream behind the SNAP packet, as they came, and nothing behind their signature.
    case snapshotBytes(SnapshotPiece)
    /// The stream is complete: it becomes the only snapshot, and no log is left.
    ///
    /// - digest: the digest of the tree that was read from it; nil where that says nothing, because the stream holds
    ///   nodes with zxids above its own.
    case finishSnapshot(digest: UInt64?)
    /// The stream will not be complete. What was there before is still there.
    case abandonSnapshot
}

/// What a storage worker has done. Each follows its order; nothing of it is told before it survives a power failure.
package enum StorageReport: Sendable {
    /// A group is durable, or there is another amount of space.
    case durable(LogReport)
    case acceptedEpochStored(Epoch)
    case currentEpochStored(Epoch)
    /// The log ends with `to`. It is below the zxid of the order when the log did not have that one; then what is missing
    /// has to be asked for again.
    ///
    /// - setAside: names of snapshots that knew of a later transaction.
    /// - hasSnapshot: whether one is left that the next start can begin with.
    case truncated(to: Zxid, setAside: [String], hasSnapshot: Bool)
    /// Some bytes of a snapshot are handed to the disk; their memory may be used again.
    case snapshotBytesWritten(SnapshotPiece)
    case snapshotInstalled(Zxid)
    /// The snapshot that was being received could not be stored, and what was there before is still there. Orders that
    /// belong to it are passed over until the next `beginSnapshot`.
    case snapshotFailed(StorageError)
    case warning(LogWarning)
}

/// What became of a group.
package struct LogReport: Sendable {
    /// Everything up to here survives a power failure.
    package var durable: Zxid
    package var space: LogSpace
    /// Bytes that can still be appended into reserved space.
    package var availableBytes: Int64
    /// Whose memory may be used again.
    package var batches: [LogBatch] = []
    /// Records in this flush.
    package var records = 0
    /// How long the flush took; nil when there was none.
    package var flushMicroseconds: Int64?
    /// How long the oldest record waited for the flush to begin.
    package var queuedMicroseconds: Int64 = 0
    /// Batches that were waiting when the flush began.
    package var queueLength = 0

    package init(durable: Zxid, space: LogSpace, availableBytes: Int64) {
        self.durable = durable
        self.space = space
        self.availableBytes = availableBytes
    }
}

/// What an operator should know about the log.
package enum LogWarning: Sendable, Hashable {
    case slowFlush(microseconds: Int64, records: Int)
    /// The log goes on in the old file, because there is no space for a new one.
    case cannotRoll
    /// At the end, when everything is stored already.
    case closeFailed(StorageError)
    /// What an earlier SNAP had set aside could not be removed; it only takes space.
    case cannotRemove(StorageError)
}

/// What stands around a storage worker: a clock, and somebody who is told.
package protocol StorageDriver: ~Copyable {
    /// Of a clock that never goes back.
    var monotonicMicroseconds: Int64 { get }
    mutating func report(_ report: StorageReport)
}
