import AviarySimulation
import Testing
import ZooKeeperProtocol

/// What a server writes without being asked is held against what it may do by itself.
@Suite("The ledger of crash runs")
struct LedgerTests {
    private var ledger = Ledger()

    private mutating func submit(_ body: TxnBody, session: Int64 = 0, cxid: Int32 = 0) throws {
        let zxid = ledger.lastSubmitted.next
        let header = TxnHeader(session: SessionID(session), cxid: cxid, zxid: zxid, time: 1)
        try ledger.submit(Txn(header: header, body: body, digest: nil))
        try ledger.see(zxid)
    }

    private static func create(_ path: String, _ kind: TxnBody.CreateTxn.Kind, isEphemeral: Bool = false) -> TxnBody {
        .create(
            TxnBody.CreateTxn(
                kind: kind,
                path: Array(path.utf8),
                data: [],
                acl: ACL.open,
                isEphemeral: isEphemeral,
                parentCVersion: -1
            )
        )
    }

    private func expect(_ check: Violation.Check, _ body: () throws -> Void) {
        let violation = #expect(throws: Violation.self, performing: body)
        #expect(violation?.check == check, "\(violation?.description ?? "nothing")")
    }

    @Test("A write that nobody asked for is found")
    mutating func unasked() throws {
        var ledger = self
        expect(.inventedWrite) { try ledger.submit(LedgerTests.create("/a", .create)) }
        try submit(LedgerTests.create("/a", .create), session: 7, cxid: 1)
    }

    @Test("A session takes its own ephemerals with it, and nobody else's")
    mutating func ephemerals() throws {
        for session in [7, 8] as [Int64] { try submit(.createSession(timeoutMilliseconds: 5000), session: session) }
        try submit(LedgerTests.create("/a", .create, isEphemeral: true), session: 7, cxid: 1)
        var ledger = self
        expect(.wrongSessions) { try ledger.submit(.closeSession(paths: [Array("/a".utf8)]), session: 8) }
        try submit(.closeSession(paths: [Array("/a".utf8), Array("/gone".utf8)]), session: 7)
    }

    @Test("Only containers and TTL nodes go by themselves, and only when they are empty")
    mutating func reaped() throws {
        try submit(LedgerTests.create("/a", .create), session: 7, cxid: 1)
        try submit(LedgerTests.create("/c", .container), session: 7, cxid: 2)
        try submit(LedgerTests.create("/c/x", .ttl(milliseconds: 1)), session: 7, cxid: 3)
        for path in ["/a", "/c", "/none"] {
            var ledger = self
            expect(.inventedWrite) { try ledger.submit(.delete(path: Array(path.utf8), byContainerCheck: true)) }
        }
        for path in ["/c/x", "/c"] { try submit(.delete(path: Array(path.utf8), byContainerCheck: true)) }
    }
}
