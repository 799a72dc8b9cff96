import Testing

@testable import AviaryServer

/// Whom the bound of what is held for all clients together meets.
@Suite("Who goes when too much is held")
struct HeldShareTests {
    private static func victims(_ shares: [(bytes: Int, idle: Int64)], bound: Int) -> [Int] {
        HeldShare.victims(of: shares.map { HeldShare(bytes: $0.bytes, idleMicroseconds: $0.idle) }, bound: bound)
    }

    @Test("Within the bound nobody goes")
    func within() {
        #expect(Self.victims([], bound: 0).isEmpty)
        #expect(Self.victims([(500, 9), (500, 0)], bound: 1000).isEmpty)
    }

    @Test("Who holds little stays, however long it waits, and however busy those are that hold much")
    func little() {
        #expect(Self.victims([(64, 1_000_000), (900, 0), (950, 0), (920, 0)], bound: 2000) == [2])
    }

    @Test("Of two that hold as much, the one goes that has done nothing about it for longer")
    func idle() {
        #expect(Self.victims([(900, 10), (900, 2000), (900, 0)], bound: 2000) == [1])
        #expect(Self.victims([(900, 10), (900, 2000), (900, 0)], bound: 1000) == [1, 0])
    }

    @Test("Of two that do nothing for as long, the one goes that holds more")
    func most() {
        #expect(Self.victims([(700, 10), (900, 10), (800, 10)], bound: 2000) == [1])
    }

    @Test("Whatever is held, what remains is within the bound, and nobody goes for nothing")
    func bound() {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<300 {
            let shares = (0..<Int.random(in: 1...40, using: &random)).map { _ in
                (Int.random(in: 1...1000, using: &random), Int64.random(in: 0...3, using: &random))
            }
            let bound = Int.random(in: 0...20_000, using: &random)
            let victims = Self.victims(shares, bound: bound)
            let total = shares.reduce(0) { $0 + $1.0 }
            let left = total - victims.reduce(0) { $0 + shares[$1].0 }
            #expect(left <= bound, "\(shares) within \(bound)")
            #expect(Set(victims).count == victims.count)
            if let last = victims.last { #expect(left + shares[last].0 > bound, "\(shares) within \(bound)") }
        }
    }
}
