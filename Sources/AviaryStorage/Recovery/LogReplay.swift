internal import ZooKeeperProtocol

/// Applies what the logs hold behind a snapshot (docs/protocol/disk-format.md sections 3.3 to 3.5 and 6).
struct LogReplay<D: Disk> {
    private let disk: D
    private let directory: String
    private let limits: ReadingLimits
    private let snapshot: SnapshotSummary?
    private let comparesDigests: Bool

    private(set) var result: Result
    private var digests: DigestCheck
    /// A bad end of a file that is not the last; what follows tells whether anything is missing.
    private var openEnd: OpenEnd?
    /// The next of the snapshot's later zxids that has not come by.
    private var nextLater = 0

    struct Result {
        var lastZxid: Zxid
        var replayedCount = 0
        /// Of the last transaction that began another epoch.
        var lastEpochStart: Zxid?
        /// Where the newest log has to be cut.
        var cut: RecoveryReport.TailCut?
        var newestLog: RecoveryReport.NewestLog?
        var alarms: [DigestAlarm] = []
        var lastMatch: Zxid?
        var warnings: [String] = []
    }

    private struct OpenEnd {
        var file: String
        var offset: Int64
        var reason: String
        var lastGood: Zxid?
        /// Whether the first transaction of a later epoch may follow, and not only the very next one.
        var mayEndEpoch: Bool
    }

    init(
        disk: D,
        directory: String,
        limits: ReadingLimits,
        snapshot: SnapshotSummary?,
        comparesDigests: Bool
    ) {
        self.disk = disk
        self.directory = directory
        self.limits = limits
        self.snapshot = snapshot
        self.comparesDigests = comparesDigests
        result = Result(lastZxid: snapshot?.zxid ?? .zero)
        digests = DigestCheck(snapshot)
    }

    /// - Parameters:
    ///   - files: those with records, oldest first, from the one that may hold the first transaction to apply.
    ///   - snapshotName: for messages.
    ///   - progress: told about each file and the bytes of it read so far.
    mutating func run<Target: RecoveryTarget & ~Copyable>(
        _ files: [LogFileEntry],
        snapshotName: String?,
        into target: inout Target,
        progress: (LogFileEntry, Int64) -> Void
    ) throws(ReplayError) {
        if comparesDigests, let snapshotName { digests.check(loaded: snapshotName, digest: target.digest) }
        for (index, file) in files.enumerated() {
            try replay(file, isNewest: index == files.count - 1, into: &target) { progress(file, $0) }
        }
        do {
            try target.finishReplay()
        } catch {
            let file = FileNames.join(directory, files.last?.name ?? "")
            throw .unfit(
                .replayFailed(file: file, offset: 0, zxid: result.lastZxid, reason: error.description)
            )
        }
        conclude(snapshotName)
    }

    // MARK: - One file

    private mutating func replay<Target: RecoveryTarget & ~Copyable>(
        _ file: LogFileEntry,
        isNewest: Bool,
        into target: inout Target,
        progress: (Int64) -> Void
    ) throws(ReplayError) {
        var reader: TxnLogReader<D>
        do {
            reader = try TxnLogReader(
                disk: disk,
                directory: directory,
                name: file.name,
                maxRecordBytes: limits.maxBufferBytes
            )
        } catch {
            throw .refused(error)
        }
        let path = FileNames.join(directory, file.name)
        switch reader.header {
        case .log, .logWithBrokenMark: break
        case .empty, .notALog: throw damaged(path, 0, "there is no transaction in it, although later logs exist", nil)
        }
        var lastInFile: Zxid?
        var reported: Int64 = 0
        var duplicates = 0
        while true {
            let step: TxnLogStep
            do { step = try reader.next() } catch { throw .refused(error) }
            switch step {
            case .record(let record):
                if try apply(record, path, into: &target) == .duplicate { duplicates += 1 }
                lastInFile = record.zxid
                if reader.bytesRead != reported {
                    reported = reader.bytesRead
                    progress(reported)
                }
            case .end(let end):
                if duplicates > 0 {
                    result.warnings.append("\(path): passed over \(duplicates) transactions that came before already")
                }
                if lastInFile == nil, !isNewest {
                    throw damaged(path, end.offset, "there is no transaction in it, although later logs exist", nil)
                }
                return try finish(file, path, end, reader.header, lastInFile, isNewest: isNewest)
            }
        }
    }

    private enum Applied { case applied, covered, duplicate }

    private mutating func apply<Target: RecoveryTarget & ~Copyable>(
        _ record: TxnLogRecord,
        _ path: String,
        into target: inout Target
    ) throws(ReplayError) -> Applied {
        let zxid = record.zxid
        try closeOpenEnd(before: record, path)
        if zxid <= result.lastZxid { return result.replayedCount == 0 ? .covered : .duplicate }
        guard follows(zxid) else {
            throw .refused(
                .missingRecords(
                    file: path,
                    offset: record.offset,
                    expected: result.lastZxid.next,
                    found: zxid
                )
            )
        }
        let txn: Txn
        do {
            txn = try Txn(payload: record.payload, maxBufferBytes: limits.maxBufferBytes)
        } catch {
            throw unfit(path, record, "it cannot be read (\(error))")
        }
        if !limits.extendedTypes, let node = ttlNode(in: txn.body) {
            throw .refused(
                .ttlNodesWithoutExtendedTypes(file: path, path: String(decoding: node, as: UTF8.self))
            )
        }
        do { try target.replay(txn) } catch { throw unfit(path, record, error.description) }
        if zxid.epoch > result.lastZxid.epoch, result.lastZxid != .zero { result.lastEpochStart = zxid }
        result.lastZxid = zxid
        result.replayedCount += 1
        noteLaterZxids(upTo: zxid)
        if comparesDigests { digests.check(zxid, txn.digest, file: path, digest: target.digest) }
        return .applied
    }

