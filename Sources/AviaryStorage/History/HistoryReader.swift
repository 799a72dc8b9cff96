package import ZooKeeperProtocol

/// Why history cannot be had from this server's files: they do not reach that far back, or something in them is damaged
/// or gone. Whoever asked has to do without: with a snapshot, or with another server.
package struct HistoryUnavailable: Error, Hashable, Sendable, CustomStringConvertible {
    package var description: String

    package init(_ description: String) {
        self.description = description
    }
}

/// Reads what the logs hold behind a zxid, a bounded piece at a time, for a learner that is further behind than memory
/// reaches (docs/protocol/quorum-protocol.md section 9, row 4).
///
/// The newest log may be written to meanwhile, by another thread: nothing is read behind the zxid that the caller knows to
/// be durable. A log that is purged under way is read to its end all the same; one that is gone before it is opened is a
/// gap, and a gap is never passed over.
package struct HistoryReader<D: Disk>: ~Copyable {
    private let disk: D
    private let directory: String
    private let maxRecordBytes: Int
    private let after: Zxid
    private let isBase: Bool

    private var file: D.File
    private var name: LogFileEntry
    /// Where the next record of the file begins.
    private var offset = TxnLogFormat.headerSize
    /// The last record that was passed.
    private var last: Zxid?
    /// A file ended with something that is no record: then only the very next zxid may follow.
    private var hasOpenEnd = false
    private var buffer = ReadBuffer(HistoryReader.usualBufferBytes)

    /// Bytes of the files that have to be read, to be held against `snapshotSizeFactor`; without what a log has reserved.
    package let fileBytes: Int64

    /// The last zxid of this history that is not above the one that was asked for; nil while that is not known. If it is not
    /// the same, then whoever has the other one has it from another history.
    package private(set) var previous: Zxid?

    private static var usualBufferBytes: Int { 256 << 10 }

    /// Finds the log that holds what comes behind `zxid`.
    ///
    /// - Parameters:
    ///   - directory: the `version-2` folder of `dataLogDir`.
    ///   - zxid: of the last transaction that whoever asks has.
    ///   - isBase: whether `zxid` is known to be in this history although no log may hold it: that of a snapshot.
    ///   - maxRecordBytes: the longest record that is read.
    package init(
        disk: D,
        directory: String,
        after zxid: Zxid,
        isBase: Bool = false,
        maxRecordBytes: Int = JuteReader.defaultMaxBufferBytes
    ) throws(HistoryUnavailable) {
        let files = try HistoryReader.files(in: directory, on: disk)
        let start: Int
        if let found = files.lastIndex(where: { $0.zxid <= (isBase ? zxid.next : zxid) }) {
            start = found
        } else if isBase, !files.isEmpty {
            start = 0
        } else {
            throw HistoryUnavailable("\(directory): no log reaches back to \(zxid)")
        }
        var bytes: Int64 = 0
        for index in start..<files.count {
            let isNewest = index == files.count - 1
            bytes += isNewest ? HistoryReader.usedBytes(of: files[index], in: directory, on: disk) : files[index].size
        }
        let file = try HistoryReader.open(files[start].name, in: directory, on: disk)
        self.disk = disk
        self.directory = directory
        self.maxRecordBytes = maxRecordBytes
        self.isBase = isBase
        self.file = file
        after = zxid
        fileBytes = bytes
        name = files[start]
    }

    package enum Step: Sendable, Hashable {
        /// There is more; nothing may have come this time.
        case more
        /// Everything up to the zxid that was said to be durable has been read. With a later one there may be more.
        case reached
    }

    /// Reads on.
    ///
    /// - Parameters:
    ///   - durable: what is on disk for certain; nothing behind it is looked at.
    ///   - maxBytes: after so many bytes of files or of records it is enough for one call.
    ///   - batch: gets the records behind the zxid that was asked for, in their order and without a gap.
    /// - Throws: when it cannot go on. What was given out before is right.
    package mutating func read(
        upTo durable: Zxid,
        maxBytes: Int,
        into batch: LogBatch
    ) throws(HistoryUnavailable) -> Step {
        var passed = 0
        while !hasReached(durable) {
            guard passed < maxBytes else { return .more }
            let before = offset
            switch try readFile(upTo: durable, maxBytes: maxBytes - passed, into: batch) {
            case .records:
                passed += Int(offset - before)
            case .end(let isClean):
                hasOpenEnd = hasOpenEnd || !isClean
                try openNext(durable)
            }
        }
        if previous == nil { previous = last ?? (isBase ? after : nil) }
        return .reached
    }

    /// Reads on until there are records, or all of them were given out.
    ///
    /// - Parameter maxBytes: about as much is given out; one record at least.
    package mutating func readRecords(
        upTo durable: Zxid,
        maxBytes: Int,
        into batch: LogBatch
    ) throws(HistoryUnavailable) -> Step {
        while true {
            let step = try read(upTo: durable, maxBytes: maxBytes, into: batch)
            if step == .reached || !batch.records.isEmpty { return step }
        }
    }

    private func hasReached(_ durable: Zxid) -> Bool {
        if let last { return last >= durable }
        return isBase && after >= durable
    }

    // MARK: - One file

    private enum FileStep {
        /// Some records, one at least.
        case records
        /// No record begins here.
        case end(isClean: Bool)
    }

    private mutating func readFile(
        upTo durable: Zxid,
        maxBytes: Int,
        into batch: LogBatch
    ) throws(HistoryUnavailable) -> FileStep {
        var count = try fill()
        var start = 0
        while !hasReached(durable), start < max(maxBytes, 1) {
            let rest = UnsafeRawBufferPointer(rebasing: buffer.bytes[start..<count])
            switch record(rest) {
            case .record(let zxid, let range):
                try take(zxid, UnsafeRawBufferPointer(rebasing: rest[range]), batch)
                start += range.upperBound + 1
                continue
            case .needs(let bytes) where start == 0 && count == buffer.bytes.count && bytes > count:
                buffer = ReadBuffer(bytes)
                count = try fill()
                continue
            case .needs where start == 0:
                return .end(isClean: ZeroScan.firstNonZero(rest) == nil)
            case .end(let isClean) where start == 0:
                return .end(isClean: isClean)
            case .needs, .end:
                break
            }
            break
        }
        offset += Int64(start)
        return .records
    }

    /// Reads from the file anew with every call: what was behind the durable end a moment ago may be something else now.
    private func fill() throws(HistoryUnavailable) -> Int {
        do { return try file.read(into: buffer.bytes, at: offset) } catch { throw unavailable("\(error)") }
    }

    private enum Found {
        /// The payload is that range of the bytes, and one byte follows it.
        case record(Zxid, Range<Int>)
        /// A record has so many bytes at least, and there are fewer.
        case needs(Int)
        case end(isClean: Bool)
    }

    private func record(_ bytes: UnsafeRawBufferPointer) -> Found {
        let prefix = TxnLogFormat.recordPrefixSize
        guard bytes.count >= prefix else { return .needs(prefix) }
        let checksum = Int64(bigEndian: bytes.loadUnaligned(as: Int64.self))
        let length = Int32(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: Int32.self))
        if checksum == 0, length == 0 { return .end(isClean: true) }
        guard length >= TxnLogFormat.minimumPayload, Int(length) <= maxRecordBytes else { return .end(isClean: false) }
        let end = prefix + Int(length)
        guard bytes.count > end else { return .needs(end + 1) }
        let payload = UnsafeRawBufferPointer(rebasing: bytes[prefix..<end])
        guard checksum == Int64(Adler32.update(Adler32.initial, payload)), bytes[end] == TxnLogFormat.endOfRecord,
            let zxid = Txn.zxid(ofPayload: payload)
        else { return .end(isClean: false) }
        return .record(zxid, prefix..<end)
    }

    private mutating func take(
        _ zxid: Zxid,
        _ payload: UnsafeRawBufferPointer,
        _ batch: LogBatch
    ) throws(HistoryUnavailable) {
        if let last, zxid <= last { return }
        let before = last ?? (isBase && zxid > after ? after : nil)
        if let before {
            let isNext = zxid == before.next
            guard isNext || (zxid.epoch > before.epoch && zxid.counter == 1 && !hasOpenEnd) else {
                throw unavailable("\(zxid) follows \(before)")
            }
        }
        hasOpenEnd = false
        if zxid > after {
            guard let before else { throw unavailable("no log reaches back to \(after), the first record is \(zxid)") }
            if previous == nil { previous = before }
            batch.append(payload, zxid: zxid)
        }
        last = zxid
    }

    // MARK: - Files

    private mutating func openNext(_ durable: Zxid) throws(HistoryUnavailable) {
        let files = try HistoryReader.files(in: directory, on: disk)
        guard let next = files.first(where: { $0.zxid > name.zxid }) else {
            throw unavailable("it ends behind \(last?.description ?? "nothing"), before \(durable)")
        }
        file = try HistoryReader.open(next.name, in: directory, on: disk)
        name = next
        offset = TxnLogFormat.headerSize
    }

    private static func files(in directory: String, on disk: D) throws(HistoryUnavailable) -> [LogFileEntry] {
        let entries: [DirectoryEntry]
        do { entries = try disk.list(directory) } catch { throw HistoryUnavailable("\(error)") }
        let files = entries.filter { !$0.isDirectory }.compactMap { entry in
            FileNames.logZxid(entry.name).map { LogFileEntry(name: entry.name, zxid: $0, size: entry.size) }
        }
        return files.filter { $0.zxid >= .zero }.sorted { ($0.zxid, $0.name) < ($1.zxid, $1.name) }
    }

    private static func open(_ name: String, in directory: String, on disk: D) throws(HistoryUnavailable) -> D.File {
        let path = FileNames.join(directory, name)
        let file: D.File
        var header = [UInt8](repeating: 0, count: Int(TxnLogFormat.headerSize))
        do {
            file = try disk.open(path, .read)
            let count = try header.withUnsafeMutableBufferPointer { (bytes) throws(DiskError) in
                try file.read(into: UnsafeMutableRawBufferPointer(bytes), at: 0)
            }
            header.removeLast(header.count - count)
        } catch {
            throw HistoryUnavailable("\(error)")
        }
        let magic = header.prefix(4).reduce(Int32(0)) { $0 << 8 | Int32($1) }
        guard header.count == Int(TxnLogFormat.headerSize), magic == TxnLogFormat.magic else {
            throw HistoryUnavailable("\(path): this is not a transaction log")
        }
        return file
    }

    /// How much of the newest log is records, if its header says so.
    private static func usedBytes(of log: LogFileEntry, in directory: String, on disk: D) -> Int64 {
        var place = [UInt8](repeating: 0, count: DurableMark.size)
        guard let file = try? disk.open(FileNames.join(directory, log.name), .read) else { return log.size }
        let count = place.withUnsafeMutableBytes { (try? file.read(into: $0, at: DurableMark.offsetInHeader)) ?? 0 }
        guard count == DurableMark.size, let mark = place.withUnsafeBytes({ DurableMark($0) }) else { return log.size }
        return min(mark.groupEnd, log.size)
    }

    private func unavailable(_ reason: String) -> HistoryUnavailable {
        HistoryUnavailable("\(FileNames.join(directory, name.name)): \(reason) (offset \(offset))")
    }
}

/// Memory to read into.
private final class ReadBuffer {
    let bytes: UnsafeMutableRawBufferPointer

    init(_ count: Int) { bytes = .allocate(byteCount: count, alignment: 16) }

    deinit { bytes.deallocate() }
}
