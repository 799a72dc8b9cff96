import Testing
import ZooKeeperProtocol

@Suite("Jute: primitives as docs/protocol/client-protocol.md section 1 has them")
struct JuteTests {
    @Test("Numbers are big-endian, and end where the bytes do")
    func numbers() throws {
        let bytes: [UInt8] = [0x80, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 7]
        try reading(bytes) { (reader: inout JuteReader) throws in
            #expect(try reader.int32() == Int32.min + 1)
            #expect(try reader.int64() == 0x7fff_ffff_ffff_fffe)
            #expect(throws: JuteError.truncated) { try reader.int32() }
            #expect(throws: JuteError.truncated) { try reader.int64() }
            #expect(reader.remaining == 1)
            #expect(try reader.byte() == 7)
            #expect(throws: JuteError.truncated) { try reader.byte() }
        }
    }

    @Test("Any byte but zero is true")
    func booleans() throws {
        try reading([0, 1, 2, 0xff]) { (reader: inout JuteReader) throws in
            #expect(try [reader.bool(), reader.bool(), reader.bool(), reader.bool()] == [false, true, true, true])
        }
        #expect(written { $0.bool(true) } == [1])
    }

    @Test("A buffer of length −1 is null; any other negative length is an error")
    func lengths() throws {
        try reading([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 9]) { (reader: inout JuteReader) throws in
            #expect(try reader.bytes() == nil)
            #expect(try reader.bytes() == [])
            #expect(try reader.bytes() == [9])
        }
        for length in [Int32(-2), Int32.min, -100] {
            let bytes = written { $0.int32(length) } + [UInt8](repeating: 0, count: 8)
            #expect(throws: JuteError.badLength(length)) { try reading(bytes) { try $0.bytes() } }
            #expect(throws: JuteError.badLength(length)) { try reading(bytes) { try $0.string() } }
        }
        #expect(throws: JuteError.unexpectedNull) {
            try reading([0xff, 0xff, 0xff, 0xff]) { _ = try $0.requiredBuffer() }
        }
    }

    @Test("A length above the limit is refused before it is found to be missing")
    func limit() throws {
        let bytes = written { $0.int32(5) } + [1, 2, 3, 4, 5]
        #expect(try reading(bytes, max: 5) { try $0.bytes() } == [1, 2, 3, 4, 5])
        #expect(throws: JuteError.badLength(5)) { try reading(bytes, max: 4) { try $0.bytes() } }
        #expect(throws: JuteError.truncated) { try reading(Array(bytes.dropLast()), max: 5) { try $0.bytes() } }
        #expect(throws: JuteError.badLength(Int32.max)) { try reading([0x7f, 0xff, 0xff, 0xff]) { try $0.bytes() } }
    }

    @Test("A vector's count of −1 is null, any other negative count is empty, and no count reserves anything")
    func counts() throws {
        func count(_ value: Int32) throws -> Int? { try reading(written { $0.int32(value) }) { try $0.vectorCount() } }
        #expect(try count(-1) == nil)
        #expect(try count(-2) == 0)
        #expect(try count(Int32.min) == 0)
        #expect(try count(Int32.max) == Int(Int32.max))
        // Two billion entries that are not there.
        #expect(throws: JuteError.truncated) {
            try reading(written { $0.int32(Int32.max) } + [0, 0, 0, 1]) { try ACL.list(from: &$0) }
        }
    }

    @Test("Malformed UTF-8 becomes U+FFFD and is no error")
    func malformedText() throws {
        let bytes = written { $0.buffer([0x2f, 0xc3, 0x28, 0xff, 0xed, 0xa0, 0x80]) }
        let text = try #require(try reading(bytes) { try $0.string() })
        #expect(text.unicodeScalars.contains("\u{fffd}"))
        #expect(text.hasPrefix("/"))
    }

    @Test("Nothing at all can be read from")
    func empty() {
        reading([]) { reader in
            #expect(reader.remaining == 0)
            #expect(throws: JuteError.truncated) { try reader.buffer() }
            reader.skip(10)
            #expect(reader.remaining == 0)
        }
        var reader = JuteReader(UnsafeRawBufferPointer(start: nil, count: 0))
        #expect(throws: JuteError.truncated) { try reader.byte() }
    }

    @Test("What is written grows, is patched, cut and forgotten without losing what stays")
    func writer() {
        var writer = JuteWriter(capacity: 1)
        for number in 0..<1000 { writer.int64(Int64(number)) }
        #expect(writer.count == 8000)
        writer.patch(Int32(-1), at: 7996)
        writer.patch(Int64(-2), at: 0)
        writer.truncate(to: 16)
        #expect(writer.copy() == [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 0, 0, 0, 0, 1])
        writer.removeAll(keeping: 100)
        #expect(writer.count == 0)
        writer.string("ü")
        writer.string(nil)
        writer.buffer([] as [UInt8])
        #expect(writer.copy() == [0, 0, 0, 2, 0xc3, 0xbc, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0])
        #expect(writer.withBytes(in: 4..<6) { Array($0) } == [0xc3, 0xbc])
    }
}
