package import ZooKeeperProtocol

package struct TxnLogOptions: Sendable {
    /// Bytes by which the reserved space of a file grows (`preAllocSize`, there in KiB). Less than 64 KiB counts as
    /// that much: without reserved space a full disk could only be met by a record that has its zxid already.
    package var preallocationBytes: Int64 = 64 << 20

    /// Reserved bytes that a flush leaves behind it, or the disk counts as full. They have to hold what is on its way
    /// when the server hears of that, and after it what has to be written all the same: closed sessions.
    package var reserveBytes: Int64

    /// Reserved bytes below which a full disk counts as exhausted. They have to hold what is on its way when the server
    /// hears of that. nil is a quarter of `reserveBytes`, 64 KiB at most.
    package var lastBytes: Int64?

    /// Whether a flush waits for the disk (`forceSync`). Without it a power failure takes acknowledged writes back.
    package var forcesSync = true

    package init(
        preallocationBytes: Int64 = 64 << 20,
        reserveBytes: Int64 = 14 << 20,
        lastBytes: Int64? = nil,
        forcesSync: Bool = true
    ) {
        self.preallocationBytes = preallocationBytes
        self.reserveBytes = reserveBytes
        self.lastBytes = lastBytes
        self.forcesSync = forcesSync
    }
}

/// Whether there is room for client writes.
package enum LogSpace: Sendable, Hashable {
    case ok
    /// No more space could be reserved: refuse what clients write, spend the rest on closing sessions.
    case low
    /// Of the rest hardly anything is left: append nothing.
    case exhausted
}

