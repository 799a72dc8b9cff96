import ZooKeeperProtocol

/// How replies are completed, and counted.
extension ServerCore {
    /// Completes a reply, and counts it.
    @inline(__always)
    mutating func finish(
        _ start: Int,
        _ connection: ClientConnection,
        _ operation: Operation,
        _ xid: Int32,
        _ zxid: Zxid,
        arrived: Int64,
        at now: Now,
        into output: inout Output
    ) {
        statistics.replied(bytes: output.endFrame(start, to: connection.id))
        connection.statistics.replied(operation.shortName, cxid: xid, zxid: zxid, arrived: arrived, now: now)
        let latency = (now.monotonicMicroseconds - arrived) / 1000
        statistics.latency.add(latency)
        if operation.isWrite {
            statistics.updateLatency.add(latency)
        } else if operation != .ping {
            statistics.readLatency.add(latency)
        }
    }

    /// The reply to a write that is applied.
    mutating func reply(
        to connection: ClientConnection,
        _ entry: InFlight,
        _ applied: Applied,
        at now: Now,
        into output: inout Output
    ) {
        guard connection.phase != .closed else {
            statistics.staleReplies += 1
            return
        }
        let header = entry.txn.header
        switch entry.operation {
        case .createSession:
            // A leader whose disk is full makes none. That is no reason to tell a client that its session is over: it
            // never was, and another attempt may go well.
            if case .refused = applied { return close(connection.id, into: &output) }
            return finishConnect(connection, header, at: now, into: &output)
        case .error:
            // The server ended the session: there is nobody to answer, only a connection to close.
            return close(connection.id, into: &output)
        default:
            break
        }
        var code = ErrorCode.ok
        if case .refused(let refusal) = applied { code = refusal }
        if !isStandalone, hasMoved(entry.txn.body) { return close(connection.id, into: &output) }
        let start = output.beginReply(xid: header.cxid, zxid: header.zxid, error: code)
        if code == .ok { writeBody(entry, applied, into: &output) }
        finish(
            start,
            connection,
            entry.operation,
            header.cxid,
            header.zxid,
            arrived: entry.arrivedMicroseconds,
            at: now,
            into: &output
        )
        if entry.operation == .closeSession { close(connection.id, into: &output) }
    }

    private func writeBody(
        _ entry: InFlight,
        _ applied: Applied,
        into output: inout Output
    ) {
        if case .multi = entry.txn.body {
            multiResults.withBytes { output.clientBytes.raw($0) }
            return
        }
        switch entry.txn.body {
        case .create(let txn): output.clientBytes.buffer(txn.path)
        case .setData(_, let data, _, true): output.clientBytes.buffer(data)
        case .setData, .delete, .setACL, .check, .multi, .createSession, .closeSession, .error: break
        }
        guard case .node(let handle) = applied, entry.operation != .create else { return }
        tree.clientStat(handle).write(to: &output.clientBytes)
    }
}

extension Operation {
    /// Whether it makes a transaction.
    var isWrite: Bool {
        switch self {
        case .create, .delete, .setData, .setACL, .multi, .create2, .reconfig, .createContainer, .deleteContainer,
            .createTTL, .createSession, .closeSession, .error:
            true
        case .exists, .getData, .getACL, .getChildren, .sync, .ping, .getChildren2, .check, .checkWatches,
            .removeWatches, .multiRead, .auth, .setWatches, .sasl, .getEphemerals, .getAllChildrenNumber, .setWatches2,
            .addWatch, .whoAmI:
            false
        }
    }

    /// As `cons` calls it (docs/protocol/client-protocol.md section 19).
    var shortName: String {
        switch self {
        case .createSession: "SESS"
        case .ping: "PING"
        case .create, .create2, .createContainer, .createTTL: "CREA"
        case .delete, .deleteContainer: "DELE"
        case .exists: "EXIS"
        case .getData: "GETD"
        case .setData: "SETD"
        case .getACL: "GETA"
        case .setACL: "SETA"
        case .getChildren, .getChildren2: "GETC"
        case .getAllChildrenNumber: "GETACN"
        case .sync: "SYNC"
        case .multi: "MULT"
        case .multiRead: "MLTR"
        case .check: "CHEC"
        case .reconfig: "RECO"
        case .setWatches: "SETW"
        case .setWatches2: "STW2"
        case .addWatch: "ADDW"
        case .checkWatches: "CHKW"
        case .removeWatches: "REMW"
        case .getEphemerals: "GETE"
        case .whoAmI: "HOMI"
        case .closeSession: "CLOS"
        case .auth, .sasl, .error: "NA"
        }
    }
}
