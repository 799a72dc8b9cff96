internal import AviaryCore
internal import AviaryEnsemble
internal import AviaryStorage
internal import Logging
internal import NIOCore
internal import ZooKeeperProtocol

/// The loop's side of the disk: the two threads, and the memory that goes back and forth.
final class StorageLink {
    let log: LogThread
    let snapshots: SnapshotThread

    /// Bytes of transactions handed over and not reported durable.
    @exclusivity(unchecked) var unstoredBytes = 0

    /// What the log can still take, as it was last said.
    fileprivate(set) var room = LogRoom.plenty

    @exclusivity(unchecked) fileprivate var batches: [LogBatch] = []
    fileprivate var chunks: [SnapshotChunk] = []
    fileprivate var snapshot: SnapshotRun?
    fileprivate var lastRun = 0
    /// The next try after a snapshot that failed.
    fileprivate var retry: Scheduled<Void>?
    /// The last snapshot failed, and that was told.
    fileprivate var isSnapshotFailing = false
    /// Nothing is stored any more: by order, or after an error.
    fileprivate(set) var hasLogEnded = false
    fileprivate var whenLogEnded: (@Sendable () -> Void)?
    fileprivate var whenSnapshotsEnded: (@Sendable () -> Void)?

    /// A snapshot under way.
    fileprivate struct SnapshotRun {
        let number: Int
        let head: SnapshotHead
        let startedMicroseconds: Int64
        /// Handed over and not written yet.
        var waitingBytes = 0
        /// Everything is handed over.
        var isComplete = false
        /// The next step is booked.
        var isStepScheduled = false
    }

    init(log: LogThread, snapshots: SnapshotThread) {
        self.log = log
        self.snapshots = snapshots
    }

    func takeBatch() -> LogBatch {
        batches.popLast() ?? LogBatch()
    }

    fileprivate func takeChunk() -> SnapshotChunk {
        chunks.popLast() ?? SnapshotChunk()
    }
}

extension ServerLoop {
    // MARK: - The log

    /// The log thread has done something, or has ended (nil).
    func stored(_ report: StorageReport?) {
        switch report {
        case nil:
            guard let storage else { return }
            storage.hasLogEnded = true
            if isStopping { becomeQuiet() }
            logEnded()
        case .warning(let warning):
            warned(warning)
        case .some(let report) where ensemble != nil:
            if let ensemble { stored(report, ensemble) }
        case .durable(let report):
            logged(report)
        case .acceptedEpochStored, .currentEpochStored, .truncated, .snapshotBytesWritten, .snapshotInstalled,
            .snapshotFailed:
            // A server alone has nobody who would want that.
            return
        }
    }

    private func logged(_ report: LogReport) {
        guard let storage else { return }
        beginTurn()
        metrics.flushed(report)
        for batch in report.batches {
            storage.unstoredBytes -= batch.storedBytes
            guard storage.batches.count < 4 else { continue }
            batch.reset()
            storage.batches.append(batch)
        }
        setLogRoom(report.space, availableBytes: report.availableBytes)
        while !core.durable(upTo: report.durable, at: now, maxBytes: ServerLoop.drainBytes, into: &output) {
            carryOut()
        }
    }

    /// Tells the core what the log can still take. Behind the end of a session stands no limit but this: all sessions may
    /// end at once, so there is room for that, or none begins or ends.
    func setLogRoom(_ space: LogSpace, availableBytes: Int64) {
        beginTurn()
        let room: LogRoom =
            switch space {
            case .ok: .plenty
            case .exhausted: .exhausted
            case .low:
                availableBytes - Int64(unstoredBytes)
                    < Int64(limits.lastLogBytes + Limits.sessionEndBytes * core.sessionCount) ? .exhausted : .low
            }
        storage?.room = room
        if let ensemble {
            ensemble.member.setLogRoom(room, &core, at: now, into: &output)
        } else {
            core.setLogRoom(room, at: now, into: &output)
        }
    }

    private func warned(_ warning: LogWarning) {
        switch warning {
        case .slowFlush(let microseconds, let records):
            logger.warning(
                "flushing the transaction log took long; clients wait for it, so give it a disk of its own",
                metadata: ["milliseconds": "\(microseconds / 1000)", "records": "\(records)"]
            )
        case .cannotRoll:
            logger.warning(
                "the transaction log goes on in its file, because a new one cannot be made; on a full disk, make room"
            )
        case .closeFailed(let error):
            logger.warning("the transaction log could not be closed; nothing is lost", metadata: ["reason": "\(error)"])
        case .cannotRemove(let error):
            logger.warning(
                "what a leader's snapshot took the place of could not be removed; it takes space, and nothing else",
                metadata: ["reason": "\(error)"]
            )
        }
    }

    // MARK: - Snapshots

