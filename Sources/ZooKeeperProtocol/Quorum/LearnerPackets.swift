/// The data of FOLLOWERINFO and OBSERVERINFO; the packet's zxid carries the accepted epoch
/// (docs/protocol/quorum-protocol.md sections 6 and 7).
package struct LearnerInfo: Hashable, Sendable {
    /// What every server since ZooKeeper 3.4 says.
    package static let protocolVersion: Int32 = 0x10000

    package var server: ServerID
    /// Below `LearnerInfo.protocolVersion`: a learner that knows neither LEADERINFO nor ACKEPOCH.
    package var protocolVersion: Int32
    /// Of the learner's committed configuration.
    package var configurationVersion: Int64

    package init(
        server: ServerID,
        protocolVersion: Int32 = LearnerInfo.protocolVersion,
        configurationVersion: Int64
    ) {
        self.server = server
        self.protocolVersion = protocolVersion
        self.configurationVersion = configurationVersion
    }

    /// Older learners send 12 or 8 bytes: what is missing is zero.
    ///
    /// - Throws: without a server id; Apache then invents a negative one, which nobody has sent since 3.3.
    package init(data: UnsafeRawBufferPointer?) throws(JuteError) {
        guard let data else { throw .unexpectedNull }
        var reader = JuteReader(data)
        server = ServerID(try reader.int64())
        protocolVersion = reader.remaining >= 4 ? try reader.int32() : 0
        configurationVersion = reader.remaining >= 8 ? try reader.int64() : 0
    }

    package func write(to writer: inout JuteWriter) {
        writer.int64(server.rawValue)
        writer.int32(protocolVersion)
        writer.int64(configurationVersion)
    }
}

/// The data of LEADERINFO; the packet's zxid carries the epoch.
package struct LeaderInfo: Hashable, Sendable {
    package var protocolVersion: Int32

    package init(protocolVersion: Int32 = LearnerInfo.protocolVersion) {
        self.protocolVersion = protocolVersion
    }

    package init(data: UnsafeRawBufferPointer?) throws(JuteError) {
        guard let data else { throw .unexpectedNull }
        var reader = JuteReader(data)
        protocolVersion = try reader.int32()
    }

    package func write(to writer: inout JuteWriter) {
        writer.int32(protocolVersion)
    }
}

/// The data of ACKEPOCH; the packet's zxid is where the learner's log ends.
package struct EpochAcknowledgement: Hashable, Sendable {
    /// nil, −1 on the wire, where the learner had accepted this epoch before: it does not count for the quorum.
    package var currentEpoch: Epoch?

    package init(currentEpoch: Epoch?) {
        self.currentEpoch = currentEpoch
    }

    package init(data: UnsafeRawBufferPointer?) throws(JuteError) {
        guard let data else { throw .unexpectedNull }
        var reader = JuteReader(data)
        let value = try reader.int32()
        guard value >= -1 else { throw .badValue(Int64(value)) }
        currentEpoch = value == -1 ? nil : Epoch(Int64(value))
    }

    package func write(to writer: inout JuteWriter) {
        writer.int32(Int32(truncatingIfNeeded: currentEpoch?.rawValue ?? -1))
    }
}

/// The data of REQUEST: a client's write on its way to the leader (docs/protocol/quorum-protocol.md section 12.1).
package struct ForwardedRequest {
    package var session: SessionID
    package var cxid: Int32
    /// As sent; what it means is the leader's to judge.
    package var operation: Int32
    /// The request's record, without its header; a view into the packet.
    package var body: UnsafeRawBufferPointer

    package init(session: SessionID, cxid: Int32, operation: Int32, body: UnsafeRawBufferPointer) {
        self.session = session
        self.cxid = cxid
        self.operation = operation
        self.body = body
    }

    package init(data: UnsafeRawBufferPointer?) throws(JuteError) {
        guard let data else { throw .unexpectedNull }
        var reader = JuteReader(data)
        session = SessionID(try reader.int64())
        cxid = try reader.int32()
        operation = try reader.int32()
        body = reader.rest
    }

    package func write(to writer: inout JuteWriter) {
        writer.int64(session.rawValue)
        writer.int32(cxid)
        writer.int32(operation)
        writer.raw(body)
    }
}

