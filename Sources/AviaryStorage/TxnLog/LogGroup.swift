internal import ZooKeeperProtocol

/// The records that go to disk together, framed (docs/protocol/disk-format.md section 3.2), and laid out so that they
/// can be written as whole blocks.
///
/// Records are not blocks. So the beginning of the block in which a file ends is kept here and written once more in
/// front of the next group, and zeros follow the last record up to the end of its block: the same bytes over the same
/// bytes, and zeros over zeros. Whole blocks need not be read before they are written, and can go past the system's
/// cache.
struct LogGroup: ~Copyable {
    static let blockBytes = 4096

    private var bytes = JuteWriter(capacity: 64 << 10, alignment: LogGroup.blockBytes)
    /// Bytes in front of the records that the file has already.
    private var tail = 0

    init() {}

    /// Bytes of records.
    var count: Int { bytes.count - tail }

    mutating func append(_ payload: UnsafeRawBufferPointer) {
        bytes.reserve(payload.count + TxnLogFormat.recordOverhead)
        bytes.int64(Int64(Adler32.update(Adler32.initial, payload)))
        bytes.buffer(payload)
        bytes.byte(TxnLogFormat.endOfRecord)
    }

    /// The records alone.
    func withRecords<R>(_ body: (UnsafeRawBufferPointer) throws(DiskError) -> R) throws(DiskError) -> R {
        try bytes.withBytes(in: tail..<bytes.count, body)
    }

    /// The records in whole blocks; nil when the block in which the file ends is not known.
    ///
    /// - Parameters:
    ///   - end: where the file ends.
    ///   - body: gets the blocks and where they go.
    mutating func withBlocks<R>(
        at end: Int64,
        _ body: (UnsafeRawBufferPointer, Int64) throws(DiskError) -> R
    ) throws(DiskError) -> R? {
        let start = end - Int64(tail)
        guard start % Int64(Self.blockBytes) == 0 else { return nil }
        let unpadded = bytes.count
        bytes.zeros(LogGroup.roundUp(unpadded) - unpadded)
        defer { bytes.truncate(to: unpadded) }
        return try bytes.withBytes { (bytes) throws(DiskError) in try body(bytes, start) }
    }

    /// The records are in the file, which ends at `end` now: forgets them, but for the beginning of its last block.
    mutating func written(upTo end: Int64) {
        let wanted = Int(end % Int64(Self.blockBytes))
        if wanted <= bytes.count {
            bytes.keepLast(wanted)
            tail = wanted
        } else {
            // The first block has a header in front, which is not in here.
            bytes.removeAll()
            tail = 0
        }
        bytes.giveBack(above: 4 << 20)
    }

    /// What comes next goes to another file.
    mutating func leaveFile() {
        invariant(count == 0, "records that belong to a file that is left")
        bytes.removeAll()
        tail = 0
    }

    static func roundUp(_ value: Int) -> Int { (value + blockBytes - 1) / blockBytes * blockBytes }
}
