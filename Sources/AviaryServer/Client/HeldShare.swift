/// What is held for one client: its part in what may be held for all together (`aviary.maxClientBytes`).
struct HeldShare {
    /// Answers that it has not taken, requests that are not whole or wait.
    var bytes: Int
    /// For how long the client has done nothing about it although it is its turn: it took nothing of what it is sent,
    /// and what it began to send stands where it stood. 0 while the server has to act first.
    var idleMicroseconds: Int64

    /// Which clients have to go for the others to be held within a bound.
    ///
    /// Only those that hold more than an equal part of the bound: there is always one as long as all together are above
    /// it, and somebody who waits for the answer to a small request never pays for what others hold. First those whose
    /// bytes lay there the longest, then those that hold the most.
    ///
    /// - Returns: indices of `shares`; none when all are within the bound.
    static func victims(of shares: [HeldShare], bound: Int) -> [Int] {
        var total = shares.reduce(0) { $0 + $1.bytes }
        guard total > bound else { return [] }
        let part = bound / shares.count
        var victims: [Int] = []
        let candidates = shares.indices.filter { shares[$0].bytes > part }
        for index in candidates.sorted(by: { shares[$0].goesBefore(shares[$1]) }) {
            guard total > bound else { break }
            total -= shares[index].bytes
            victims.append(index)
        }
        return victims
    }

    private func goesBefore(_ other: HeldShare) -> Bool {
        let weight = Double(bytes) * Double(idleMicroseconds)
        let otherWeight = Double(other.bytes) * Double(other.idleMicroseconds)
        return weight != otherWeight ? weight > otherWeight : bytes > other.bytes
    }
}