    /// The next transaction, or the first of a later epoch.
    private func follows(_ zxid: Zxid) -> Bool {
        zxid == result.lastZxid.next || (zxid.epoch > result.lastZxid.epoch && zxid.counter == 1)
    }

    private func ttlNode(in body: TxnBody) -> [UInt8]? {
        switch body {
        case .create(let txn):
            if case .ttl = txn.kind { return txn.path }
            return nil
        case .multi(let parts):
            return parts.lazy.compactMap { ttlNode(in: $0) }.first
        case .createSession, .closeSession, .error, .delete, .setData, .setACL, .check:
            return nil
        }
    }

    // MARK: - The end of a file

    private mutating func finish(
        _ file: LogFileEntry,
        _ path: String,
        _ end: TxnLogEnd,
        _ header: TxnLogHeader,
        _ lastInFile: Zxid?,
        isNewest: Bool
    ) throws(ReplayError) {
        var mark: DurableMark?
        if case .log(let found) = header { mark = found }
        let isMarkBroken = header == .logWithBrokenMark
        if isNewest {
            result.newestLog = RecoveryReport.NewestLog(
                name: file.name,
                end: end.offset,
                mark: mark,
                isMarkBroken: isMarkBroken
            )
        }
        guard let fault = end.fault else {
            guard let mark, end.offset < mark.stableEnd else { return }
            let reason = "the file ends here, although it was written up to offset \(mark.stableEnd)"
            guard !isNewest else { throw damaged(path, end.offset, reason, lastInFile) }
            // A server that knows nothing of the mark may have cut the file to take transactions back.
            openEnd = OpenEnd(
                file: path,
                offset: end.offset,
                reason: reason,
                lastGood: lastInFile,
                mayEndEpoch: false
            )
            return
        }
        let tail = LogTail(
            disk: disk,
            directory: directory,
            name: file.name,
            mark: mark,
            isMarkBroken: isMarkBroken,
            end: end,
            fault: fault,
            lastGood: lastInFile ?? Zxid(file.zxid.rawValue &- 1),
            maxRecordBytes: limits.maxBufferBytes
        )
        let refusal: StorageError?
        do {
            refusal = try tail.refusal(isNewest: isNewest, lastGoodZxid: lastInFile)
        } catch {
            throw .refused(error)
        }
        if let refusal { throw .refused(refusal) }
        guard isNewest else {
            openEnd = OpenEnd(
                file: path,
                offset: end.offset,
                reason: fault.description,
                lastGood: lastInFile,
                // A bad checksum could as well be an acknowledged record that was damaged later.
                mayEndEpoch: fault == .incomplete
            )
            return
        }
        let lost = (lastInFile ?? result.lastZxid).next
        result.cut = RecoveryReport.TailCut(
            file: file.name,
            offset: end.offset,
            zxid: lost,
            reason: fault.description
        )
    }

    /// A file ended with a bad record and this one comes after it. If it has the very zxid that the bad one would have
    /// had, nothing is missing: a server found the torn record, took it for not written, and used its zxid again.
    private mutating func closeOpenEnd(before record: TxnLogRecord, _ path: String) throws(ReplayError) {
        guard let open = openEnd else { return }
        openEnd = nil
        let lastGood = open.lastGood ?? .zero
        let isNext = record.zxid == lastGood.next
        let isLater = record.zxid.counter == 1 && record.zxid.epoch > lastGood.epoch
        guard isNext || (isLater && open.mayEndEpoch) else {
            throw damaged(open.file, open.offset, open.reason, open.lastGood)
        }
        result.warnings.append(
            "\(open.file): passed over a torn record at offset \(open.offset) (\(open.reason)); "
                + "\(path) goes on with \(record.zxid)"
        )
    }

    // MARK: - Zxids that only the snapshot knows

    private mutating func noteLaterZxids(upTo zxid: Zxid) {
        guard let later = snapshot?.laterZxids else { return }
        while nextLater < later.count, later[nextLater] <= zxid {
            // Had a transaction had it, the pointer would have passed it then.
            if later[nextLater] < zxid, result.alarms.isEmpty { alarm(unknown: later[nextLater]) }
            nextLater += 1
        }
    }

    private mutating func alarm(unknown zxid: Zxid) {
        result.alarms.append(DigestAlarm(file: "", zxid: zxid, kind: .unknownTransaction))
    }

    private mutating func conclude(_ snapshotName: String?) {
        if result.alarms.isEmpty, let later = snapshot?.laterZxids, nextLater < later.count {
            alarm(unknown: later[nextLater])
        }
        for index in result.alarms.indices { result.alarms[index].file = snapshotName ?? "" }
        result.lastMatch = digests.lastMatch
        if let alarm = digests.alarm { result.alarms.append(alarm) }
        if let resolved = digests.resolved {
            result.warnings.append("\(resolved); equal again later")
        }
    }

    private func damaged(_ file: String, _ offset: Int64, _ reason: String, _ lastGood: Zxid?) -> ReplayError {
        .refused(.damagedLog(LogDamage(file: file, offset: offset, reason: reason, lastGoodZxid: lastGood)))
    }

    private func unfit(_ path: String, _ record: TxnLogRecord, _ reason: String) -> ReplayError {
        .unfit(.replayFailed(file: path, offset: record.offset, zxid: record.zxid, reason: reason))
    }
}

/// Why logs cannot be applied.
enum ReplayError: Error {
    /// No other snapshot helps.
    case refused(StorageError)
    /// The transactions do not fit to this snapshot.
    case unfit(StorageError)
}

/// A log file by its name.
struct LogFileEntry: Hashable {
    var name: String
    var zxid: Zxid
    var size: Int64
}
