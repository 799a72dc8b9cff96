import Foundation

/// 127.0.0.1 as the system's calls want it.
///
/// By hand: beside an import of NIO the fields of C's structure belong to a module that tests do not depend on.
enum Loopback {
    static let size = socklen_t(16)

    static func withAddress<R>(port: Int, _ body: (UnsafeMutablePointer<sockaddr>) -> R) -> R {
        #if canImport(Darwin)
            let family: [UInt8] = [16, UInt8(AF_INET)]
        #else
            let family = withUnsafeBytes(of: UInt16(AF_INET)) { Array($0) }
        #endif
        let bigEndianPort = withUnsafeBytes(of: UInt16(port).bigEndian) { Array($0) }
        var bytes = family + bigEndianPort + [127, 0, 0, 1] + [UInt8](repeating: 0, count: 8)
        return bytes.withUnsafeMutableBytes { raw in
            body(raw.baseAddress!.assumingMemoryBound(to: sockaddr.self))
        }
    }

    /// The port in an address that the system has filled in.
    static func port(of address: UnsafeMutablePointer<sockaddr>) -> Int {
        Int(UInt16(bigEndian: UnsafeRawPointer(address).loadUnaligned(fromByteOffset: 2, as: UInt16.self)))
    }
}
