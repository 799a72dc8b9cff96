import AviarySimulation
import AviaryStorage
import Foundation
import Testing
import ZooKeeperProtocol

/// What stands around a storage worker in a test.
struct TestDriver: StorageDriver {
    var monotonicMicroseconds: Int64 = 1
    var reports: [StorageReport] = []

    mutating func report(_ report: StorageReport) { reports.append(report) }

    /// The reports in short, in order: what was made durable, stored, cut.
    var story: [String] {
        reports.map { report in
            switch report {
            case .durable(let report): "durable \(report.durable.hex)"
            case .acceptedEpochStored(let epoch): "accepted \(epoch)"
            case .currentEpochStored(let epoch): "current \(epoch)"
            case .truncated(let zxid, let setAside, let hasSnapshot):
                "truncated \(zxid.hex) aside \(setAside.sorted())\(hasSnapshot ? "" : ", no snapshot")"
            case .snapshotBytesWritten: "bytes"
            case .snapshotInstalled(let zxid): "installed \(zxid.hex)"
            case .snapshotFailed: "snapshot failed"
            case .warning: "warning"
            }
        }
    }

    /// Forgets what it was told, and says what that was.
    mutating func takeStory() -> [String] {
        defer { reports = [] }
        return story
    }
}

typealias TestWorker = StorageWorker<SimulatedDisk, NoGzip>

extension SimulatedDisk {
    static let directories = DataDirectories(data: "data")

    /// A worker whose log has little space reserved.
    func worker(
        after lastZxid: Zxid,
        hasLostMemory: Bool = false,
        compression: SnapshotCompression = .none
    ) throws(StorageError) -> TestWorker {
        try StorageWorker(
            disk: self,
            directories: SimulatedDisk.directories,
            gzip: NoGzip(),
            lastZxid: lastZxid,
            options: StorageWorkerOptions(
                log: TxnLogOptions(preallocationBytes: 64 << 10, reserveBytes: 4 << 10),
                compression: compression
            ),
            hasLostMemory: hasLostMemory
        )
    }

    var epochs: EpochFiles<SimulatedDisk> {
        EpochFiles(disk: self, directory: SimulatedDisk.directories.snapshots)
    }

    var source: HistorySource<SimulatedDisk, NoGzip> {
        HistorySource(
            disk: self,
            directories: SimulatedDisk.directories,
            gzip: NoGzip(),
            limits: ReadingLimits(extendedTypes: true)
        )
    }

    var memberRecovery: MemberRecovery<SimulatedDisk, NoGzip> {
        var options = RecoveryOptions()
        options.limits.extendedTypes = true
        return MemberRecovery(
            disk: self,
            directories: SimulatedDisk.directories,
            gzip: NoGzip(),
            options: options
        )
    }

    /// Starts a member; what it finds has to be usable.
    func startMember(
        into tree: inout NaiveTree,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> MemberState {
        switch try memberRecovery.run(into: &tree) {
        case .loaded(let state): return state
        case .damaged(let error):
            Issue.record("\(error)", sourceLocation: sourceLocation)
            throw error
        }
    }

    func setText(_ name: String, _ text: String) { setContents(name.inVersionFolder, Array(text.utf8)) }

    func text(_ name: String) -> String? {
        contents(name.inVersionFolder).map { String(decoding: $0, as: UTF8.self) }
    }

    /// Names in `version-2`, without ours that are about nothing.
    func names() -> [String] {
        files(in: "data/version-2").keys.filter { $0 != ".aviary.lock" && $0 != ".aviary.next-log" }.sorted()
    }
}

extension StorageOrder {
    /// One batch of some records.
    static func append(_ records: [History.Record], rolls: Bool = false) -> StorageOrder {
        let batch = LogBatch()
        for record in records { record.payload.withUnsafeBytes { batch.append($0, zxid: record.zxid) } }
        batch.rollsAfter = rolls
        return .append(batch)
    }

    static func snapshotBytes(_ bytes: some Collection<UInt8>) -> StorageOrder {
        let piece = SnapshotPiece()
        for byte in bytes { piece.bytes.byte(byte) }
        return .snapshotBytes(piece)
    }
}

extension StorageWorker where D == SimulatedDisk {
    mutating func perform(_ orders: [StorageOrder], _ driver: inout TestDriver) throws(StorageError) {
        for order in orders { try perform(order, &driver) }
        try endGroup(&driver)
    }
}

extension NaiveTree {
    static var fresh: NaiveTree {
        var tree = NaiveTree()
        tree.restoreFreshTree()
        return tree
    }

    /// What a leader with this tree sends behind a SNAP packet.
    func stream() -> [UInt8] {
        var writer = JuteWriter()
        writer.int32(Int32(sessions.count))
        for (id, timeout) in sessions.sorted(by: { $0.key < $1.key }) {
            writer.int64(id)
            writer.int32(timeout)
        }
        writer.int32(Int32(NaiveTree.aclTable.count))
        for (id, acl) in NaiveTree.aclTable {
            writer.int64(id)
            ACL.write(acl, to: &writer)
        }
        encodedNodes().withUnsafeBytes { writer.raw($0) }
        writer.string("/")
        writer.string("BenWasHere")
        return writer.copy()
    }
}

/// Everything an error says about the disk.
extension StorageError {
    var diskReason: DiskError.Reason? {
        switch self {
        case .disk(let error), .syncFailed(let error), .logWriteFailed(let error), .snapshotFailed(let error),
            .epochNotStored(let error), .truncationFailed(_, let error), .installationFailed(_, let error),
            .quarantineFailed(let error):
            error.reason
        default: nil
        }
    }
}

/// What a power failure may leave, for tests that go through all of it.
let losses: [SimulatedDisk.Loss] = [.processOnly, .everythingUnsynced, .random]
