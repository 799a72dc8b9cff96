package import ZooKeeperProtocol

/// Reads what a leader sends behind a SNAP packet, as it comes (docs/protocol/quorum-protocol.md section 9): the body of a
/// snapshot, then a signature.
///
/// It holds no more than one record that was cut in two, and knows where the stream ends, so that the packets behind it are
/// left alone. Nothing that the sink was given counts before `isComplete`. The very bytes that it took are what
/// `SnapshotInstaller` wants.
package struct SnapshotStreamScanner: ~Copyable {
    private var body: SnapshotBodyScanner
    private let maxRecordBytes: Int
    /// The beginning of a record, all of which was counted as read.
    private var partial = JuteWriter(capacity: 4096)
    /// Bytes of the signature that were read.
    private var signed = 0
    private var offset: Int64 = 0

    /// More of a record that was cut in two is tried with no more than this.
    private static var pieceBytes: Int { 64 << 10 }

    /// - Parameter zxid: of the SNAP packet.
    package init(zxid: Zxid, limits: ReadingLimits) {
        body = SnapshotBodyScanner(SnapshotSummary(zxid: zxid), limits: limits)
        maxRecordBytes = SnapshotBodyScanner.maximumRecordBytes(limits)
    }

    /// Whether everything was read, the signature too.
    package var isComplete: Bool { signed == SnapshotFormat.streamSignature.count }

    /// What the stream held so far.
    package var summary: SnapshotSummary { body.summary }

    /// Whether the digest of the tree that was read is that of the state after the stream's zxid. A stream may hold effects
    /// of later transactions, which follow it.
    package var isExact: Bool { body.summary.largestZxid <= body.summary.zxid }

    /// Takes the next bytes, cut anywhere.
    ///
    /// - Returns: how many of them belong to the stream; fewer than there are only where it ends.
    /// - Throws: when this is no snapshot, or not one that this server may have. The scanner is of no use then.
    package mutating func scan<Sink: SnapshotSink & ~Copyable>(
        _ bytes: UnsafeRawBufferPointer,
        into sink: inout Sink
    ) throws(SnapshotStreamError) -> Int {
        var taken = 0
        while !body.isComplete, taken < bytes.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[taken...])
            taken += partial.count == 0 ? try scanWhole(rest, into: &sink) : try scanPartial(rest, into: &sink)
        }
        if body.isComplete { taken += try readSignature(UnsafeRawBufferPointer(rebasing: bytes[taken...])) }
        offset += Int64(taken)
        return taken
    }

    /// Takes all, but nothing behind the body.
    private mutating func scanWhole<Sink: SnapshotSink & ~Copyable>(
        _ bytes: UnsafeRawBufferPointer,
        into sink: inout Sink
    ) throws(SnapshotStreamError) -> Int {
        let count = try scanBody(bytes, into: &sink)
        guard !body.isComplete else { return count }
        partial.raw(UnsafeRawBufferPointer(rebasing: bytes[count...]))
        try checkPartial()
        return bytes.count
    }

    /// Adds to the record that was cut in two until it is whole. What was added too much is not taken.
    private mutating func scanPartial<Sink: SnapshotSink & ~Copyable>(
        _ bytes: UnsafeRawBufferPointer,
        into sink: inout Sink
    ) throws(SnapshotStreamError) -> Int {
        let had = partial.count
        let added = min(bytes.count, Self.pieceBytes)
        partial.raw(UnsafeRawBufferPointer(rebasing: bytes[..<added]))
        let count: Int
        do throws(SnapshotBodyError) {
            count = try Self.scan(partial, with: &body, into: &sink)
        } catch {
            throw .damaged(error.reason, offset: offset + Int64(error.offset))
        }
        guard count > 0 || body.isComplete else {
            try checkPartial()
            return added
        }
        partial.removeAll()
        return count - had
    }

    private static func scan<Sink: SnapshotSink & ~Copyable>(
        _ bytes: borrowing JuteWriter,
        with body: inout SnapshotBodyScanner,
        into sink: inout Sink
    ) throws(SnapshotBodyError) -> Int {
        try bytes.withBytes { (bytes) throws(SnapshotBodyError) in try body.scan(bytes, into: &sink) }
    }

    private mutating func scanBody<Sink: SnapshotSink & ~Copyable>(
        _ bytes: UnsafeRawBufferPointer,
        into sink: inout Sink
    ) throws(SnapshotStreamError) -> Int {
        do {
            return try body.scan(bytes, into: &sink)
        } catch {
            throw .damaged(error.reason, offset: offset + Int64(error.offset))
        }
    }

    /// A length that is not that of a record would have the memory of one grow without end.
    private func checkPartial() throws(SnapshotStreamError) {
        guard partial.count <= maxRecordBytes else {
            throw .damaged("a record \(body.place) is longer than \(maxRecordBytes) bytes", offset: offset)
        }
    }

    private mutating func readSignature(_ bytes: UnsafeRawBufferPointer) throws(SnapshotStreamError) -> Int {
        var taken = 0
        while !isComplete, taken < bytes.count {
            guard bytes[taken] == SnapshotFormat.streamSignature[signed] else {
                throw .damaged("the snapshot does not end with its signature", offset: offset + Int64(taken))
            }
            signed += 1
            taken += 1
        }
        if isComplete, let path = body.ttlNode { throw .ttlNodesWithoutExtendedTypes(path: path) }
        return taken
    }
}

/// Why a leader's snapshot cannot be taken.
package enum SnapshotStreamError: Error, Hashable, Sendable, CustomStringConvertible {
    /// - offset: in the stream, of what cannot be read, or near it.
    case damaged(String, offset: Int64)
    case ttlNodesWithoutExtendedTypes(path: String)

    package var description: String {
        switch self {
        case .damaged(let reason, let offset): "\(reason) (offset \(offset) of the leader's snapshot)"
        case .ttlNodesWithoutExtendedTypes(let path):
            "\(path) is a TTL node, but extendedTypesEnabled is not set here: set it as it is on the leader"
        }
    }
}
