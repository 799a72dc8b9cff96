import Testing
import ZooKeeperProtocol

@Suite("Transactions as they are logged (docs/protocol/quorum-protocol.md section 17.1)")
struct TxnTests {
    private static let path = Array("/a/ü".utf8)
    private static let acl = [ACL(31, "world", "anyone"), ACL(-1, "digest", "u:x")]

    private static func create(_ kind: TxnBody.CreateTxn.Kind, isEphemeral: Bool = false) -> TxnBody {
        .create(
            TxnBody.CreateTxn(
                kind: kind,
                path: path,
                data: [0, 255],
                acl: acl,
                isEphemeral: isEphemeral,
                parentCVersion: 3
            )
        )
    }

    static let bodies: [TxnBody] = [
        .createSession(timeoutMilliseconds: 4000), .closeSession(paths: nil), .closeSession(paths: []),
        .closeSession(paths: [path, path]), .error(.noNode), create(.create), create(.create, isEphemeral: true),
        create(.create2), create(.container), create(.ttl(milliseconds: 1)),
        create(.ttl(milliseconds: NodeKind.maxTTLMilliseconds)), .delete(path: path, byContainerCheck: false),
        .delete(path: path, byContainerCheck: true), .setData(path: path, data: nil, version: -1, isReconfig: false),
        .setData(path: path, data: [1], version: Int32.max, isReconfig: true),
        .setACL(path: path, acl: acl, version: Int32.min), .check(path: path, version: 0), .multi([]),
        .multi([
            create(.create2), create(.container), create(.ttl(milliseconds: 9)),
            .delete(path: path, byContainerCheck: false), .check(path: path, version: 1), .error(.badVersion),
            .error(.runtimeInconsistency), .setData(path: path, data: [], version: 0, isReconfig: false),
            .setACL(path: path, acl: [], version: 2), .closeSession(paths: [path]),
        ]),
    ]

    private static func txn(_ body: TxnBody, digest: TxnDigest?) -> Txn {
        Txn(
            header: TxnHeader(session: SessionID(-5), cxid: 6, zxid: Zxid(0x7_0000_0008), time: Int64.min),
            body: body,
            digest: digest
        )
    }

    private func read(_ bytes: [UInt8]) throws -> Txn { try bytes.withUnsafeBytes { try Txn(payload: $0) } }

    @Test("Every kind comes back as it went, with and without a digest", arguments: bodies)
    func roundTrip(body: TxnBody) throws {
        for digest in [nil, TxnDigest(value: UInt64.max), TxnDigest(version: 3, value: 0)] {
            let txn = Self.txn(body, digest: digest)
            let bytes = written { txn.write(to: &$0) }
            #expect(try read(bytes) == txn)
            #expect(bytes.withUnsafeBytes { Txn.zxid(ofPayload: $0) } == txn.header.zxid)
        }
    }

    @Test("No prefix of any kind stops the process, and none is taken for the whole", arguments: bodies)
    func truncations(body: TxnBody) {
        let txn = Self.txn(body, digest: TxnDigest(value: 77))
        let bytes = written { txn.write(to: &$0) }
        for length in 0..<bytes.count {
            let part = try? read(Array(bytes.prefix(length)))
            #expect(part != txn)
        }
    }

    @Test("Changed bytes give an error or a transaction, nothing else", arguments: 0..<8)
    func mutations(seed: UInt64) {
        var random = SeededRandom(seed + 1)
        for _ in 0..<3000 {
            let body = Self.bodies[random.below(Self.bodies.count)]
            let digest = random.below(2) == 0 ? nil : TxnDigest(value: random.next())
            let bytes = random.mutated(written { Self.txn(body, digest: digest).write(to: &$0) })
            guard let txn = try? read(bytes) else { continue }
            // What could be read can be written, and then it stays the same.
            let again = written { txn.write(to: &$0) }
            #expect((try? read(again)) == txn, "seed \(seed): \(bytes)")
        }
    }

    @Test("Random bytes behind a type are an error or a transaction", arguments: 0..<4)
    func noise(seed: UInt64) {
        var random = SeededRandom(seed + 100)
        let types: [Int32] = [-11, -10, -1, 0, 1, 2, 5, 7, 13, 14, 15, 16, 19, 20, 21, 22, 100, Int32.max]
        for _ in 0..<3000 {
            let header = random.bytes(28) + written { $0.int32(types[random.below(types.count)]) }
            let bytes = header + random.bytes(random.below(80))
            _ = try? read(bytes)
        }
    }

    @Test("A multi in a multi is refused, so that nothing nests without end")
    func nesting() {
        let bytes = written { Self.txn(.multi([.multi([])]), digest: nil).write(to: &$0) }
        #expect(throws: JuteError.badValue(14)) { _ = try read(bytes) }
    }

    @Test("A time to live out of range is refused: applied, it would be another kind of node")
    func timeToLive() {
        for milliseconds in [0, -1, NodeKind.maxTTLMilliseconds + 1, Int64.min, Int64.max] {
            let bytes = written { Self.txn(Self.create(.ttl(milliseconds: milliseconds)), digest: nil).write(to: &$0) }
            #expect(throws: JuteError.badValue(milliseconds)) { _ = try read(bytes) }
        }
    }

    @Test("A create of before 3.5 has no count of its parent's children")
    func oldCreate() throws {
        var bytes = written { Self.txn(Self.create(.create, isEphemeral: true), digest: nil).write(to: &$0) }
        bytes.removeLast(4)
        guard case .create(let txn) = try read(bytes).body else {
            Issue.record("not a create")
            return
        }
        #expect(txn.parentCVersion == -1)
        #expect(txn.isEphemeral)
    }

    @Test("A null path or scheme is refused; a null ACL list is an empty one")
    func nulls() throws {
        func payload(_ type: Operation, _ body: (inout JuteWriter) -> Void) -> [UInt8] {
            written {
                for _ in 0..<28 { $0.byte(0) }
                $0.int32(type.rawValue)
                body(&$0)
            }
        }
        #expect(throws: JuteError.unexpectedNull) { _ = try read(payload(.delete) { $0.string(nil) }) }
        let nullScheme = payload(.setACL) {
            $0.string("/a")
            $0.int32(1)
            $0.int32(31)
            $0.string(nil)
            $0.string("x")
            $0.int32(0)
        }
        #expect(throws: JuteError.unexpectedNull) { _ = try read(nullScheme) }
        let txn = try read(
            payload(.setACL) {
                $0.string("/a")
                $0.int32(-1)
                $0.int32(4)
            }
        )
        #expect(txn.body == .setACL(path: Array("/a".utf8), acl: [], version: 4))
    }
}
