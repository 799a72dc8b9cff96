import Foundation
import Testing

/// The fence of docs/design/architecture.md: what each target may import, and what the pure ones must not touch.
///
/// The compiler refuses a module that is not a dependency, but Foundation and the C library are always at hand.
@Suite("The fence between core and shell")
struct FenceTests {
    static let pure = ["ZooKeeperProtocol", "Zab", "AviaryStorage", "AviaryCore", "AviaryEnsemble", "AviarySimulation"]

    static let allowedImports: [String: Set<String>] = [
        "ZooKeeperProtocol": ["CInstructions"],
        "Zab": ["ZooKeeperProtocol"],
        "AviaryStorage": ["ZooKeeperProtocol"],
        "AviaryCore": ["ZooKeeperProtocol"],
        "AviaryEnsemble": ["AviaryCore", "AviaryStorage", "Zab", "ZooKeeperProtocol"],
        // A lock waits for nothing when one thread uses it; disks have to be Sendable.
        "AviarySimulation": [
            "AviaryCore", "AviaryEnsemble", "AviaryStorage", "Zab", "ZooKeeperProtocol", "Synchronization",
        ],
    ]

    @Test("Pure targets import nothing but pure targets below them", arguments: pure)
    func imports(target: String) throws {
        let files = Sources.files(below: "Sources/" + target)
        try #require(!files.isEmpty)
        for file in files {
            for (number, text) in Sources.code(file) {
                let words = text.split(separator: " ")
                guard let position = words.firstIndex(of: "import"), position <= 2, words.count > position + 1 else {
                    continue
                }
                let module = String(words[position + 1])
                #expect(
                    Self.allowedImports[target]?.contains(module) == true,
                    "\(file.path):\(number): \(target) must not import \(module)"
                )
            }
        }
    }

    /// Time, chance, tasks and I/O come in from outside.
    static let banned = [
        "Date(", "ContinuousClock", "SuspendingClock", "Int.random", "UInt64.random", "SystemRandomNumberGenerator",
        ".shuffled()", ".randomElement()", "UUID(", "Task {", "Task(", "await ", "async ", "Thread", "DispatchQueue",
        "print(", "FileManager", "getenv", "clock_gettime", "usleep",
    ]

    @Test("Pure targets know no clock, no chance, no task and no I/O", arguments: pure)
    func ambient(target: String) {
        for file in Sources.files(below: "Sources/" + target) {
            for (number, text) in Sources.code(file) {
                for word in Self.banned where text.contains(word) {
                    Issue.record("\(file.path):\(number): \(target) is pure, but uses \(word)")
                }
            }
        }
    }

    @Test("Nothing in the product stops the process but a broken promise of our own")
    func traps() {
        for file in Sources.files(below: "Sources") {
            for (number, text) in Sources.code(file) {
                #expect(!text.contains("try!"), "\(file.path):\(number): try! on what may fail")
                #expect(!text.contains("as!"), "\(file.path):\(number): as! on what may differ")
                if text.contains("fatalError("), !file.path.hasSuffix("Model/Invariant.swift") {
                    Issue.record("\(file.path):\(number): fatalError outside of invariant()")
                }
            }
        }
    }

    @Test("The repository stands alone: no source names a path of one machine")
    func paths() {
        // Put together, so that this file does not find itself.
        let foreign = ["../" + "shared", "/" + "work/", "/" + "root/", "/opt/" + "swift"]
        for folder in ["Sources", "Tests"] {
            for file in Sources.files(below: folder) {
                for (index, line) in file.lines.enumerated() {
                    for path in foreign where line.contains(path) {
                        Issue.record("\(file.path):\(index + 1): names \(path), which a clone does not have")
                    }
                }
            }
        }
    }
}
