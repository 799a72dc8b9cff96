/// The first frame of a connection (docs/protocol/client-protocol.md section 3).
package struct ConnectRequest {
    package var lastZxidSeen: Zxid
    package var timeoutMilliseconds: Int32
    package var session: SessionID
    /// A view into the frame.
    package var password: UnsafeRawBufferPointer?
    /// nil when the client is too old to send the byte.
    package var readOnly: Bool?

    package init(from reader: inout JuteReader) throws(JuteError) {
        _ = try reader.int32()  // The protocol version, which no server looks at.
        lastZxidSeen = Zxid(try reader.int64())
        timeoutMilliseconds = try reader.int32()
        session = SessionID(try reader.int64())
        password = try reader.buffer()
        readOnly = reader.remaining > 0 ? try reader.bool() : nil
    }
}

/// Event types and the one state that a server reports (docs/protocol/client-protocol.md section 10.2).
package enum WatcherEvent {
    package enum Kind: Int32, Sendable {
        case nodeCreated = 1
        case nodeDeleted = 2
        case nodeDataChanged = 3
        case nodeChildrenChanged = 4
    }

    package static let syncConnected: Int32 = 3

    package static func write(_ kind: Kind, path: UnsafeRawBufferPointer, to writer: inout JuteWriter) {
        writer.int32(kind.rawValue)
        writer.int32(syncConnected)
        writer.buffer(path)
    }
}
