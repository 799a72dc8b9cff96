/// What may go wrong in an ensemble.
package enum EnsembleFault: String, Sendable, CaseIterable {
    /// A process ends; its machine goes on.
    case kill
    /// A machine loses power, with some or all of what was not synced.
    case powerCut
    /// The power goes in the middle of a call of the disk.
    case powerCutInCall
    /// All servers lose power at once.
    case blackout
    /// A process stands still for a while.
    case pause
    /// One server is cut off from all others, its clients or not.
    case isolation
    /// Two groups of servers do not reach each other.
    case split
    /// Some ways between servers are cut, in one direction each.
    case oneWay
    /// Two servers are cut off from each other and joined again, over and over.
    case flapping
    /// Connections break.
    case reset
    /// One server's ways are slow.
    case slowNetwork
    /// One end of a quorum connection takes nothing for a while, whatever its process wants.
    case slowReader
    /// A disk takes long.
    case slowDisk
    /// A call of a disk fails, once.
    case failingDisk
    /// A disk is full for a while.
    case fullDisk
    /// A bit is turned in what is stable, while the server is down.
    case flippedBit
    /// The data directories of a server that is down are gone.
    case lostDisk
    /// A wall clock jumps.
    case clockJump
}

/// Which faults a seed has, and how often.
package struct FaultMix: Sendable {
    package var kinds: [EnsembleFault]
    /// Microseconds between two, on average.
    package var interval: Int64
    /// One in so many aims at whoever leads.
    package var leaderOneIn: Int

    package init(kinds: [EnsembleFault], interval: Int64, leaderOneIn: Int = 2) {
        self.kinds = kinds
        self.interval = interval
        self.leaderOneIn = leaderOneIn
    }

    init(from random: inout SeededGenerator, voters: Int) {
        let likelihood = random.pick([2, 3, 6])
        kinds = EnsembleFault.allCases.filter { _ in random.oneIn(likelihood) }
        // After one of these nothing goes on for a while.
        if kinds.contains(.blackout), !random.oneIn(3) { kinds.removeAll { $0 == .blackout } }
        // Something that ends and begins again is part of most stories.
        if random.oneIn(2) { kinds.append(random.pick([.kill, .powerCut, .pause, .isolation])) }
        interval = random.pick([150_000, 400_000, 1_200_000])
        leaderOneIn = random.pick([1, 2, 4])
    }

    package var description: String {
        kinds.isEmpty
            ? "none" : Set(kinds).map(\.rawValue).sorted().joined(separator: " ") + " every \(interval / 1000) ms"
    }
}
