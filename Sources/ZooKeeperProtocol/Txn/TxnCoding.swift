extension Txn {
    /// Writes header, body and digest: the payload of a log record and of a PROPOSAL, byte for byte.
    package func write(to writer: inout JuteWriter) {
        writer.reserve(44)
        writer.int64(header.session.rawValue)
        writer.int32(header.cxid)
        writer.int64(header.zxid.rawValue)
        writer.int64(header.time)
        writer.int32(body.type.rawValue)
        body.write(to: &writer)
        if let digest {
            writer.int32(digest.version)
            writer.int64(Int64(bitPattern: digest.value))
        }
    }

    /// Reads a payload that `write(to:)` or Apache wrote.
    ///
    /// - Throws: `JuteError` when the bytes end early or hold an unknown type.
    package init(payload: UnsafeRawBufferPointer, maxBufferBytes: Int = JuteReader.defaultMaxBufferBytes)
        throws(JuteError)
    {
        var reader = JuteReader(payload, maxBufferBytes: maxBufferBytes)
        let session = SessionID(try reader.int64())
        let cxid = try reader.int32()
        let zxid = Zxid(try reader.int64())
        let time = try reader.int64()
        let type = try reader.int32()
        header = TxnHeader(session: session, cxid: cxid, zxid: zxid, time: time)
        body = try TxnBody(type: type, from: &reader, isInsideMulti: false)
        if reader.remaining >= 12 {
            let version = try reader.int32()
            digest = TxnDigest(version: version, value: UInt64(bitPattern: try reader.int64()))
        } else {
            digest = nil
        }
    }

    /// The zxid of a payload, without reading the rest; nil when it is too short.
    package static func zxid(ofPayload payload: UnsafeRawBufferPointer) -> Zxid? {
        guard payload.count >= 20 else { return nil }
        return Zxid(Int64(bigEndian: payload.loadUnaligned(fromByteOffset: 12, as: Int64.self)))
    }
}

extension TxnBody {
    /// Writes the body without its type.
    package func write(to writer: inout JuteWriter) {
        switch self {
        case .createSession(let timeoutMilliseconds):
            writer.int32(timeoutMilliseconds)
        case .closeSession(let paths):
            guard let paths else { return }
            writer.int32(Int32(truncatingIfNeeded: paths.count))
            for path in paths { writer.buffer(path) }
        case .error(let code):
            writer.int32(code.rawValue)
        case .create(let txn):
            txn.write(to: &writer)
        case .delete(let path, _):
            writer.buffer(path)
        case .setData(let path, let data, let version, _):
            writer.buffer(path)
            writer.buffer(data)
            writer.int32(version)
        case .setACL(let path, let acl, let version):
            writer.buffer(path)
            ACL.write(acl, to: &writer)
            writer.int32(version)
        case .check(let path, let version):
            writer.buffer(path)
            writer.int32(version)
        case .multi(let parts):
            writer.int32(Int32(truncatingIfNeeded: parts.count))
            for part in parts {
                writer.int32(part.type.rawValue)
                let lengthOffset = writer.count
                writer.int32(0)
                part.write(to: &writer)
                writer.patch(Int32(truncatingIfNeeded: writer.count - lengthOffset - 4), at: lengthOffset)
            }
        }
    }

    /// How many bytes `write(to:)` writes.
    package var encodedSize: Int {
        switch self {
        case .createSession, .error: 4
        case .closeSession(let paths): paths.map { 4 + $0.reduce(0) { $0 + 4 + $1.count } } ?? 0
        case .create(let txn): txn.encodedSize
        case .delete(let path, _): 4 + path.count
        case .setData(let path, let data, _, _): 12 + path.count + (data?.count ?? 0)
        case .setACL(let path, let acl, _): 8 + path.count + ACL.encodedSize(acl)
        case .check(let path, _): 8 + path.count
        case .multi(let parts): parts.reduce(4) { $0 + 8 + $1.encodedSize }
        }
    }

