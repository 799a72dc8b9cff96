import ZooKeeperProtocol

/// What a quorum is, written down a second time and as slowly as it reads in docs/protocol/quorum-protocol.md section 3.
struct QuorumModel {
    var voters: Set<Int64> = []
    var groupOf: [Int64: Int64] = [:]
    var weightOf: [Int64: Int64] = [:]

    func isQuorum(_ ids: Set<Int64>) -> Bool {
        let counted = ids.intersection(voters)
        if groupOf.isEmpty {
            var yes = 0
            var no = 0
            for voter in voters { if counted.contains(voter) { yes += 1 } else { no += 1 } }
            return yes > no
        }
        var carried = 0
        var weighty = 0
        for group in Set(groupOf.values) {
            var total: Int64 = 0
            var acked: Int64 = 0
            for (id, itsGroup) in groupOf where itsGroup == group {
                total += weightOf[id] ?? 1
                if counted.contains(id) { acked += weightOf[id] ?? 1 }
            }
            if total == 0 { continue }
            weighty += 1
            if acked > total / 2 { carried += 1 }
        }
        return carried > weighty / 2
    }

    /// The greatest of the zxids that are there for which those at or above it are a quorum.
    func quorumZxid(_ acked: [(ServerID, Zxid)]) -> Zxid {
        var best = Zxid.zero
        for (_, zxid) in acked {
            let ids = Set(acked.filter { $0.1 >= zxid }.map { $0.0.rawValue })
            if isQuorum(ids) { best = max(best, zxid) }
        }
        return best
    }

    /// A configuration of some servers, out of a seed; every other time with groups and weights.
    static func random(_ random: inout SeededRandom) throws -> (QuorumModel, QuorumConfiguration) {
        var model = QuorumModel()
        var members: [QuorumMember] = []
        var weights: [ServerID: Int64] = [:]
        let isHierarchical = random.below(2) == 0
        for number in 1...Int64(1 + random.below(9)) {
            let isVoter = random.below(5) > 0
            let address = ServerAddress(host: "zoo\(number)", quorumPort: 2888, electionPort: 3888)
            members.append(
                QuorumMember(id: ServerID(number), addresses: [address], role: isVoter ? .participant : .observer)
            )
            if isVoter { model.voters.insert(number) }
            guard isHierarchical else { continue }
            // An observer may be in a group if it has a weight, and then stands in the way of a quorum.
            guard isVoter || random.below(3) == 0 else { continue }
            model.groupOf[number] = Int64(1 + random.below(4))
            guard !isVoter || random.below(2) == 0 else { continue }
            let weight = Int64(random.below(4))
            model.weightOf[number] = weight
            weights[ServerID(number)] = weight
        }
        let groups = Dictionary(grouping: model.groupOf.keys) { model.groupOf[$0] ?? 0 }.map { group, ids in
            QuorumConfiguration.Group(id: group, members: ids.map { ServerID($0) })
        }
        return (model, try QuorumConfiguration(members: members, groups: groups, weights: weights))
    }
}
