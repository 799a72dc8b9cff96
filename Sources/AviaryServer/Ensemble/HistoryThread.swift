internal import AviaryStorage
internal import Zab
internal import ZooKeeperProtocol

/// What the loop wants to know of the files for a learner.
enum HistoryOrder: Sendable {
    /// Transactions of the log (`HistoryRequest.records`).
    case records(LinkID, after: Zxid, through: Zxid, maxBytes: Int, isFirst: Bool)
    /// Finds the snapshot to send.
    ///
    /// - durable: the last transaction that is on disk.
    /// - remembered: what comes behind it is in memory.
    case snapshot(LinkID, durable: Zxid, remembered: Zxid)
    /// The next bytes of that snapshot, `maxBytes` at most.
    case next(LinkID, maxBytes: Int, SnapshotPiece)
    /// Nothing more is wanted for this learner.
    case forget(LinkID)

    fileprivate var link: LinkID {
        switch self {
        case .records(let link, _, _, _, _), .snapshot(let link, _, _), .next(let link, _, _), .forget(let link): link
        }
    }
}

/// What the thread has found.
enum HistoryReport: Sendable {
    case records(LinkID, previous: Zxid, LogBatch)
    case snapshot(LinkID, zxid: Zxid)
    case piece(LinkID, SnapshotPiece, isLast: Bool)
    case unavailable(LinkID, HistoryUnavailable)
}

/// The loop's end of the thread that reads a leader's files for learners that are far behind.
///
/// A thread of its own, because looking for a snapshot that is whole takes the disk for seconds, and neither transactions
/// nor this server's own snapshots wait for that.
final class HistoryThread: Sendable {
    private let queue = OrderQueue<HistoryOrder>()

    /// Starts the thread, which owns `source` until it ends.
    ///
    /// - Parameters:
    ///   - snapshotSizeFactor: as in `HistorySource.records(forLearnerAt:snapshotSizeFactor:)`.
    ///   - report: called on the thread.
    /// - Returns: whether the system had a thread to give.
    func start<D: Disk, Gzip: StreamCodec>(
        _ source: HistorySource<D, Gzip>,
        snapshotSizeFactor: Double,
        threads: LoopThreads,
        report: @escaping @Sendable (HistoryReport) -> Void
    ) -> Bool {
        let reader = Reader(source: source, snapshotSizeFactor: snapshotSizeFactor, queue: queue, report: report)
        return threads.start("aviary-history") { reader.run() }
    }

    func submit(_ order: HistoryOrder) { queue.submit(order) }

    /// Nothing more is wanted for a learner, not even what was ordered already: those that come and go again and again
    /// would otherwise have the others wait for searches whose result nobody takes.
    func forget(_ link: LinkID) {
        queue.submit(.forget(link), insteadOf: { $0.link == link })
    }

    /// Lets the thread end, whatever is still wanted.
    func stop() { queue.stop() }

    /// The thread itself: the only one that touches what it reads from, hence `@unchecked Sendable`.
    private final class Reader<D: Disk, Gzip: StreamCodec>: @unchecked Sendable {
        private var source: HistorySource<D, Gzip>
        private let snapshotSizeFactor: Double
        private let queue: OrderQueue<HistoryOrder>
        private let report: @Sendable (HistoryReport) -> Void
        /// Where each learner's reading goes on.
        private var logs: [LinkID: OpenLog] = [:]
        private var streams: [LinkID: OpenSnapshot] = [:]

        /// Boxes for what cannot be copied.
        private final class OpenLog {
            var reader: HistoryReader<D>
            /// Everything up to here was given out.
            var last: Zxid

            init(_ reader: consuming HistoryReader<D>, after zxid: Zxid) {
                self.reader = reader
                last = zxid
            }
        }

        private final class OpenSnapshot {
            var streamer: SnapshotStreamer<D, Gzip>

            init(_ streamer: consuming SnapshotStreamer<D, Gzip>) { self.streamer = streamer }
        }

        init(
            source: HistorySource<D, Gzip>,
            snapshotSizeFactor: Double,
            queue: OrderQueue<HistoryOrder>,
            report: @escaping @Sendable (HistoryReport) -> Void
        ) {
            self.source = source
            self.snapshotSizeFactor = snapshotSizeFactor
            self.queue = queue
            self.report = report
        }

        func run() {
            // One at a time, so that the others can still be taken back.
            while let order = queue.takeNext() { carryOut(order) }
        }

        private func carryOut(_ order: HistoryOrder) {
            switch order {
            case .records(let link, let after, let through, let maxBytes, let isFirst):
                attempt(link) { () throws(HistoryUnavailable) in
                    try readRecords(link, after, through, maxBytes, isFirst: isFirst)
                }
            case .snapshot(let link, let durable, let remembered):
                attempt(link) { () throws(HistoryUnavailable) in
                    let streamer = try source.snapshot(upTo: durable, remembered: remembered)
                    let zxid = streamer.zxid
                    streams[link] = OpenSnapshot(streamer)
                    return .snapshot(link, zxid: zxid)
                }
            case .next(let link, let maxBytes, let piece):
                guard let stream = streams[link] else { return }
                attempt(link) { () throws(HistoryUnavailable) in
                    let hasMore = try stream.streamer.read(maxBytes: maxBytes, into: &piece.bytes)
                    if !hasMore { streams[link] = nil }
                    return .piece(link, piece, isLast: !hasMore)
                }
            case .forget(let link):
                logs[link] = nil
                streams[link] = nil
            }
        }

        private func attempt(_ link: LinkID, _ body: () throws(HistoryUnavailable) -> HistoryReport) {
            do throws(HistoryUnavailable) {
                report(try body())
            } catch {
                logs[link] = nil
                streams[link] = nil
                report(.unavailable(link, error))
            }
        }

        private func readRecords(
            _ link: LinkID,
            _ after: Zxid,
            _ through: Zxid,
            _ maxBytes: Int,
            isFirst: Bool
        ) throws(HistoryUnavailable) -> HistoryReport {
            let log = try open(link, after: after, isFirst: isFirst)
            logs[link] = log
            let batch = LogBatch()
            _ = try log.reader.readRecords(upTo: through, maxBytes: maxBytes, into: batch)
            log.last = batch.records.last?.zxid ?? log.last
            return .records(link, previous: log.reader.previous ?? after, batch)
        }

        private func open(_ link: LinkID, after: Zxid, isFirst: Bool) throws(HistoryUnavailable) -> OpenLog {
            if !isFirst, let log = logs[link], log.last == after { return log }
            let reader =
                isFirst
                ? try source.records(forLearnerAt: after, snapshotSizeFactor: snapshotSizeFactor)
                : try source.records(after: after, isBase: true)
            return OpenLog(reader, after: after)
        }
    }
}
