import AviaryStorage

/// Numbers by chance that are the same for the same seed (SplitMix64).
struct SeededGenerator: RandomNumberGenerator, Sendable {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var value = state
        value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
        return value ^ (value >> 31)
    }
}

/// What a call on a file has to know of the disk it is on.
struct SimulatedCall {
    var path: String
    var freeBlocks: Int
    var canAllocate: Bool
    /// A write stops here and fails with `reason`.
    var writeLimit: Int?
    var reason: DiskError.Reason?
}

/// Everything on a simulated disk: what is there, and what of it would survive a power failure.
struct SimulatedDiskState: Sendable {
    enum Entry: Hashable, Sendable {
        case file(Int)
        case directory
    }

    enum NameChange: Sendable {
        case set(String, Entry)
        case remove(String)
        case rename(String, to: String, Entry)
    }

    struct Directory: Sendable {
        var current: [String: Entry] = [:]
        var stable: [String: Entry] = [:]
        var unsynced: [NameChange] = []

        mutating func change(_ change: NameChange) {
            Directory.apply(change, to: &current)
            unsynced.append(change)
        }

        mutating func sync() {
            stable = current
            unsynced = []
        }

        /// A power failure: the first `kept` changes survive.
        mutating func lose(keeping kept: Int) {
            for change in unsynced.prefix(kept) { Directory.apply(change, to: &stable) }
            current = stable
            unsynced = []
        }

        static func apply(_ change: NameChange, to names: inout [String: Entry]) {
            switch change {
            case .set(let name, let entry): names[name] = entry
            case .remove(let name): names[name] = nil
            case .rename(let name, let newName, let entry):
                names[name] = nil
                names[newName] = entry
            }
        }
    }

    var files: [Int: SimulatedFile] = [:]
    var directories: [String: Directory] = ["": Directory()]
    var locks: [String: String] = [:]
    var generation = 0
    var capacityBlocks: Int?
    var canAllocate = true
    var fault: (@Sendable (SimulatedDisk.Operation) -> SimulatedDisk.Fault?)?
    var callsUntilPowerCut: Int?
    var trace: [SimulatedDisk.Operation] = []
    private var hasPower = true
    private var nextFile = 1
    private var generator: SeededGenerator

    init(seed: UInt64) { generator = SeededGenerator(seed: seed) }

    var usedBlocks: Int { files.values.reduce(0) { $0 + $1.blocks.count } }

    // MARK: - Calls

    mutating func call<R>(
        _ operation: SimulatedDisk.Operation,
        changes: Bool,
        _ body: (inout SimulatedDiskState) throws(DiskError) -> R
    ) -> Result<R, DiskError> {
        do throws(DiskError) {
            if case .refuse(let reason) = try admit(operation, changes: changes) {
                throw DiskError(operation.kind, operation.path, reason, detail: "simulated")
            }
            return .success(try body(&self))
        } catch {
            return .failure(error)
        }
    }

    mutating func onFile<R>(
        _ id: Int,
        _ generation: Int,
        _ operation: SimulatedDisk.Operation,
        _ body: (inout SimulatedFile, SimulatedCall) throws(DiskError) -> R
    ) -> Result<R, DiskError> {
        let changes = operation.kind != .read && operation.kind != .examine
        do throws(DiskError) {
            let fault = try admit(operation, changes: changes)
            guard generation == self.generation, var file = files[id] else {
                throw DiskError(operation.kind, operation.path, .powerLost)
            }
            var call = SimulatedCall(
                path: operation.path,
                freeBlocks: capacityBlocks.map { max($0 - usedBlocks, 0) } ?? Int.max,
                canAllocate: canAllocate
            )
            switch fault {
            case .refuse(let reason):
                if operation.kind == .sync { files[id]?.failSync() }
                throw DiskError(operation.kind, operation.path, reason, detail: "simulated")
            case .writeOnly(let bytes, let reason):
                call.writeLimit = bytes
                call.reason = reason
            case nil:
                break
            }
            files[id] = nil
            defer { files[id] = file }
            return .success(try body(&file, call))
        } catch {
            return .failure(error)
        }
    }

