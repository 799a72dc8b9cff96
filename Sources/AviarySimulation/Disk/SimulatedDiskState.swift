internal import AviaryStorage

/// What a call on a file has to know of the disk it is on.
struct SimulatedCall {
    var path: String
    var freeBlocks: Int
    var canAllocate: Bool
    /// A write stops here and fails with `reason`.
    var writeLimit: Int?
    var reason: DiskError.Reason?
    var readFilter: (@Sendable (String, [UInt8]) -> [UInt8])?
    var isSyncIgnored = false

    /// What readers see.
    func shown(_ file: SimulatedFile) -> [UInt8] {
        guard let readFilter else { return file.current }
        return readFilter(path, file.current)
    }
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

    /// A file that went to another directory, while that one is not synced.
    struct Move: Sendable {
        var file: Int
        var from: (directory: String, name: String)
        var to: String
    }

    /// Where the power goes: at a call that changes something, of one kind or of any.
    struct PowerCut: Sendable {
        var kind: DiskError.Operation?
        /// Only at files whose paths hold this.
        var place: String?
        var left: Int

        func concerns(_ operation: SimulatedDisk.Operation) -> Bool {
            (kind == nil || kind == operation.kind) && (place.map { operation.path.contains($0) } ?? true)
        }
    }

    /// A fault that comes once.
    struct PlannedFault: Sendable {
        var kind: DiskError.Operation
        var left: Int
        var fault: SimulatedDisk.Fault
    }

    var files: [Int: SimulatedFile] = [:]
    var directories: [String: Directory] = ["": Directory()]
    private var moves: [Move] = []
    var locks: [String: String] = [:]
    var generation = 0
    var capacityBlocks: Int?
    var canAllocate = true
    var fault: (@Sendable (SimulatedDisk.Operation) -> SimulatedDisk.Fault?)?
    var powerCut: PowerCut?
    var plannedFault: PlannedFault?
    private(set) var faultCount = 0
    var lies: Set<SimulatedDisk.Lie> = []
    var readFilter: (@Sendable (String, [UInt8]) -> [UInt8])?
    var trace: [SimulatedDisk.Operation] = []
    private(set) var hasPower = true
    private var nextFile = 1
    private var generator: SeededGenerator
    /// What lists are shuffled with: one of its own, so that who lists moves nothing in what is lost.
    private var listGenerator: SeededGenerator

    init(seed: UInt64) {
        generator = SeededGenerator(seed: seed)
        var source = generator
        listGenerator = source.fork()
    }

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
                canAllocate: canAllocate,
                readFilter: readFilter
            )
            call.isSyncIgnored = lies.contains {
                if case .fileSync(let suffix) = $0 { operation.path.hasSuffix(suffix) } else { false }
            }
            switch fault {
            case .refuse(let reason):
                if operation.kind == .sync {
                    file.failSync()
                    files[id] = file
                }
                guard operation.kind == .sync, lies.contains(.failedSync) else {
                    throw DiskError(operation.kind, operation.path, reason, detail: "simulated")
                }
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
        if changes, let cut = powerCut, cut.concerns(operation) {
            if cut.left == 0 { hasPower = false }
            powerCut?.left = max(cut.left - 1, 0)
        }
        guard hasPower else { throw DiskError(operation.kind, operation.path, .powerLost) }
        if changes { trace.append(operation) }
        guard let fault = plannedFault(operation) ?? fault?(operation) else { return nil }
        faultCount += 1
        return fault
    }

    private mutating func plannedFault(_ operation: SimulatedDisk.Operation) -> SimulatedDisk.Fault? {
        guard let planned = plannedFault, planned.kind == operation.kind else { return nil }
        plannedFault?.left -= 1
        guard planned.left == 0 else { return nil }
        plannedFault = nil
        return planned.fault
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

    /// In any order, since nobody may rely on one; but in the same wherever the seed runs.
    mutating func list(_ directory: String) throws(DiskError) -> [DirectoryEntry] {
        guard let found = directories[directory] else { throw DiskError(.list, directory, .notFound) }
        return found.current.sorted { $0.key < $1.key }.shuffled(using: &listGenerator).map { name, entry in
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
        if directory == newDirectory {
            directories[directory]?.change(.rename(name, to: newName, entry))
        } else {
            guard directories[newDirectory] != nil else { throw DiskError(.rename, newPath, .notFound) }
            guard case .file(let id) = entry else { throw DiskError(.rename, path, .unsupported) }
            directories[newDirectory]?.change(.set(newName, entry))
            directories[directory]?.change(.remove(name))
            moves.append(Move(file: id, from: (directory, name), to: newDirectory))
        }
        dropUnnamedFiles()
    }

    mutating func remove(_ path: String) throws(DiskError) {
        let (directory, name) = SimulatedDiskState.split(path)
        guard case .file = lookup(path) else { throw DiskError(.remove, path, .notFound) }
        directories[directory]?.change(.remove(name))
        dropUnnamedFiles()
    }

    mutating func removeDirectory(_ path: String) throws(DiskError) {
        let (directory, name) = SimulatedDiskState.split(path)
        guard lookup(path) == .directory, let found = directories[path] else {
            throw DiskError(.removeDirectory, path, .notFound)
        }
        guard found.current.isEmpty else { throw DiskError(.removeDirectory, path, .other, detail: "not empty") }
        directories[directory]?.change(.remove(name))
        directories[path] = nil
    }

    mutating func sync(directory: String) throws(DiskError) {
        let path = directory == "." || directory == "/" ? "" : directory
        guard directories[path] != nil else { throw DiskError(.syncDirectory, directory, .notFound) }
        if lies.contains(.directorySync) { return }
        directories[path]?.sync()
        moves.removeAll { $0.to == path }
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
                let kept = loss == .random ? generator.below(count + 1) : 0
                directories[path]?.lose(keeping: kept)
            }
            dropLostDirectories()
            keepMovedFiles()
            for id in files.keys.sorted() {
                if loss == .random { files[id]?.lose(using: &generator) } else { files[id]?.loseEverything() }
            }
        }
        moves = []
        generation += 1
        locks = [:]
        hasPower = true
        powerCut = nil
        plannedFault = nil
        faultCount = 0
        fault = nil
        dropUnnamedFiles()
    }

    mutating func wipe() {
        files = [:]
        directories = ["": Directory()]
        locks = [:]
        generation += 1
    }

    private mutating func dropLostDirectories() {
        for path in directories.keys.sorted() where path != "" && lookup(path) != .directory {
            directories[path] = nil
        }
        // One whose removal was lost is there again, and empty.
        for (path, directory) in directories {
            for (name, entry) in directory.current where entry == .directory {
                let inner = path.isEmpty ? name : path + "/" + name
                if directories[inner] == nil { directories[inner] = Directory() }
            }
        }
    }

    /// A file system may forget half of a rename, and not the file.
    private mutating func keepMovedFiles() {
        for move in moves {
            let isNamed = directories.values.contains { $0.stable.values.contains(.file(move.file)) }
            let (directory, name) = move.from
            guard !isNamed, directories[directory]?.stable[name] == nil else { continue }
            directories[directory]?.stable[name] = .file(move.file)
            directories[directory]?.current[name] = .file(move.file)
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
