internal import ZooKeeperProtocol

/// Decides what a bad record in a log is: the torn end of what was never acknowledged, or damage
/// (docs/protocol/disk-format.md section 3.4).
struct LogTail<D: Disk> {
    let disk: D
    let directory: String
    let name: String
    let mark: DurableMark?
    let isMarkBroken: Bool
    let end: TxnLogEnd
    let fault: TxnLogFault
    /// The last whole record in front of it, or what is known to be before the file.
    let lastGood: Zxid
    let maxRecordBytes: Int

    private enum Verdict {
        /// Nothing from here on was acknowledged, as far as anybody can know.
        case torn
        case damaged
        /// All of a record may be there, but it is longer than what is read.
        case aboveLimit(length: Int)
    }

    /// - Parameters:
    ///   - isNewest: whether no later file has records.
    ///   - lastGoodZxid: for the message.
    /// - Returns: why the log cannot be used; nil when the bad record is a torn end.
    func refusal(isNewest: Bool, lastGoodZxid: Zxid?) throws(StorageError) -> StorageError? {
        let path = FileNames.join(directory, name)
        switch try verdict(isNewest: isNewest) {
        case .torn:
            return nil
        case .damaged:
            return .damagedLog(
                LogDamage(file: path, offset: end.offset, reason: fault.description, lastGoodZxid: lastGoodZxid)
            )
        case .aboveLimit(let length):
            return .recordAboveLimit(file: path, offset: end.offset, length: length, limit: maxRecordBytes)
        }
    }

    private func verdict(isNewest: Bool) throws(StorageError) -> Verdict {
        // Bytes that did not reach the disk are zeros: they make a length smaller, never this. So the mark has no say.
        if case .badLength(let length) = fault, length < 0 || Int(length) > maxRecordBytes {
            let end = end.offset + Int64(length) + Int64(TxnLogFormat.recordOverhead)
            let size = try size()
            return length > 0 && end <= size ? .aboveLimit(length: Int(length)) : .damaged
        }
        // A mark is written before the group that it announces, and a sector is written or not. So a broken one is damage,
        // or no group followed it; and nothing says any more that a bad record was not acknowledged.
        if isMarkBroken { return .damaged }
        if let mark, end.offset < mark.stableEnd { return .damaged }
        // Behind the end of the group nothing was ever stable, in an older log either: a cut that is taken back with the
        // power leaves there what a start had found torn. Whether the next log goes on behind is looked at in any case.
        if let mark, end.offset >= mark.groupEnd { return .torn }
        if let mark, isNewest {
            // A good record at or behind the end of the group proves that the group was stable. A record inside it proves
            // nothing: blocks reach the disk in any order.
            guard try hasLostSector(mark) else { return .damaged }
            return try hasRecord(from: mark.groupEnd) ? .damaged : .torn
        }
        switch fault {
        case .badEnd:
            return try hasDataBehindRecord() ? .damaged : .torn
        case .incomplete, .zerosBeforeData, .badLength, .badChecksum:
            return try hasRecord(from: end.offset + 1) ? .damaged : .torn
        }
    }

    /// Whether some sector of the bad record never reached the disk.
    ///
    /// The space of a log reads as zeros before it is written, so a sector that is missing is zeros, from where the group
    /// begins at the earliest. If it holds the record's length, then that is too small, but never above what it was: the
    /// sector is among those that the prefix touches, or among those that the length reaches. Zeros in other records say
    /// nothing, for those are whole and may be made of zeros.
    private func hasLostSector(_ mark: DurableMark) throws(StorageError) -> Bool {
        let size = try size()
        var prefix = [UInt8](repeating: 0, count: TxnLogFormat.recordPrefixSize)
        guard try read(&prefix, at: end.offset) == prefix.count else { return true }
        let length = prefix[8...].reduce(Int64(0)) { $0 << 8 | Int64($1) }
        // A length that was made larger must not reach into the records behind.
        let next = try firstRecord(from: end.offset + 1) ?? mark.groupEnd
        let recordEnd = min(end.offset + length + Int64(TxnLogFormat.recordOverhead), next, mark.groupEnd)
        guard recordEnd <= size else { return true }
        // Every group ends with a letter. Where that is missing, the group was not written to its end: a write can also
        // stop in the middle of a sector, when the system refuses the rest of it.
        var last: [UInt8] = [0]
        guard try read(&last, at: mark.groupEnd - 1) == 1, last[0] != 0 else { return true }
        var start = end.offset / TxnLogFormat.sectorSize * TxnLogFormat.sectorSize
        while start < recordEnd {
            let from = max(start, mark.synced)
            // Behind the group there are zeros in any case.
            var sector = [UInt8](
                repeating: 0,
                count: Int(min(start + TxnLogFormat.sectorSize, mark.groupEnd) - from)
            )
            _ = try read(&sector, at: from)
            // A record begins with four zeros, the upper half of its checksum's field: alone they tell nothing.
            let isTelling = from + Int64(sector.count) > end.offset + 4
            if isTelling, sector.allSatisfy({ $0 == 0 }) { return true }
            start += TxnLogFormat.sectorSize
        }
        return false
    }

