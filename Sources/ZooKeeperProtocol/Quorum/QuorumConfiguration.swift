/// Who belongs to an ensemble, and which of them are a quorum (docs/protocol/quorum-protocol.md sections 2.5 and 3).
///
/// A value that never changes: a reconfiguration makes another one (`Reconfiguration.next`).
package struct QuorumConfiguration: Sendable {
    /// Members whose weights are counted together.
    package struct Group: Hashable, Sendable {
        package var id: Int64
        /// Ascending.
        package let members: [ServerID]

        package init(id: Int64, members: [ServerID]) {
            self.id = id
            self.members = members.sorted()
        }
    }

    /// Ascending by id.
    package let members: [QuorumMember]
    /// Ascending by id; empty where the majority of the voters decides.
    package let groups: [Group]
    /// Of the members of groups; those of participants are complete. Empty without groups.
    package let weights: [ServerID: Int64]
    /// The zxid of the reconfiguration that made it; 0 from a file that no reconfiguration has touched.
    package let version: Int64

    /// The participants, ascending.
    package let voters: [ServerID]
    /// Ascending.
    package let observers: [ServerID]
    /// What `isQuorum` counts in each group whose weight is above zero.
    let tallies: [Tally]

    struct Tally: Sendable {
        var totalWeight: Int64
        /// Voters of weight above zero.
        var voters: [(id: ServerID, weight: Int64)]
    }

    /// Above this a sum of weights could not be computed.
    package static let maxWeight: Int64 = 0x7fff_ffff

    /// - Throws: for a number that two members have, and for groups and weights that break the rules of section 3.
    package init(
        members: [QuorumMember],
        groups: [Group] = [],
        weights: [ServerID: Int64] = [:],
        version: Int64 = 0
    ) throws(MalformedConfiguration) {
        self.members = members.sorted { $0.id < $1.id }
        self.groups = groups.sorted { $0.id < $1.id }
        self.version = version
        voters = self.members.filter { $0.role == .participant }.map(\.id)
        observers = self.members.filter { $0.role == .observer }.map(\.id)
        if let twice = QuorumConfiguration.duplicate(in: self.members.map(\.id)) {
            throw MalformedConfiguration(text: "server.\(twice) is there twice")
        }
        guard version >= 0 else { throw MalformedConfiguration(text: "the version \(version) is below zero") }
        guard !groups.isEmpty || !weights.isEmpty else {
            self.weights = [:]
            tallies = []
            return
        }
        self.weights = try QuorumConfiguration.completed(weights, voters: voters, groups: self.groups)
        tallies = QuorumConfiguration.tallies(groups: self.groups, weights: self.weights, voters: voters)
    }

    private static func completed(
        _ weights: [ServerID: Int64],
        voters: [ServerID],
        groups: [Group]
    ) throws(MalformedConfiguration) -> [ServerID: Int64] {
        if let twice = duplicate(in: groups.map(\.id)) {
            throw MalformedConfiguration(text: "group.\(twice) is there twice")
        }
        let grouped = groups.flatMap(\.members).sorted()
        if let twice = duplicate(in: grouped) {
            throw MalformedConfiguration(text: "server \(twice) is in more than one group, or twice in one")
        }
        let inGroups = Set(grouped)
        if let left = voters.first(where: { !inGroups.contains($0) }) {
            throw MalformedConfiguration(text: "server.\(left) is a participant, but in no group")
        }
        if let wrong = weights.keys.sorted().first(where: { !(0...maxWeight).contains(weights[$0] ?? -1) }) {
            throw MalformedConfiguration(text: "weight.\(wrong) is not a number from 0 to \(maxWeight)")
        }
        var complete = weights
        for voter in voters where complete[voter] == nil { complete[voter] = 1 }
        // Apache counts the weight of whoever is in a group, and cannot do without one.
        if let unweighted = grouped.first(where: { complete[$0] == nil }) {
            throw MalformedConfiguration(
                text: "server \(unweighted) is in a group, but is no participant and has no weight"
            )
        }
        return complete
    }

    private static func tallies(groups: [Group], weights: [ServerID: Int64], voters: [ServerID]) -> [Tally] {
        let voters = Set(voters)
        return groups.compactMap { group in
            let weighed = group.members.map { (id: $0, weight: weights[$0] ?? 0) }
            let total = weighed.reduce(0) { $0 + $1.weight }
            guard total > 0 else { return nil }
            return Tally(totalWeight: total, voters: weighed.filter { $0.weight > 0 && voters.contains($0.id) })
        }
    }

    private static func duplicate<ID: Equatable>(in sorted: [ID]) -> ID? {
        zip(sorted, sorted.dropFirst()).first { $0 == $1 }?.0
    }

    package var isHierarchical: Bool { !groups.isEmpty }

    package func member(_ id: ServerID) -> QuorumMember? {
        members.first { $0.id == id }
    }

    package func isVoter(_ id: ServerID) -> Bool {
        voterIndex(id) != nil
    }

    /// The place of a voter in `voters`.
    func voterIndex(_ id: ServerID) -> Int? {
        var low = 0
        var high = voters.count
        while low < high {
            let middle = (low + high) / 2
            if voters[middle] < id { low = middle + 1 } else { high = middle }
        }
        return low < voters.count && voters[low] == id ? low : nil
    }

    /// The same with another version.
    package func with(version: Int64) -> QuorumConfiguration {
        QuorumConfiguration(self, version: version)
    }

    private init(_ other: QuorumConfiguration, version: Int64) {
        members = other.members
        groups = other.groups
        weights = other.weights
        voters = other.voters
        observers = other.observers
        tallies = other.tallies
        self.version = version
    }

    /// Whether the members with all that belongs to them, the groups and the weights are equal.
    package func hasSameMembers(as other: QuorumConfiguration) -> Bool {
        members == other.members && groups == other.groups && weights == other.weights
    }
}

extension QuorumConfiguration: Equatable {
    /// By the rule of section 2.5: the same version, or the same members, groups and weights.
    ///
    /// That is what servers ask each other, and not transitive: never use it to search or to remove duplicates. What is
    /// the same in every respect has an equal `text`.
    package static func == (left: QuorumConfiguration, right: QuorumConfiguration) -> Bool {
        left.version == right.version || left.hasSameMembers(as: right)
    }
}
