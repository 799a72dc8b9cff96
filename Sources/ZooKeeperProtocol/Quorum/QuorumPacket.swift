/// What a packet between a learner and its leader says (docs/protocol/quorum-protocol.md section 6).
@frozen
package enum QuorumPacketType: Int32, Hashable, Sendable, CaseIterable {
    /// REQUEST: a write that a client sent to a learner.
    case request = 1
    /// PROPOSAL: a transaction to be logged and acknowledged.
    case proposal = 2
    /// ACK: everything up to here is durable.
    case ack = 3
    /// COMMIT: a quorum has logged the proposal.
    case commit = 4
    /// PING, and its answer with the sessions that were active since the last.
    case ping = 5
    /// REVALIDATE: does this session exist, and its answer.
    case revalidate = 6
    /// SYNC: the oldest waiting sync of a client of the learner may be answered.
    case sync = 7
    /// INFORM: a committed transaction, for observers.
    case inform = 8
    /// COMMITANDACTIVATE: COMMIT of a reconfiguration.
    case commitAndActivate = 9
    /// NEWLEADER: the end of the history that a learner must have.
    case newLeader = 10
    /// FOLLOWERINFO: a follower introduces itself.
    case followerInfo = 11
    /// UPTODATE: a quorum has the history; serve clients.
    case upToDate = 12
    /// DIFF: keep what is there, the rest follows.
    case diff = 13
    /// TRUNC: forget what stands behind this zxid.
    case trunc = 14
    /// SNAP: forget everything, a snapshot follows.
    case snap = 15
    /// OBSERVERINFO: an observer introduces itself.
    case observerInfo = 16
    /// LEADERINFO: the epoch that the leader proposes.
    case leaderInfo = 17
    /// ACKEPOCH: the epoch is accepted; where the learner's log ends.
    case ackEpoch = 18
    /// INFORMANDACTIVATE: INFORM of a reconfiguration.
    case informAndActivate = 19
}

/// One record on a connection of the quorum port (docs/protocol/quorum-protocol.md section 6).
///
/// Packets follow each other without a length in front; a SNAP packet is followed by a raw snapshot.
package struct QuorumPacket {
    /// As sent: unknown ones are ignored by the rules of section 6, not refused by the codec.
    package var type: Int32
    package var zxid: Zxid
    /// A view into the bytes given to `parse`; nil is null, which differs from empty.
    package var data: UnsafeRawBufferPointer?
    /// Whose request it is; nil, which is null, with everything but REQUEST.
    package var identities: [Identity]?

    package init(type: Int32, zxid: Zxid, data: UnsafeRawBufferPointer?, identities: [Identity]? = nil) {
        self.type = type
        self.zxid = zxid
        self.data = data
        self.identities = identities
    }

    /// nil where `type` is none that we know.
    package var kind: QuorumPacketType? { QuorumPacketType(rawValue: type) }

    /// The most identities that a packet may carry. A client collects one by each `auth`; section 1 leaves the bound to us.
    package static let maxIdentities = 1024

    /// Bytes of a packet without data and identities.
    package static let minimumSize = 20

    /// The most bytes that a packet can have: how much a reader of a link must be ready to hold.
    package static func maximumSize(maxBufferBytes: Int) -> Int {
        minimumSize + 2 * maxBufferBytes + 8 * maxIdentities
    }

    package static func write(
        _ type: QuorumPacketType,
        zxid: Zxid,
        data: UnsafeRawBufferPointer? = nil,
        identities: [Identity]? = nil,
        to writer: inout JuteWriter
    ) {
        writer.reserve(minimumSize + (data?.count ?? 0))
        writer.int32(type.rawValue)
        writer.int64(zxid.rawValue)
        writer.buffer(data)
        write(identities, to: &writer)
    }

    /// Writes a packet whose data is written by `body`, without a copy in between.
    package static func write(
        _ type: QuorumPacketType,
        zxid: Zxid,
        identities: [Identity]? = nil,
        to writer: inout JuteWriter,
        data body: (inout JuteWriter) -> Void
    ) {
        writer.int32(type.rawValue)
        writer.int64(zxid.rawValue)
        let lengthOffset = writer.count
        writer.int32(0)
        body(&writer)
        writer.patch(Int32(truncatingIfNeeded: writer.count - lengthOffset - 4), at: lengthOffset)
        write(identities, to: &writer)
    }

    /// Passes a packet on as it is, of whatever type.
    package func write(to writer: inout JuteWriter) {
        writer.reserve(QuorumPacket.minimumSize + (data?.count ?? 0))
        writer.int32(type)
        writer.int64(zxid.rawValue)
        writer.buffer(data)
        QuorumPacket.write(identities, to: &writer)
    }

    private static func write(_ identities: [Identity]?, to writer: inout JuteWriter) {
        guard let identities else { return writer.int32(-1) }
        writer.int32(Int32(truncatingIfNeeded: identities.count))
        for identity in identities {
            writer.string(identity.scheme)
            writer.string(identity.id)
        }
    }

    /// Takes the next complete packet from the front of `bytes`.
    ///
    /// - Parameter maxBufferBytes: the most bytes of the data, and of all identities together (section 1).
    /// - Returns: the packet, which borrows from `bytes`, and how many bytes it took; nil when it is not complete.
    /// - Throws: `JuteError.badLength` and `.unexpectedNull`: the connection cannot be read any further.
    package static func parse(
        _ bytes: UnsafeRawBufferPointer,
        maxBufferBytes: Int = JuteReader.defaultMaxBufferBytes
    ) throws(JuteError) -> (packet: QuorumPacket, size: Int)? {
        var reader = JuteReader(bytes, maxBufferBytes: maxBufferBytes)
        do throws(JuteError) {
            let type = try reader.int32()
            let zxid = Zxid(try reader.int64())
            let data = try reader.buffer()
            // Passed over first, so that one that is not complete makes no strings.
            let identitiesStart = reader
            try skipIdentities(in: &reader)
            let size = bytes.count - reader.remaining
            var identitiesReader = identitiesStart
            let identities = try readIdentities(from: &identitiesReader)
            return (QuorumPacket(type: type, zxid: zxid, data: data, identities: identities), size)
        } catch {
            if error == .truncated { return nil }
            throw error
        }
    }

    private static func skipIdentities(in reader: inout JuteReader) throws(JuteError) {
        let count = try reader.int32()
        guard count >= -1, count <= maxIdentities else { throw .badLength(count) }
        var totalBytes = 0
        for _ in 0..<max(count, 0) {
            totalBytes += try reader.requiredBuffer().count
            totalBytes += try reader.requiredBuffer().count
            guard totalBytes <= reader.maxBufferBytes else {
                throw .badLength(Int32(truncatingIfNeeded: totalBytes))
            }
        }
    }

    private static func readIdentities(from reader: inout JuteReader) throws(JuteError) -> [Identity]? {
        guard let count = try reader.vectorCount() else { return nil }
        var identities: [Identity] = []
        for _ in 0..<count {
            let scheme = String(decoding: try reader.requiredBuffer(), as: UTF8.self)
            let id = String(decoding: try reader.requiredBuffer(), as: UTF8.self)
            identities.append(Identity(scheme: scheme, id: id))
        }
        return identities
    }
}
