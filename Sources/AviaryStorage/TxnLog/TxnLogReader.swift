package import ZooKeeperProtocol

/// Reads one log file from front to back (docs/protocol/disk-format.md section 3.1 and 3.3), a window at a time: memory
/// does not grow with the file.
///
/// It tells what it finds and judges nothing: whether a bad record is a tail to cut or damage depends on the other files
/// (`LogTail`).
package struct TxnLogReader<D: Disk>: ~Copyable {
    package let name: String
    package let header: TxnLogHeader
    private let maxRecordBytes: Int
    private var source: FileSource<D.File>
    private var window: StreamWindow
    /// The record that `next` returned last is consumed by the next call: until then its bytes are lent.
    private var lent = 0

    /// - Parameter maxRecordBytes: the longest payload that is accepted.
    package init(
        disk: D,
        directory: String,
        name: String,
        maxRecordBytes: Int = JuteReader.defaultMaxBufferBytes
    ) throws(StorageError) {
        let file: D.File
        do { file = try disk.open(FileNames.join(directory, name), .read) } catch { throw .disk(error) }
        var source = FileSource(file)
        var window = StreamWindow(maxRecord: maxRecordBytes + TxnLogFormat.recordOverhead)
        header = try TxnLogReader.readHeader(&window, &source)
        self.name = name
        self.maxRecordBytes = maxRecordBytes
        self.source = source
        self.window = window
    }

    /// Bytes read so far.
    package var bytesRead: Int64 { source.fileOffset }

    /// The next record, or why there is none. After `end` there is nothing more.
    package mutating func next() throws(StorageError) -> TxnLogStep {
        window.consume(lent)
        lent = 0
        guard try fill(TxnLogFormat.recordPrefixSize) else {
            let isPadding = window.unread.allSatisfy { $0 == 0 }
            return .end(TxnLogEnd(offset: window.offset, fault: isPadding ? nil : .incomplete))
        }
        let checksum = Int64(bigEndian: window.unread.loadUnaligned(as: Int64.self))
        let length = Int32(bigEndian: window.unread.loadUnaligned(fromByteOffset: 8, as: Int32.self))
        if checksum == 0, length == 0 { return try end() }
        guard length >= TxnLogFormat.minimumPayload, Int(length) <= maxRecordBytes else {
            return .end(TxnLogEnd(offset: window.offset, fault: .badLength(length)))
        }
        guard try fill(Int(length) + TxnLogFormat.recordOverhead) else {
            return .end(TxnLogEnd(offset: window.offset, fault: .incomplete))
        }
        let payload = UnsafeRawBufferPointer(
            rebasing: window.unread[TxnLogFormat.recordPrefixSize..<TxnLogFormat.recordPrefixSize + Int(length)]
        )
        let computed = Adler32.update(Adler32.initial, payload)
        guard checksum == Int64(computed), let zxid = Txn.zxid(ofPayload: payload) else {
            return .end(TxnLogEnd(offset: window.offset, fault: .badChecksum(stored: checksum, computed: computed)))
        }
        let last = window.unread[TxnLogFormat.recordPrefixSize + Int(length)]
        guard last == TxnLogFormat.endOfRecord else {
            return .end(TxnLogEnd(offset: window.offset, fault: .badEnd(last)))
        }
        lent = Int(length) + TxnLogFormat.recordOverhead
        return .record(TxnLogRecord(offset: window.offset, zxid: zxid, payload: payload))
    }

    /// A record of zeros: the padding begins, if nothing but zeros follows.
    private mutating func end() throws(StorageError) -> TxnLogStep {
        let offset = window.offset
        while true {
            if ZeroScan.firstNonZero(window.unread) != nil {
                return .end(TxnLogEnd(offset: offset, fault: .zerosBeforeData))
            }
            window.consume(window.unread.count)
            guard try fill(1) else { return .end(TxnLogEnd(offset: offset, fault: nil)) }
        }
    }

    private mutating func fill(_ count: Int) throws(StorageError) -> Bool {
        do { return try window.fill(count, from: &source) } catch { throw error.ofPlainFile }
    }

    private static func readHeader(
        _ window: inout StreamWindow,
        _ source: inout FileSource<D.File>
    ) throws(StorageError) -> TxnLogHeader {
        let size = Int(TxnLogFormat.headerSize)
        do { guard try window.fill(size, from: &source) else { return .empty } } catch { throw error.ofPlainFile }
        let bytes = UnsafeRawBufferPointer(rebasing: window.unread[..<size])
        let magic = Int32(bigEndian: bytes.loadUnaligned(as: Int32.self))
        window.consume(size)
        if magic == TxnLogFormat.magic {
            let place = UnsafeRawBufferPointer(rebasing: bytes[Int(DurableMark.offsetInHeader)...])
            if let mark = DurableMark(place) { return .log(mark) }
            return DurableMark.isNone(place) ? .log(nil) : .logWithBrokenMark
        }
        guard magic == 0 else { return .notALog(magic: magic) }
        // Space that was given to the file while what was written into it was lost.
        var nonZero = ZeroScan.firstNonZero(bytes)
        while nonZero == nil {
            nonZero = ZeroScan.firstNonZero(window.unread)
            window.consume(window.unread.count)
            do { guard try window.fill(1, from: &source) else { break } } catch { throw error.ofPlainFile }
        }
        return nonZero == nil ? .empty : .notALog(magic: magic)
    }
}

