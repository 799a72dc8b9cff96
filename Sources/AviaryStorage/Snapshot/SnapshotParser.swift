internal import ZooKeeperProtocol

/// The parts of a snapshot in their order, with the checksum that runs along.
struct SnapshotParser<Source: ByteSource>: ~Copyable {
    private let path: String
    private let limits: ReadingLimits
    private var source: Source
    private var window: StreamWindow
    /// Over everything consumed.
    private var adler = Adler32.initial
    private var summary: SnapshotSummary
    /// Sessions whose ids look like the owners of TTL nodes.
    private var sessionsLikeTTL: Set<Int64> = []
    /// The first TTL node where there should be none. It is a reason to stop only once the file proved whole.
    private var ttlNode: String?

    /// No node and no ACL list is longer, as every one of them came in one request.
    private static var minimumRecordBound: Int { 8 << 20 }
    private static var maxTrailerBytes: Int { 4096 }

    init(path: String, source: Source, limits: ReadingLimits, summary: SnapshotSummary) {
        self.path = path
        self.limits = limits
        self.source = source
        self.summary = summary
        window = StreamWindow(maxRecord: max(SnapshotParser.minimumRecordBound, 2 * limits.maxBufferBytes + 1024))
    }

    mutating func parse<Sink: SnapshotSink & ~Copyable>(
        into sink: inout Sink,
        _ progress: (Int64) -> Void
    ) throws(SnapshotReadError) -> SnapshotSummary {
        try readHeader()
        try readSessions(into: &sink)
        try readACLs(into: &sink)
        try readNodes(into: &sink, progress)
        try checkSeal("nodes")
        try readTrailers()
        progress(source.fileOffset)
        if let ttlNode { throw .refused(.ttlNodesWithoutExtendedTypes(file: path, path: ttlNode)) }
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

    private mutating func readSessions<Sink: SnapshotSink & ~Copyable>(
        into sink: inout Sink
    ) throws(SnapshotReadError) {
        let count = try record("session table") { (reader) throws(JuteError) in try reader.int32() }
        for _ in 0..<max(count, 0) {
            let (id, timeout) = try record("session table") { (reader) throws(JuteError) in
                (try reader.int64(), try reader.int32())
            }
            if id < 0 { sessionsLikeTTL.insert(id) }
            sink.restore(session: SessionID(id), timeoutMilliseconds: timeout)
            summary.sessions += 1
        }
    }

    private mutating func readACLs<Sink: SnapshotSink & ~Copyable>(
        into sink: inout Sink
    ) throws(SnapshotReadError) {
        let count = try record("ACL table") { (reader) throws(JuteError) in try reader.int32() }
        for _ in 0..<max(count, 0) {
            let (id, acl) = try record("ACL table") { (reader) throws(JuteError) in
                (try reader.int64(), try ACL.list(from: &reader))
            }
            sink.restore(aclID: id, acl: acl)
        }
    }

    private mutating func readNodes<Sink: SnapshotSink & ~Copyable>(
        into sink: inout Sink,
        _ progress: (Int64) -> Void
    ) throws(SnapshotReadError) {
        while true {
            var reader = JuteReader(window.unread, maxBufferBytes: limits.maxBufferBytes)
            // Only the end of the window is a reason to stop here, in front of the node that it cuts in two.
            let isDone = try readNodes(from: &reader, into: &sink)
            consume(window.unread.count - reader.remaining)
            if isDone { return }
            progress(source.fileOffset)
            guard try readMore() else { throw damaged("the file ends among the nodes", at: window.offset) }
        }
    }

    /// - Returns: whether the mark behind the last node was read.
    private mutating func readNodes<Sink: SnapshotSink & ~Copyable>(
        from reader: inout JuteReader,
        into sink: inout Sink
    ) throws(SnapshotReadError) -> Bool {
        let length = reader.remaining
        while true {
            let start = reader
            let node: (path: UnsafeRawBufferPointer, data: UnsafeRawBufferPointer?, aclID: Int64)
            let stat: StatPersisted
            do {
                node.path = try reader.requiredBuffer()
                if node.path.count == 1, node.path[0] == SnapshotFormat.endMark { return true }
                node.data = try reader.buffer()
                node.aclID = try reader.int64()
                stat = try StatPersisted(from: &reader)
            } catch {
                guard error == .truncated else {
                    throw damaged("a node cannot be read (\(error))", at: window.offset, plus: length - start.remaining)
                }
                reader = start
                return false
            }
            note(stat, node.path)
            do {
                try sink.restore(path: node.path, data: node.data, aclID: node.aclID, stat: stat)
            } catch {
                throw damaged("\(error)", at: window.offset, plus: length - start.remaining)
            }
        }
    }

    private mutating func note(_ stat: StatPersisted, _ path: UnsafeRawBufferPointer) {
        summary.nodes += 1
        let newest = max(stat.mzxid, max(stat.pzxid, stat.czxid))
        if newest > summary.zxid { noteLater(stat) }
        if newest > summary.largestZxid { summary.largestZxid = newest }
        guard stat.ephemeralOwner < 0, !limits.extendedTypes, !sessionsLikeTTL.contains(stat.ephemeralOwner),
            case .ttl = NodeKind(owner: stat.ephemeralOwner, extendedTypes: true), ttlNode == nil
        else { return }
        ttlNode = String(decoding: path, as: UTF8.self)
    }

    private mutating func noteLater(_ stat: StatPersisted) {
        guard summary.laterZxids.count < SnapshotSummary.maxLaterZxids else { return }
        for zxid in [stat.czxid, stat.mzxid, stat.pzxid]
        where zxid > summary.zxid && zxid != summary.laterZxids.last {
            summary.laterZxids.append(zxid)
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
