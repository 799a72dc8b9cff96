internal import ZooKeeperProtocol

/// Takes the body of a snapshot apart: sessions, ACL table, nodes, and the mark behind them (docs/protocol/disk-format.md
/// section 4.1). The body is the same in a file and in a leader's SNAP stream.
///
/// It keeps no bytes. Whoever has them hands over what is there, and gets told how much of it was understood; the rest is
/// the beginning of something that needs more.
struct SnapshotBodyScanner {
    private let maxBufferBytes: Int
    private let extendedTypes: Bool
    private var part = Part.sessionCount
    /// Grows as the body is read.
    private(set) var summary: SnapshotSummary
    /// The first TTL node where there should be none. It is a reason to stop only once the body proved whole.
    private(set) var ttlNode: String?
    /// Sessions whose ids look like the owners of TTL nodes.
    private var sessionsLikeTTL: Set<Int64> = []

    private enum Part {
        case sessionCount
        case sessions(left: Int32)
        case aclCount
        case acls(left: Int32)
        case nodes
        case end
    }

    /// No node and no ACL list is longer, as every one of them came in one request.
    static func maximumRecordBytes(_ limits: ReadingLimits) -> Int { max(8 << 20, 2 * limits.maxBufferBytes + 1024) }

    init(_ summary: SnapshotSummary, limits: ReadingLimits) {
        self.summary = summary
        maxBufferBytes = limits.maxBufferBytes
        extendedTypes = limits.extendedTypes
    }

    /// Whether the mark behind the nodes was read.
    var isComplete: Bool { if case .end = part { true } else { false } }

    /// Whether nodes are being read, or were.
    var isAtNodes: Bool {
        switch part {
        case .nodes, .end: true
        case .sessionCount, .sessions, .aclCount, .acls: false
        }
    }

    /// What the next bytes belong to, in words.
    var place: String {
        switch part {
        case .sessionCount, .sessions: "in the session table"
        case .aclCount, .acls: "in the ACL table"
        case .nodes, .end: "among the nodes"
        }
    }

    /// Gives everything that is whole to the sink.
    ///
    /// - Parameter bytes: of the body, from where the last call stopped.
    /// - Returns: how many of them were read. Nothing is read behind the mark that ends the nodes.
    mutating func scan<Sink: SnapshotSink & ~Copyable>(
        _ bytes: UnsafeRawBufferPointer,
        into sink: inout Sink
    ) throws(SnapshotBodyError) -> Int {
        var reader = JuteReader(bytes, maxBufferBytes: maxBufferBytes)
        while !isAtNodes {
            let start = reader
            do {
                try readTable(&reader, into: &sink)
            } catch {
                let offset = bytes.count - start.remaining
                guard error == .truncated else {
                    let what = if case .acls = part { "ACL table" } else { "session table" }
                    throw SnapshotBodyError("the \(what) cannot be read (\(error))", at: offset)
                }
                return offset
            }
        }
        if !isComplete { try readNodes(&reader, bytes.count, into: &sink) }
        return bytes.count - reader.remaining
    }

    /// One count, or one entry.
    private mutating func readTable<Sink: SnapshotSink & ~Copyable>(
        _ reader: inout JuteReader,
        into sink: inout Sink
    ) throws(JuteError) {
        switch part {
        case .sessionCount:
            part = .sessions(left: try reader.int32())
        case .sessions(let left):
            guard left > 0 else {
                part = .aclCount
                return
            }
            let id = try reader.int64()
            let timeout = try reader.int32()
            if id < 0 { sessionsLikeTTL.insert(id) }
            sink.restore(session: SessionID(id), timeoutMilliseconds: timeout)
            summary.sessions += 1
            part = .sessions(left: left - 1)
        case .aclCount:
            part = .acls(left: try reader.int32())
        case .acls(let left):
            guard left > 0 else {
                part = .nodes
                return
            }
            let id = try reader.int64()
            let acl = try ACL.list(from: &reader)
            sink.restore(aclID: id, acl: acl)
            part = .acls(left: left - 1)
        case .nodes, .end:
            return
        }
    }

    private mutating func readNodes<Sink: SnapshotSink & ~Copyable>(
        _ reader: inout JuteReader,
        _ count: Int,
        into sink: inout Sink
    ) throws(SnapshotBodyError) {
        while true {
            let start = reader
            let node: (path: UnsafeRawBufferPointer, data: UnsafeRawBufferPointer?, aclID: Int64)
            let stat: StatPersisted
            do {
                node.path = try reader.requiredBuffer()
                if node.path.count == 1, node.path[0] == SnapshotFormat.endMark {
                    part = .end
                    return
                }
                node.data = try reader.buffer()
                node.aclID = try reader.int64()
                stat = try StatPersisted(from: &reader)
            } catch {
                // Only the end of the bytes is a reason to stop here, in front of the node that it cuts in two.
                guard error == .truncated else {
                    throw SnapshotBodyError("a node cannot be read (\(error))", at: count - start.remaining)
                }
                reader = start
                return
            }
            note(stat, node.path)
            do {
                try sink.restore(path: node.path, data: node.data, aclID: node.aclID, stat: stat)
            } catch {
                throw SnapshotBodyError("\(error)", at: count - start.remaining)
            }
        }
    }

    private mutating func note(_ stat: StatPersisted, _ path: UnsafeRawBufferPointer) {
        summary.nodes += 1
        let newest = max(stat.mzxid, max(stat.pzxid, stat.czxid))
        if newest > summary.zxid { noteLater(stat) }
        if newest > summary.largestZxid { summary.largestZxid = newest }
        guard stat.ephemeralOwner < 0, !extendedTypes, !sessionsLikeTTL.contains(stat.ephemeralOwner),
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
}

/// What is wrong with a snapshot's body.
struct SnapshotBodyError: Error {
    var reason: String
    /// Of the first byte of what cannot be read, among those that were handed over.
    var offset: Int

    init(_ reason: String, at offset: Int) {
        self.reason = reason
        self.offset = offset
    }
}
