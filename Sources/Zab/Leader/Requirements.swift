import ZooKeeperProtocol

/// Which configurations have to agree to which proposals.
///
/// A proposal needs a quorum of every configuration that it was made under. From the one that proposes a new
/// configuration on these are two; those made before it comes into force keep needing both.
struct Requirements: Sendable {
    private struct Requirement: Sendable {
        var configuration: QuorumConfiguration
        var from: Zxid
        /// nil: still in force.
        var through: Zxid?
    }

    private var requirements: [Requirement]

    init(_ configuration: QuorumConfiguration) {
        requirements = [Requirement(configuration: configuration, from: .zero, through: nil)]
    }

    /// A configuration is proposed by `zxid`: it counts from there on.
    mutating func add(_ configuration: QuorumConfiguration, from zxid: Zxid) {
        requirements.append(Requirement(configuration: configuration, from: zxid, through: nil))
    }

    /// The newest configuration came into force; what is proposed behind `zxid` needs no other any more.
    mutating func activateNewest(lastProposed zxid: Zxid) {
        for index in requirements.indices.dropLast() where requirements[index].through == nil {
            requirements[index].through = zxid
        }
    }

    /// Forgets configurations whose last proposal is committed.
    mutating func forget(committed zxid: Zxid) {
        requirements.removeAll { ($0.through ?? Zxid(.max)) <= zxid }
    }

    /// The last proposal that may be committed: it and all before it have their quorums.
    ///
    /// - Parameter acked: what each server has durably, up to the last proposal.
    func committable(acked: [(ServerID, Zxid)], lastProposed: Zxid) -> Zxid {
        var candidate = lastProposed
        for requirement in requirements {
            let reached = requirement.configuration.quorumZxid(acked)
            guard reached < min(candidate, requirement.through ?? Zxid(.max)) else { continue }
            // It stops at what this configuration agreed to, but never before its own first proposal.
            candidate = min(candidate, max(reached, Zxid(requirement.from.rawValue - 1)))
        }
        return candidate
    }
}
