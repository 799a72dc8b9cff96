import AviarySimulation
import Testing

@Suite("Virtual time")
struct VirtualTimeTests {
    @Test("Events come in the order of their times, and those of one time in the order in which they were scheduled")
    func order() {
        let time = VirtualTime<Int>()
        var random = SeededGenerator(seed: 7)
        var expected: [(Int64, Int)] = []
        for number in 0..<500 {
            let at = Int64(random.below(40))
            time.schedule(number, at: at)
            expected.append((at, number))
        }
        expected.sort { ($0.0, $0.1) < ($1.0, $1.1) }
        var seen: [Int] = []
        while let event = time.next(before: 100) { seen.append(event) }
        #expect(seen == expected.map(\.1))
        #expect(time.microseconds == 100)
    }

    @Test("Nothing happens in the past, and nothing before its time")
    func past() {
        let time = VirtualTime<String>()
        time.schedule("a", at: 50)
        #expect(time.next(before: 50) == nil)
        #expect(time.next(before: 51) == "a")
        time.schedule("b", at: 10)
        #expect(time.next(before: 51) == "b")
        #expect(time.microseconds == 50)
    }
}
