package import AviaryStorage
package import ZooKeeperProtocol

/// Stands in where nothing reads gzip: that comes from outside of the pure targets.
package struct NoGzip: StreamCodec {
    package init() {}

    package final class Coder: StreamCompressor, StreamDecompressor {
        package func compress(_ input: UnsafeRawBufferPointer, into output: inout JuteWriter) {}
        package func finish(into output: inout JuteWriter) {}
        package func decompress(
            _ input: UnsafeRawBufferPointer,
            into output: UnsafeMutableRawBufferPointer
        ) -> DecompressionStep { DecompressionStep(consumed: 0, produced: 0) }
        package var isComplete: Bool { false }
    }

    package func makeCompressor() throws(StreamCodecError) -> Coder { throw StreamCodecError("no gzip here") }
    package func makeDecompressor() throws(StreamCodecError) -> Coder { throw StreamCodecError("no gzip here") }
}
