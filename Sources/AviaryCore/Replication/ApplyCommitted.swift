package import ZooKeeperProtocol

/// Transactions that another server prepared.
extension ServerCore {
    /// Applies a committed transaction, fires watches, and answers whoever waits for it here. In the order of zxids; one
    /// that is applied already is passed over.
    ///
    /// - Throws: `JuteError` when the payload is none.
    package mutating func applyCommitted(
        _ payload: UnsafeRawBufferPointer,
        at now: Now,
        into output: inout Output
    ) throws(JuteError) {
        let txn = try Txn(payload: payload)
        applyCommitted(txn, bytes: payload.count, at: now, into: &output)
    }

    /// - Parameter bytes: of the log that it takes.
    package mutating func applyCommitted(
        _ txn: Txn,
        bytes: Int = 0,
        at now: Now,
        into output: inout Output
    ) {
        invariant(inFlight.isEmpty, "another server's transaction while own ones are in flight")
        let header = txn.header
        guard header.zxid > lastProcessedZxid else { return }
        // The end of a session takes it out of the table.
        let session = sessions[header.session]
        let applied: Applied
        if case .multi(let parts) = txn.body {
            applyMulti(parts, header, nil, into: &output)
            applied = .nothing
        } else {
            applied = apply(txn.body, header, nil, into: &output)
        }
        lastProcessedZxid = header.zxid
        lastPreparedZxid = header.zxid
        statistics.commits += 1
        if options.digestEnabled { digestLog.applied(header.zxid, digest: tree.digest) }
        if snapshotTrigger.count(bytes: bytes, random: &random) { output.isSnapshotDue = true }
        // Before that, this may go over a snapshot that is ahead.
        guard case .learner = role else { return }
        compareDigest(txn, into: &output)
        if case .createSession = txn.body, let session = sessions[header.session] { report(session) }
        guard let session else { return }
        let connection = session.connection
        answerForwarded(txn, applied, of: session, at: now, into: &output)
        if case .closeSession = txn.body, let connection { close(connection.id, into: &output) }
    }

    private mutating func compareDigest(_ txn: Txn, into output: inout Output) {
        guard options.digestEnabled, let digest = txn.digest, digest.version == TxnDigest.version,
            digest.value != tree.digest
        else { return }
        digestMismatchCount += 1
        output.note(
            .error,
            "this server's tree is not as the leader's was: compare them, and let this one be synchronized anew",
            [
                ("zxid", txn.header.zxid.description), ("digest", "0x" + String(tree.digest, radix: 16)),
                ("expected", "0x" + String(digest.value, radix: 16)),
            ],
            isLimited: true
        )
    }
}