    /// Starts a snapshot in the background, unless one is under way or has failed a moment ago.
    func beginSnapshot() {
        guard let storage, storage.snapshot == nil, storage.retry == nil, !isStopping else { return }
        let head = core.beginSnapshot()
        storage.lastRun += 1
        storage.snapshot = StorageLink.SnapshotRun(
            number: storage.lastRun,
            head: head,
            startedMicroseconds: SystemClock.monotonicMicroseconds()
        )
        storage.snapshots.submit(.begin(head, run: storage.lastRun))
        bookSnapshotStep()
    }

    /// A step needs less than a millisecond, and clients get the loop for as long between two steps. Through `execute`
    /// the steps would run back to back: the loop empties that queue before it looks at its sockets.
    private func bookSnapshotStep() {
        guard let storage, var run = storage.snapshot, !run.isStepScheduled, !run.isComplete else { return }
        guard run.waitingBytes < SnapshotThread.maximumWaitingBytes else { return }
        run.isStepScheduled = true
        storage.snapshot = run
        eventLoop.scheduleTask(in: .milliseconds(1)) { [self] in continueSnapshot() }
    }

    private func continueSnapshot() {
        guard let storage, var run = storage.snapshot else { return }
        run.isStepScheduled = false
        let chunk = storage.takeChunk()
        chunk.nodes.removeAll()
        run.isComplete = !core.continueSnapshot(maxBytes: SnapshotThread.chunkBytes, into: &chunk.nodes)
        run.waitingBytes += chunk.nodes.count
        storage.snapshot = run
        storage.snapshots.submit(.append(chunk))
        if run.isComplete {
            storage.snapshots.submit(.finish(digest: run.head.digest))
        } else {
            bookSnapshotStep()
        }
    }

    /// Gives up a snapshot under way: the tree that it is a picture of is about to go.
    func abandonSnapshot() {
        guard let storage, storage.snapshot != nil else { return }
        storage.snapshot = nil
        storage.chunks.removeAll()
        core.abandonSnapshot()
        storage.snapshots.submit(.abandon)
    }

    func snapshotReported(_ report: SnapshotReport) {
        guard let storage else { return }
        switch report {
        case .written(let chunk):
            storage.snapshot?.waitingBytes -= chunk.nodes.count
            if storage.snapshot == nil {
                storage.chunks.removeAll()
            } else if storage.chunks.count < 4 {
                storage.chunks.append(chunk)
            }
            bookSnapshotStep()
        case .finished(let number, let name, let bytes):
            guard let run = storage.snapshot, run.number == number else { return }
            let taken = (SystemClock.monotonicMicroseconds() - run.startedMicroseconds) / 1000
            metrics.snapshotTime.add(taken)
            logger.info(
                "snapshot written",
                metadata: ["file": "\(name)", "bytes": "\(bytes)", "milliseconds": "\(taken)"]
            )
            storage.snapshot = nil
            storage.isSnapshotFailing = false
            storage.chunks.removeAll()
        case .failed(let number, let error):
            guard storage.snapshot?.number == number else { return }
            metrics.snapshotErrors += 1
            storage.snapshot = nil
            storage.chunks.removeAll()
            core.abandonSnapshot()
            if !storage.isSnapshotFailing {
                logger.error(
                    "a snapshot could not be written; the log goes on, and every minute there is another try",
                    metadata: ["reason": "\(error)"]
                )
            }
            storage.isSnapshotFailing = true
            storage.retry = eventLoop.scheduleTask(in: .seconds(60)) { [self] in
                self.storage?.retry = nil
                retrySnapshot()
            }
        case .ended:
            snapshotsEnded()
        }
    }

    private func retrySnapshot() {
        guard let ensemble else { return beginSnapshot() }
        // While it serves nobody its tree may hold what no leader confirms: a snapshot waits for the next one that does.
        ensemble.wantsSnapshot = true
        beginTurn()
    }

    // MARK: - Stopping

    /// Lets the log thread store what it has, and calls back when it has ended, or patience has: a disk that hangs must
    /// not keep the process from ending, and nothing unstored was acknowledged.
    func stopLog(patience: TimeAmount, _ whenEnded: @escaping @Sendable () -> Void) {
        guard let storage, !storage.hasLogEnded else { return whenEnded() }
        storage.whenLogEnded = whenEnded
        storage.log.stop()
        eventLoop.scheduleTask(in: patience) { [self] in logEnded() }
    }

    private func logEnded() {
        guard let whenEnded = storage?.whenLogEnded else { return }
        storage?.whenLogEnded = nil
        whenEnded()
    }

    /// Ends the snapshot thread the same way; a snapshot under way is given up.
    func stopSnapshots(patience: TimeAmount, _ whenEnded: @escaping @Sendable () -> Void) {
        guard let storage else { return whenEnded() }
        storage.retry?.cancel()
        if storage.snapshot != nil {
            storage.snapshot = nil
            core.abandonSnapshot()
        }
        storage.whenSnapshotsEnded = whenEnded
        storage.snapshots.stop()
        eventLoop.scheduleTask(in: patience) { [self] in snapshotsEnded() }
    }

    private func snapshotsEnded() {
        guard let whenEnded = storage?.whenSnapshotsEnded else { return }
        storage?.whenSnapshotsEnded = nil
        whenEnded()
    }
}