    private func read(_ bytes: inout [UInt8], at offset: Int64) throws(StorageError) -> Int {
        let file = try open()
        do {
            return try bytes.withUnsafeMutableBufferPointer { (bytes) throws(DiskError) in
                try file.read(into: UnsafeMutableRawBufferPointer(bytes), at: offset)
            }
        } catch {
            throw .disk(error)
        }
    }

    /// Whether a whole record begins at `start` or anywhere behind it.
    private func hasRecord(from start: Int64) throws(StorageError) -> Bool {
        try firstRecord(from: start) != nil
    }

    /// Where the first whole record begins at `start` or behind it.
    private func firstRecord(from start: Int64) throws(StorageError) -> Int64? {
        var window = StreamWindow(offset: start, maxRecord: maxRecordBytes + TxnLogFormat.recordOverhead)
        var source = FileSource(try open(), at: start)
        // Bytes that look like many long records could be summed up again and again: beyond this, assume the worst.
        var budget = max(64 << 20, 16 * (try size()))
        do {
            while try window.fill(TxnLogFormat.minimumPayload + TxnLogFormat.recordOverhead, from: &source) {
                guard let candidate = firstCandidate(window.unread) else {
                    window.consume(window.unread.count - TxnLogFormat.recordPrefixSize + 1)
                    continue
                }
                window.consume(candidate)
                let length = Int(Int32(bigEndian: window.unread.loadUnaligned(fromByteOffset: 8, as: Int32.self)))
                if try window.fill(length + TxnLogFormat.recordOverhead, from: &source) {
                    budget -= Int64(length)
                    if budget < 0 || isRecord(window.unread, length: length, at: window.offset) { return window.offset }
                }
                window.consume(1)
            }
        } catch {
            throw error.ofPlainFile
        }
        return nil
    }

    /// The first place where checksum and length could be those of a record.
    private func firstCandidate(_ bytes: UnsafeRawBufferPointer) -> Int? {
        guard let base = bytes.baseAddress else { return nil }
        let last = bytes.count - TxnLogFormat.recordPrefixSize
        var offset = 0
        while offset <= last {
            if offset + 40 <= bytes.count,
                base.loadUnaligned(fromByteOffset: offset + 8, as: SIMD4<UInt64>.self) == .zero
            {
                // Wherever a record began in here, its length would be 0.
                offset += 29
                continue
            }
            let high = base.loadUnaligned(fromByteOffset: offset, as: UInt32.self)
            let length = Int32(bigEndian: base.loadUnaligned(fromByteOffset: offset + 8, as: Int32.self))
            if high == 0, length >= TxnLogFormat.minimumPayload, Int(length) <= maxRecordBytes { return offset }
            offset += 1
        }
        return nil
    }

    private func isRecord(_ bytes: UnsafeRawBufferPointer, length: Int, at offset: Int64) -> Bool {
        let prefix = TxnLogFormat.recordPrefixSize
        guard bytes[prefix + length] == TxnLogFormat.endOfRecord else { return false }
        let payload = UnsafeRawBufferPointer(rebasing: bytes[prefix..<prefix + length])
        guard let zxid = Txn.zxid(ofPayload: payload), isPlausible(zxid, at: offset) else { return false }
        let checksum = Int64(bigEndian: bytes.loadUnaligned(as: Int64.self))
        return checksum == Int64(Adler32.update(Adler32.initial, payload))
    }

    /// A znode may hold a copy of a log. A record of this file is not far from the one before it, by its zxid.
    private func isPlausible(_ zxid: Zxid, at offset: Int64) -> Bool {
        let smallest = Int64(TxnLogFormat.minimumPayload + TxnLogFormat.recordOverhead)
        let between = (offset - end.offset) / smallest + 2
        guard zxid > lastGood else { return false }
        if zxid.epoch == lastGood.epoch { return zxid.counter - lastGood.counter <= between }
        return zxid.counter <= between
    }

    /// Whether anything but zeros stands behind a record that is whole but for its last byte.
    private func hasDataBehindRecord() throws(StorageError) -> Bool {
        var window = StreamWindow(offset: end.offset, maxRecord: maxRecordBytes + TxnLogFormat.recordOverhead)
        var source = FileSource(try open(), at: end.offset)
        do {
            guard try window.fill(TxnLogFormat.recordPrefixSize, from: &source) else { return false }
            let length = Int(Int32(bigEndian: window.unread.loadUnaligned(fromByteOffset: 8, as: Int32.self)))
            guard try window.fill(length + TxnLogFormat.recordOverhead, from: &source) else { return false }
            window.consume(length + TxnLogFormat.recordOverhead)
            repeat {
                if ZeroScan.firstNonZero(window.unread) != nil { return true }
                window.consume(window.unread.count)
            } while try window.fill(1, from: &source)
        } catch {
            throw error.ofPlainFile
        }
        return false
    }

    private func open() throws(StorageError) -> D.File {
        do { return try disk.open(FileNames.join(directory, name), .read) } catch { throw .disk(error) }
    }

    private func size() throws(StorageError) -> Int64 {
        let file = try open()
        do { return try file.size() } catch { throw .disk(error) }
    }
}
