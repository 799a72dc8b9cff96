internal import AviaryCore
internal import AviaryEnsemble
internal import AviaryStorage
internal import Zab
internal import ZooKeeperProtocol

/// The snapshots that a member writes of its own tree, as events.
extension MemberProcess {
    /// The tree and the sessions as they are applied.
    func picture() throws(Violation) -> NaiveTree {
        snapshots.abandon(&core)
        let head = core.beginSnapshot()
        var nodes = JuteWriter()
        while core.continueSnapshot(maxBytes: 1 << 16, into: &nodes) {}
        do {
            return try nodes.withBytes { bytes in try NaiveTree(head, encodedNodes: bytes) }
        } catch {
            throw Violation(.wrongTree, "\(machine.id): \(error)")
        }
    }

    func beginSnapshot() {
        snapshots.begin(&core)
        planSnapshots()
    }

    func planSnapshots() {
        guard !snapshots.isPlanned, snapshots.hasWork else { return }
        snapshots.isPlanned = true
        run.plan(
            .snapshot(server: machine.host.rawValue, incarnation: incarnation),
            after: run.diskDelay(machine)
        )
    }

    func stepSnapshots() {
        snapshots.isPlanned = false
        snapshots.encode(&core)
        switch snapshots.step(&core) {
        case .written: run.counts[.snapshots] += 1
        case .purged(let count, _): run.counts[.filesPurged] += count
        case .working, .failed: break
        }
        planSnapshots()
    }
}

extension OwnSnapshots {
    init(_ disk: SimulatedDisk, _ directories: DataDirectories, _ settings: EnsembleSettings) {
        let compression: SnapshotCompression = settings.compression ? .snappy : .none
        self.init(
            disk,
            directories,
            Options(compression: compression, chunkBytes: 600, maximumRecordBytes: 1 << 20)
        )
    }
}