    private mutating func admit(
        _ operation: SimulatedDisk.Operation,
        changes: Bool
    ) throws(DiskError) -> SimulatedDisk.Fault? {
        if changes, let left = callsUntilPowerCut {
            if left == 0 { hasPower = false }
            callsUntilPowerCut = max(left - 1, 0)
        }
        guard hasPower else { throw DiskError(operation.kind, operation.path, .powerLost) }
        if changes { trace.append(operation) }
        return fault?(operation)
    }

    // MARK: - Names

    private static func split(_ path: String) -> (directory: String, name: String) {
        guard let slash = path.lastIndex(of: "/") else { return ("", path) }
        return (String(path[..<slash]), String(path[path.index(after: slash)...]))
    }

    private func lookup(_ path: String) -> Entry? {
        if path == "." || path == "/" || path == "" { return .directory }
        let (directory, name) = SimulatedDiskState.split(path)
        return directories[directory]?.current[name]
    }

    func file(at path: String) -> Int? {
        if case .file(let id) = lookup(path) { return id }
        return nil
    }

    mutating func open(_ path: String, _ mode: OpenMode) throws(DiskError) -> Int {
        let existing = lookup(path)
        if existing == .directory { throw DiskError(.open, path, .other, detail: "Is a directory") }
        switch (mode, existing) {
        case (.read, .file(let id)), (.update, .file(let id)):
            return id
        case (.replace, .file(let id)):
            files[id]?.resize(to: 0)
            return id
        case (.createNew, .some):
            throw DiskError(.open, path, .exists)
        case (.read, nil), (.update, nil):
            throw DiskError(.open, path, .notFound, detail: "No such file or directory")
        case (.createNew, nil), (.replace, nil):
            let (directory, name) = SimulatedDiskState.split(path)
            guard directories[directory] != nil else { throw DiskError(.open, path, .notFound) }
            let id = makeFile()
            directories[directory]?.change(.set(name, .file(id)))
            return id
        case (_, .directory):
            throw DiskError(.open, path, .other, detail: "Is a directory")
        }
    }

    private mutating func makeFile() -> Int {
        defer { nextFile += 1 }
        files[nextFile] = SimulatedFile()
        return nextFile
    }

    func list(_ directory: String) throws(DiskError) -> [DirectoryEntry] {
        guard let found = directories[directory] else { throw DiskError(.list, directory, .notFound) }
        // In whatever order: nobody may rely on one.
        return found.current.map { name, entry in
            switch entry {
            case .directory: DirectoryEntry(name: name, size: 0, isDirectory: true)
            case .file(let id): DirectoryEntry(name: name, size: Int64(files[id]?.current.count ?? 0))
            }
        }
    }

    func entry(at path: String) -> DirectoryEntry? {
        let name = SimulatedDiskState.split(path).name
        return switch lookup(path) {
        case .directory: DirectoryEntry(name: name, size: 0, isDirectory: true)
        case .file(let id): DirectoryEntry(name: name, size: Int64(files[id]?.current.count ?? 0))
        case nil: nil
        }
    }

    mutating func makeDirectory(_ path: String) throws(DiskError) {
        let (directory, name) = SimulatedDiskState.split(path)
        guard lookup(path) == nil else { throw DiskError(.makeDirectory, path, .exists) }
        guard directories[directory] != nil else { throw DiskError(.makeDirectory, path, .notFound) }
        directories[directory]?.change(.set(name, .directory))
        directories[path] = Directory()
    }

