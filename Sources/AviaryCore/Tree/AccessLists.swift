import ZooKeeperProtocol

/// Stands for an ACL in the tree.
struct AccessListID: Hashable, BitwiseCopyable, Sendable {
    let rawValue: Int32

    /// world:anyone with all permissions, which nearly every znode has; never counted.
    static let open = AccessListID(rawValue: 0)
}

/// Every ACL in use, once, with the number of znodes that have it.
struct AccessLists {
    private struct Entry {
        var list: [ACL]
        var useCount: Int
        /// What world:anyone may do by this list: answers nearly every check without looking at identities.
        var worldPermissions: Int32
    }

    private var entries: [Entry] = [Entry(list: ACL.open, useCount: 1, worldPermissions: Permissions.all)]
    private var free: [Int32] = []
    private var ids: [[ACL]: Int32] = [:]

    /// The id of a list, counted once more.
    mutating func retain(_ list: [ACL]) -> AccessListID {
        if list == ACL.open { return .open }
        if let id = ids[list] {
            entries[Int(id)].useCount += 1
            return AccessListID(rawValue: id)
        }
        var world: Int32 = 0
        for entry in list where entry.identity == .anyone { world |= entry.permissions }
        if list.isEmpty { world = Permissions.all }
        let entry = Entry(list: list, useCount: 1, worldPermissions: world)
        let id: Int32
        if let reused = free.popLast() {
            entries[Int(reused)] = entry
            id = reused
        } else {
            id = Int32(entries.count)
            entries.append(entry)
        }
        ids[list] = id
        return AccessListID(rawValue: id)
    }

    mutating func retain(_ id: AccessListID) {
        if id != .open { entries[Int(id.rawValue)].useCount += 1 }
    }

    mutating func release(_ id: AccessListID) {
        guard id != .open else { return }
        let index = Int(id.rawValue)
        entries[index].useCount -= 1
        if entries[index].useCount == 0 {
            ids[entries[index].list] = nil
            entries[index].list = []
            free.append(id.rawValue)
        }
    }

    subscript(id: AccessListID) -> [ACL] { entries[Int(id.rawValue)].list }

    @inline(__always)
    func worldPermissions(_ id: AccessListID) -> Int32 {
        id == .open ? Permissions.all : entries[Int(id.rawValue)].worldPermissions
    }

    /// The lists in use, with the numbers that a snapshot gives them.
    var table: [(Int64, [ACL])] {
        entries.indices.dropFirst().compactMap { index in
            entries[index].useCount > 0 ? (Int64(index), entries[index].list) : nil
        }
    }
}