/// What the first bytes of a log say.
package enum TxnLogHeader: Sendable, Hashable {
    /// Without a mark when another server wrote it, or when nothing was synced.
    case log(DurableMark?)
    /// One of ours whose mark is damaged: how far it was synced is not known any more.
    case logWithBrokenMark
    /// Shorter than a header, or nothing but zeros.
    case empty
    case notALog(magic: Int32)
}

package enum TxnLogStep {
    case record(TxnLogRecord)
    case end(TxnLogEnd)
}

/// A record that is whole; the payload is lent until the next one is asked for.
package struct TxnLogRecord {
    /// Of its first byte in the file.
    package var offset: Int64
    package var zxid: Zxid
    package var payload: UnsafeRawBufferPointer
}

/// Where the records of a file end.
package struct TxnLogEnd: Hashable, Sendable {
    /// Behind the last whole record.
    package var offset: Int64
    /// nil where nothing or only zeros follow.
    package var fault: TxnLogFault?
}

/// What stands where a record should.
package enum TxnLogFault: Hashable, Sendable, CustomStringConvertible {
    /// The file ends inside a record.
    case incomplete
    /// Zeros as behind the last record, but something follows them.
    case zerosBeforeData
    case badLength(Int32)
    case badChecksum(stored: Int64, computed: UInt32)
    /// All of a record but its last byte.
    case badEnd(UInt8)

    package var description: String {
        switch self {
        case .incomplete: "the record is incomplete"
        case .zerosBeforeData: "there are zeros where a record should be, and data behind them"
        case .badLength(let length): "a record of \(length) bytes is not possible"
        case .badChecksum(let stored, let computed):
            "checksum mismatch (stored \(hex(UInt64(bitPattern: stored))), computed \(hex(UInt64(computed))))"
        case .badEnd(let byte): "the record ends with \(hex(UInt64(byte))) instead of 0x42"
        }
    }

    private func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }
}

extension ByteSourceError {
    /// Of a file that is read as it is: only the disk can refuse.
    var ofPlainFile: StorageError {
        switch self {
        case .disk(let error): .disk(error)
        case .codec(let error): .disk(DiskError(.read, "", .other, detail: error.description))
        }
    }
}

enum ZeroScan {
    static func firstNonZero(_ bytes: UnsafeRawBufferPointer) -> Int? {
        guard let base = bytes.baseAddress else { return nil }
        var offset = 0
        while offset + 64 <= bytes.count {
            if base.loadUnaligned(fromByteOffset: offset, as: SIMD8<UInt64>.self) != .zero { break }
            offset += 64
        }
        while offset < bytes.count {
            if base.load(fromByteOffset: offset, as: UInt8.self) != 0 { return offset }
            offset += 1
        }
        return nil
    }
}
