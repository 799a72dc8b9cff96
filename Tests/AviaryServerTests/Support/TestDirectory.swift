import Foundation

/// A folder of its own for one test, removed with it.
final class TestDirectory: Sendable {
    let path: String

    init() throws {
        let url = FileManager.default.temporaryDirectory.appendingPathComponent("aviary-test-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        path = url.path
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }

    /// Names in `version-2`, sorted, without those that are ours alone.
    var files: [String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: path + "/version-2")) ?? []
        return names.filter { !$0.hasPrefix(".") }.sorted()
    }
}
