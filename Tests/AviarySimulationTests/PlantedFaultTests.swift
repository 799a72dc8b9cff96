import AviarySimulation
import Testing

/// A simulation that finds nothing may be one that sees nothing: mistakes that servers have made are built in, and each
/// has to be found.
@Suite("Planted faults")
struct PlantedFaultTests {
    @Test("Each planted fault is found", arguments: PlantedFault.allCases)
    func found(_ fault: PlantedFault) {
        for seed in 1...fault.seeds where CrashRun.finds(fault, in: seed) != nil { return }
        Issue.record("\(fault) is not found within \(fault.seeds) seeds")
    }
}
