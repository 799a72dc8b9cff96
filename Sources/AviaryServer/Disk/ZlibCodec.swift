package import AviaryStorage
internal import CZlib
package import ZooKeeperProtocol

/// gzip for snapshots (`snapshot.compression.method=gz`), by the zlib of the system.
package struct ZlibCodec: StreamCodec {
    package init() {}

    package func makeCompressor() throws(StreamCodecError) -> ZlibCompressor { try ZlibCompressor() }
    package func makeDecompressor() throws(StreamCodecError) -> ZlibDecompressor { try ZlibDecompressor() }

    /// The largest window, and a gzip header and trailer around the stream.
    fileprivate static let windowBits: Int32 = 15 + 16

    /// In case zlib says no more than a number.
    fileprivate static func error(_ stream: z_stream, _ code: Int32) -> StreamCodecError {
        let reason = stream.msg.map { String(cString: $0) } ?? "zlib error \(code)"
        return StreamCodecError("gzip: \(reason)")
    }
}

package final class ZlibCompressor: StreamCompressor {
    /// zlib keeps a pointer to it, so it must not move.
    private let stream: UnsafeMutablePointer<z_stream>
    private static let pieceBytes = 64 << 10

    fileprivate init() throws(StreamCodecError) {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        let code = deflateInit2_(
            stream,
            Z_DEFAULT_COMPRESSION,
            Z_DEFLATED,
            ZlibCodec.windowBits,
            8,
            Z_DEFAULT_STRATEGY,
            ZLIB_VERSION,
            Int32(MemoryLayout<z_stream>.size)
        )
        guard code == Z_OK else { throw ZlibCodec.error(stream.pointee, code) }
    }

    deinit {
        deflateEnd(stream)
        stream.deallocate()
    }

    package func compress(
        _ input: UnsafeRawBufferPointer,
        into output: inout JuteWriter
    ) throws(StreamCodecError) {
        try deflateAll(input, Z_NO_FLUSH, into: &output)
    }

    package func finish(into output: inout JuteWriter) throws(StreamCodecError) {
        try deflateAll(UnsafeRawBufferPointer(start: nil, count: 0), Z_FINISH, into: &output)
    }

    private func deflateAll(
        _ input: UnsafeRawBufferPointer,
        _ flush: Int32,
        into output: inout JuteWriter
    ) throws(StreamCodecError) {
        // zlib counts input in 32 bits.
        var rest = input
        repeat {
            let part = UnsafeRawBufferPointer(rebasing: rest[..<min(rest.count, 1 << 30)])
            rest = UnsafeRawBufferPointer(rebasing: rest[part.count...])
            stream.pointee.next_in = ZlibPointer.input(part)
            stream.pointee.avail_in = UInt32(part.count)
            try drain(flush, into: &output)
        } while rest.count > 0
    }

    /// Lets zlib take all of its input and write what it has.
    private func drain(_ flush: Int32, into output: inout JuteWriter) throws(StreamCodecError) {
        let failure: Int32? = withUnsafeTemporaryAllocation(byteCount: Self.pieceBytes, alignment: 16) { piece in
            while true {
                stream.pointee.next_out = ZlibPointer.output(piece)
                stream.pointee.avail_out = UInt32(piece.count)
                let code = deflate(stream, flush)
                let produced = piece.count - Int(stream.pointee.avail_out)
                output.raw(UnsafeRawBufferPointer(rebasing: piece[..<produced]))
                if code == Z_STREAM_END { return nil }
                guard code == Z_OK || code == Z_BUF_ERROR else { return code }
                // Room left over: there was no more to write.
                if stream.pointee.avail_out > 0 { return nil }
            }
        }
        if let failure { throw ZlibCodec.error(stream.pointee, failure) }
    }
}

package final class ZlibDecompressor: StreamDecompressor {
    private let stream: UnsafeMutablePointer<z_stream>
    package private(set) var isComplete = false

    fileprivate init() throws(StreamCodecError) {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        let code = inflateInit2_(stream, ZlibCodec.windowBits, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        guard code == Z_OK else { throw ZlibCodec.error(stream.pointee, code) }
    }

    deinit {
        inflateEnd(stream)
        stream.deallocate()
    }

    package func decompress(
        _ input: UnsafeRawBufferPointer,
        into output: UnsafeMutableRawBufferPointer
    ) throws(StreamCodecError) -> DecompressionStep {
        guard input.count > 0 || !isComplete else { return DecompressionStep(consumed: 0, produced: 0) }
        if isComplete {
            // gzip files may be put behind each other and are then one.
            inflateReset(stream)
            isComplete = false
        }
        let available = UInt32(min(input.count, 1 << 30))
        let room = UInt32(min(output.count, 1 << 30))
        stream.pointee.next_in = ZlibPointer.input(input)
        stream.pointee.avail_in = available
        stream.pointee.next_out = ZlibPointer.output(output)
        stream.pointee.avail_out = room
        let code = inflate(stream, Z_NO_FLUSH)
        guard code == Z_OK || code == Z_STREAM_END || code == Z_BUF_ERROR else {
            throw ZlibCodec.error(stream.pointee, code)
        }
        isComplete = code == Z_STREAM_END
        return DecompressionStep(
            consumed: Int(available - stream.pointee.avail_in),
            produced: Int(room - stream.pointee.avail_out)
        )
    }
}

private enum ZlibPointer {
    /// zlib does not write through it, but its declaration does not say so.
    static func input(_ bytes: UnsafeRawBufferPointer) -> UnsafeMutablePointer<UInt8>? {
        guard let base = bytes.baseAddress else { return nil }
        return UnsafeMutablePointer(mutating: base.assumingMemoryBound(to: UInt8.self))
    }

    static func output(_ bytes: UnsafeMutableRawBufferPointer) -> UnsafeMutablePointer<UInt8>? {
        bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
    }
}
