import Testing
import ZooKeeperProtocol

@testable import Zab

/// What must hold in every run, by the names of the TLA+ specification (`Zab.tla`, `ZkV3_7_0.tla`).
struct Checker {
    /// What any server has let clients see, in order: it can never change.
    private(set) var delivered: [Record] = []
    private var leaders: [Epoch: ServerID] = [:]
    private var proposed: [Zxid: [UInt8]] = [:]
    private(set) var violations: [String] = []

    mutating func fail(_ text: String) { violations.append(text) }

    /// Leadership: no epoch has two leaders.
    mutating func lead(_ epoch: Epoch, by server: ServerID, tree: [Record]) {
        if let other = leaders[epoch], other != server {
            fail("Leadership: epoch \(epoch) is led by \(other) and \(server)")
        }
        leaders[epoch] = server
        // GlobalPrimaryOrder, and committed transactions are never lost. Whoever stood still meanwhile may begin to lead
        // when a later epoch has committed something already: it commits nothing.
        let earlier = delivered.prefix { $0.zxid.epoch < epoch }.count
        if tree.count < earlier {
            fail("\(server) leads epoch \(epoch) with \(tree.count) transactions, \(earlier) are committed")
        }
    }

    mutating func propose(_ record: Record) {
        if proposed[record.zxid] != nil { fail("PrimaryIntegrity: \(record.zxid) is proposed twice") }
        proposed[record.zxid] = record.payload
    }

    /// PrefixConsistency, Agreement, TotalOrder, Integrity: what a serving server has applied.
    mutating func deliver(_ tree: [Record], from first: Int, by server: ServerID) {
        for index in first..<tree.count {
            let record = tree[index]
            if proposed[record.zxid] != record.payload {
                fail("Integrity: \(server) has \(record.zxid), which nobody proposed")
            }
            if index > 0, !History.isContiguous(record.zxid, after: tree[index - 1].zxid) {
                fail("LocalPrimaryOrder: \(server) has \(record.zxid) behind \(tree[index - 1].zxid)")
            }
            if index < delivered.count {
                if delivered[index] != record {
                    fail("Agreement: \(server) has \(record.zxid) at \(index), others \(delivered[index].zxid)")
                }
            } else {
                delivered.append(record)
            }
        }
    }
}
