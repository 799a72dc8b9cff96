/// Stands in for swift-crypto, of which the configuration's code names three hashes: they are not what is fuzzed.
public protocol HashFunction {
    init()
    mutating func update(bufferPointer: UnsafeRawBufferPointer)
    func finalize() -> [UInt8]
}

public struct StandInHash: HashFunction {
    private var bytes: [UInt8] = []

    public init() {}

    public mutating func update(bufferPointer: UnsafeRawBufferPointer) { bytes += bufferPointer }

    public func finalize() -> [UInt8] { Array(bytes.reversed().prefix(20)) }
}

public enum Insecure {
    public typealias SHA1 = StandInHash
}

public typealias SHA256 = StandInHash
public typealias SHA512 = StandInHash
