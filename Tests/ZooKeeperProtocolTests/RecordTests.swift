import Testing
import ZooKeeperProtocol

@Suite("Records of requests and replies")
struct RecordTests {
    private func connect(_ rest: [UInt8]) throws -> (session: Int64, password: [UInt8]?, readOnly: Bool?) {
        let bytes =
            written {
                $0.int32(0)
                $0.int64(5)
                $0.int32(Int32.max)
                $0.int64(-7)
            } + rest
        return try reading(bytes) { reader in
            let request = try ConnectRequest(from: &reader)
            return (request.session.rawValue, request.password.map { Array($0) }, request.readOnly)
        }
    }

    @Test("A ConnectRequest has its last byte or not; what follows is nobody's business")
    func connectRequest() throws {
        let password = written { $0.buffer([1, 2]) }
        #expect(try connect(password).readOnly == nil)
        #expect(try connect(password).password == [1, 2])
        #expect(try connect(password + [0]).readOnly == false)
        #expect(try connect(password + [9, 9, 9]).readOnly == true)
        #expect(try connect([0xff, 0xff, 0xff, 0xff]).password == nil)
        #expect(throws: JuteError.truncated) { try connect([0, 0]) }
    }

    @Test("The ACL list that nearly every create has is known by its bytes; any other is read")
    func requestedACLs() throws {
        func requested(_ list: [ACL], _ tail: [UInt8] = []) throws -> (isOpen: Bool, rest: Int) {
            try reading(written { ACL.write(list, to: &$0) } + tail) { reader in
                let acl = try RequestedACLs(from: &reader)
                if case .open = acl { return (true, reader.remaining) }
                return (false, reader.remaining)
            }
        }
        #expect(try requested(ACL.open, [1, 2, 3]) == (true, 3))
        #expect(try requested(ACL.readable, [1, 2, 3]) == (false, 3))
        #expect(try requested(ACL.open + ACL.open) == (false, 0))
        try reading([0xff, 0xff, 0xff, 0xff]) { reader in
            guard case .null = try RequestedACLs(from: &reader) else {
                Issue.record("not null")
                return
            }
        }
        let nulls = written {
            $0.int32(1)
            $0.int32(31)
            $0.string(nil)
            $0.string(nil)
        }
        try reading(nulls) { reader in
            guard case .list(let entries) = try RequestedACLs(from: &reader) else {
                Issue.record("no list")
                return
            }
            #expect(entries.count == 1)
            #expect(entries.first?.scheme == nil)
        }
    }

    @Test("Requests that write need all of their fields")
    func writes() throws {
        let create = written {
            $0.string("/a")
            $0.buffer(nil as [UInt8]?)
            ACL.write(ACL.open, to: &$0)
            $0.int32(3)
            $0.int64(99)
        }
        try reading(create) { reader in
            let request = try CreateRequest(from: &reader, hasTTL: true)
            #expect(request.path == Array("/a".utf8))
            #expect(request.data == nil)
            #expect(request.flags == 3)
            #expect(request.ttlMilliseconds == 99)
        }
        for length in 0..<create.count {
            #expect(throws: JuteError.self) {
                try reading(Array(create.prefix(length))) { _ = try CreateRequest(from: &$0, hasTTL: true) }
            }
        }
    }

    @Test("A stat is 68 bytes for clients, 60 in files, and comes back as it went")
    func stats() throws {
        let stat = Stat(
            czxid: Zxid(1),
            mzxid: Zxid(-2),
            ctime: 3,
            mtime: 4,
            version: 5,
            cversion: -6,
            aversion: 7,
            ephemeralOwner: Int64.min,
            dataLength: 9,
            numChildren: 10,
            pzxid: Zxid(Int64.max)
        )
        let bytes = written { stat.write(to: &$0) }
        #expect(bytes.count == Stat.encodedSize)
        #expect(try reading(bytes) { try Stat(from: &$0) } == stat)
        let stored = StatPersisted(
            czxid: Zxid(1),
            mzxid: Zxid(2),
            ctime: 3,
            mtime: 4,
            version: 5,
            cversion: -6,
            aversion: 7,
            ephemeralOwner: -8,
            pzxid: Zxid(9)
        )
        let storedBytes = written { stored.write(to: &$0) }
        #expect(storedBytes.count == StatPersisted.encodedSize)
        #expect(try reading(storedBytes) { try StatPersisted(from: &$0) } == stored)
    }

    @Test("Zxids and sessions are shown as ZooKeeper shows them")
    func descriptions() {
        #expect(Zxid(0x1_0000_000a).description == "0x10000000a")
        #expect(Zxid(-1).hex == "ffffffffffffffff")
        #expect(Zxid(0x5_0000_0007).epoch == Epoch(5))
        #expect(Zxid(0x5_0000_0007).counter == 7)
        #expect(Zxid(0x5_ffff_ffff).next == Zxid(0x6_0000_0000))
        #expect(SessionID(Int64.min).description == "0x8000000000000000")
    }

    @Test("Names are equal when their bytes are, not when they only look alike")
    func identities() {
        let composed = Identity(scheme: "digest", id: "\u{e9}:x")
        let decomposed = Identity(scheme: "digest", id: "e\u{301}:x")
        #expect(composed != decomposed)
        #expect(Set([composed, decomposed]).count == 2)
        #expect(composed == Identity(scheme: "digest", id: "\u{e9}:x"))
    }
}
