internal import ZooKeeperProtocol

/// The log file that is being written, and the space reserved for it.
///
///     0        16                 end          writtenEnd              allocatedEnd
///     │ header │ records          │ zeros on disk │ reserved, reads as zeros │
final class TxnLogFile<File: DiskFile> {
    let handle: File
    var path: String
    /// Where the next record goes.
    var end = TxnLogFormat.headerSize
    /// What the header says is stable.
    var marked: Int64 = 0
    /// Where reserved space ends; also the size of the file.
    private(set) var allocatedEnd: Int64 = 0
    /// Up to here blocks are written and not only reserved.
    private var writtenEnd: Int64 = 0
    private var canAllocate = true

    private var smallestStep: Int64 { 4096 }
    /// The least part of a reserve that is asked for as a part.
    private var smallestReserve: Int64 { 64 << 10 }
    /// Zeros written ahead of the records at a time.
    private static var zeroStep: Int64 { 1 << 20 }

    init(_ handle: File, path: String) {
        self.handle = handle
        self.path = path
    }

    /// An error under the name that the file has now, and not the one it was opened by.
    func named(_ error: DiskError) -> DiskError {
        var error = error
        error.path = path
        return error
    }

    /// Sees to it that the file can take bytes up to `end`, with `reserveBytes` to spare.
    ///
    /// - Parameters:
    ///   - chunkBytes: by how much reserved space grows.
    ///   - asksForMore: false when the disk was full a moment ago: then only what `end` needs is asked for.
    /// - Returns: `.low` when there is room up to `end` and less than `reserveBytes` behind it, as much as the disk
    ///   has; nil when there is no room up to `end`.
    func reserve(
        upTo end: Int64,
        reserveBytes: Int64,
        chunkBytes: Int64,
        asksForMore: Bool
    ) throws(StorageError) -> LogSpace? {
        if end + reserveBytes <= allocatedEnd { return .ok }
        if end <= allocatedEnd, !asksForMore { return .low }
        // A disk without room for a whole chunk is not full yet.
        var step = chunkBytes
        while step >= smallestStep {
            if try grow(to: end + reserveBytes, chunkBytes: step) { return .ok }
            step /= 4
        }
        var part = reserveBytes / 2
        while part > 0 {
            if part < smallestReserve { part = min(part, smallestStep) }
            if end + part <= allocatedEnd { return .low }
            if try grow(to: end + part, chunkBytes: smallestStep) { return .low }
            part = part <= smallestStep ? 0 : part / 2
        }
        if end <= allocatedEnd { return .low }
        return try grow(to: end, chunkBytes: smallestStep) ? .low : nil
    }

    /// - Returns: false when the disk is full; the file then is what it was.
    private func grow(to end: Int64, chunkBytes: Int64) throws(StorageError) -> Bool {
        let start = allocatedEnd
        do {
            if canAllocate {
                let newEnd = TxnLogFile.roundUp(end, to: chunkBytes)
                try handle.allocate(from: start, count: newEnd - start)
                allocatedEnd = newEnd
                return true
            }
        } catch {
            guard error.reason == .unsupported else { return try giveBack(to: start, after: error) }
            canAllocate = false
        }
        // Without reservations only blocks that are written belong to the file. They are many bytes to write in one
        // go, hence smaller steps.
        do {
            let newEnd = TxnLogFile.roundUp(end, to: min(chunkBytes, TxnLogFile.zeroStep))
            try writeZeros(from: start, to: newEnd)
            writtenEnd = newEnd
            allocatedEnd = newEnd
            return true
        } catch {
            return try giveBack(to: start, after: error)
        }
    }

    /// A reservation that fails half-way keeps what it got: the disk needs it more than a log that cannot use it.
    private func giveBack(to size: Int64, after error: DiskError) throws(StorageError) -> Bool {
        guard error.reason == .noSpace else { throw .logWriteFailed(named(error)) }
        do {
            try handle.truncate(to: size)
        } catch {
            throw .logWriteFailed(named(error))
        }
        return false
    }

    /// Gives reserved space behind `end` back to the disk, for something that cannot do without.
    ///
    /// - Returns: false when there is none.
    func giveUp(_ bytes: Int64, behind end: Int64) throws(DiskError) -> Bool {
        let newEnd = max(allocatedEnd - bytes, TxnLogFile.roundUp(end, to: smallestStep))
        guard newEnd < allocatedEnd else { return false }
        try handle.truncate(to: newEnd)
        allocatedEnd = newEnd
        writtenEnd = min(writtenEnd, newEnd)
        return true
    }

    /// Writes zeros ahead of the records. Writing into blocks that are only reserved makes the file system change its
    /// own records with every sync, which costs as much again as the sync; over zeros it does not.
    func writeAhead(of end: Int64) throws(DiskError) {
        wrote(upTo: end)
        guard writtenEnd < allocatedEnd, writtenEnd - end < TxnLogFile.zeroStep / 4 else { return }
        let newEnd = min(allocatedEnd, writtenEnd + TxnLogFile.zeroStep)
        try writeZeros(from: writtenEnd, to: newEnd)
        writtenEnd = newEnd
    }

    /// Blocks in front of `end` are written.
    func wrote(upTo end: Int64) {
        writtenEnd = max(writtenEnd, TxnLogFile.roundUp(end, to: smallestStep))
    }

    private func writeZeros(from start: Int64, to end: Int64) throws(DiskError) {
        var offset = start
        while offset < end {
            let count = min(end - offset, Int64(zeroBlocks.bytes.count))
            let blocks = UnsafeRawBufferPointer(rebasing: zeroBlocks.bytes[..<Int(count)])
            if offset % smallestStep == 0, count % smallestStep == 0 {
                try handle.writeBlocks(blocks, at: offset)
            } else {
                try handle.write(blocks, at: offset)
            }
            offset += count
        }
    }

    private static func roundUp(_ value: Int64, to step: Int64) -> Int64 {
        (value + step - 1) / step * step
    }
}

private let zeroBlocks = ZeroBlocks()

/// Memory that nobody ever writes to, hence safe to share.
private struct ZeroBlocks: @unchecked Sendable {
    let bytes: UnsafeRawBufferPointer

    init() {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: LogGroup.blockBytes)
        memory.initializeMemory(as: UInt8.self, repeating: 0)
        bytes = UnsafeRawBufferPointer(memory)
    }
}
