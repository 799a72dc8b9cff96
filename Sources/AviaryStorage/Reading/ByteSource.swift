internal import ZooKeeperProtocol

/// Where bytes come from, in order.
protocol ByteSource {
    /// Fills `buffer`, as far as there is something.
    ///
    /// - Returns: bytes read; 0 only at the end.
    mutating func read(into buffer: UnsafeMutableRawBufferPointer) throws(ByteSourceError) -> Int

    /// Bytes taken from the file so far, for showing progress.
    var fileOffset: Int64 { get }
}

enum ByteSourceError: Error {
    case disk(DiskError)
    case codec(StreamCodecError)
}

/// A file as it is.
struct FileSource<File: DiskFile>: ByteSource {
    private let file: File
    private(set) var fileOffset: Int64

    init(_ file: File, at offset: Int64 = 0) {
        self.file = file
        fileOffset = offset
    }

    mutating func read(into buffer: UnsafeMutableRawBufferPointer) throws(ByteSourceError) -> Int {
        let count: Int
        do { count = try file.read(into: buffer, at: fileOffset) } catch { throw .disk(error) }
        fileOffset += Int64(count)
        return count
    }
}

/// A packed file, unpacked on the way.
struct UnpackingSource<File: DiskFile>: ByteSource {
    private var file: FileSource<File>
    private let unpacker: any StreamDecompressor
    private var packed = [UInt8](repeating: 0, count: 256 << 10)
    private var start = 0
    private var end = 0

    init(_ file: File, _ unpacker: any StreamDecompressor) {
        self.file = FileSource(file)
        self.unpacker = unpacker
    }

    var fileOffset: Int64 { file.fileOffset }

    mutating func read(into buffer: UnsafeMutableRawBufferPointer) throws(ByteSourceError) -> Int {
        var produced = 0
        while produced < buffer.count {
            let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[produced...])
            let step: DecompressionStep
            do {
                step = try packed.withUnsafeBufferPointer { (bytes) throws(StreamCodecError) in
                    let unread = UnsafeBufferPointer(rebasing: bytes[start..<end])
                    return try unpacker.decompress(UnsafeRawBufferPointer(unread), into: rest)
                }
            } catch {
                throw .codec(error)
            }
            start += step.consumed
            produced += step.produced
            guard step.consumed == 0, step.produced == 0 else { continue }
            guard try refill() else {
                guard unpacker.isComplete else { throw .codec(StreamCodecError("the packed data ends early")) }
                break
            }
        }
        return produced
    }

    /// - Returns: false at the end of the file.
    private mutating func refill() throws(ByteSourceError) -> Bool {
        let kept = end - start
        guard kept < packed.count else { throw .codec(StreamCodecError("the packed data cannot be read")) }
        let count = try packed.withUnsafeMutableBufferPointer { [start, end] (bytes) throws(ByteSourceError) in
            let raw = UnsafeMutableRawBufferPointer(bytes)
            raw.copyMemory(from: UnsafeRawBufferPointer(rebasing: raw[start..<end]))
            return try file.read(into: UnsafeMutableRawBufferPointer(rebasing: raw[kept...]))
        }
        start = 0
        end = kept + count
        return count > 0
    }
}
