/// Numbers by chance that are the same for the same seed (SplitMix64).
package struct SeededGenerator: RandomNumberGenerator, Sendable {
    private var state: UInt64

    package init(seed: UInt64) { state = seed }

    package mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var value = state
        value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
        return value ^ (value >> 31)
    }

    /// 0 to `bound` − 1; 0 when there is no such number.
    package mutating func below(_ bound: Int) -> Int {
        bound > 1 ? Int(next() >> 33) % bound : 0
    }

    /// True once in `count` times.
    package mutating func oneIn(_ count: Int) -> Bool { below(count) == 0 }

    /// One of a list that is not empty.
    package mutating func pick<Element>(_ list: [Element]) -> Element { list[below(list.count)] }

    /// A generator of its own for one part, so that what the part draws moves nothing in the others.
    package mutating func fork() -> SeededGenerator { SeededGenerator(seed: next()) }
}
