/// What servers tell each other on an election connection: whom they vote for, or whom they follow
/// (docs/protocol/quorum-protocol.md section 5.1).
package struct Notification: Hashable, Sendable {
    /// What the sender is doing.
    @frozen
    package enum State: Int32, Hashable, Sendable, CaseIterable {
        case looking = 0
        case following = 1
        case leading = 2
        case observing = 3
    }

    package var state: State
    /// Whom the sender wants to lead, or who does; `.none` if it takes no part and knows no leader.
    package var leader: ServerID
    /// The last zxid of `leader`; −1 of a server that has not loaded its data, `Int64.min` of one that takes no part.
    package var zxid: Zxid
    /// The sender's round.
    package var electionEpoch: Int64
    /// The current epoch of `leader`.
    package var peerEpoch: Epoch
    /// 2 is the one that is sent; 0 and 1 come from servers before 3.5.
    package var version: Int32
    /// The text of the sender's committed configuration, not parsed; nil below version 2.
    package var configuration: [UInt8]?

    package static let currentVersion: Int32 = 2

    /// The longest frame that is read; the next byte ends the connection (section 4).
    package static let maxFrameBytes = 512 * 1024

    package init(
        state: State,
        leader: ServerID,
        zxid: Zxid,
        electionEpoch: Int64,
        peerEpoch: Epoch,
        configuration: [UInt8],
        version: Int32 = Notification.currentVersion
    ) {
        self.state = state
        self.leader = leader
        self.zxid = zxid
        self.electionEpoch = electionEpoch
        self.peerEpoch = peerEpoch
        self.version = version
        self.configuration = version > 1 ? configuration : nil
    }

    /// Reads a frame's payload, without its length, by the rules of section 5.1 for every length.
    ///
    /// - Throws: what makes it to be dropped: the message alone, never the connection.
    package static func parse(_ payload: UnsafeRawBufferPointer) throws(JuteError) -> Notification {
        guard payload.count >= 28 else { throw .truncated }
        var reader = JuteReader(payload, maxBufferBytes: payload.count)
        let stateNumber = try reader.int32()
        guard let state = State(rawValue: stateNumber) else { throw .badValue(Int64(stateNumber)) }
        let leader = ServerID(try reader.int64())
        let zxid = Zxid(try reader.int64())
        let electionEpoch = try reader.int64()
        let peerEpoch = payload.count == 28 ? zxid.epoch : Epoch(try reader.int64())
        // Exactly 40 is what version 1 sends: its number is there, but nobody looks at it.
        let version = payload.count == 28 || payload.count == 40 ? 0 : try reader.int32()
        var configuration: [UInt8] = []
        if version > 1 { configuration = [UInt8](try reader.requiredBuffer()) }
        return Notification(
            state: state,
            leader: leader,
            zxid: zxid,
            electionEpoch: electionEpoch,
            peerEpoch: peerEpoch,
            configuration: configuration,
            version: version
        )
    }

    /// Writes the whole frame: its length, then the payload.
    package func write(to writer: inout JuteWriter) {
        let lengthOffset = writer.count
        writer.reserve(48 + (configuration?.count ?? 0))
        writer.int32(0)
        writer.int32(state.rawValue)
        writer.int64(leader.rawValue)
        writer.int64(zxid.rawValue)
        writer.int64(electionEpoch)
        writer.int64(peerEpoch.rawValue)
        writer.int32(version)
        if version > 1 { writer.buffer(configuration ?? []) }
        writer.patch(Int32(truncatingIfNeeded: writer.count - lengthOffset - 4), at: lengthOffset)
    }

    /// Takes the next complete frame from the front of what an election connection received.
    ///
    /// - Returns: the payload, which borrows from `bytes`, and how many bytes the frame took; nil when it is not complete.
    /// - Throws: `JuteError.badLength` for a length outside 1...`maxFrameBytes`: the connection ends.
    package static func frame(
        in bytes: UnsafeRawBufferPointer
    ) throws(JuteError) -> (payload: UnsafeRawBufferPointer, size: Int)? {
        guard bytes.count >= 4 else { return nil }
        let length = Int32(bigEndian: bytes.loadUnaligned(as: Int32.self))
        guard length >= 1, length <= maxFrameBytes else { throw .badLength(length) }
        let size = 4 + Int(length)
        guard bytes.count >= size else { return nil }
        return (UnsafeRawBufferPointer(rebasing: bytes[4..<size]), size)
    }
}
