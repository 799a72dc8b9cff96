import ZooKeeperProtocol

/// What a watch waits for; a path and connection may have one of each (docs/protocol/client-protocol.md section 10.1).
struct WatchKinds: OptionSet, BitwiseCopyable, Sendable {
    let rawValue: UInt8

    /// Set by getData and exists: one event.
    static let data = WatchKinds(rawValue: 1)
    /// Set by getChildren: one event.
    static let child = WatchKinds(rawValue: 2)
    /// Until removed.
    static let persistent = WatchKinds(rawValue: 4)
    /// Until removed, for all descendants too.
    static let recursive = WatchKinds(rawValue: 8)

    static let all: WatchKinds = [.data, .child, .persistent, .recursive]
}

/// Who watches what.
///
/// One entry per connection and path, in a list of its path and a list of its connection; setting, finding, firing and
/// dropping cost the same with one watch and with a million.
struct WatchTable: ~Copyable {
    private struct Entry: BitwiseCopyable {
        var connection: Int32
        var path: Handle
        var kinds: WatchKinds
        var nextOfPath = none
        var previousOfPath = none
        var nextOfConnection = none
        var previousOfConnection = none
    }

    private struct Path: BitwiseCopyable {
        var bytes: UnsafeMutableRawPointer
        var length: Int32
        var first = none

