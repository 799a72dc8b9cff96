/// What a quorum is: the majority of the voters, or, with groups, the majority of the weight in the majority of the
/// groups (docs/protocol/quorum-protocol.md section 3).
///
/// Servers that are no voters never count, whoever asks.
extension QuorumConfiguration {
    /// Whether the voters that `includes` says are a quorum.
    package func isQuorum(where includes: (ServerID) -> Bool) -> Bool {
        guard isHierarchical else {
            return voters.reduce(0) { $0 + (includes($1) ? 1 : 0) } > voters.count / 2
        }
        let carried = tallies.count { tally in
            tally.voters.reduce(0) { $0 + (includes($1.id) ? $1.weight : 0) } > tally.totalWeight / 2
        }
        return carried > tallies.count / 2
    }

    package func isQuorum(_ ids: Set<ServerID>) -> Bool {
        isQuorum { ids.contains($0) }
    }

    /// Whether the voters that `includes` says are a quorum in each of the configurations: while a newer one is seen but
    /// not yet active, every decision needs both. Never with no configuration at all.
    package static func isQuorum(
        inEach configurations: [QuorumConfiguration],
        where includes: (ServerID) -> Bool
    ) -> Bool {
        !configurations.isEmpty && configurations.allSatisfy { $0.isQuorum(where: includes) }
    }

    /// What a server counts in a vote: 1 each without groups. One of weight 0 cannot be elected.
    package func weight(of id: ServerID) -> Int64 {
        isHierarchical ? weights[id] ?? 0 : 1
    }

    /// The highest zxid up to which a quorum has acknowledged, given how far each server has.
    ///
    /// - Parameter acked: in any order; of a server that is there more than once the highest counts, one that is missing
    ///   has acknowledged nothing.
    /// - Returns: `.zero` as long as there is no quorum for anything.
    package func quorumZxid(_ acked: [(ServerID, Zxid)]) -> Zxid {
        // A dozen voters at most, in practice: on the stack, for this is computed with every ACK.
        withUnsafeTemporaryAllocation(of: Zxid.self, capacity: max(voters.count, 1) * 2) { memory in
            memory.initialize(repeating: .zero)
            let byVoter = UnsafeMutableBufferPointer(rebasing: memory[0..<voters.count])
            var ordered = UnsafeMutableBufferPointer(rebasing: memory[voters.count..<2 * voters.count])
            for (id, zxid) in acked {
                guard let index = voterIndex(id) else { continue }
                byVoter[index] = max(byVoter[index], zxid)
            }
            for index in voters.indices { ordered[index] = byVoter[index] }
            ordered.sort(by: >)
            guard isHierarchical else { return voters.isEmpty ? .zero : ordered[voters.count / 2] }
            for zxid in ordered where isQuorum(where: { voterIndex($0).map { byVoter[$0] >= zxid } ?? false }) {
                return zxid
            }
            return .zero
        }
    }
}