/// Appends transactions to the log files of one directory (docs/protocol/disk-format.md section 3).
///
/// Owned by one thread. `append` only collects; `flush` writes what was collected as one group and returns when that
/// survives a power failure. The order of calls is the order in the log.
///
/// A file is written at its place only once its space is reserved, under another name, so that a full disk is met before
/// a record is on its way, and so that no `log.<zxid>` ever stands there without a record in it.
///
/// After an error of `append`'s or `flush`'s kind (anything thrown here) the writer is dead and throws the same again:
/// what the disk holds is then unknown and only reading it back tells.
package struct TxnLogWriter<D: Disk>: ~Copyable {
    private let disk: D
    private let directory: String
    private let chunkBytes: Int64
    private let reserveBytes: Int64
    private let lastBytes: Int64
    private let forcesSync: Bool

    /// Records that are framed and not written.
    private var pending = LogGroup()
    private var pendingRecords = 0
    private var lastAppended: Zxid
    private var firstPending: Zxid?

    /// The file that is written to; nil before the first record and after a roll.
    private var current: TxnLogFile<D.File>?
    /// Reserved space for the file after it.
    private var spare: TxnLogFile<D.File>?
    private var failure: StorageError?
    private var marks = JuteWriter(capacity: 64)

    /// Everything up to here is on disk (with `forceSync=no`: handed to the system).
    package private(set) var durableZxid: Zxid
    package private(set) var space = LogSpace.ok
    package private(set) var statistics = Statistics()

    package struct Statistics: Sendable, Hashable {
        package var records = 0
        /// Bytes of records and their frames.
        package var bytes = 0
        package var flushes = 0
        package var files = 0
        package var rolls = 0
    }

    /// - Parameters:
    ///   - directory: the `version-2` folder of `dataLogDir`.
    ///   - lastZxid: what recovery found last; every record has to be above it.
    package init(disk: D, directory: String, lastZxid: Zxid, options: TxnLogOptions = TxnLogOptions()) {
        self.disk = disk
        self.directory = directory
        chunkBytes = max(options.preallocationBytes, 64 << 10)
        reserveBytes = max(options.reserveBytes, 0)
        lastBytes = max(options.lastBytes ?? min(64 << 10, reserveBytes / 4), 0)
        forcesSync = options.forcesSync
        lastAppended = lastZxid
        durableZxid = lastZxid
    }

    /// Bytes in the current log file that are records; 0 before the first.
    package var fileBytes: Int64 { current.map { $0.end - TxnLogFormat.headerSize } ?? 0 }

    /// Bytes that can still be appended into reserved space.
    package var availableBytes: Int64 {
        let file = current ?? spare
        return file.map { $0.allocatedEnd - max($0.end, TxnLogFormat.headerSize) - Int64(pending.count) } ?? 0
    }

    /// Reserves space for the first records. Call it once before clients are let in; a full disk is no error, and what
    /// it returns has to be heeded from the first.
    @discardableResult
    package mutating func prepare() throws(StorageError) -> LogSpace {
        try retryAllocation()
    }

    /// Collects one transaction; nothing reaches the disk before `flush`.
    ///
    /// - Parameters:
    ///   - payload: header, body and digest, as `Txn.write(to:)` writes them; copied.
    ///   - zxid: the one in `payload`, above every zxid before it.
    package mutating func append(_ payload: UnsafeRawBufferPointer, zxid: Zxid) {
        invariant(Txn.zxid(ofPayload: payload) == zxid, "log record \(zxid) holds another zxid")
        invariant(zxid > lastAppended, "log record \(zxid) after \(lastAppended)")
        pending.append(payload)
        pendingRecords += 1
        lastAppended = zxid
        if firstPending == nil { firstPending = zxid }
    }

    /// Writes what was collected and waits until it is on disk: one write and one sync for the whole group.
    ///
    /// `space` tells afterwards whether there is room for more.
    ///
    /// - Returns: the highest zxid that is durable.
    /// - Throws: only what is fatal.
    @discardableResult
    package mutating func flush() throws(StorageError) -> Zxid {
        if let failure { throw failure }
        guard let first = firstPending else { return durableZxid }
        let bytes = pending.count
        do throws(StorageError) {
            if let file = current {
                try write(to: file)
            } else {
                try openFile(first)
            }
        } catch {
            failure = error
            throw error
        }
        statistics.records += pendingRecords
        statistics.bytes += bytes
        statistics.flushes += 1
        pendingRecords = 0
        firstPending = nil
        durableZxid = lastAppended
        return durableZxid
    }

    /// Ends the current file, so that the next record opens another. What was collected is flushed first.
    ///
    /// - Returns: false when another file cannot be made with a whole reserve: the current one goes on, with the space
    ///   that it has.
    @discardableResult
    package mutating func roll() throws(StorageError) -> Bool {
        try flush()
        guard let file = current else { return true }
        do throws(StorageError) {
            guard let made = try makeSpare() else { return false }
            guard made.space == .ok else {
                // The current file needs what little there is. A name that stays is replaced by the next try.
                try? made.file.handle.truncate(to: 0)
                try? disk.remove(made.file.path)
                return false
            }
            try finish(file)
            current = nil
            pending.leaveFile()
            spare = made.file
            space = .ok
            statistics.rolls += 1
            return true
        } catch {
            failure = error
            throw error
        }
    }

    /// Tries again to reserve space after `low` or `exhausted`; does nothing when there is enough.
    @discardableResult
    package mutating func retryAllocation() throws(StorageError) -> LogSpace {
        if let failure { throw failure }
        do throws(StorageError) {
            if let file = current ?? spare {
                let end = file.end + Int64(pending.count)
                space = judge(try reserve(in: file, upTo: end, asksForMore: true), file, end)
            } else {
                try reserveSpare()
            }
        } catch {
            failure = error
            throw error
        }
        return space
    }

    /// Gives a part of the reserved space back to a disk that is full, for something that cannot do without; `space` is no
    /// longer `ok` then.
    ///
    /// - Returns: false when there is none to give.
    package mutating func giveUpSpace(_ bytes: Int64) throws(StorageError) -> Bool {
        if let failure { throw failure }
        guard let file = current ?? spare else { return false }
        let end = max(file.end, TxnLogFormat.headerSize) + Int64(pending.count)
        do {
            guard try file.giveUp(bytes, behind: end) else { return false }
        } catch {
            let error = StorageError.logWriteFailed(file.named(error))
            failure = error
            throw error
        }
        space = judge(.low, file, end)
        return true
    }

    /// Notes in the file's header that its last group is stable too. Without this only the next group says so; call it
    /// when no write came for a while. It costs a sync.
    package mutating func sealMark() throws(StorageError) {
        if let failure { throw failure }
        guard forcesSync, let file = current, file.marked != file.end else { return }
        do throws(StorageError) {
            try mark(file, DurableMark(synced: file.end, groupEnd: file.end))
            do { try file.handle.syncData() } catch { throw .syncFailed(file.named(error)) }
            file.marked = file.end
        } catch {
            failure = error
            throw error
        }
    }

    /// Flushes, gives reserved space back and lets the files go. The writer must not be used afterwards.
    package mutating func close() throws(StorageError) {
        try flush()
        do throws(StorageError) {
            if let file = current { try finish(file) }
            current = nil
            if spare != nil {
                spare = nil
                do { try disk.remove(FileNames.join(directory, FileNames.spareLog)) } catch { throw .disk(error) }
            }
        } catch {
            failure = error
            throw error
        }
    }

    // MARK: - One group

    private mutating func write(to file: TxnLogFile<D.File>) throws(StorageError) {
        let end = file.end + Int64(pending.count)
        try reserve(in: file, upTo: end)
        if forcesSync { try mark(file, DurableMark(synced: file.end, groupEnd: end)) }
        do {
            if try !writeBlocks(to: file) {
                try pending.withRecords { (bytes) throws(DiskError) in try file.handle.write(bytes, at: file.end) }
                try file.writeAhead(of: end)
            }
        } catch {
            throw .logWriteFailed(file.named(error))
        }
        if forcesSync { do { try file.handle.syncData() } catch { throw .syncFailed(file.named(error)) } }
        file.marked = file.end
        file.end = end
        pending.written(upTo: end)
    }

    /// A group from which on it pays to write past the system's memory, and not to have zeros written before it: what the
    /// file system does for every sync is little beside it then.
    private static var largeGroupBytes: Int { 64 << 10 }

    /// Writes the group as whole blocks.
    ///
    /// - Returns: false when that cannot be, and nothing was written.
    private mutating func writeBlocks(to file: TxnLogFile<D.File>) throws(DiskError) -> Bool {
        let isLarge = pending.count >= Self.largeGroupBytes
        return try pending.withBlocks(at: file.end) { (blocks, offset) throws(DiskError) in
            let blocksEnd = offset + Int64(blocks.count)
            guard blocksEnd <= file.allocatedEnd else { return false }
            if isLarge {
                try file.handle.writeBlocks(blocks, at: offset)
                file.wrote(upTo: blocksEnd)
            } else {
                try file.handle.write(blocks, at: offset)
                try file.writeAhead(of: blocksEnd)
            }
            return true
        } ?? false
    }

    /// The first group of a file is written and synced before the file gets its name.
    private mutating func openFile(_ first: Zxid) throws(StorageError) {
        let name = FileNames.log(first)
        let path = FileNames.join(directory, name)
        let isThere: Bool
        do { isThere = try disk.entry(at: path) != nil } catch { throw .disk(error) }
        if isThere { throw .logExists(file: path) }
        let end = TxnLogFormat.headerSize + Int64(pending.count)
        if spare == nil { try reserveSpare() }
        guard let file = spare else { throw .logOutOfSpace(file: path, missingBytes: end) }
        // What goes wrong from here on is about the log and not about the name that it is made under.
        file.path = path
        try reserve(in: file, upTo: end)
        marks.removeAll()
        marks.int32(TxnLogFormat.magic)
        if forcesSync {
            DurableMark(synced: 0, groupEnd: end).write(to: &marks)
        } else {
            DurableMark.writeNone(to: &marks)
        }
        do {
            try marks.withBytes { (bytes) throws(DiskError) in try file.handle.write(bytes, at: 0) }
            try pending.withRecords { (bytes) throws(DiskError) in
                try file.handle.write(bytes, at: TxnLogFormat.headerSize)
            }
            try file.writeAhead(of: end)
        } catch {
            throw .logWriteFailed(file.named(error))
        }
        if forcesSync { do { try file.handle.syncFile() } catch { throw .syncFailed(file.named(error)) } }
        do { try disk.rename(FileNames.join(directory, FileNames.spareLog), to: path) } catch { throw .disk(error) }
        if forcesSync { do { try disk.sync(directory: directory) } catch { throw .syncFailed(error) } }
        file.end = end
        pending.written(upTo: end)
        file.marked = 0
        current = file
        spare = nil
        statistics.files += 1
    }

    /// Makes room for the group that ends at `end`.
    private mutating func reserve(in file: TxnLogFile<D.File>, upTo end: Int64) throws(StorageError) {
        guard let found = try reserve(in: file, upTo: end, asksForMore: space == .ok) else {
            throw .logOutOfSpace(file: file.path, missingBytes: end - file.allocatedEnd)
        }
        space = judge(found, file, end)
    }

    /// - Parameter found: what `TxnLogFile.reserve` returned.
    private func judge(_ found: LogSpace?, _ file: TxnLogFile<D.File>, _ end: Int64) -> LogSpace {
        guard found != .ok else { return .ok }
        // A few blocks that come and go are not worth telling of.
        let bound = space == .exhausted ? 2 * lastBytes : lastBytes
        return file.allocatedEnd - end < bound ? .exhausted : .low
    }

    private func reserve(
        in file: TxnLogFile<D.File>,
        upTo end: Int64,
        asksForMore: Bool
    ) throws(StorageError) -> LogSpace? {
        try file.reserve(
            upTo: end,
            reserveBytes: reserveBytes,
            chunkBytes: chunkBytes,
            asksForMore: asksForMore
        )
    }

    /// Makes the file that the next record opens. On a full disk it is smaller than it should be, or there is none.
    private mutating func reserveSpare() throws(StorageError) {
        let made = try makeSpare()
        spare = made?.file
        space = made.map { judge($0.space, $0.file, $0.file.end + Int64(pending.count)) } ?? .exhausted
    }

    /// Makes the file that becomes the next log, with as much of its space as there is; nil when it cannot be made.
    private func makeSpare() throws(StorageError) -> (file: TxnLogFile<D.File>, space: LogSpace)? {
        let path = FileNames.join(directory, FileNames.spareLog)
        let handle: D.File
        do {
            handle = try disk.open(path, .replace)
        } catch {
            // A full disk can refuse even the name. Anything else is in the way of a start only: a server that has a
            // log, or waits for one, lives without this file.
            guard error.reason == .noSpace || current != nil || space == .exhausted else { throw .disk(error) }
            return nil
        }
        let file = TxnLogFile(handle, path: path)
        let end = file.end + Int64(current == nil ? pending.count : 0)
        if let space = try reserve(in: file, upTo: end, asksForMore: true) { return (file, space) }
        do { try disk.remove(path) } catch { throw .disk(error) }
        return nil
    }

    private mutating func mark(_ file: TxnLogFile<D.File>, _ mark: DurableMark) throws(StorageError) {
        marks.removeAll()
        mark.write(to: &marks)
        do {
            try marks.withBytes { (bytes) throws(DiskError) in
                try file.handle.write(bytes, at: DurableMark.offsetInHeader)
            }
        } catch {
            throw .logWriteFailed(file.named(error))
        }
    }

    /// Gives the reserved space behind the records back and makes the file stable as it then is.
    private mutating func finish(_ file: TxnLogFile<D.File>) throws(StorageError) {
        if forcesSync { try mark(file, DurableMark(synced: file.end, groupEnd: file.end)) }
        do { try file.handle.truncate(to: file.end) } catch { throw .logWriteFailed(file.named(error)) }
        if forcesSync { do { try file.handle.syncFile() } catch { throw .syncFailed(file.named(error)) } }
    }
}
