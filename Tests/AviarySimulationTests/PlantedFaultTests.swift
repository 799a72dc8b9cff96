import AviarySimulation
import Testing

/// A simulation that finds nothing may be one that sees nothing: mistakes that servers have made are built in, and each
/// has to be found.
@Suite("Planted faults")
struct PlantedFaultTests {
    /// Within how many seeds, from 1 on: several times what it took when this was written.
    static func bound(_ fault: PlantedFault) -> UInt64 {
        switch fault {
        case .replyBeforeSync, .checksumIgnored, .rollWithoutDirectorySync, .snapshotNamedBeforeSync,
            .failedSyncRetried, .replaySkipped, .replayStartsLate, .ephemeralsSurvive, .multiCutShort, .sequenceLost:
            20
        case .purgeOfNeededLog: 50
        // These show only where several rare things meet: a torn tail, a full disk, a kill with a power cut behind it.
        case .tornTailRead, .fullDiskIgnored, .recoveredUnsynced: 300
        }
    }

    @Test("Each planted fault is found", arguments: PlantedFault.allCases)
    func found(_ fault: PlantedFault) {
        let bound = PlantedFaultTests.bound(fault)
        for seed in 1...bound where CrashRun.result(of: seed, planted: fault).violation != nil { return }
        Issue.record("\(fault) is not found within \(bound) seeds")
    }
}