    mutating func rename(_ path: String, _ newPath: String) throws(DiskError) {
        let (directory, name) = SimulatedDiskState.split(path)
        let (newDirectory, newName) = SimulatedDiskState.split(newPath)
        guard let entry = lookup(path) else { throw DiskError(.rename, path, .notFound) }
        guard directory == newDirectory else { throw DiskError(.rename, path, .unsupported) }
        directories[directory]?.change(.rename(name, to: newName, entry))
        dropUnnamedFiles()
    }

    mutating func remove(_ path: String) throws(DiskError) {
        let (directory, name) = SimulatedDiskState.split(path)
        guard case .file = lookup(path) else { throw DiskError(.remove, path, .notFound) }
        directories[directory]?.change(.remove(name))
        dropUnnamedFiles()
    }

    mutating func sync(directory: String) throws(DiskError) {
        let path = directory == "." || directory == "/" ? "" : directory
        guard directories[path] != nil else { throw DiskError(.syncDirectory, directory, .notFound) }
        directories[path]?.sync()
        dropUnnamedFiles()
    }

    mutating func lock(_ path: String, owner: String) throws(DiskError) {
        if let holder = locks[path] { throw DiskError(.lock, path, .locked, detail: holder) }
        if lookup(path) == nil { _ = try open(path, .createNew) }
        locks[path] = owner
    }

    /// A file that no name leads to gives its blocks back. Its contents stay while a power failure could bring the name
    /// back.
    private mutating func dropUnnamedFiles() {
        var named: Set<Int> = []
        var nameable: Set<Int> = []
        for directory in directories.values {
            for case .file(let id) in directory.current.values { named.insert(id) }
            for case .file(let id) in directory.stable.values { nameable.insert(id) }
            for case .set(_, .file(let id)) in directory.unsynced { nameable.insert(id) }
            for case .rename(_, _, .file(let id)) in directory.unsynced { nameable.insert(id) }
        }
        for id in files.keys where !named.contains(id) {
            if nameable.contains(id) { files[id]?.blocks = [] } else { files[id] = nil }
        }
    }

    // MARK: - Power

    mutating func restart(_ loss: SimulatedDisk.Loss) {
        if loss != .processOnly {
            for path in directories.keys.sorted() {
                let count = directories[path]?.unsynced.count ?? 0
                let kept = loss == .random ? Int.random(in: 0...count, using: &generator) : 0
                directories[path]?.lose(keeping: kept)
            }
            dropLostDirectories()
            for id in files.keys.sorted() {
                if loss == .random { files[id]?.lose(using: &generator) } else { files[id]?.loseEverything() }
            }
        }
        generation += 1
        locks = [:]
        hasPower = true
        callsUntilPowerCut = nil
        fault = nil
        dropUnnamedFiles()
    }

    private mutating func dropLostDirectories() {
        for path in directories.keys.sorted() where path != "" && lookup(path) != .directory {
            directories[path] = nil
        }
    }

    // MARK: - Setting up

    mutating func install(_ path: String, _ bytes: [UInt8]) {
        let (directory, name) = SimulatedDiskState.split(path)
        installDirectory(directory)
        let id = makeFile()
        files[id]?.install(bytes)
        directories[directory]?.current[name] = .file(id)
        directories[directory]?.stable[name] = .file(id)
    }

    mutating func installDirectory(_ path: String) {
        guard path != "", directories[path] == nil else { return }
        let (directory, name) = SimulatedDiskState.split(path)
        installDirectory(directory)
        directories[directory]?.current[name] = .directory
        directories[directory]?.stable[name] = .directory
        directories[path] = Directory()
    }
}

/// The contents of one simulated file, as readers see them and as a power failure would leave them.
struct SimulatedFile: Sendable {
    private enum Change: Sendable {
        case write([UInt8], at: Int)
        case resize(Int)
        case extend(Int)
    }

    private(set) var current: [UInt8] = []
    private var stable: [UInt8] = []
    private var unsynced: [Change] = []
    /// Indexes of the blocks it has.
    var blocks: Set<Int> = []

