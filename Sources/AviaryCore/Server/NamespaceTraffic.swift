/// Bytes read and written below each top-level node, for `mntr`: which application causes the load.
///
/// A request counts the length of its path and of the data or names that it moves. Requests come in runs of the same
/// namespace, so the last one found is looked at first.
struct NamespaceTraffic {
    struct Entry {
        let name: [UInt8]
        var read = Summary()
        var write = Summary()
    }

    /// Top-level nodes that are told apart; a client may make any number.
    private static let maxCount = 1000
    /// Names are kept for good, and a node's name may have a million bytes.
    private static let maxNameBytes = 256

    private(set) var entries: [Entry] = []
    private var indexes: [[UInt8]: Int] = [:]
    private var last = 0

    @inline(__always)
    mutating func read(_ path: UnsafeRawBufferPointer, bytes: Int) {
        guard let index = index(path) else { return }
        entries[index].read.add(Int64(path.count + bytes))
    }

    mutating func write(_ path: [UInt8], bytes: Int) {
        guard let index = path.withUnsafeBytes({ index($0) }) else { return }
        entries[index].write.add(Int64(path.count + bytes))
    }

    /// nil for the root, and beyond the bound.
    @inline(__always)
    private mutating func index(_ path: UnsafeRawBufferPointer) -> Int? {
        guard path.count > 1 else { return nil }
        if last < entries.count, NamespaceTraffic.isBelow(path, entries[last].name) { return last }
        return find(path)
    }

    private mutating func find(_ path: UnsafeRawBufferPointer) -> Int? {
        let rest = path.dropFirst()
        let end = rest.prefix(NamespaceTraffic.maxNameBytes + 1).firstIndex(of: UInt8(ascii: "/")) ?? rest.endIndex
        guard end - rest.startIndex <= NamespaceTraffic.maxNameBytes else { return nil }
        let name = [UInt8](rest[..<end])
        if let index = indexes[name] {
            last = index
            return index
        }
        guard entries.count < NamespaceTraffic.maxCount else { return nil }
        last = entries.count
        indexes[name] = last
        entries.append(Entry(name: name))
        return last
    }

    @inline(__always)
    private static func isBelow(_ path: UnsafeRawBufferPointer, _ name: [UInt8]) -> Bool {
        let end = 1 + name.count
        guard path.count == end || (path.count > end && path[end] == UInt8(ascii: "/")) else { return false }
        return name.withUnsafeBytes { UnsafeRawBufferPointer(rebasing: path[1..<end]).hasSameBytes(as: $0) }
    }
}
