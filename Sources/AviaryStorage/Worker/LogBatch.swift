package import ZooKeeperProtocol

/// Transactions on their way to the disk, those of one turn of the loop.
///
/// The memory goes back and forth between whoever makes transactions and whoever stores them, and exactly one of them
/// has it at any time: whoever holds the reference. That is the argument for `@unchecked Sendable`.
package final class LogBatch: @unchecked Sendable {
    /// Payloads back to back; `records` says which is where.
    @exclusivity(unchecked) package var bytes = JuteWriter(capacity: 4096)
    @exclusivity(unchecked) package var records: [LogRecord] = []
    /// Whether a new log file begins behind these records.
    package var rollsAfter = false
    /// When it was handed over.
    package var submittedMicroseconds: Int64 = 0

    package init() {}

    /// What it takes in a log file, or a little more.
    package var storedBytes: Int { bytes.count + 16 * records.count }

    /// Adds one transaction; copied.
    package func append(_ payload: UnsafeRawBufferPointer, zxid: Zxid) {
        let start = bytes.count
        bytes.raw(payload)
        records.append(LogRecord(zxid: zxid, range: start..<bytes.count))
    }

    /// Forgets everything but the memory.
    package func reset() {
        bytes.removeAll()
        records.removeAll(keepingCapacity: true)
        rollsAfter = false
    }
}

/// Bytes of a snapshot that a leader sends, on their way to the disk. As with `LogBatch`, whoever holds the reference has
/// the memory.
package final class SnapshotPiece: @unchecked Sendable {
    @exclusivity(unchecked) package var bytes = JuteWriter(capacity: 4096)

    package init() {}
}
