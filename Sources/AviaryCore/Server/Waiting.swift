import ZooKeeperProtocol

/// What a connection asked for behind a write of its own: answered in the order of arrival, once that write is applied.
extension ServerCore {
    /// More than this one connection may have to be answered at once; it is not read from until that is done.
    private static let maxWaitingReplyBytes = 1 << 20
    /// The bound that holds whatever the estimate missed, because others made a node larger meanwhile.
    private static let maxDrainedBytes = 64 << 20

    /// Counts what a read that has to wait will be answered with: a few bytes of requests can ask for gigabytes.
    mutating func expectReply(to operation: Operation, _ reader: JuteReader, _ connection: ClientConnection) {
        connection.waitingReplyBytes += 128 + estimatedReply(to: operation, reader)
        if connection.waitingReplyBytes > ServerCore.maxWaitingReplyBytes { overfull.append(connection.id) }
    }

    private func estimatedReply(to operation: Operation, _ reader: JuteReader) -> Int {
        if operation == .multiRead { return ServerCore.maxWaitingReplyBytes }
        guard operation == .getData || operation == .getChildren || operation == .getChildren2 else { return 0 }
        var reader = reader
        // As it will be, with the writes in front of it.
        guard let path = (try? reader.buffer()) ?? nil, let node = look(path).state else { return 0 }
        return operation == .getData ? Int(max(node.dataLength, 0)) : Int(node.childCount) * 40
    }

    /// Answers what waited behind a write that is now applied, up to the next write.
    mutating func drain(_ connection: ClientConnection, at now: Now, into output: inout Output) {
        let start = output.clientBytes.count
        defer { if connection.waiting.isEmpty { connection.waitingReplyBytes = 0 } }
        while connection.phase != .closed, let waiting = connection.waiting.first {
            guard output.clientBytes.count - start <= ServerCore.maxDrainedBytes else {
                output.note(
                    .warning,
                    "closing a connection that asked for more than can be held for it at once",
                    [("peer", connection.peer.text), ("bytes", "\(output.clientBytes.count - start)")],
                    isLimited: true
                )
                return close(connection.id, into: &output)
            }
            switch waiting {
            case .inFlight:
                return
            case .sync(let frame, let identities, let arrived):
                guard connection.syncsDone > 0 else { return }
                connection.syncsDone -= 1
                connection.syncsWaiting -= 1
                _ = connection.waiting.popFirst()
                connections.waitingCount -= 1
                answerWaiting(frame, identities, arrived, connection, at: now, into: &output)
            case .deferred:
                carryOutDeferred(connection, at: now, into: &output)
            case .localClose(let xid, let arrived):
                _ = connection.waiting.popFirst()
                connections.waitingCount -= 1
                closeLocal(connection, xid, arrived: arrived, at: now, into: &output)
            case .read(let frame, let identities, let arrived):
                _ = connection.waiting.popFirst()
                connections.waitingCount -= 1
                answerWaiting(frame, identities, arrived, connection, at: now, into: &output)
            case .refusal(let xid, let operation, let code, let arrived):
                _ = connection.waiting.popFirst()
                connections.waitingCount -= 1
                let start = output.beginReply(xid: xid, zxid: lastProcessedZxid, error: code)
                finish(
                    start,
                    connection,
                    operation,
                    xid,
                    lastProcessedZxid,
                    arrived: arrived,
                    at: now,
                    into: &output
                )
            case .frame(let frame):
                // It may queue itself again, behind nothing but what came before it.
                guard connection.phase == .attached else { return }
                let rest = connection.waiting.takeAll()
                connections.waitingCount -= rest.count
                receiveAll(frame, rest, on: connection, at: now, into: &output)
                return
            }
        }
    }

    /// Looks at the frames that came while the session was being created, as if they came now.
    private mutating func receiveAll(
        _ first: [UInt8],
        _ rest: consuming FIFO<Waiting>,
        on connection: ClientConnection,
        at now: Now,
        into output: inout Output
    ) {
        var rest = rest
        _ = rest.popFirst()
        first.withUnsafeBytes { receive($0, on: connection, at: now, into: &output) }
        while let next = rest.popFirst() {
            guard case .frame(let frame) = next else { continue }
            frame.withUnsafeBytes { receive($0, on: connection, at: now, into: &output) }
        }
    }

    private mutating func answerWaiting(
        _ frame: [UInt8],
        _ identities: Identities,
        _ arrived: Int64,
        _ connection: ClientConnection,
        at now: Now,
        into output: inout Output
    ) {
        frame.withUnsafeBytes { frame in
            let xid = Int32(bigEndian: frame.loadUnaligned(as: Int32.self))
            let type = Int32(bigEndian: frame.loadUnaligned(fromByteOffset: 4, as: Int32.self))
            guard let operation = Operation(rawValue: type) else { return }
            let waited = (now.monotonicMicroseconds - arrived) / 1000
            if options.throttledOpWaitMilliseconds > 0, waited > options.throttledOpWaitMilliseconds,
                operation != .ping, operation != .sync || isStandalone
            {
                statistics.throttledOps += 1
                let start = output.beginReply(xid: xid, zxid: lastProcessedZxid, error: .throttledOp)
                return finish(
                    start,
                    connection,
                    operation,
                    xid,
                    lastProcessedZxid,
                    arrived: arrived,
                    at: now,
                    into: &output
                )
            }
            var reader = JuteReader(
                UnsafeRawBufferPointer(rebasing: frame[8...]),
                maxBufferBytes: options.maxBufferBytes
            )
            answer(
                operation,
                &reader,
                xid,
                connection,
                identities,
                arrived: arrived,
                at: now,
                into: &output
            )
        }
    }
}
