package import ZooKeeperProtocol

/// A way to pack a whole file (docs/protocol/disk-format.md section 4.2).
///
/// Snappy is in this target; gzip comes from outside, where a C library may be called.
package protocol StreamCodec: Sendable {
    associatedtype Compressor: StreamCompressor
    associatedtype Decompressor: StreamDecompressor

    func makeCompressor() throws(StreamCodecError) -> Compressor
    func makeDecompressor() throws(StreamCodecError) -> Decompressor
}

/// Packs one stream.
package protocol StreamCompressor: AnyObject {
    /// Takes all of `input`, and appends what is ready to `output`.
    func compress(_ input: UnsafeRawBufferPointer, into output: inout JuteWriter) throws(StreamCodecError)

    /// Ends the stream and appends what is left of it to `output`.
    func finish(into output: inout JuteWriter) throws(StreamCodecError)
}

/// Unpacks one stream, a bounded piece at a time.
package protocol StreamDecompressor: AnyObject {
    /// Unpacks into `output`, which bounds what a call can produce, whatever the input claims.
    ///
    /// A call that neither consumes nor produces anything needs more input than it was given.
    func decompress(
        _ input: UnsafeRawBufferPointer,
        into output: UnsafeMutableRawBufferPointer
    ) throws(StreamCodecError) -> DecompressionStep

    /// Whether the input may end here.
    var isComplete: Bool { get }
}

package struct DecompressionStep: Sendable, Hashable {
    /// Bytes of input that are not needed again.
    package var consumed: Int
    /// Bytes of output.
    package var produced: Int

    package init(consumed: Int, produced: Int) {
        self.consumed = consumed
        self.produced = produced
    }
}

package struct StreamCodecError: Error, Hashable, Sendable, CustomStringConvertible {
    package var description: String

    package init(_ description: String) {
        self.description = description
    }
}
