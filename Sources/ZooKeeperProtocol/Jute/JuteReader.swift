/// Why bytes could not be read as Jute.
package enum JuteError: Error, Equatable {
    /// The bytes end before the value does.
    case truncated
    /// A length below −1, or above what a buffer may hold.
    case badLength(Int32)
    /// A value outside the set that the field allows (an operation, a flag, a watch type).
    case badValue(Int64)
    /// A field is null that must not be.
    case unexpectedNull
    /// A text that is not of the form that the field asks for; shown short and without control characters.
    case badText(String)
}

/// Reads Jute primitives from borrowed bytes (docs/protocol/client-protocol.md section 1).
///
/// Nothing is copied: buffers and strings come back as views into the bytes given to `init`, valid only as long as
/// those are. The reader is the innermost loop of the server, hence raw pointers; every access is bounds-checked
/// against `end` here and nowhere else.
@frozen
package struct JuteReader {
    @usableFromInline var cursor: UnsafeRawPointer
    @usableFromInline let end: UnsafeRawPointer
    /// The most bytes that one buffer or string may hold.
    @usableFromInline let maxBufferBytes: Int

    /// The slack over `jute.maxbuffer` exists for reading back from disk; a frame from a client is bounded before.
    package static let defaultMaxBufferBytes = 2 * 0xfffff

    @inlinable
    package init(_ bytes: UnsafeRawBufferPointer, maxBufferBytes: Int = JuteReader.defaultMaxBufferBytes) {
        let start = bytes.baseAddress ?? UnsafeRawPointer(bitPattern: 1).unsafelyUnwrapped
        cursor = start
        end = start + bytes.count
        self.maxBufferBytes = maxBufferBytes
    }

    @inlinable
    package var remaining: Int { end - cursor }

    /// What has not been read yet.
    @inlinable
    package var rest: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: cursor, count: remaining) }

    @inlinable
    package mutating func int32() throws(JuteError) -> Int32 {
        guard remaining >= 4 else { throw .truncated }
        let value = Int32(bigEndian: cursor.loadUnaligned(as: Int32.self))
        cursor += 4
        return value
    }

    @inlinable
    package mutating func int64() throws(JuteError) -> Int64 {
        guard remaining >= 8 else { throw .truncated }
        let value = Int64(bigEndian: cursor.loadUnaligned(as: Int64.self))
        cursor += 8
        return value
    }

    @inlinable
    package mutating func byte() throws(JuteError) -> UInt8 {
        guard remaining >= 1 else { throw .truncated }
        let value = cursor.load(as: UInt8.self)
        cursor += 1
        return value
    }

    /// Any byte but zero is true.
    @inlinable
    package mutating func bool() throws(JuteError) -> Bool {
        try byte() != 0
    }

    /// Whether the next bytes are these.
    func hasPrefix(_ bytes: [UInt8]) -> Bool {
        guard remaining >= bytes.count else { return false }
        return bytes.withUnsafeBytes { $0.elementsEqual(UnsafeRawBufferPointer(start: cursor, count: $0.count)) }
    }

    /// Passes over bytes that `rest` has shown to be there.
    @inlinable
    package mutating func skip(_ count: Int) {
        cursor += Swift.min(count, remaining)
    }

    /// A buffer or the UTF-8 bytes of a string; nil when null (length −1).
    @inlinable
    package mutating func buffer() throws(JuteError) -> UnsafeRawBufferPointer? {
        let length = try int32()
        if length < 0 {
            guard length == -1 else { throw .badLength(length) }
            return nil
        }
        guard Int(length) <= maxBufferBytes else { throw .badLength(length) }
        guard Int(length) <= remaining else { throw .truncated }
        let view = UnsafeRawBufferPointer(start: cursor, count: Int(length))
        cursor += Int(length)
        return view
    }

    /// A buffer that must not be null.
    @inlinable
    package mutating func requiredBuffer() throws(JuteError) -> UnsafeRawBufferPointer {
        guard let view = try buffer() else { throw .unexpectedNull }
        return view
    }

    /// A copy of a buffer; nil when null.
    @inlinable
    package mutating func bytes() throws(JuteError) -> [UInt8]? {
        guard let view = try buffer() else { return nil }
        return [UInt8](view)
    }

    /// A string; nil when null. Malformed UTF-8 becomes U+FFFD.
    package mutating func string() throws(JuteError) -> String? {
        guard let view = try buffer() else { return nil }
        return String(decoding: view, as: UTF8.self)
    }

    /// The count of a vector; nil when null (−1), zero for any other negative count.
    ///
    /// The count is what the sender claims: reserve no memory by it, read element by element.
    @inlinable
    package mutating func vectorCount() throws(JuteError) -> Int? {
        let count = try int32()
        if count < 0 {
            return count == -1 ? nil : 0
        }
        return Int(count)
    }
}
