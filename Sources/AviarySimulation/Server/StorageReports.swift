internal import AviaryCore
internal import AviaryStorage

/// What stands around a storage worker: it collects reports, until whoever owns it says that the loop gets them.
struct StorageReports: StorageDriver {
    var monotonicMicroseconds: Int64 = 0
    var reports: [StorageReport] = []

    mutating func report(_ report: StorageReport) { reports.append(report) }
}

extension LogRoom {
    /// What the end of a session takes in the log, and not less.
    private static var sessionEndBytes: Int { 80 }

    /// As the shell computes it.
    ///
    /// - Parameters:
    ///   - availableBytes: of the reserve, without what waits to be written.
    ///   - lastBytes: of it, that are there for the end of the log only.
    ///   - sessions: each of which may want to end.
    init(_ space: LogSpace, availableBytes: Int64, lastBytes: Int64, sessions: Int) {
        self =
            switch space {
            case .ok: .plenty
            case .exhausted: .exhausted
            case .low: availableBytes < lastBytes + Int64(LogRoom.sessionEndBytes * sessions) ? .exhausted : .low
            }
    }
}
