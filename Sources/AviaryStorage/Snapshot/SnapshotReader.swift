package import ZooKeeperProtocol

/// What reading has to know.
package struct ReadingLimits: Sendable, Hashable {
    /// The most bytes of one path, one node's data or one log record (`jute.maxbuffer` and its `extrasize`).
    package var maxBufferBytes = JuteReader.defaultMaxBufferBytes
    /// Whether TTL nodes are enabled (`extendedTypesEnabled`). Without it a file that holds any is refused: its TTL
    /// nodes would be taken for ephemerals of sessions that never were, and deleted.
    package var extendedTypes = false

    package init(maxBufferBytes: Int = JuteReader.defaultMaxBufferBytes, extendedTypes: Bool = false) {
        self.maxBufferBytes = maxBufferBytes
        self.extendedTypes = extendedTypes
    }
}

/// What a snapshot turned out to hold, besides what went to the sink.
package struct SnapshotSummary: Sendable, Hashable {
    package var zxid: Zxid
    package var sessions = 0
    package var nodes = 0
    /// The largest czxid, mzxid or pzxid of any node.
    package var largestZxid = Zxid.zero
    /// Every such zxid above the snapshot's own, in ascending order: transactions that were applied while the snapshot
    /// was written. Past a million different ones only the largest is kept.
    package var laterZxids: [Zxid] = []
    /// The tree digest after some transaction, by its zxid.
    package var digest: (zxid: Zxid, value: UInt64)? {
        get { digestZxid.map { ($0, digestValue) } }
        set {
            digestZxid = newValue?.zxid
            digestValue = newValue?.value ?? 0
        }
    }
    package var lastProcessedZxid: Zxid?
    /// Where the nodes end, without compression, and the checksum of everything up to there.
    var bodyEnd: Int64 = 0
    var bodySeal: UInt32 = 0
    private var digestZxid: Zxid?
    private var digestValue: UInt64 = 0

    init(zxid: Zxid) { self.zxid = zxid }

    static let maxLaterZxids = 1 << 20
}

/// Why a snapshot was not read to its end.
package enum SnapshotReadError: Error {
    /// The file is not what a snapshot should be; another one may do.
    case damaged(SnapshotFailure)
    /// Nothing that another snapshot would change.
    case refused(StorageError)
}

/// Reads one snapshot from front to back, checks its seals on the way, and gives what it holds to a sink
/// (docs/protocol/disk-format.md section 4.1).
///
/// Until `read` returns, nothing that the sink was given counts. Memory does not grow with the file.
package struct SnapshotReader<D: Disk, Gzip: StreamCodec> {
    private let disk: D
    private let directory: String
    private let gzip: Gzip
    private let limits: ReadingLimits

    package init(disk: D, directory: String, gzip: Gzip, limits: ReadingLimits = ReadingLimits()) {
        self.disk = disk
        self.directory = directory
        self.gzip = gzip
        self.limits = limits
    }

    /// - Parameters:
    ///   - name: of a file in the directory; says how it is packed.
    ///   - progress: called now and then with the bytes of the file read so far.
    package func read<Sink: SnapshotSink & ~Copyable>(
        _ name: String,
        into sink: inout Sink,
        progress: (Int64) -> Void = { _ in }
    ) throws(SnapshotReadError) -> SnapshotSummary {
        guard let (zxid, compression) = FileNames.snapshotZxid(name) else {
            throw .damaged(SnapshotFailure(file: name, offset: 0, reason: "the name is not that of a snapshot"))
        }
        let path = FileNames.join(directory, name)
        let file: D.File
        do { file = try disk.open(path, .read) } catch { throw .refused(.disk(error)) }
        let summary = SnapshotSummary(zxid: zxid)
        switch compression {
        case .none:
            return try parse(path, summary, FileSource(file), into: &sink, progress)
        case .gzip:
            let source = UnpackingSource(file, try unpacker(gzip, path))
            return try parse(path, summary, source, into: &sink, progress)
        case .snappy:
            let source = UnpackingSource(file, try unpacker(SnappyCodec(), path))
            return try parse(path, summary, source, into: &sink, progress)
        }
    }

    private func unpacker(
        _ codec: some StreamCodec,
        _ path: String
    ) throws(SnapshotReadError) -> any StreamDecompressor {
        do {
            return try codec.makeDecompressor()
        } catch {
            throw .damaged(SnapshotFailure(file: path, offset: 0, reason: error.description))
        }
    }

    private func parse<Sink: SnapshotSink & ~Copyable>(
        _ path: String,
        _ summary: SnapshotSummary,
        _ source: some ByteSource,
        into sink: inout Sink,
        _ progress: (Int64) -> Void
    ) throws(SnapshotReadError) -> SnapshotSummary {
        var parser = SnapshotParser(path: path, source: source, limits: limits, summary: summary)
        return try parser.parse(into: &sink, progress)
    }
}

/// Takes nothing: for reading a snapshot only to see whether it is whole.
package struct NoSink: SnapshotSink {
    /// Of no use but to be there: a value without bytes has no place of its own, so two threads that read snapshots would
    /// pass the same address as `inout`, and the thread sanitizer would have to call that a race.
    private var nodes = 0

    package init() {}
    package mutating func restore(session: SessionID, timeoutMilliseconds: Int32) {}
    package mutating func restore(aclID: Int64, acl: [ACL]) {}
    package mutating func restore(
        path: UnsafeRawBufferPointer,
        data: UnsafeRawBufferPointer?,
        aclID: Int64,
        stat: StatPersisted
    ) { nodes &+= 1 }
}
