/// One step of the SASL exchange between servers (docs/protocol/quorum-protocol.md section 16.3).
package struct QuorumAuthPacket {
    /// What tells it from an unauthenticated peer's first bytes.
    package static let magic: Int64 = 0x5f24_3501_3501_edcc

    /// The longest token that is read; DIGEST-MD5 and Kerberos stay far below.
    package static let maxTokenBytes = 64 * 1024

    @frozen
    package enum Status: Int32, Hashable, Sendable {
        case inProgress = 0
        case success = 1
        case error = -1
    }

    package var status: Status
    /// A view into the bytes given to `parse`; nil is null.
    package var token: UnsafeRawBufferPointer?

    package init(status: Status, token: UnsafeRawBufferPointer?) {
        self.status = status
        self.token = token
    }

    /// Whether a peer that sent these bytes wants to authenticate; nil until eight of them are there.
    package static func begins(_ bytes: UnsafeRawBufferPointer) -> Bool? {
        guard bytes.count >= 8 else { return nil }
        return Int64(bigEndian: bytes.loadUnaligned(as: Int64.self)) == magic
    }

    /// Takes the next complete packet from the front of `bytes`; nil when it is not complete.
    package static func parse(
        _ bytes: UnsafeRawBufferPointer
    ) throws(JuteError) -> (packet: QuorumAuthPacket, size: Int)? {
        var reader = JuteReader(bytes, maxBufferBytes: maxTokenBytes)
        do throws(JuteError) {
            let number = try reader.int64()
            guard number == magic else { throw .badValue(number) }
            let statusNumber = try reader.int32()
            guard let status = Status(rawValue: statusNumber) else { throw .badValue(Int64(statusNumber)) }
            let token = try reader.buffer()
            return (QuorumAuthPacket(status: status, token: token), bytes.count - reader.remaining)
        } catch {
            if error == .truncated { return nil }
            throw error
        }
    }

    package func write(to writer: inout JuteWriter) {
        writer.int64(QuorumAuthPacket.magic)
        writer.int32(status.rawValue)
        writer.buffer(token)
    }
}
