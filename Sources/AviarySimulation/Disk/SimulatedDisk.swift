package import AviaryStorage
internal import Synchronization
internal import ZooKeeperProtocol

/// A disk in memory that keeps exactly what a real one promises, and loses the rest when told to.
///
/// ## Fault model
///
/// - Contents. A write is seen by every reader at once. What a power failure leaves of it, until a sync of that file
///   returned, is any set of its sectors (512 bytes each, whole or not at all), in any order.
/// - Sizes. The length that writes, cuts and reservations give a file is part of what is not stable before a sync; of
///   several changes a power failure keeps the first so many.
/// - Names. New, renamed and removed names are stable after a sync of the directory; of several changes a power failure
///   keeps the first so many. A rename is one change; into another directory it is one in each, and a power failure may
///   keep either of them or both, but it never loses the file.
/// - A sync that fails has lost what it was to make stable: the file reads as before, the next sync returns well, and
///   after a power failure the data is not there. (Linux does this: the pages are marked clean.)
/// - A full disk reserves and writes as much as fits, then refuses. Reserved blocks take writes when it is full.
/// - Any call can be told to fail (`setFault`, `fail`); power can go at any call that changes something (`cutPower`).
/// - Bits can be turned in what is stable (`flipBit`).
/// - It can be told to break its promises (`setLies`, `setReadFilter`), to see whether somebody notices.
///
/// Not modelled: sectors that hold garbage after a power failure, and two processes at once.
///
/// Everything by chance comes from the seed. Time does not exist.
package final class SimulatedDisk: Disk {
    package struct Operation: Hashable, Sendable, CustomStringConvertible {
        package var kind: DiskError.Operation
        package var path: String

        package init(kind: DiskError.Operation, path: String) {
            self.kind = kind
            self.path = path
        }

        package var description: String { "\(kind.rawValue) \(path)" }
    }

    package enum Fault: Sendable, Hashable {
        /// The call does nothing and fails.
        case refuse(DiskError.Reason)
        /// A write that stops after so many bytes and fails.
        case writeOnly(bytes: Int, DiskError.Reason)
    }

    package enum Loss: Sendable, Hashable {
        /// The process ends, the machine goes on: nothing is lost.
        case processOnly
        /// The power fails, and everything that was not synced is lost.
        case everythingUnsynced
        /// The power fails, and chance decides what is lost of that which was not synced.
        case random
    }

    /// A promise that is broken.
    package enum Lie: Sendable, Hashable {
        /// Syncs of directories return and do nothing.
        case directorySync
        /// Syncs of files whose names end so return and do nothing.
        case fileSync(suffix: String)
        /// A sync that fails returns as if it had not.
        case failedSync
    }

    package static let sectorSize = 512
    package static let blockSize = 4096

    private let state: Mutex<SimulatedDiskState>

    package init(seed: UInt64 = 1) {
        state = Mutex(SimulatedDiskState(seed: seed))
    }

    // MARK: - What tests do to it

    /// Bytes that fit on the disk, in blocks of 4096; nil is no end.
    package func setCapacity(_ bytes: Int64?) {
        state.withLock { $0.capacityBlocks = bytes.map { Int($0) / SimulatedDisk.blockSize } }
    }

    /// Blocks that files have, in bytes.
    package var usedBytes: Int64 { state.withLock { Int64($0.usedBlocks * SimulatedDisk.blockSize) } }

    /// Whether not even one more block fits.
    package var isFull: Bool {
        state.withLock { state in state.capacityBlocks.map { $0 <= state.usedBlocks } ?? false }
    }

    /// Whether a power failure now could lose anything.
    package var hasUnsyncedChanges: Bool {
        state.withLock { state in
            state.files.values.contains(where: \.hasUnsyncedChanges)
                || state.directories.values.contains { !$0.unsynced.isEmpty }
        }
    }

    /// Asked before every call; what it returns happens.
    package func setFault(_ fault: (@Sendable (Operation) -> Fault?)?) {
        state.withLock { $0.fault = fault }
    }

    /// Lets the call of a kind that comes after `count` others of it meet `fault`, once.
    package func fail(_ kind: DiskError.Operation, after count: Int, with fault: Fault) {
        state.withLock { $0.plannedFault = SimulatedDiskState.PlannedFault(kind: kind, left: count, fault: fault) }
    }

    /// Calls off a fault that was planned and has not come.
    package func forgetPlannedFault() {
        state.withLock { $0.plannedFault = nil }
    }

    /// Loses everything, as if another disk had been put in.
    package func wipe() {
        state.withLock { $0.wipe() }
    }

    /// Calls that met a fault since the last restart.
    package var faultCount: Int { state.withLock { $0.faultCount } }

    package func setLies(_ lies: Set<Lie>) {
        state.withLock { $0.lies = lies }
    }

    /// What readers see of a file instead of what is there, by its path.
    package func setReadFilter(_ filter: (@Sendable (String, [UInt8]) -> [UInt8])?) {
        state.withLock { $0.readFilter = filter }
    }

    /// Whether reservations are possible; some file systems know none.
    package func setCanAllocate(_ canAllocate: Bool) {
        state.withLock { $0.canAllocate = canAllocate }
    }

    /// Lets the power fail after `count` more calls that change something; nil calls that off. From then on every call
    /// throws `.powerLost`.
    package func cutPower(after count: Int?) {
        state.withLock { $0.powerCut = count.map { SimulatedDiskState.PowerCut(kind: nil, left: $0) } }
    }

    /// Lets the power fail at the call of a kind that comes after `count` others of it.
    ///
    /// - Parameter place: counts only calls on files whose paths hold this.
    package func cutPower(at kind: DiskError.Operation, on place: String? = nil, after count: Int) {
        state.withLock { $0.powerCut = SimulatedDiskState.PowerCut(kind: kind, place: place, left: count) }
    }

    /// False once the power has failed, until `restart`.
    package var hasPower: Bool { state.withLock { $0.hasPower } }

    /// The calls that changed something, in order, since the beginning or the last `forgetTrace`.
    package var trace: [Operation] { state.withLock { $0.trace } }

    package func forgetTrace() {
        state.withLock { $0.trace = [] }
    }

    /// Ends all files and locks, loses what `loss` says, and brings power back.
    package func restart(_ loss: Loss) {
        state.withLock { $0.restart(loss) }
    }

    /// A file as every reader sees it; nil when there is none.
    package func contents(_ path: String) -> [UInt8]? {
        state.withLock { state in state.file(at: path).map { state.files[$0]?.current ?? [] } }
    }

    /// Puts a stable file in place, with the directories it is in.
    package func setContents(_ path: String, _ bytes: [UInt8]) {
        state.withLock { $0.install(path, bytes) }
    }

    package func makeStableDirectory(_ path: String) {
        state.withLock { $0.installDirectory(path) }
    }

    /// Turns one bit of what is stable.
    package func flipBit(_ path: String, offset: Int, bit: Int = 0) {
        state.withLock { state in
            guard let id = state.file(at: path) else { return }
            state.files[id]?.flip(offset, UInt8(1) << UInt8(bit))
        }
    }

    /// The directories in `directory`, by their names there.
    package func directoryNames(in directory: String) -> [String] {
        state.withLock { state in
            (state.directories[directory]?.current ?? [:]).filter { $0.value == .directory }.keys.sorted()
        }
    }

    /// All files below `directory`, by their names there, as every reader sees them.
    package func files(in directory: String) -> [String: [UInt8]] {
        state.withLock { state in
            var found: [String: [UInt8]] = [:]
            for (name, entry) in state.directories[directory]?.current ?? [:] {
                if case .file(let id) = entry { found[name] = state.files[id]?.current ?? [] }
            }
            return found
        }
    }

    // MARK: - Disk

    package final class File: DiskFile {
        private let disk: SimulatedDisk
        private let id: Int
        private let path: String
        private let generation: Int

        fileprivate init(_ disk: SimulatedDisk, _ id: Int, _ path: String, _ generation: Int) {
            self.disk = disk
            self.id = id
            self.path = path
            self.generation = generation
        }

        package func size() throws(DiskError) -> Int64 {
            try call(.examine) { (file, context) throws(DiskError) in Int64(context.shown(file).count) }
        }

        package func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(DiskError) -> Int {
            let span = SendableBuffer(buffer)
            return try call(.read) { (file, context) throws(DiskError) in
                let shown = context.shown(file)
                let start = min(Int(offset), shown.count)
                let count = min(span.buffer.count, shown.count - start)
                shown.withUnsafeBytes { bytes in
                    span.buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[start..<start + count]))
                }
                return count
            }
        }

        package func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(DiskError) {
            let copy = [UInt8](bytes)
            try call(.write) { (file, context) throws(DiskError) in
                let limit = context.writeLimit ?? copy.count
                let fitting = file.reserve(Int(offset)..<Int(offset) + min(copy.count, limit), context.freeBlocks)
                file.write(Array(copy[..<(fitting - Int(offset))]), at: Int(offset))
                if let reason = context.reason, limit < copy.count { throw DiskError(.write, context.path, reason) }
                guard fitting == Int(offset) + copy.count else {
                    throw DiskError(.write, context.path, .noSpace, detail: "No space left on device")
                }
            }
        }

        /// Behaves as `write`; what a real disk would refuse here, and write the slow way, is a mistake of the caller's.
        package func writeBlocks(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(DiskError) {
            let isAligned =
                offset % 4096 == 0 && bytes.count % 4096 == 0 && Int(bitPattern: bytes.baseAddress) % 4096 == 0
            invariant(isAligned, "blocks that are none: \(bytes.count) bytes at \(offset)")
            try write(bytes, at: offset)
        }

        package func allocate(from offset: Int64, count: Int64) throws(DiskError) {
            try call(.allocate) { (file, context) throws(DiskError) in
                guard context.canAllocate else { throw DiskError(.allocate, context.path, .unsupported) }
                let end = Int(offset + count)
                let fitting = file.reserve(Int(offset)..<end, context.freeBlocks)
                file.extend(to: fitting)
                guard fitting == end else {
                    throw DiskError(.allocate, context.path, .noSpace, detail: "No space left on device")
                }
            }
        }

        package func truncate(to size: Int64) throws(DiskError) {
            try call(.truncate) { (file, _) throws(DiskError) in file.resize(to: Int(size)) }
        }

        package func syncData() throws(DiskError) {
            try call(.sync) { (file, context) throws(DiskError) in if !context.isSyncIgnored { file.sync() } }
        }

        package func syncFile() throws(DiskError) {
            try call(.sync) { (file, context) throws(DiskError) in if !context.isSyncIgnored { file.sync() } }
        }

        private func call<R: Sendable>(
            _ kind: DiskError.Operation,
            _ body: (inout SimulatedFile, SimulatedCall) throws(DiskError) -> R
        ) throws(DiskError) -> R {
            let result: Result<R, DiskError> = disk.state.withLock { state in
                state.onFile(id, generation, Operation(kind: kind, path: path), body)
            }
            return try result.get()
        }
    }

    package final class Lock: Sendable {
        private let disk: SimulatedDisk
        private let path: String
        private let generation: Int

        fileprivate init(_ disk: SimulatedDisk, _ path: String, _ generation: Int) {
            self.disk = disk
            self.path = path
            self.generation = generation
        }

        deinit {
            disk.state.withLock { state in
                if state.generation == generation { state.locks[path] = nil }
            }
        }
    }

    package func open(_ path: String, _ mode: OpenMode) throws(DiskError) -> File {
        let result: Result<(Int, Int), DiskError> = state.withLock { state in
            state.call(Operation(kind: .open, path: path), changes: mode == .createNew || mode == .replace) {
                (state) throws(DiskError) in (try state.open(path, mode), state.generation)
            }
        }
        let (id, generation) = try result.get()
        return File(self, id, path, generation)
    }

    package func list(_ directory: String) throws(DiskError) -> [DirectoryEntry] {
        try call(.list, directory, changes: false) { (state) throws(DiskError) in try state.list(directory) }
    }

    package func entry(at path: String) throws(DiskError) -> DirectoryEntry? {
        try call(.examine, path, changes: false) { (state) throws(DiskError) in state.entry(at: path) }
    }

    package func makeDirectory(_ path: String) throws(DiskError) {
        try call(.makeDirectory, path) { (state) throws(DiskError) in try state.makeDirectory(path) }
    }

    package func rename(_ path: String, to newPath: String) throws(DiskError) {
        try call(.rename, path) { (state) throws(DiskError) in try state.rename(path, newPath) }
    }

    package func remove(_ path: String) throws(DiskError) {
        try call(.remove, path) { (state) throws(DiskError) in try state.remove(path) }
    }

    package func removeDirectory(_ path: String) throws(DiskError) {
        try call(.removeDirectory, path) { (state) throws(DiskError) in try state.removeDirectory(path) }
    }

    package func sync(directory: String) throws(DiskError) {
        try call(.syncDirectory, directory) { (state) throws(DiskError) in try state.sync(directory: directory) }
    }

    package func lock(_ path: String, owner: String) throws(DiskError) -> Lock {
        let generation = try call(.lock, path) { (state) throws(DiskError) in
            try state.lock(path, owner: owner)
            return state.generation
        }
        return Lock(self, path, generation)
    }

    private func call<R: Sendable>(
        _ kind: DiskError.Operation,
        _ path: String,
        changes: Bool = true,
        _ body: (inout SimulatedDiskState) throws(DiskError) -> R
    ) throws(DiskError) -> R {
        let result: Result<R, DiskError> = state.withLock { state in
            state.call(Operation(kind: kind, path: path), changes: changes, body)
        }
        return try result.get()
    }
}

/// Carries a buffer into the lock's closure, which returns before the buffer goes away.
private struct SendableBuffer: @unchecked Sendable {
    let buffer: UnsafeMutableRawBufferPointer

    init(_ buffer: UnsafeMutableRawBufferPointer) { self.buffer = buffer }
}
