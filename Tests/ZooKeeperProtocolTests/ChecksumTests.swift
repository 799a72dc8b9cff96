import Testing
import ZooKeeperProtocol

@Suite("Checksums")
struct ChecksumTests {
    @Test("CRC-32 has the published check value, whole and in pieces")
    func crc32() {
        let bytes = Array("123456789".utf8)
        #expect(bytes.withUnsafeBytes { CRC32.update(0, $0) } == 0xCBF4_3926)
        let long = (0..<1000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        let whole = long.withUnsafeBytes { CRC32.update(0, $0) }
        for cut in [1, 15, 16, 17, 500, 999] {
            let first = long[..<cut].withUnsafeBytes { CRC32.update(0, $0) }
            #expect(long[cut...].withUnsafeBytes { CRC32.update(first, $0) } == whole)
        }
    }

    @Test("CRC-32 is the same by the processor's instruction and by tables, at every length and offset")
    func folding() {
        let bytes = (0..<2000).map { UInt8(truncatingIfNeeded: $0 &* $0 &* 31 &+ $0 >> 3) }
        bytes.withUnsafeBytes { bytes in
            for count in Array(0...300) + [511, 512, 1023, 1024, 1500] {
                let offset = count % 17
                let part = UnsafeRawBufferPointer(rebasing: bytes[offset..<(offset + count)])
                let state = UInt32(truncatingIfNeeded: count &* 0x9e37_79b9)
                #expect(CRC32.update(state, part) == CRC32.updateByTable(state, part), "\(count) bytes")
            }
        }
    }

    @Test("Adler-32 has the published check value and does not overflow on long runs of 0xff")
    func adler32() {
        #expect(Array("Wikipedia".utf8).withUnsafeBytes { Adler32.update(Adler32.initial, $0) } == 0x11E6_0398)
        let bytes = [UInt8](repeating: 0xff, count: 100_003)
        var low: UInt32 = 1
        var high: UInt32 = 0
        for byte in bytes {
            low = (low + UInt32(byte)) % 65521
            high = (high + low) % 65521
        }
        #expect(bytes.withUnsafeBytes { Adler32.update(Adler32.initial, $0) } == high << 16 | low)
    }

    @Test("Adler-32 is the same in blocks and portably, at every length and offset")
    func adlerBlocks() {
        let bytes = (0..<20000).map { $0 < 7000 ? 0xff : UInt8(truncatingIfNeeded: $0 &* $0 &* 31 &+ $0 >> 3) }
        bytes.withUnsafeBytes { bytes in
            for count in Array(0...200) + [1024, 5535, 5536, 5537, 5600, 11072, 11100, 19000] {
                let offset = count % 33
                let part = UnsafeRawBufferPointer(rebasing: bytes[offset..<(offset + count)])
                let start: UInt32 = count % 2 == 0 ? Adler32.initial : 65520 << 16 | 65520
                #expect(Adler32.update(start, part) == Adler32.updatePortably(start, part), "\(count) bytes")
            }
        }
    }

    @Test("A node's share of the digest is the CRC of path, data and stat in one")
    func share() {
        var stat = StatPersisted(czxid: Zxid(0x1_0203), mzxid: Zxid(-5), ctime: 77, mtime: 1 << 60, pzxid: Zxid(9))
        (stat.version, stat.cversion, stat.aversion, stat.ephemeralOwner) = (3, -4, 5, -1 << 40)
        var writer = JuteWriter()
        for value in [stat.czxid.rawValue, stat.mzxid.rawValue, stat.pzxid.rawValue, stat.ctime, stat.mtime] {
            writer.int64(value)
        }
        for value in [stat.version, stat.cversion, stat.aversion] { writer.int32(value) }
        writer.int64(stat.ephemeralOwner)
        for prefix: UInt32 in [0, 1, 0xdead_beef] {
            #expect(
                NodeDigest.value(prefix: prefix, stat: stat) == writer.withBytes { CRC32.updateByTable(prefix, $0) }
            )
        }
    }

    @Test("The digest of a fresh tree is the one that Apache's servers compute")
    func freshTree() {
        let root = [UInt8]().withUnsafeBytes { NodeDigest.prefix(path: $0, data: $0) }
        let system = Array("/zookeeper".utf8).withUnsafeBytes { NodeDigest.prefix(path: $0, data: nil) }
        let shares = [root, system].map { UInt64(NodeDigest.value(prefix: $0, stat: .zero)) }
        #expect(shares[0] + shares[1] == 0x51c6_d660)
    }
}
