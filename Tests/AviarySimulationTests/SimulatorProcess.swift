import Foundation
import Testing

/// The simulator as a process of its own: what depends on the order of dictionaries differs from one to the next.
enum SimulatorProcess {
    /// - Returns: a line "seed N: fingerprint" for each seed.
    static func hashes(of seeds: ClosedRange<UInt64>, _ command: String) throws -> String {
        let program = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
            .appendingPathComponent("aviary-sim")
        try #require(
            FileManager.default.isExecutableFile(atPath: program.path),
            "no \(program.path): swift build builds it"
        )
        let process = Process()
        process.executableURL = program
        process.arguments = [command, "--hash", "--first", "\(seeds.lowerBound)", "--seeds", "\(seeds.count)"]
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
        return text
    }
}
