internal import AviaryCore
internal import AviaryStorage
internal import ZooKeeperProtocol

/// Encoded nodes on their way to a snapshot. As with `LogBatch`, whoever holds the reference has the memory.
final class SnapshotChunk: @unchecked Sendable {
    var nodes = JuteWriter(capacity: SnapshotThread.chunkBytes + (16 << 10))
}

/// What the loop asks of the snapshot thread.
enum SnapshotOrder: Sendable {
    /// - run: named in what is reported of it.
    case begin(SnapshotHead, run: Int)
    case append(SnapshotChunk)
    case finish(digest: UInt64?)
    /// The snapshot under way is not wanted any more.
    case abandon
}

/// What the snapshot thread tells the loop.
enum SnapshotReport: Sendable {
    case written(SnapshotChunk)
    case finished(run: Int, name: String, bytes: Int64)
    case failed(run: Int, StorageError)
    case ended
}

/// What the snapshot thread does to files; behind it are the disk and the formats of AviaryStorage.
protocol SnapshotFiles: ~Copyable {
    mutating func begin(_ head: SnapshotHead) throws(StorageError)
    mutating func append(_ nodes: UnsafeRawBufferPointer) throws(StorageError)
    /// - Returns: the file's name and size.
    mutating func finish(digest: UInt64?) throws(StorageError) -> (name: String, bytes: Int64)
    mutating func abandon()
    /// Deletes what no start would need; does nothing where that is switched off.
    ///
    /// - Parameter goesOn: asked between files; false ends it early.
    mutating func purge(while goesOn: () -> Bool)
}

/// The loop's end of the thread that writes snapshots and removes old files.
///
/// It has its own thread because a snapshot of a large tree takes the disk for seconds, and a log record waits for
/// nobody.
final class SnapshotThread: Sendable {
    /// About as much of the tree is encoded in one step of the loop: a fraction of a millisecond.
    static let chunkBytes = 256 << 10
    /// So many bytes may wait for the disk before the loop stops encoding.
    static let maximumWaitingBytes = 4 << 20

    private let queue = OrderQueue<SnapshotOrder>()

    /// Starts the thread, which owns `files` until it ends.
    ///
    /// - Parameters:
    ///   - purgeInterval: how often to purge without being told; nil is never.
    ///   - purgesAtOnce: whether to purge before the first snapshot is written.
    /// - Returns: whether the system had a thread to give.
    func start<Files: SnapshotFiles & ~Copyable & SendableMetatype>(
        _ files: consuming Files,
        purgeInterval: Duration?,
        purgesAtOnce: Bool,
        threads: LoopThreads,
        report: @escaping @Sendable (SnapshotReport) -> Void
    ) -> Bool {
        let worker = SnapshotWorker(
            files: files,
            queue: queue,
            purgeMicroseconds: purgeInterval?.microseconds,
            purgesAtOnce: purgesAtOnce,
            report: report
        )
        return threads.start("aviary-snapshot") { worker.run() }
    }

    func submit(_ order: SnapshotOrder) { queue.submit(order) }

    /// Lets the thread end; a snapshot under way is given up.
    func stop() { queue.stop() }

    /// The thread itself: the only one that touches `files`, hence `@unchecked Sendable`.
    private final class SnapshotWorker<Files: SnapshotFiles & ~Copyable>: @unchecked Sendable {
        private var files: Files
        private let queue: OrderQueue<SnapshotOrder>
        private let purgeMicroseconds: Int64?
        private let purgesAtOnce: Bool
        private let report: @Sendable (SnapshotReport) -> Void
        private var nextPurge: Int64?
        private var isWriting = false
        private var current = 0

        init(
            files: consuming Files,
            queue: OrderQueue<SnapshotOrder>,
            purgeMicroseconds: Int64?,
            purgesAtOnce: Bool,
            report: @escaping @Sendable (SnapshotReport) -> Void
        ) {
            self.files = files
            self.queue = queue
            self.purgeMicroseconds = purgeMicroseconds
            self.purgesAtOnce = purgesAtOnce
            self.report = report
        }

        func run() {
            if purgesAtOnce { purge() }
            var orders: [SnapshotOrder] = []
            while queue.take(into: &orders, until: isWriting ? nil : nextPurge, finishes: false) {
                for order in orders { carryOut(order) }
                orders.removeAll(keepingCapacity: true)
                if let nextPurge, !isWriting, SystemClock.monotonicMicroseconds() >= nextPurge { purge() }
            }
            if isWriting { files.abandon() }
            report(.ended)
        }

        private func carryOut(_ order: SnapshotOrder) {
            do throws(StorageError) {
                switch order {
                case .begin(let head, let run):
                    current = run
                    isWriting = true
                    try files.begin(head)
                case .append(let chunk):
                    // After a failure the loop's orders of the same snapshot may still be on their way.
                    if isWriting {
                        try chunk.nodes.withBytes { (bytes) throws(StorageError) in try files.append(bytes) }
                    }
                    report(.written(chunk))
                case .finish(let digest):
                    guard isWriting else { return }
                    let file = try files.finish(digest: digest)
                    isWriting = false
                    report(.finished(run: current, name: file.name, bytes: file.bytes))
                    purge()
                case .abandon:
                    if isWriting { files.abandon() }
                    isWriting = false
                }
            } catch {
                files.abandon()
                isWriting = false
                report(.failed(run: current, error))
                if case .append(let chunk) = order { report(.written(chunk)) }
            }
        }

        private func purge() {
            // Checking snapshots takes seconds: whoever wants to write one, or to stop, does not wait for that.
            files.purge { queue.isIdle }
            nextPurge = purgeMicroseconds.map { SystemClock.monotonicMicroseconds() + $0 }
        }
    }
}
