internal import ZooKeeperProtocol

/// Under one parent sequence numbers rise, whoever leads, and none is given twice (P11).
package enum SequenceCheck {
    /// - Parameter parents: they are never deleted, so that they never begin to count anew. Below them only the server
    ///   chooses names that begin with the prefix.
    package static func check(
        _ committed: CommittedHistory,
        parents: [String],
        prefix: String
    ) throws(Violation) {
        var last: [String: Int] = [:]
        for entry in committed.entries {
            for path in created(entry.txn.body) {
                let parent = NaiveTree.parent(of: path)
                let start = parent + "/" + prefix
                guard parents.contains(parent), path.hasPrefix(start) else { continue }
                guard let number = Int(path.dropFirst(start.count)) else {
                    throw Violation(.sequenceReused, "\(entry.zxid): \(path) has no number")
                }
                if let before = last[parent], number <= before {
                    throw Violation(.sequenceReused, "\(entry.zxid): \(path) behind number \(before)")
                }
                last[parent] = number
            }
        }
    }

    private static func created(_ body: TxnBody) -> [String] {
        switch body {
        case .create(let txn): [String(decoding: txn.path, as: UTF8.self)]
        case .multi(let parts):
            parts.contains { if case .error = $0 { true } else { false } } ? [] : parts.flatMap(created)
        case .createSession, .closeSession, .error, .delete, .setData, .setACL, .check: []
        }
    }
}
