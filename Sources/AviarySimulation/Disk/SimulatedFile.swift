/// The contents of one simulated file, as readers see them and as a power failure would leave them.
struct SimulatedFile: Sendable {
    private enum Change: Sendable {
        case write([UInt8], at: Int)
        case resize(Int)
        case extend(Int)
    }

    private(set) var current: [UInt8] = []
    private var stable: [UInt8] = []
    private var unsynced: [Change] = []
    var hasUnsyncedChanges: Bool { !unsynced.isEmpty }
    /// Indexes of the blocks it has.
    var blocks: Set<Int> = []

    mutating func install(_ bytes: [UInt8]) {
        current = bytes
        stable = bytes
        blocks = Set(0..<(bytes.count + SimulatedDisk.blockSize - 1) / SimulatedDisk.blockSize)
    }

    mutating func flip(_ offset: Int, _ mask: UInt8) {
        if offset < current.count { current[offset] ^= mask }
        if offset < stable.count { stable[offset] ^= mask }
    }

    /// Takes blocks for a range.
    ///
    /// - Returns: up to where there are blocks now; the end of the range if they all fit.
    mutating func reserve(_ range: Range<Int>, _ free: Int) -> Int {
        var free = free
        guard !range.isEmpty else { return range.upperBound }
        for block in range.lowerBound / SimulatedDisk.blockSize...(range.upperBound - 1) / SimulatedDisk.blockSize
        where !blocks.contains(block) {
            guard free > 0 else { return max(range.lowerBound, block * SimulatedDisk.blockSize) }
            blocks.insert(block)
            free -= 1
        }
        return range.upperBound
    }

    /// What a disk gets are sectors, with all that readers see of them by then: a part of one never reaches it alone.
    mutating func write(_ bytes: [UInt8], at offset: Int) {
        SimulatedFile.apply(.write(bytes, at: offset), to: &current)
        let size = SimulatedDisk.sectorSize
        let start = offset / size * size
        let end = min((offset + bytes.count + size - 1) / size * size, current.count)
        unsynced.append(.write(Array(current[start..<end]), at: start))
    }

    mutating func resize(to size: Int) {
        blocks = blocks.filter { $0 * SimulatedDisk.blockSize < size }
        change(.resize(size))
    }

    mutating func extend(to size: Int) {
        if size > current.count { change(.extend(size)) }
    }

    mutating func sync() {
        for change in unsynced { SimulatedFile.apply(change, to: &stable) }
        unsynced = []
    }

    mutating func failSync() { unsynced = [] }

    private mutating func change(_ change: Change) {
        SimulatedFile.apply(change, to: &current)
        unsynced.append(change)
    }

    private static func apply(_ change: Change, to bytes: inout [UInt8]) {
        switch change {
        case .write(let new, let offset):
            resize(&bytes, to: max(bytes.count, offset + new.count))
            bytes.replaceSubrange(offset..<offset + new.count, with: new)
        case .resize(let size):
            resize(&bytes, to: size)
        case .extend(let size):
            resize(&bytes, to: max(bytes.count, size))
        }
    }

    private static func resize(_ bytes: inout [UInt8], to size: Int) {
        if size < bytes.count {
            bytes.removeLast(bytes.count - size)
        } else {
            // An array and not `repeatElement`: without optimization that goes byte by byte.
            bytes += [UInt8](repeating: 0, count: size - bytes.count)
        }
    }

    // MARK: - Power failure

    mutating func loseEverything() {
        unsynced = []
        current = stable
    }

    mutating func lose(using generator: inout SeededGenerator) {
        let sized = generator.below(unsynced.count + 1)
        // Sometimes nearly all sectors survive, sometimes nearly none.
        let survival = generator.below(5)
        var size = stable.count
        for (index, change) in unsynced.enumerated() {
            switch change {
            case .write(let bytes, let offset):
                if index < sized { size = max(size, offset + bytes.count) }
                keepSectors(of: bytes, at: offset, survival, using: &generator)
            case .resize(let newSize):
                guard index < sized else { continue }
                size = newSize
                SimulatedFile.resize(&stable, to: newSize)
            case .extend(let newSize):
                if index < sized { size = max(size, newSize) }
            }
        }
        SimulatedFile.resize(&stable, to: size)
        loseEverything()
    }

    private mutating func keepSectors(
        of bytes: [UInt8],
        at offset: Int,
        _ survival: Int,
        using generator: inout SeededGenerator
    ) {
        var start = 0
        while start < bytes.count {
            let sectorEnd = ((offset + start) / SimulatedDisk.sectorSize + 1) * SimulatedDisk.sectorSize - offset
            let end = min(bytes.count, sectorEnd)
            if generator.below(4) < survival {
                SimulatedFile.apply(.write(Array(bytes[start..<end]), at: offset + start), to: &stable)
            }
            start = end
        }
    }
}
