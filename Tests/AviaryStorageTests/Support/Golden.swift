import AviarySimulation
import AviaryStorage
import Foundation
import ZooKeeperProtocol

/// The data directories in Tests/Golden/disk, and what they have to load to.
enum Golden {
    static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "Golden/disk")

    /// Copies a golden directory onto a simulated disk, below `data`.
    static func install(_ name: String, on disk: SimulatedDisk) throws {
        disk.makeStableDirectory("data/version-2")
        let folder = root.appending(path: name).appending(path: "version-2")
        for file in try FileManager.default.contentsOfDirectory(atPath: folder.path) {
            let bytes = try Data(contentsOf: folder.appending(path: file))
            disk.setContents("data/version-2/" + file, [UInt8](bytes))
        }
    }

    static func expected(_ name: String) throws -> Expected {
        let file = root.appending(path: name).appending(path: "expected.json")
        return try JSONDecoder().decode(Expected.self, from: Data(contentsOf: file))
    }

    struct Expected: Decodable {
        struct Session: Decodable {
            var id: String
            var timeoutMs: Int32
        }

        struct Entry: Decodable {
            var perms: Int32
            var scheme: String
            var id: String
        }

        struct Stat: Decodable {
            var czxid: String
            var mzxid: String
            var ctime: Int64
            var mtime: Int64
            var version: Int32
            var aversion: Int32
            var numChildren: Int
            var pzxid: String
        }

        struct Persisted: Decodable {
            var cversion: Int32
            var ephemeralOwner: String
        }

        struct Node: Decodable {
            var path: String
            var data: String?
            var acl: [Entry]
            var stat: Stat
            var persisted: Persisted
        }

        var lastZxid: String
        var treeDigest: String
        var snapshotUsed: String?
        var sessions: [Session]
        var ephemerals: [String: [String]]
        var containers: [String]
        var ttls: [String]
        var nodes: [Node]
    }

    static func number(_ hex: String) -> Int64 {
        Int64(bitPattern: UInt64(hex.dropFirst(2), radix: 16) ?? 0)
    }

    static func bytes(_ hex: String) -> [UInt8] {
        let digits = Array(hex)
        return stride(from: 0, to: digits.count - 1, by: 2).map { UInt8(String(digits[$0...$0 + 1]), radix: 16) ?? 0 }
    }
}

/// Recovers from a simulated disk with `data` as both directories.
func recover(
    _ disk: SimulatedDisk,
    into tree: inout NaiveTree,
    _ change: (inout RecoveryOptions) -> Void = { _ in }
) throws(StorageError) -> RecoveryReport {
    var options = RecoveryOptions()
    options.limits.extendedTypes = true
    change(&options)
    let directories = DataDirectories(data: "data")
    return try Recovery(disk: disk, directories: directories, gzip: NoGzip(), options: options).run(into: &tree)
}
