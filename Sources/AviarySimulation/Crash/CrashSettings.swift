internal import AviaryCore
internal import AviaryStorage

extension SimulatedSettings {
    /// What one seed makes of a server.
    init(from random: inout SeededGenerator, hasFullDisk: Bool, size: WorkloadGenerator.Size) {
        var core = CoreOptions(passwordDigest: { Array($0.reversed()) })
        core.tickTimeMilliseconds = 1000
        core.minSessionTimeoutMilliseconds = 2000
        core.maxSessionTimeoutMilliseconds = 20_000
        core.containerCheckIntervalMilliseconds = 3000
        core.extendedTypes = true
        core.closeSessionTxn = !random.oneIn(5)
        core.digestEnabled = !random.oneIn(8)
        core.snapCount = random.pick([10, 20, 40, 100_000])
        self.init(core: core)
        if random.oneIn(4) { directories = DataDirectories(data: "data", log: "log") }
        if random.oneIn(3) { compression = .snappy }
        writesLastProcessed = !random.oneIn(4)
        if random.oneIn(4) { maximumLogBytes = 1500 }
        // A large reserve is met early.
        if hasFullDisk, random.oneIn(2) { maximumRecordBytes = 28 << 10 }
        if size == .huge {
            maximumUnstoredBytes = 200 << 10
            maximumRecordBytes = 256 << 10
            snapshotChunkBytes = 20_000
        }
    }
}