        var view: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: bytes, count: Int(length)) }
    }

    private var entries = Slab<Entry>()
    private var paths = Slab<Path>()
    private var entryIndex = HandleIndex()
    private var pathIndex = HandleIndex()
    private let hasher: ByteHasher
    /// First entry of each connection, by slot.
    private var connections: [Handle] = []
    /// Memory that the watches of each connection are counted with, by slot.
    private var heldBytes: [Int] = []
    /// The same for all connections that are there.
    private(set) var totalHeldBytes = 0
    /// Slots of connections that are gone while their watches still are to be removed, and what those take. Nothing of
    /// theirs is counted as held.
    private var abandoned: [Int32] = []
    /// By slot: whether it stands in `abandoned`, also when its last watch went in another way.
    private var isAbandoned: [Bool] = []
    private var abandonedBytes = 0
    /// The last event that each connection got, by slot: at most one a step.
    private var lastStep: [UInt64] = []
    private var step: UInt64 = 0

    private(set) var dataCount = 0
    private(set) var childCount = 0
    private(set) var persistentCount = 0
    private(set) var recursiveCount = 0

    init(hashSeed: UInt64) {
        hasher = ByteHasher(seed: hashSeed)
    }

    deinit {
        for slot in connections.indices {
            var entry = connections[slot]
            while entry != none {
                let path = entries[entry].path
                if paths[path].length >= 0 {
                    paths[path].bytes.deallocate()
                    paths[path].length = -1
                }
                entry = entries[entry].nextOfConnection
            }
        }
    }

    /// Watches as `wchs` counts them: each kind on its own, without child watches.
    var dataTableCount: Int { dataCount + persistentCount + recursiveCount }

    /// Watches as `mntr` counts them: persistent and recursive ones stand in two tables.
    var tableEntryCount: Int { dataTableCount + childCount + persistentCount + recursiveCount }

    // MARK: Setting and removing

    mutating func add(_ kinds: WatchKinds, on path: UnsafeRawBufferPointer, connection: Int32) {
        while connections.count <= Int(connection) {
            connections.append(none)
            heldBytes.append(0)
            isAbandoned.append(false)
            lastStep.append(0)
        }
        let hash = hasher.hash(path)
        var pathHandle = findPath(path, hash)
        if pathHandle == none {
            let copy = UnsafeMutableRawPointer.allocate(byteCount: max(1, path.count), alignment: 1)
            if let source = path.baseAddress { copy.copyMemory(from: source, byteCount: path.count) }
            pathHandle = paths.insert(Path(bytes: copy, length: Int32(path.count)))
            pathIndex.insert(hash, pathHandle)
        }
        let entry = findEntry(pathHandle, connection)
        if entry != none {
            count(kinds.subtracting(entries[entry].kinds), 1)
            entries[entry].kinds.formUnion(kinds)
            return
        }
        count(kinds, 1)
        hold(WatchTable.cost(of: paths[pathHandle]), connection)
        let new = entries.insert(Entry(connection: connection, path: pathHandle, kinds: kinds))
        entryIndex.insert(entryHash(pathHandle, connection), new)
        let firstOfPath = paths[pathHandle].first
        entries[new].nextOfPath = firstOfPath
        if firstOfPath != none { entries[firstOfPath].previousOfPath = new }
        paths[pathHandle].first = new
        let firstOfConnection = connections[Int(connection)]
        entries[new].nextOfConnection = firstOfConnection
        if firstOfConnection != none { entries[firstOfConnection].previousOfConnection = new }
        connections[Int(connection)] = new
    }

    /// The kinds that a connection has on exactly this path.
    func kinds(on path: UnsafeRawBufferPointer, connection: Int32) -> WatchKinds {
        let pathHandle = findPath(path, hasher.hash(path))
        guard pathHandle != none else { return [] }
        let entry = findEntry(pathHandle, connection)
        return entry == none ? [] : entries[entry].kinds
    }

    /// - Returns: whether there was anything to remove.
    mutating func remove(_ kinds: WatchKinds, on path: UnsafeRawBufferPointer, connection: Int32) -> Bool {
        let pathHandle = findPath(path, hasher.hash(path))
        guard pathHandle != none else { return false }
        let entry = findEntry(pathHandle, connection)
        guard entry != none, !entries[entry].kinds.isDisjoint(with: kinds) else { return false }
        drop(kinds, from: entry)
        return true
    }

    /// A connection is gone: few watches go at once, many in steps, so that nobody waits for hundreds of thousands.
    ///
    /// - Returns: whether all are gone. If not, the slot must not be given to another connection before
    ///   `removeAbandoned` has said so.
    mutating func abandon(_ connection: Int32) -> Bool {
        guard Int(connection) < connections.count else { return true }
        if isAbandoned[Int(connection)] { return false }
        guard connections[Int(connection)] != none else { return true }
        totalHeldBytes -= heldBytes[Int(connection)]
        abandonedBytes += heldBytes[Int(connection)]
        heldBytes[Int(connection)] = 0
        if remove(ofConnection: connection, atMost: WatchTable.stepCount) { return true }
        abandoned.append(connection)
        isAbandoned[Int(connection)] = true
        return false
    }

    var hasAbandoned: Bool { !abandoned.isEmpty }

    /// One step; a longer one the more there is to do, so that those who bring more cannot outrun it.
    ///
    /// - Returns: a connection whose last watch went with it.
    mutating func removeAbandoned() -> Int32? {
        guard let connection = abandoned.last else { return nil }
        let count = max(WatchTable.stepCount, abandonedBytes / WatchTable.minimumCost / 64)
        guard remove(ofConnection: connection, atMost: count) else { return nil }
        isAbandoned[Int(connection)] = false
        return abandoned.popLast()
    }

    /// Watches that are removed at once: some tenths of a millisecond.
    private static let stepCount = 500

    /// - Returns: whether none is left.
    private mutating func remove(ofConnection connection: Int32, atMost limit: Int) -> Bool {
        var count = 0
        while connections[Int(connection)] != none {
            guard count < limit else { return false }
            drop(.all, from: connections[Int(connection)])
            count += 1
        }
        return true
    }

    private mutating func drop(_ kinds: WatchKinds, from handle: Handle) {
        count(entries[handle].kinds.intersection(kinds), -1)
        entries[handle].kinds.subtract(kinds)
        guard entries[handle].kinds.isEmpty else { return }
        let entry = entries[handle]
        if entry.nextOfPath != none { entries[entry.nextOfPath].previousOfPath = entry.previousOfPath }
        if entry.previousOfPath != none {
            entries[entry.previousOfPath].nextOfPath = entry.nextOfPath
        } else {
            paths[entry.path].first = entry.nextOfPath
        }
        if entry.nextOfConnection != none {
            entries[entry.nextOfConnection].previousOfConnection = entry.previousOfConnection
        }
        if entry.previousOfConnection != none {
            entries[entry.previousOfConnection].nextOfConnection = entry.nextOfConnection
        } else {
            connections[Int(entry.connection)] = entry.nextOfConnection
        }
        release(WatchTable.cost(of: paths[entry.path]), entry.connection)
        entryIndex.remove(entryHash(entry.path, entry.connection), handle)
        entries.remove(handle)
        if paths[entry.path].first == none {
            pathIndex.remove(hasher.hash(paths[entry.path].view), entry.path)
            paths[entry.path].bytes.deallocate()
            paths.remove(entry.path)
        }
    }

    /// What a watched path costs each connection that watches it; shared or not, so that nobody else's leaving adds to it.
    private static func cost(of path: Path) -> Int { minimumCost + Int(path.length) }
    private static let minimumCost = 64

    private mutating func hold(_ bytes: Int, _ connection: Int32) {
        heldBytes[Int(connection)] += bytes
        totalHeldBytes += bytes
    }

    private mutating func release(_ bytes: Int, _ connection: Int32) {
        // Who has watches and holds nothing is gone.
        if heldBytes[Int(connection)] > 0 {
            hold(-bytes, connection)
        } else {
            abandonedBytes -= bytes
        }
    }

    func heldBytes(ofConnection connection: Int32) -> Int {
        Int(connection) < heldBytes.count ? heldBytes[Int(connection)] : 0
    }

    /// The connection whose watches take the most memory; nil when nobody watches anything.
    func heaviestConnection() -> Int32? {
        guard let heaviest = heldBytes.indices.max(by: { heldBytes[$0] < heldBytes[$1] }), heldBytes[heaviest] > 0
        else {
            return nil
        }
        return Int32(heaviest)
    }

    private mutating func count(_ kinds: WatchKinds, _ change: Int) {
        if kinds.contains(.data) { dataCount += change }
        if kinds.contains(.child) { childCount += change }
        if kinds.contains(.persistent) { persistentCount += change }
        if kinds.contains(.recursive) { recursiveCount += change }
    }

    // MARK: Firing

    var isEmpty: Bool { entries.count == 0 }

    /// Begins a step: within it a connection gets at most one event.
    mutating func beginStep() {
        step += 1
    }

    /// Finds the connections that an event concerns and appends them to `targets`, once a step; one-shot watches end.
    ///
    /// - Parameters:
    ///   - oneShot: the one-shot kind that this event ends, `data` or `child`.
    ///   - withRecursive: whether recursive watches on the path and its ancestors hear of it.
    mutating func fire(
        _ path: UnsafeRawBufferPointer,
        oneShot: WatchKinds,
        withRecursive: Bool,
        into targets: inout [Int32]
    ) {
        var interested = oneShot.union(.persistent)
        if withRecursive { interested.insert(.recursive) }
        fireEntries(on: path, interested, ending: oneShot, into: &targets)
        guard withRecursive, recursiveCount > 0, path.count > 1 else { return }
        var ancestor = path
        while let parent = ancestor.parentPath {
            if parent.count == 0 {
                DataTree.rootPath.withUnsafeBytes {
                    fireEntries(on: $0, .recursive, ending: [], into: &targets)
                }
                return
            }
            fireEntries(on: parent, .recursive, ending: [], into: &targets)
            ancestor = parent
        }
    }

    private mutating func fireEntries(
        on path: UnsafeRawBufferPointer,
        _ interested: WatchKinds,
        ending oneShot: WatchKinds,
        into targets: inout [Int32]
    ) {
        let pathHandle = findPath(path, hasher.hash(path))
        guard pathHandle != none else { return }
        var handle = paths[pathHandle].first
        while handle != none {
            let entry = entries[handle]
            if !entry.kinds.isDisjoint(with: interested) {
                if lastStep[Int(entry.connection)] != step {
                    lastStep[Int(entry.connection)] = step
                    targets.append(entry.connection)
                }
                drop(oneShot, from: handle)
            }
            handle = entry.nextOfPath
        }
    }

    // MARK: Looking

    private func findPath(_ path: UnsafeRawBufferPointer, _ hash: UInt64) -> Handle {
        guard paths.count > 0 else { return none }
        return pathIndex.find(hash) { paths[$0].view.hasSameBytes(as: path) }
    }

    private func findEntry(_ path: Handle, _ connection: Int32) -> Handle {
        entryIndex.find(entryHash(path, connection)) {
            entries[$0].path == path && entries[$0].connection == connection
        }
    }

    private func entryHash(_ path: Handle, _ connection: Int32) -> UInt64 {
        hasher.hash(
            UnsafeRawBufferPointer(start: nil, count: 0),
            mixing: UInt64(UInt32(bitPattern: path)) << 32 | UInt64(UInt32(bitPattern: connection))
        )
    }

    /// Calls `body` for each watch of a connection.
    func forEach(ofConnection connection: Int32, _ body: (UnsafeRawBufferPointer, WatchKinds) -> Void) {
        guard Int(connection) < connections.count else { return }
        var handle = connections[Int(connection)]
        while handle != none {
            body(paths[entries[handle].path].view, entries[handle].kinds)
            handle = entries[handle].nextOfConnection
        }
    }

    /// Calls `body` with every connection that watches a path.
    func forEachConnection(on path: UnsafeRawBufferPointer, _ body: (Int32, WatchKinds) -> Void) {
        let pathHandle = findPath(path, hasher.hash(path))
        guard pathHandle != none else { return }
        var handle = paths[pathHandle].first
        while handle != none {
            body(entries[handle].connection, entries[handle].kinds)
            handle = entries[handle].nextOfPath
        }
    }
}

extension DataTree {
    /// How clients, transactions and events call the root.
    static let rootPath = [UInt8(ascii: "/")]
}
