import AviaryServer
import AviaryStorage

/// A real disk that can be told to run full, to fail, or to take its time.
final class FaultDisk: Disk {
    enum Fault: Hashable, Sendable {
        /// No space can be reserved any more; what is reserved can be written.
        case full
        /// Files whose name contains this cannot be written.
        case brokenFile(String)
        case brokenSync
    }

    private let real = PosixDisk()
    private let faults = Guarded<Set<Fault>>([])

    private let gate = Guarded<Gate?>(nil)

    /// Nothing is durable until the gate is opened.
    func hold(_ gate: Gate) { self.gate.withLock { $0 = gate } }

    fileprivate func waitAtGate() { gate.withLock { $0 }?.wait() }

    func set(_ fault: Fault) { faults.withLock { _ = $0.insert(fault) } }
    func clear() { faults.withLock { $0.removeAll() } }

    fileprivate func check(_ operation: DiskError.Operation, _ path: String) throws(DiskError) {
        for fault in faults.withLock({ $0 }) {
            switch fault {
            case .full where operation == .allocate:
                throw DiskError(operation, path, .noSpace, detail: "no space left on device")
            case .brokenFile(let part) where operation == .write && path.contains(part):
                throw DiskError(operation, path, .noSpace, detail: "no space left on device")
            case .brokenSync where operation == .sync:
                throw DiskError(operation, path, .inputOutput, detail: "input/output error")
            case .full, .brokenFile, .brokenSync:
                continue
            }
        }
    }

    func open(_ path: String, _ mode: OpenMode) throws(DiskError) -> FaultFile {
        FaultFile(try real.open(path, mode), path: path, disk: self)
    }

    func list(_ directory: String) throws(DiskError) -> [DirectoryEntry] { try real.list(directory) }
    func entry(at path: String) throws(DiskError) -> DirectoryEntry? { try real.entry(at: path) }
    func makeDirectory(_ path: String) throws(DiskError) { try real.makeDirectory(path) }
    func rename(_ path: String, to newPath: String) throws(DiskError) { try real.rename(path, to: newPath) }
    func remove(_ path: String) throws(DiskError) { try real.remove(path) }
    func removeDirectory(_ path: String) throws(DiskError) { try real.removeDirectory(path) }
    func sync(directory: String) throws(DiskError) { try real.sync(directory: directory) }
    func lock(_ path: String, owner: String) throws(DiskError) -> PosixLock { try real.lock(path, owner: owner) }
}

final class FaultFile: DiskFile {
    private let real: PosixFile
    private let path: String
    private let disk: FaultDisk

    init(_ real: PosixFile, path: String, disk: FaultDisk) {
        self.real = real
        self.path = path
        self.disk = disk
    }

    func size() throws(DiskError) -> Int64 { try real.size() }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(DiskError) -> Int {
        try real.read(into: buffer, at: offset)
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(DiskError) {
        try disk.check(.write, path)
        try real.write(bytes, at: offset)
    }

    func allocate(from offset: Int64, count: Int64) throws(DiskError) {
        try disk.check(.allocate, path)
        try real.allocate(from: offset, count: count)
    }

    func truncate(to size: Int64) throws(DiskError) { try real.truncate(to: size) }

    func syncData() throws(DiskError) {
        disk.waitAtGate()
        try disk.check(.sync, path)
        try real.syncData()
    }

    func syncFile() throws(DiskError) {
        try disk.check(.sync, path)
        try real.syncFile()
    }
}
