internal import AviaryStorage
internal import ZooKeeperProtocol

/// One bit of a file that is stable, turned.
struct BitFlip {
    var path: String
    var offset: Int
    var bit: Int
    /// The records in front of the damage and behind it, if the file is a log.
    private let records: [LogMap.Record]

    /// Whether the file is a log.
    var isInLog: Bool { path.contains("/log.") }
    /// In what tells how far the log is stable (docs/design/storage.md).
    var isInMark: Bool { isInLog && (4..<16).contains(offset) }

    /// - Parameter excluded: paths of files that are left alone.
    /// - Returns: nil when there is no file.
    static func draw(
        from disk: SimulatedDisk,
        _ directories: [String],
        excluding excluded: Set<String>,
        using random: inout SeededGenerator
    ) -> BitFlip? {
        var paths: [String] = []
        for directory in directories {
            for name in disk.files(in: directory).keys.sorted() where !name.hasPrefix(".") && !name.hasSuffix(".tmp") {
                paths.append(FileNames.join(directory, name))
            }
        }
        paths.removeAll { excluded.contains($0) }
        guard !paths.isEmpty else { return nil }
        let path = random.pick(paths)
        guard let bytes = disk.contents(path), let last = bytes.lastIndex(where: { $0 != 0 }) else { return nil }
        let offset = random.oneIn(8) ? random.below(min(16, last + 1)) : random.below(last + 1)
        return BitFlip(path: path, offset: offset, bit: random.below(8), records: LogMap(bytes).records)
    }

    /// Turns it, or turns it back.
    func turn(on disk: SimulatedDisk) { disk.flipBit(path, offset: offset, bit: bit) }

    // MARK: - What is said of it

    /// What the server said about the damage has to lead an operator to it: the file, where in it, and how far the data
    /// goes in front of it.
    ///
    /// - Returns: whether a record of a log was told to be damaged.
    func checkReport(_ error: StorageError) throws(Violation) -> Bool {
        switch error {
        case .damagedLog(let damage) where damage.file == path:
            let expected = records.last { $0.range.upperBound <= damage.offset }?.zxid
            guard damage.lastGoodZxid == expected else {
                throw Violation(
                    .wrongDamageReport,
                    "last good zxid \(BitFlip.name(damage.lastGoodZxid)) in front of offset \(damage.offset) of "
                        + "\(path), but it is \(BitFlip.name(expected))"
                )
            }
            return try checkPlace(damage.offset)
        case .recordAboveLimit(path, let offset, _, _):
            return try checkPlace(offset)
        case .noUsableSnapshot(_, let failures) where isNamed(failures),
            .snapshotsLost(_, _, let failures) where isNamed(failures):
            return false
        default:
            throw Violation(.wrongDamageReport, "\(error)")
        }
    }

    /// Damage to a record is where the record begins. Other bytes tell how far the log goes, or stand behind its records:
    /// then it is told where a record begins or the last one ends.
    private func checkPlace(_ told: Int64) throws(Violation) -> Bool {
        if let record = records.first(where: { $0.range.contains(offset) }) {
            guard told == record.range.lowerBound else {
                throw Violation(
                    .wrongDamageReport,
                    "offset \(told) of \(path), but it is the record at \(record.range.lowerBound)"
                )
            }
            return true
        }
        let ends = records.map { Int64($0.range.upperBound) }
        guard told == 0 || told == LogMap.headerSize || ends.contains(told) else {
            throw Violation(.wrongDamageReport, "offset \(told) of \(path), where no record begins or ends")
        }
        return false
    }

    private func isNamed(_ failures: [SnapshotFailure]) -> Bool {
        failures.contains { path == $0.file || path.hasSuffix("/" + $0.file) }
    }

    private static func name(_ zxid: Zxid?) -> String { zxid.map { "\($0)" } ?? "none" }
}
