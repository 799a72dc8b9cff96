package import ZooKeeperProtocol

/// Gives out a snapshot file as a leader sends it behind a SNAP packet (docs/protocol/quorum-protocol.md section 9): its
/// body, unpacked, and the signature; without the file's header, and without its seals.
///
/// The file was read to its end and checked before. It stays open, so that it may be purged meanwhile.
package struct SnapshotStreamer<D: Disk, Gzip: StreamCodec>: ~Copyable {
    /// The state that the stream holds is that after this transaction, and perhaps some effects of later ones.
    package let zxid: Zxid
    /// Of the stream, with its signature.
    package let byteCount: Int64

    private let path: String
    private let seal: UInt32
    private var source: StreamedFile<D.File>
    private var adler = Adler32.initial
    private var left: Int64
    private var isBehindHeader = false
    private var buffer: [UInt8] = []

    fileprivate init(
        _ file: SnapshotFileEntry,
        _ checked: CheckedSnapshot,
        _ handle: D.File,
        path: String,
        gzip: Gzip
    ) throws(HistoryUnavailable) {
        let source: StreamedFile<D.File>
        do {
            switch file.compression {
            case .none: source = StreamedFile(handle, nil)
            case .gzip: source = StreamedFile(handle, try gzip.makeDecompressor())
            case .snappy: source = StreamedFile(handle, SnappyCodec().makeDecompressor())
            }
        } catch {
            throw HistoryUnavailable("\(path): \(error)")
        }
        zxid = file.zxid
        self.path = path
        self.source = source
        seal = checked.bodySeal
        left = checked.bodyEnd - Int64(SnapshotFormat.headerSize)
        byteCount = left + Int64(SnapshotFormat.streamSignature.count)
    }

    /// Appends the next bytes of the stream.
    ///
    /// - Parameter maxBytes: so many at most, and the signature.
    /// - Returns: whether there is more.
    /// - Throws: when the file can no longer be read, or has changed. The signature was not given out then, and whoever got
    ///   the rest must not use it.
    package mutating func read(
        maxBytes: Int,
        into output: inout JuteWriter
    ) throws(HistoryUnavailable) -> Bool {
        if !isBehindHeader {
            guard try fill(SnapshotFormat.headerSize) == SnapshotFormat.headerSize else {
                throw HistoryUnavailable("\(path): the file ends early")
            }
            isBehindHeader = true
        }
        let wanted = Int(min(left, Int64(max(maxBytes, 1))))
        guard try fill(wanted) == wanted else { throw HistoryUnavailable("\(path): the file ends early") }
        left -= Int64(wanted)
        guard left > 0 else {
            guard adler == seal else { throw HistoryUnavailable("\(path): the file has changed since it was checked") }
            buffer.withUnsafeBytes { output.raw(UnsafeRawBufferPointer(rebasing: $0[..<wanted])) }
            SnapshotFormat.streamSignature.withUnsafeBytes { output.raw($0) }
            return false
        }
        buffer.withUnsafeBytes { output.raw(UnsafeRawBufferPointer(rebasing: $0[..<wanted])) }
        return true
    }

    /// Reads into the buffer, and sums up what it read.
    private mutating func fill(_ wanted: Int) throws(HistoryUnavailable) -> Int {
        if buffer.count < wanted { buffer = [UInt8](repeating: 0, count: wanted) }
        do throws(ByteSourceError) {
            let count = try Self.fill(&buffer, wanted, from: &source)
            adler = buffer.withUnsafeBytes { Adler32.update(adler, UnsafeRawBufferPointer(rebasing: $0[..<count])) }
            return count
        } catch {
            switch error {
            case .disk(let error): throw HistoryUnavailable("\(error)")
            case .codec(let error): throw HistoryUnavailable("\(path): \(error)")
            }
        }
    }

    private static func fill(
        _ buffer: inout [UInt8],
        _ wanted: Int,
        from source: inout StreamedFile<D.File>
    ) throws(ByteSourceError) -> Int {
        try buffer.withUnsafeMutableBufferPointer { (bytes) throws(ByteSourceError) in
            var done = 0
            while done < wanted {
                let rest = UnsafeMutableRawBufferPointer(UnsafeMutableBufferPointer(rebasing: bytes[done..<wanted]))
                let count = try source.read(into: rest)
                if count == 0 { break }
                done += count
            }
            return done
        }
    }
}

