import AviarySimulation
import Testing

/// A simulation that finds nothing may be one that sees nothing: mistakes that servers have made are built in, and each
/// has to be found.
@Suite("Planted faults")
struct PlantedFaultTests {
    /// Within how many seeds, from 1 on: at least twice what it took when this was written.
    static func bound(_ fault: PlantedFault) -> UInt64 {
        switch fault {
        case .replyBeforeSync, .checksumIgnored, .rollWithoutDirectorySync, .snapshotNamedBeforeSync,
            .replaySkipped, .replayStartsLate, .ephemeralsSurvive, .multiCutShort, .sequenceLost:
            20
        // These show only where several rare things meet: damage to the newest snapshots, a disk that fails and then
        // loses power, a full disk, a kill with a power cut behind it.
        case .purgeOfNeededLog, .failedSyncRetried, .fullDiskIgnored, .recoveredUnsynced: 100
        case .tornTailRead: 300
        }
    }

    @Test("Each planted fault is found", arguments: PlantedFault.allCases)
    func found(_ fault: PlantedFault) {
        let bound = PlantedFaultTests.bound(fault)
        for seed in 1...bound where CrashRun.result(of: seed, planted: fault).violation != nil { return }
        Issue.record("\(fault) is not found within \(bound) seeds")
    }
}
