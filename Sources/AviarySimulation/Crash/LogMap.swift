package import ZooKeeperProtocol

/// Where the records of a log are: read by somebody who knows the layout (docs/protocol/disk-format.md section 3.1) and
/// nothing of the product's reader.
package struct LogMap {
    package struct Record {
        package var range: Range<Int>
        package var zxid: Zxid
    }

    /// Where the first record begins.
    package static let headerSize: Int64 = 16

    package private(set) var records: [Record] = []

    package init(_ bytes: [UInt8]) {
        var offset = Int(LogMap.headerSize)
        while offset + 45 <= bytes.count {
            let length = Int(LogMap.number(bytes, at: offset + 8, count: 4))
            let end = offset + 12 + length + 1
            guard length >= 32, end <= bytes.count, bytes[end - 1] == UInt8(ascii: "B") else { return }
            let checksum = LogMap.number(bytes, at: offset, count: 8)
            guard checksum == LogMap.adler(bytes[(offset + 12)..<(end - 1)]) else { return }
            records.append(Record(range: offset..<end, zxid: Zxid(LogMap.number(bytes, at: offset + 24, count: 8))))
            offset = end
        }
    }

    static func number(_ bytes: [UInt8], at offset: Int, count: Int) -> Int64 {
        bytes[offset..<offset + count].reduce(0) { $0 << 8 | Int64($1) }
    }

    static func adler(_ bytes: ArraySlice<UInt8>) -> Int64 {
        var low: Int64 = 1
        var high: Int64 = 0
        for byte in bytes {
            low = (low + Int64(byte)) % 65521
            high = (high + low) % 65521
        }
        return high << 16 | low
    }

    /// What a reader sees that ignores checksums: a log in which each record that is there to its last byte has the right
    /// one.
    package static func forged(_ bytes: [UInt8]) -> [UInt8] {
        var bytes = bytes
        forEachFrame(bytes) { frame in
            let isWhole = frame.upperBound <= bytes.count && bytes[frame.upperBound - 1] == UInt8(ascii: "B")
            guard isWhole else { return false }
            seal(frame, of: &bytes)
            return true
        }
        return bytes
    }

    /// What a reader sees that takes a record for whole although its end is missing.
    package static func completed(_ bytes: [UInt8]) -> [UInt8] {
        var bytes = bytes
        forEachFrame(bytes) { frame in
            if frame.upperBound > bytes.count {
                bytes += [UInt8](repeating: 0, count: frame.upperBound - bytes.count)
            }
            if bytes[frame.upperBound - 1] == 0 {
                bytes[frame.upperBound - 1] = UInt8(ascii: "B")
                seal(frame, of: &bytes)
            }
            return true
        }
        return bytes
    }

    /// Goes from length to length, for as long as they are possible and `body` says so.
    private static func forEachFrame(_ bytes: [UInt8], _ body: (Range<Int>) -> Bool) {
        var offset = Int(headerSize)
        while offset + 45 <= bytes.count {
            let length = Int(number(bytes, at: offset + 8, count: 4))
            guard length >= 32, length < 1 << 18, body(offset..<offset + 13 + length) else { return }
            offset += 13 + length
        }
    }

    private static func seal(_ frame: Range<Int>, of bytes: inout [UInt8]) {
        let checksum = adler(bytes[(frame.lowerBound + 12)..<(frame.upperBound - 1)])
        for index in 0..<8 {
            bytes[frame.lowerBound + index] = UInt8(truncatingIfNeeded: checksum >> Int64(56 - 8 * index))
        }
    }
}