    /// - Parameter isInsideMulti: a multi in a multi is refused, so that hostile bytes cannot nest without end.
    init(type: Int32, from reader: inout JuteReader, isInsideMulti: Bool) throws(JuteError) {
        guard let operation = Operation(rawValue: type) else { throw .badValue(Int64(type)) }
        switch operation {
        case .createSession:
            self = .createSession(timeoutMilliseconds: try reader.int32())
        case .closeSession:
            self = .closeSession(paths: try TxnBody.closedPaths(from: &reader))
        case .error:
            self = .error(ErrorCode(try reader.int32()))
        case .create, .create2, .createContainer, .createTTL:
            self = .create(try CreateTxn(operation, from: &reader))
        case .delete, .deleteContainer:
            self = .delete(
                path: [UInt8](try reader.requiredBuffer()),
                byContainerCheck: operation == .deleteContainer
            )
        case .setData, .reconfig:
            let path = [UInt8](try reader.requiredBuffer())
            let data = try reader.bytes()
            self = .setData(
                path: path,
                data: data,
                version: try reader.int32(),
                isReconfig: operation == .reconfig
            )
        case .setACL:
            let path = [UInt8](try reader.requiredBuffer())
            let acl = try ACL.list(from: &reader)
            self = .setACL(path: path, acl: acl, version: try reader.int32())
        case .check:
            let path = [UInt8](try reader.requiredBuffer())
            self = .check(path: path, version: try reader.int32())
        case .multi:
            guard !isInsideMulti else { throw .badValue(Int64(type)) }
            self = .multi(try TxnBody.parts(from: &reader))
        case .exists, .getData, .getACL, .getChildren, .sync, .ping, .getChildren2, .checkWatches, .removeWatches,
            .multiRead, .auth, .setWatches, .sasl, .getEphemerals, .getAllChildrenNumber, .setWatches2, .addWatch,
            .whoAmI:
            throw .badValue(Int64(type))
        }
    }

    /// The list of a closeSession record. Records of the old form have none; what follows them can then only be a
    /// digest, whose version would read as a count of two or more paths in eight bytes, and no path is empty.
    private static func closedPaths(from reader: inout JuteReader) throws(JuteError) -> [[UInt8]]? {
        guard reader.remaining > 0 else { return nil }
        if reader.remaining == 12 {
            var ahead = reader
            if try ahead.int32() >= TxnDigest.version { return nil }
        }
        var paths: [[UInt8]] = []
        for _ in 0..<(try reader.vectorCount() ?? 0) {
            paths.append([UInt8](try reader.requiredBuffer()))
        }
        return paths
    }

    private static func parts(from reader: inout JuteReader) throws(JuteError) -> [TxnBody] {
        var parts: [TxnBody] = []
        for _ in 0..<(try reader.vectorCount() ?? 0) {
            let type = try reader.int32()
            var body = JuteReader(try reader.requiredBuffer(), maxBufferBytes: reader.maxBufferBytes)
            parts.append(try TxnBody(type: type, from: &body, isInsideMulti: true))
        }
        return parts
    }
}

extension TxnBody.CreateTxn {
    var encodedSize: Int {
        let end =
            switch kind {
            case .create, .create2: 5
            case .container: 4
            case .ttl: 12
            }
        return 8 + path.count + (data?.count ?? 0) + ACL.encodedSize(acl) + end
    }

    func write(to writer: inout JuteWriter) {
        writer.buffer(path)
        writer.buffer(data)
        ACL.write(acl, to: &writer)
        switch kind {
        case .create, .create2:
            writer.bool(isEphemeral)
            writer.int32(parentCVersion)
        case .container:
            writer.int32(parentCVersion)
        case .ttl(let milliseconds):
            writer.int32(parentCVersion)
            writer.int64(milliseconds)
        }
    }

    init(_ operation: Operation, from reader: inout JuteReader) throws(JuteError) {
        path = [UInt8](try reader.requiredBuffer())
        data = try reader.bytes()
        acl = try ACL.list(from: &reader)
        isEphemeral = false
        if operation == .createContainer {
            kind = .container
            parentCVersion = try reader.int32()
        } else if operation == .createTTL {
            parentCVersion = try reader.int32()
            let milliseconds = try reader.int64()
            // A value outside would be stored as another kind of node: refuse the record instead of applying it.
            guard milliseconds > 0, milliseconds <= NodeKind.maxTTLMilliseconds else { throw .badValue(milliseconds) }
            kind = .ttl(milliseconds: milliseconds)
        } else {
            kind = operation == .create2 ? .create2 : .create
            isEphemeral = try reader.bool()
            // Records older than 3.5 end here.
            parentCVersion = reader.remaining >= 4 ? try reader.int32() : -1
        }
    }
}
