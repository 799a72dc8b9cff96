internal import ZooKeeperProtocol

/// The part of a stream that is in memory: filled at one end, consumed at the other.
///
/// It holds two mebibytes, and more only for a record that is longer, up to a bound.
struct StreamWindow: ~Copyable {
    private var base: UnsafeMutableRawPointer
    private var capacity: Int
    private let maxCapacity: Int
    private var start = 0
    private var end = 0
    private var isExhausted = false
    /// Where in the stream `unread` begins.
    private(set) var offset: Int64

    static let usualCapacity = 2 << 20

    /// - Parameter maxRecord: the longest run of bytes that has to be in memory at once.
    init(offset: Int64 = 0, maxRecord: Int) {
        capacity = StreamWindow.usualCapacity
        maxCapacity = max(capacity, maxRecord)
        base = .allocate(byteCount: capacity, alignment: 16)
        self.offset = offset
    }

    deinit { base.deallocate() }

    var unread: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base + start, count: end - start) }

    mutating func consume(_ count: Int) {
        invariant(count <= end - start, "consumed more than was read")
        start += count
        offset += Int64(count)
    }

    /// Reads until at least `count` bytes are unread.
    ///
    /// - Returns: false when the stream ends before, or when `count` is above the bound.
    mutating func fill(_ count: Int, from source: inout some ByteSource) throws(ByteSourceError) -> Bool {
        if end - start >= count { return true }
        guard count <= maxCapacity else { return false }
        while end - start < count {
            guard try readMore(from: &source, wanted: count) else { return false }
        }
        return true
    }

    /// Reads what fits.
    ///
    /// - Returns: false when the stream has ended, or a record is longer than the bound.
    mutating func readMore(from source: inout some ByteSource) throws(ByteSourceError) -> Bool {
        try readMore(from: &source, wanted: end - start + 1)
    }

    private mutating func readMore(
        from source: inout some ByteSource,
        wanted: Int
    ) throws(ByteSourceError) -> Bool {
        guard !isExhausted, wanted <= maxCapacity else { return false }
        makeRoom(for: wanted)
        let count = try source.read(
            into: UnsafeMutableRawBufferPointer(start: base + end, count: capacity - end)
        )
        end += count
        isExhausted = count == 0
        return count > 0
    }

    private mutating func makeRoom(for wanted: Int) {
        let kept = end - start
        if wanted > capacity {
            let newCapacity = min(max(capacity * 2, wanted), maxCapacity)
            let newBase = UnsafeMutableRawPointer.allocate(byteCount: newCapacity, alignment: 16)
            newBase.copyMemory(from: base + start, byteCount: kept)
            base.deallocate()
            base = newBase
            capacity = newCapacity
        } else if start > 0 {
            base.copyMemory(from: base + start, byteCount: kept)
        } else {
            return
        }
        start = 0
        end = kept
    }
}