/// A session that was active at a learner: one element of the answer to a PING
/// (docs/protocol/quorum-protocol.md section 12.3).
package struct SessionTouch: Hashable, Sendable {
    package var session: SessionID
    package var timeoutMilliseconds: Int32

    package static let encodedSize = 12

    package init(session: SessionID, timeoutMilliseconds: Int32) {
        self.session = session
        self.timeoutMilliseconds = timeoutMilliseconds
    }

    package func write(to writer: inout JuteWriter) {
        writer.int64(session.rawValue)
        writer.int32(timeoutMilliseconds)
    }

    /// The data of a PING: null from a leader, possibly empty from a learner.
    ///
    /// - Throws: `JuteError.truncated` unless whole elements fill it.
    package static func list(data: UnsafeRawBufferPointer?) throws(JuteError) -> [SessionTouch] {
        guard let data, !data.isEmpty else { return [] }
        guard data.count % encodedSize == 0 else { throw .truncated }
        var reader = JuteReader(data)
        var touches: [SessionTouch] = []
        // The bytes are there, so that the memory is bounded by what was received.
        touches.reserveCapacity(data.count / encodedSize)
        while reader.remaining > 0 {
            let session = SessionID(try reader.int64())
            touches.append(SessionTouch(session: session, timeoutMilliseconds: try reader.int32()))
        }
        return touches
    }
}

/// The data of REVALIDATE, to and from the leader (docs/protocol/quorum-protocol.md section 12.3).
package enum Revalidation {
    /// A learner asks for a client that came back.
    package struct Request: Hashable, Sendable {
        package var session: SessionID
        package var timeoutMilliseconds: Int32

        package init(session: SessionID, timeoutMilliseconds: Int32) {
            self.session = session
            self.timeoutMilliseconds = timeoutMilliseconds
        }

        package init(data: UnsafeRawBufferPointer?) throws(JuteError) {
            guard let data else { throw .unexpectedNull }
            var reader = JuteReader(data)
            session = SessionID(try reader.int64())
            timeoutMilliseconds = try reader.int32()
        }

        package func write(to writer: inout JuteWriter) {
            writer.int64(session.rawValue)
            writer.int32(timeoutMilliseconds)
        }
    }

    /// The leader answers.
    package struct Reply: Hashable, Sendable {
        package var session: SessionID
        package var isValid: Bool

        package init(session: SessionID, isValid: Bool) {
            self.session = session
            self.isValid = isValid
        }

        package init(data: UnsafeRawBufferPointer?) throws(JuteError) {
            guard let data else { throw .unexpectedNull }
            var reader = JuteReader(data)
            session = SessionID(try reader.int64())
            isValid = try reader.bool()
        }

        package func write(to writer: inout JuteWriter) {
            writer.int64(session.rawValue)
            writer.bool(isValid)
        }
    }
}

/// The data of COMMITANDACTIVATE and INFORMANDACTIVATE (docs/protocol/quorum-protocol.md section 15).
package struct Activation {
    /// Who shall lead under the new configuration.
    package var designatedLeader: ServerID
    /// The transaction's bytes with INFORMANDACTIVATE, a view into the packet; nothing with COMMITANDACTIVATE.
    package var txn: UnsafeRawBufferPointer

    package init(
        designatedLeader: ServerID,
        txn: UnsafeRawBufferPointer = UnsafeRawBufferPointer(start: nil, count: 0)
    ) {
        self.designatedLeader = designatedLeader
        self.txn = txn
    }

    package init(data: UnsafeRawBufferPointer?) throws(JuteError) {
        guard let data else { throw .unexpectedNull }
        var reader = JuteReader(data)
        designatedLeader = ServerID(try reader.int64())
        txn = reader.rest
    }

    package func write(to writer: inout JuteWriter) {
        writer.int64(designatedLeader.rawValue)
        writer.raw(txn)
    }
}