    mutating func install(_ bytes: [UInt8]) {
        current = bytes
        stable = bytes
        blocks = Set(0..<(bytes.count + SimulatedDisk.blockSize - 1) / SimulatedDisk.blockSize)
    }

    mutating func flip(_ offset: Int, _ mask: UInt8) {
        if offset < current.count { current[offset] ^= mask }
        if offset < stable.count { stable[offset] ^= mask }
    }

    /// Takes blocks for a range.
    ///
    /// - Returns: up to where there are blocks now; the end of the range if they all fit.
    mutating func reserve(_ range: Range<Int>, _ free: Int) -> Int {
        var free = free
        guard !range.isEmpty else { return range.upperBound }
        for block in range.lowerBound / SimulatedDisk.blockSize...(range.upperBound - 1) / SimulatedDisk.blockSize
        where !blocks.contains(block) {
            guard free > 0 else { return max(range.lowerBound, block * SimulatedDisk.blockSize) }
            blocks.insert(block)
            free -= 1
        }
        return range.upperBound
    }

    mutating func write(_ bytes: [UInt8], at offset: Int) {
        change(.write(bytes, at: offset))
    }

    mutating func resize(to size: Int) {
        blocks = blocks.filter { $0 * SimulatedDisk.blockSize < size }
        change(.resize(size))
    }

    mutating func extend(to size: Int) {
        if size > current.count { change(.extend(size)) }
    }

    mutating func sync() {
        for change in unsynced { SimulatedFile.apply(change, to: &stable) }
        unsynced = []
    }

    mutating func failSync() { unsynced = [] }

    private mutating func change(_ change: Change) {
        SimulatedFile.apply(change, to: &current)
        unsynced.append(change)
    }

    private static func apply(_ change: Change, to bytes: inout [UInt8]) {
        switch change {
        case .write(let new, let offset):
            resize(&bytes, to: max(bytes.count, offset + new.count))
            bytes.replaceSubrange(offset..<offset + new.count, with: new)
        case .resize(let size):
            resize(&bytes, to: size)
        case .extend(let size):
            resize(&bytes, to: max(bytes.count, size))
        }
    }

    private static func resize(_ bytes: inout [UInt8], to size: Int) {
        if size < bytes.count {
            bytes.removeLast(bytes.count - size)
        } else {
            // An array and not `repeatElement`: without optimization that goes byte by byte.
            bytes += [UInt8](repeating: 0, count: size - bytes.count)
        }
    }

    // MARK: - Power failure

    mutating func loseEverything() {
        unsynced = []
        current = stable
    }

    mutating func lose(using generator: inout SeededGenerator) {
        let sized = Int.random(in: 0...unsynced.count, using: &generator)
        // Sometimes nearly all sectors survive, sometimes nearly none.
        let survival = UInt64.random(in: 0...4, using: &generator)
        var size = stable.count
        for (index, change) in unsynced.enumerated() {
            switch change {
            case .write(let bytes, let offset):
                if index < sized { size = max(size, offset + bytes.count) }
                keepSectors(of: bytes, at: offset, survival, using: &generator)
            case .resize(let newSize):
                guard index < sized else { continue }
                size = newSize
                SimulatedFile.resize(&stable, to: newSize)
            case .extend(let newSize):
                if index < sized { size = max(size, newSize) }
            }
        }
        SimulatedFile.resize(&stable, to: size)
        loseEverything()
    }

    private mutating func keepSectors(
        of bytes: [UInt8],
        at offset: Int,
        _ survival: UInt64,
        using generator: inout SeededGenerator
    ) {
        var start = 0
        while start < bytes.count {
            let sectorEnd = ((offset + start) / SimulatedDisk.sectorSize + 1) * SimulatedDisk.sectorSize - offset
            let end = min(bytes.count, sectorEnd)
            if UInt64.random(in: 0..<4, using: &generator) < survival {
                SimulatedFile.apply(.write(Array(bytes[start..<end]), at: offset + start), to: &stable)
            }
            start = end
        }
    }
}
