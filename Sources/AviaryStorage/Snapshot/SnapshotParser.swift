internal import ZooKeeperProtocol

/// The parts of a snapshot in their order, with the checksum that runs along.
struct SnapshotParser<Source: ByteSource>: ~Copyable {
    private let path: String
    private let limits: ReadingLimits
    private var source: Source
    private var window: StreamWindow
    /// Over everything consumed.
    private var adler = Adler32.initial
    private var body: SnapshotBodyScanner
    private var summary: SnapshotSummary

    private static var maxTrailerBytes: Int { 4096 }

    init(path: String, source: Source, limits: ReadingLimits, summary: SnapshotSummary) {
        self.path = path
        self.limits = limits
        self.source = source
        self.summary = summary
        body = SnapshotBodyScanner(summary, limits: limits)
        window = StreamWindow(maxRecord: SnapshotBodyScanner.maximumRecordBytes(limits))
    }

    mutating func parse<Sink: SnapshotSink & ~Copyable>(
        into sink: inout Sink,
        _ progress: (Int64) -> Void
    ) throws(SnapshotReadError) -> SnapshotSummary {
        try readHeader()
        try readBody(into: &sink, progress)
        summary = body.summary
        summary.bodyEnd = window.offset
        summary.bodySeal = adler
        try checkSeal("nodes")
        try readTrailers()
        progress(source.fileOffset)
        if let ttlNode = body.ttlNode { throw .refused(.ttlNodesWithoutExtendedTypes(file: path, path: ttlNode)) }
        summary.laterZxids.sort()
        return summary
    }

    // MARK: - Parts

    private mutating func readHeader() throws(SnapshotReadError) {
        let magic = try record("header") { (reader) throws(JuteError) in
            let magic = try reader.int32()
            _ = try reader.int32()
            _ = try reader.int64()
            return magic
        }
        guard magic == SnapshotFormat.magic else {
            throw damaged("this is not a snapshot (magic 0x\(String(UInt32(bitPattern: magic), radix: 16)))", at: 0)
        }
    }

    private mutating func readBody<Sink: SnapshotSink & ~Copyable>(
        into sink: inout Sink,
        _ progress: (Int64) -> Void
    ) throws(SnapshotReadError) {
        while true {
            do {
                consume(try body.scan(window.unread, into: &sink))
            } catch {
                throw damaged(error.reason, at: window.offset, plus: error.offset)
            }
            if body.isComplete { return }
            progress(source.fileOffset)
            guard try readMore() else { throw damaged("the file ends \(body.place)", at: window.offset) }
        }
    }

    private mutating func checkSeal(_ what: String) throws(SnapshotReadError) {
        let computed = Int64(adler)
        let offset = window.offset
        let (stored, mark) = try record("seal") { (reader) throws(JuteError) in
            (try reader.int64(), try reader.requiredBuffer())
        }
        guard stored == computed, mark.count == 1, mark[0] == SnapshotFormat.endMark else {
            let difference =
                "stored 0x\(String(UInt64(bitPattern: stored), radix: 16)), "
                + "computed 0x\(String(UInt64(bitPattern: computed), radix: 16))"
            throw damaged("checksum mismatch behind the \(what) (\(difference))", at: offset)
        }
    }

    /// What follows tells by its length what it is; releases differ in what they write.
    private mutating func readTrailers() throws(SnapshotReadError) {
        while try readMore() {
            guard window.unread.count <= Self.maxTrailerBytes else { break }
        }
        let digest = SnapshotFormat.digestTrailerSize + SnapshotFormat.sealSize
        let lastProcessed = SnapshotFormat.lastProcessedTrailerSize + SnapshotFormat.sealSize
        switch window.unread.count {
        case 0: return
        case lastProcessed: try readLastProcessed()
        case digest: try readDigest()
        default:
            try readDigest()
            if window.unread.count > 0 { try readLastProcessed() }
        }
        guard window.unread.count == 0 else { throw damaged("unknown data behind the last seal", at: window.offset) }
    }

    private mutating func readDigest() throws(SnapshotReadError) {
        let (zxid, version) = try record("digest") { (reader) throws(JuteError) in
            (Zxid(try reader.int64()), try reader.int32())
        }
        if version < SnapshotFormat.digestVersion {
            // Pre-releases of 3.6 wrote another digest, as hex.
            try record("digest") { (reader) throws(JuteError) in _ = try reader.buffer() }
        } else {
            let value = try record("digest") { (reader) throws(JuteError) in try reader.int64() }
            if version == SnapshotFormat.digestVersion, zxid != .zero {
                summary.digest = (zxid, UInt64(bitPattern: value))
            }
        }
        try checkSeal("digest")
    }

    private mutating func readLastProcessed() throws(SnapshotReadError) {
        summary.lastProcessedZxid = try record("last processed zxid") { (reader) throws(JuteError) in
            Zxid(try reader.int64())
        }
        try checkSeal("last processed zxid")
    }

    // MARK: - Bytes

    /// Reads one thing that may lie across the end of the window.
    private mutating func record<R>(
        _ what: String,
        _ read: (inout JuteReader) throws(JuteError) -> R
    ) throws(SnapshotReadError) -> R {
        while true {
            var reader = JuteReader(window.unread, maxBufferBytes: limits.maxBufferBytes)
            do {
                let value = try read(&reader)
                consume(window.unread.count - reader.remaining)
                return value
            } catch {
                guard error == .truncated else {
                    throw damaged("the \(what) cannot be read (\(error))", at: window.offset)
                }
            }
            guard try readMore() else { throw damaged("the file ends in the \(what)", at: window.offset) }
        }
    }

    private mutating func consume(_ count: Int) {
        adler = Adler32.update(adler, UnsafeRawBufferPointer(rebasing: window.unread[..<count]))
        window.consume(count)
    }

    private mutating func readMore() throws(SnapshotReadError) -> Bool {
        do {
            return try window.readMore(from: &source)
        } catch {
            switch error {
            case .codec(let error):
                throw damaged(error.description, at: window.offset)
            case .disk(let error):
                // A place on the disk that cannot be read is damage; that this user may not read it is not.
                guard error.reason == .inputOutput else { throw .refused(.disk(error)) }
                throw damaged(error.description, at: window.offset)
            }
        }
    }

    private func damaged(_ reason: String, at offset: Int64, plus count: Int = 0) -> SnapshotReadError {
        .damaged(SnapshotFailure(file: path, offset: offset + Int64(count), reason: reason))
    }
}