/// A snapshot as it is, or unpacked on the way.
private struct StreamedFile<File: DiskFile> {
    private var plain: FileSource<File>
    private var packed: UnpackingSource<File>?

    init(_ file: File, _ unpacker: (any StreamDecompressor)?) {
        plain = FileSource(file)
        packed = unpacker.map { UnpackingSource(file, $0) }
    }

    mutating func read(into buffer: UnsafeMutableRawBufferPointer) throws(ByteSourceError) -> Int {
        if case .some = packed { return try packed?.read(into: buffer) ?? 0 }
        return try plain.read(into: buffer)
    }
}

/// What is known of a snapshot that was read to its end.
private struct CheckedSnapshot {
    var bodyEnd: Int64
    var bodySeal: UInt32
    var largestZxid: Zxid
}

/// What a leader's files have for learners that memory does not reach: logs behind a zxid, and snapshots to begin with.
///
/// Owned by one thread; whatever it finds out about snapshots it keeps, so that several learners cost one check.
package struct HistorySource<D: Disk, Gzip: StreamCodec> {
    private let disk: D
    private let directories: DataDirectories
    private let gzip: Gzip
    private let limits: ReadingLimits
    /// By name and size; a snapshot is never written to again.
    private var checked: [String: CheckedSnapshot] = [:]

    package init(disk: D, directories: DataDirectories, gzip: Gzip, limits: ReadingLimits) {
        self.disk = disk
        self.directories = directories
        self.gzip = gzip
        // What the nodes are does not matter here.
        self.limits = ReadingLimits(maxBufferBytes: limits.maxBufferBytes, extendedTypes: true)
    }

    /// The logs behind `zxid`, the last transaction of a learner.
    ///
    /// They are of use when a log holds that very transaction or one in front of it, or when this server's own logs begin
    /// behind a snapshot with this zxid.
    ///
    /// - Parameter isBase: whether it is known to be the zxid of a snapshot of this server's.
    package func records(
        after zxid: Zxid,
        isBase: Bool = false
    ) throws(HistoryUnavailable) -> HistoryReader<D> {
        do throws(HistoryUnavailable) {
            return try open(after: zxid, isBase: isBase)
        } catch {
            guard !isBase, snapshots().contains(where: { $0.zxid == zxid }) else { throw error }
            return try open(after: zxid, isBase: true)
        }
    }

    private func open(after zxid: Zxid, isBase: Bool) throws(HistoryUnavailable) -> HistoryReader<D> {
        try HistoryReader(
            disk: disk,
            directory: directories.logs,
            after: zxid,
            isBase: isBase,
            maxRecordBytes: limits.maxBufferBytes
        )
    }

    /// The logs for a learner whose last transaction is `zxid`, unless a snapshot is the shorter way.
    ///
    /// A snapshot that is not ahead of the learner never is: the same logs would have to follow it. And it would take back,
    /// for a while, what the learner has acknowledged.
    ///
    /// - Parameter snapshotSizeFactor: how large the logs may be, as a part of the newest snapshot; 0 is any size, and below
    ///   0 logs are never read for this (docs/protocol/quorum-protocol.md section 2.3).
    package func records(
        forLearnerAt zxid: Zxid,
        snapshotSizeFactor: Double
    ) throws(HistoryUnavailable) -> HistoryReader<D> {
        guard let newest = snapshots().first, newest.zxid > zxid else { return try records(after: zxid) }
        guard snapshotSizeFactor >= 0 else { throw HistoryUnavailable("logs are not read for learners") }
        let reader = try records(after: zxid)
        guard snapshotSizeFactor > 0, Double(reader.fileBytes) > snapshotSizeFactor * Double(newest.size) else {
            return reader
        }
        throw HistoryUnavailable("\(reader.fileBytes) bytes of logs, a snapshot has \(newest.size)")
    }

    /// Bytes of the newest snapshot, to hold `HistoryReader.fileBytes` against; nil when there is none.
    package func newestSnapshotBytes() -> Int64? { snapshots().first?.size }

    private func snapshots() -> [SnapshotFileEntry] {
        (try? SnapshotDirectory(disk: disk, directory: directories.snapshots).files) ?? []
    }

    /// The newest snapshot that is whole, belongs to this history, and from which the logs go on without a gap.
    ///
    /// Reads it to its end, and the logs behind it, unless that was done before: this takes as long as the disk does.
    ///
    /// - Parameters:
    ///   - durable: the last transaction of this server that is on disk.
    ///   - remembered: what comes after this transaction is in memory, so no log needs to hold it; nil when nothing is.
    package mutating func snapshot(
        upTo durable: Zxid,
        remembered: Zxid? = nil
    ) throws(HistoryUnavailable) -> SnapshotStreamer<D, Gzip> {
        let directory: SnapshotDirectory
        do throws(StorageError) {
            directory = try SnapshotDirectory(disk: disk, directory: directories.snapshots)
        } catch {
            throw HistoryUnavailable("\(error)")
        }
        forgetAllBut(directory)
        var reasons: [String] = []
        for file in directory.files {
            do throws(HistoryUnavailable) {
                let path = FileNames.join(directories.snapshots, file.name)
                guard file.zxid <= durable else { throw HistoryUnavailable("\(path): it is ahead of \(durable)") }
                // Open before it is looked at: then it cannot go away.
                let handle: D.File
                do { handle = try disk.open(path, .read) } catch { throw HistoryUnavailable("\(error)") }
                let found = try check(file)
                guard found.largestZxid <= durable else {
                    throw HistoryUnavailable("\(path): it holds a node changed by \(found.largestZxid)")
                }
                try checkLogs(after: file.zxid, upTo: min(durable, remembered ?? durable))
                return try SnapshotStreamer(file, found, handle, path: path, gzip: gzip)
            } catch {
                reasons.append(error.description)
            }
        }
        let reason = reasons.isEmpty ? "there is none" : reasons.joined(separator: "; ")
        throw HistoryUnavailable("\(directories.snapshots): no snapshot to send: \(reason)")
    }

    private mutating func check(_ file: SnapshotFileEntry) throws(HistoryUnavailable) -> CheckedSnapshot {
        let identity = "\(file.name) \(file.size)"
        if let found = checked[identity] { return found }
        let reader = SnapshotReader(disk: disk, directory: directories.snapshots, gzip: gzip, limits: limits)
        var sink = NoSink()
        do {
            let summary = try reader.read(file.name, into: &sink)
            let found = CheckedSnapshot(
                bodyEnd: summary.bodyEnd,
                bodySeal: summary.bodySeal,
                largestZxid: summary.largestZxid
            )
            checked[identity] = found
            return found
        } catch {
            switch error {
            case .damaged(let failure): throw HistoryUnavailable("\(failure)")
            case .refused(let error): throw HistoryUnavailable("\(error)")
            }
        }
    }

    private func checkLogs(after zxid: Zxid, upTo end: Zxid) throws(HistoryUnavailable) {
        guard zxid < end else { return }
        var reader = try records(after: zxid, isBase: true)
        let batch = LogBatch()
        while try reader.read(upTo: end, maxBytes: 1 << 20, into: batch) == .more { batch.reset() }
    }

    private mutating func forgetAllBut(_ directory: SnapshotDirectory) {
        let present = Set(directory.files.map { "\($0.name) \($0.size)" })
        checked = checked.filter { present.contains($0.key) }
    }
}
