/// How often a run came by the places that matter: a check that is never reached proves nothing.
package struct CrashCounts: Sendable {
    package enum Place: String, Sendable, CaseIterable {
        case lives = "lives"
        case transactions = "transactions written"
        case powerCuts = "power cut in a disk call"
        case powerCutsInRecovery = "… of these while a server started"
        case powerCutsInSnapshot = "… of these while a snapshot was under way"
        case powerCutsInPurge = "… of these while files were purged"
        case powerCutsInRoll = "… of these between two logs"
        case kills = "process killed, nothing lost"
        case everythingLost = "everything unsynced lost"
        case someLost = "some of the unsynced lost"
        case writesLost = "crashes that lost transactions nobody knew of"
        case writesKept = "crashes that kept transactions nobody knew of"
        case tailsCut = "torn tails cut"
        case faults = "disk calls that failed"
        case serversEndedByFault = "servers ended by a failed call"
        case startsRefusedByFault = "starts refused by a failed call"
        case snapshotsFailed = "snapshots given up"
        case snapshots = "snapshots written"
        case largeGroups = "groups of 64 KiB and more"
        case rolls = "logs rolled"
        case rollsRefused = "rolls put off, disk full"
        case filesPurged = "files purged"
        case spaceLow = "lives with a full disk"
        case spaceExhausted = "lives with a full disk and the reserve used up"
        case startsOnFullDisk = "starts on a full disk"
        case bitsFlipped = "bits turned"
        case damageReported = "damage reported, start refused"
        case damageReportedInLog = "… of these in a log, exactly where it is"
        case damageSurvived = "damage that mattered to nothing, or was replaced by another snapshot"
        case damageLeft = "damaged snapshots left in place"
        case sessionsExpired = "sessions ended"
        case sessionsRenewed = "sessions taken up again after a crash"
    }

    private var values = [Int](repeating: 0, count: Place.allCases.count)

    package init() {}

    private static let indexes = Dictionary(
        uniqueKeysWithValues: Place.allCases.enumerated().map { ($0.element, $0.offset) }
    )

    package subscript(place: Place) -> Int {
        get { values[Self.indexes[place] ?? 0] }
        set { values[Self.indexes[place] ?? 0] = newValue }
    }

    package mutating func add(_ other: CrashCounts) {
        for index in values.indices { values[index] += other.values[index] }
    }
}
