import Foundation
import Testing

@testable import AviaryServer

@Suite("Configuration files on disk")
struct ConfigurationFileTests {
    private func withDirectory(_ body: (URL) throws -> Void) throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "aviary-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(at: directory) }
        try body(directory)
    }

    private func problem(_ path: String) -> String? {
        do throws(ConfigurationError) {
            _ = try ConfigurationFile.read(path: path, overrides: [])
            return nil
        } catch {
            return error.description
        }
    }

    @Test("A file, its dynamic file and a flag make one configuration")
    func files() throws {
        try withDirectory { directory in
            let dynamic = directory.appending(path: "zoo.cfg.dynamic").path
            try "server.1=localhost:2888:3888;2999\n".write(toFile: dynamic, atomically: false, encoding: .utf8)
            let staticFile = directory.appending(path: "zoo.cfg").path
            try "dataDir=/däta\ndynamicConfigFile=\(dynamic)".write(
                toFile: staticFile,
                atomically: false,
                encoding: .utf8
            )
            let (configuration, _) = try ConfigurationFile.read(
                path: staticFile,
                overrides: [ConfigurationOverride(key: "maxCnxns", value: "9", origin: "--set")]
            )
            #expect(configuration.storage.dataDirectory == "/däta")
            #expect(configuration.clients.port == 2999)
            #expect(configuration.clients.maximumConnections == 9)
        }
    }

    @Test("Latin-1 is read where the text is not UTF-8")
    func latin1() throws {
        try withDirectory { directory in
            let path = directory.appending(path: "zoo.cfg").path
            try Data("dataDir=/d".utf8 + [0xE4] + "ta\nclientPort=1".utf8).write(to: URL(filePath: path))
            #expect(
                try ConfigurationFile.read(path: path, overrides: []).configuration.storage.dataDirectory == "/däta"
            )
        }
    }

    @Test("A file that cannot be read is named, with the reason")
    func unreadable() throws {
        try withDirectory { directory in
            let missing = directory.appending(path: "missing.cfg").path
            #expect(problem(missing) == "\(missing): cannot be read: there is no such file")
            #expect(problem(directory.path) == "\(directory.path): cannot be read: it is a directory")
            let binary = directory.appending(path: "snapshot.0").path
            try Data([0x5A, 0x4B, 0, 0]).write(to: URL(filePath: binary))
            #expect(problem(binary) == "\(binary): cannot be read: it is not a text file")
        }
    }
}
