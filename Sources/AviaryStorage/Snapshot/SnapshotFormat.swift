internal import ZooKeeperProtocol

/// The constants of a snapshot (docs/protocol/disk-format.md sections 2 and 4).
enum SnapshotFormat {
    static let magic: Int32 = 0x5a4b_534e
    static let version: Int32 = 2
    static let dbid: Int64 = -1
    static let headerSize = 16
    /// Ends the nodes, and ends every seal.
    static let endMark = UInt8(ascii: "/")
    /// Adler-32 as a long, then the end mark as a string.
    static let sealSize = 13
    static let digestVersion = TxnDigest.version
    /// zxid, digest version, digest.
    static let digestTrailerSize = 20
    /// zxid.
    static let lastProcessedTrailerSize = 8
    /// Ends the stream behind a SNAP packet (docs/protocol/quorum-protocol.md section 9): "BenWasHere" as a string.
    static let streamSignature: [UInt8] = [0, 0, 0, 10] + Array("BenWasHere".utf8)
}
