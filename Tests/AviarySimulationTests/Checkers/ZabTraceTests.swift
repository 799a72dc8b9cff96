import AviarySimulation
import Testing
import ZooKeeperProtocol

@Suite("Invariants of the protocol")
struct ZabTraceTests {
    private static func txn(_ epoch: Int64, _ counter: Int64, fingerprint: UInt64 = 0) -> ZabTrace.Transaction {
        ZabTrace.Transaction(Zxid(epoch << 32 | counter), fingerprint: fingerprint)
    }

    /// Server 1 leads epoch 1 and broadcasts two transactions, which everybody delivers; then 2 leads epoch 2.
    private static func good() throws -> ZabTrace {
        var trace = ZabTrace()
        try trace.lead(1, epoch: 1)
        for counter in 1...2 as ClosedRange<Int64> {
            trace.broadcast(txn(1, counter), by: 1)
            for server in 1...3 { trace.deliver(txn(1, counter), at: server) }
        }
        try trace.lead(2, epoch: 2)
        trace.broadcast(txn(2, 1), by: 2)
        trace.deliver(txn(2, 1), at: 2)
        return trace
    }

    private func expect(
        _ check: Violation.Check?,
        _ trace: ZabTrace,
        _ invariant: (ZabTrace) throws(Violation) -> Void,
        location: SourceLocation = #_sourceLocation
    ) {
        do throws(Violation) {
            try invariant(trace)
            #expect(check == nil, "nothing was found", sourceLocation: location)
        } catch {
            #expect(error.check == check, "\(error)", sourceLocation: location)
        }
    }

    @Test("What is right passes all of them")
    func good() throws {
        expect(nil, try Self.good(), { (trace) throws(Violation) in try trace.check() })
    }

    @Test("Leadership")
    func leadership() throws {
        var trace = try Self.good()
        #expect(throws: Violation.self) { try trace.lead(3, epoch: 2) }
    }

    @Test("PrefixConsistency")
    func prefixConsistency() throws {
        var trace = try Self.good()
        trace.deliver(Self.txn(2, 1, fingerprint: 9), at: 3)
        expect(.prefixConsistency, trace, { (trace) throws(Violation) in try trace.checkPrefixConsistency() })
    }

    @Test("Integrity")
    func integrity() throws {
        var trace = try Self.good()
        trace.deliver(Self.txn(2, 2), at: 2)
        expect(.integrity, trace, { (trace) throws(Violation) in try trace.checkIntegrity() })
    }

    @Test("Agreement")
    func agreement() throws {
        var trace = try Self.good()
        trace.broadcast(Self.txn(2, 2), by: 2)
        trace.deliver(Self.txn(2, 2), at: 3)
        expect(.agreement, trace, { (trace) throws(Violation) in try trace.checkAgreement() })
    }

    @Test("TotalOrder")
    func totalOrder() throws {
        var trace = try Self.good()
        trace.load([Self.txn(1, 2), Self.txn(1, 1)], at: 3)
        expect(.totalOrder, trace, { (trace) throws(Violation) in try trace.checkTotalOrder() })
    }

    @Test("LocalPrimaryOrder")
    func localPrimaryOrder() throws {
        var trace = try Self.good()
        trace.load([Self.txn(1, 2)], at: 3)
        expect(.localPrimaryOrder, trace, { (trace) throws(Violation) in try trace.checkLocalPrimaryOrder() })
    }

    @Test("GlobalPrimaryOrder")
    func globalPrimaryOrder() throws {
        var trace = try Self.good()
        trace.deliver(Self.txn(1, 3), at: 2)
        expect(.globalPrimaryOrder, trace, { (trace) throws(Violation) in try trace.checkGlobalPrimaryOrder() })
    }

    @Test("PrimaryIntegrity")
    func primaryIntegrity() throws {
        var trace = ZabTrace()
        try trace.lead(1, epoch: 1)
        trace.broadcast(Self.txn(1, 1), by: 1)
        trace.deliver(Self.txn(1, 1), at: 1)
        try trace.lead(2, epoch: 2)
        trace.broadcast(Self.txn(2, 1), by: 2)
        expect(.primaryIntegrity, trace, { (trace) throws(Violation) in try trace.checkPrimaryIntegrity() })
    }
}
