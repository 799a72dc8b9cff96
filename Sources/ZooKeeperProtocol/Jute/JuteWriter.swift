/// Collects Jute primitives in memory that it owns (docs/protocol/client-protocol.md section 1).
///
/// Replies, log records and snapshot pieces are all built in one of these, which is kept and reused: after the first
/// turns it no longer allocates. It is not copyable, so the memory has exactly one owner.
@frozen
package struct JuteWriter: ~Copyable {
    @usableFromInline var base: UnsafeMutableRawPointer
    @usableFromInline var capacity: Int
    /// How many bytes are written.
    @inlinable
    package var count: Int { length }
    @usableFromInline var length: Int
    @usableFromInline let alignment: Int

    /// - Parameter alignment: of the memory; a power of two.
    @inlinable
    package init(capacity: Int = 256, alignment: Int = 16) {
        self.capacity = Swift.max(capacity, 64)
        self.alignment = alignment
        base = UnsafeMutableRawPointer.allocate(byteCount: self.capacity, alignment: alignment)
        length = 0
    }

    @inlinable
    deinit {
        base.deallocate()
    }

    /// Makes room for `bytes` more.
    @inlinable @inline(__always)
    package mutating func reserve(_ bytes: Int) {
        if length + bytes > capacity { grow(by: bytes) }
    }

    @usableFromInline
    mutating func grow(by bytes: Int) {
        let newCapacity = Swift.max(capacity * 2, length + bytes)
        let newBase = UnsafeMutableRawPointer.allocate(byteCount: newCapacity, alignment: alignment)
        newBase.copyMemory(from: base, byteCount: length)
        base.deallocate()
        base = newBase
        capacity = newCapacity
    }

    @inlinable @inline(__always)
    package mutating func int32(_ value: Int32) {
        reserve(4)
        base.storeBytes(of: value.bigEndian, toByteOffset: length, as: Int32.self)
        length += 4
    }

    @inlinable @inline(__always)
    package mutating func int64(_ value: Int64) {
        reserve(8)
        base.storeBytes(of: value.bigEndian, toByteOffset: length, as: Int64.self)
        length += 8
    }

    @inlinable @inline(__always)
    package mutating func byte(_ value: UInt8) {
        reserve(1)
        base.storeBytes(of: value, toByteOffset: length, as: UInt8.self)
        length += 1
    }

    @inlinable
    package mutating func bool(_ value: Bool) {
        byte(value ? 1 : 0)
    }

    /// Bytes as they are, without a length.
    @inlinable
    package mutating func raw(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress, bytes.count > 0 else { return }
        reserve(bytes.count)
        (base + length).copyMemory(from: source, byteCount: bytes.count)
        length += bytes.count
    }

    /// A buffer or string: its length, then its bytes; −1 for null.
    @inlinable
    package mutating func buffer(_ bytes: UnsafeRawBufferPointer?) {
        guard let bytes else { return int32(-1) }
        reserve(4 + bytes.count)
        int32(Int32(truncatingIfNeeded: bytes.count))
        raw(bytes)
    }

    @inlinable
    package mutating func buffer(_ bytes: [UInt8]?) {
        guard let bytes else { return int32(-1) }
        bytes.withUnsafeBytes { buffer($0) }
    }

    package mutating func string(_ text: String?) {
        guard var text else { return int32(-1) }
        text.withUTF8 { buffer(UnsafeRawBufferPointer($0)) }
    }

    /// Overwrites four bytes that were written before: lengths and counts known only afterwards.
    @inlinable
    package mutating func patch(_ value: Int32, at offset: Int) {
        invariant(offset >= 0 && offset + 4 <= length, "patch outside of what was written")
        base.storeBytes(of: value.bigEndian, toByteOffset: offset, as: Int32.self)
    }

    @inlinable
    package mutating func patch(_ value: Int64, at offset: Int) {
        invariant(offset >= 0 && offset + 8 <= length, "patch outside of what was written")
        base.storeBytes(of: value.bigEndian, toByteOffset: offset, as: Int64.self)
    }

    /// Forgets what was written behind `count` bytes.
    @inlinable
    package mutating func truncate(to count: Int) {
        invariant(count >= 0 && count <= length, "truncate beyond what was written")
        length = count
    }

    /// Forgets everything; memory above `keeping` bytes is given back.
    package mutating func removeAll(keeping: Int = 1 << 20) {
        length = 0
        giveBack(above: keeping)
    }

    /// Gives memory above `keeping` bytes back, and above what is written.
    package mutating func giveBack(above keeping: Int) {
        let wanted = Swift.max(keeping, length, 64)
        guard capacity > wanted else { return }
        let smaller = UnsafeMutableRawPointer.allocate(byteCount: wanted, alignment: alignment)
        smaller.copyMemory(from: base, byteCount: length)
        base.deallocate()
        base = smaller
        capacity = wanted
    }

    /// Forgets everything in front of the last `count` bytes, which move to the beginning.
    package mutating func keepLast(_ count: Int) {
        invariant(count >= 0 && count <= length, "keeping more than what was written")
        base.copyMemory(from: base + (length - count), byteCount: count)
        length = count
    }

    package mutating func zeros(_ count: Int) {
        reserve(count)
        (base + length).initializeMemory(as: UInt8.self, repeating: 0, count: count)
        length += count
    }

    /// What was written, valid inside `body` only.
    @inlinable
    package func withBytes<R, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
        try body(UnsafeRawBufferPointer(start: base, count: length))
    }

    /// A part of what was written, valid inside `body` only.
    @inlinable
    package func withBytes<R, E: Error>(
        in range: Range<Int>,
        _ body: (UnsafeRawBufferPointer) throws(E) -> R
    ) throws(E) -> R {
        invariant(range.lowerBound >= 0 && range.upperBound <= length, "range outside of what was written")
        return try body(UnsafeRawBufferPointer(start: base + range.lowerBound, count: range.count))
    }

    /// A copy of what was written.
    package func copy() -> [UInt8] {
        withBytes { [UInt8]($0) }
    }
}
