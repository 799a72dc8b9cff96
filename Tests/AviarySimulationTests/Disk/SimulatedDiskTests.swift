import AviarySimulation
import AviaryStorage
import Testing

@Suite("The simulated disk")
struct SimulatedDiskTests {
    @Test("A power failure leaves a sector as it was between two writes, never the later write without the earlier one")
    func wholeSectors() throws {
        let before = [UInt8](repeating: 0, count: 1024)
        let first = [UInt8](repeating: 1, count: 300) + before[300...]
        let both = first[..<300] + [UInt8](repeating: 2, count: 400) + before[700...]
        var found: Set<[UInt8]> = []
        for seed in 1...200 as ClosedRange<UInt64> {
            let disk = SimulatedDisk(seed: seed)
            disk.setContents("data/f", before)
            let file = try disk.open("data/f", .update)
            try first[..<300].withUnsafeBytes { try file.write($0, at: 0) }
            try both[300..<700].withUnsafeBytes { try file.write($0, at: 300) }
            disk.restart(.random)
            let left = try #require(disk.contents("data/f"))
            #expect([before, first, Array(both)].contains { $0[..<512] == left[..<512] }, "seed \(seed)")
            #expect([before, Array(both)].contains { $0[512...] == left[512...] }, "seed \(seed)")
            found.insert(left)
        }
        #expect(found.count == 6)
    }

    @Test("A folder is listed in an order that nobody may rely on, and that comes from the seed")
    func listing() throws {
        let names = (1...6).map { "f\($0)" }
        var orders: Set<[String]> = []
        for seed in 1...20 as ClosedRange<UInt64> {
            let lists = try (0..<2).map { run in
                let disk = SimulatedDisk(seed: seed)
                for name in run == 0 ? names : names.reversed() { disk.setContents("data/\(name)", []) }
                return try disk.list("data").map(\.name)
            }
            #expect(lists[0] == lists[1])
            #expect(lists[0].sorted() == names)
            orders.insert(lists[0])
        }
        #expect(orders.count > 10)
    }
}
