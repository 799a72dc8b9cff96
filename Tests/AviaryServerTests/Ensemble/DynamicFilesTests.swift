import Foundation
import NIOPosix
import Testing
import ZooKeeperProtocol

@testable import AviaryServer

@Suite("Files of a configuration that changes")
struct DynamicFilesTests {
    /// A member with its files, which a test may leave at any step.
    private struct Home {
        let directory: TestDirectory
        let files: DynamicFiles

        var file: String { directory.path + "/zoo.cfg" }

        init(_ members: String, me: Int = 1) throws {
            directory = try TestDirectory()
            files = DynamicFiles(staticFile: directory.path + "/zoo.cfg", me: ServerID(Int64(me)))
            let settings =
                "# Ours\ndataDir=\(directory.path)\nreconfigEnabled=true\ninitLimit=5\nsyncLimit=2\nclientPort=2181\n"
            try (settings + members).write(toFile: file, atomically: false, encoding: .utf8)
            try "\(me)\n".write(toFile: directory.path + "/myid", atomically: false, encoding: .utf8)
        }

        /// What a start would read.
        func start() throws -> (current: QuorumConfiguration, proposed: QuorumConfiguration?, port: Int) {
            let (configuration, _) = try ConfigurationFile.read(path: file, overrides: [])
            let ensemble = try #require(configuration.ensemble)
            return (ensemble.members, ensemble.proposed, configuration.clients.port)
        }

        func propose(_ configuration: QuorumConfiguration) throws {
            for step in files.stepsToPropose(configuration) { try files.carryOut(step) }
        }

        func stepsToCommit(_ configuration: QuorumConfiguration, previous: Int64) throws -> [DynamicFiles.Step] {
            try files.stepsToCommit(configuration, previousVersion: previous, clientPort: 2181)
        }

        func commit(_ configuration: QuorumConfiguration, previous: Int64) throws {
            for step in try stepsToCommit(configuration, previous: previous) { try files.carryOut(step) }
        }

        func text(_ suffix: String) -> String? {
            try? String(contentsOfFile: file + suffix, encoding: .utf8)
        }

        var names: [String] {
            let names = (try? FileManager.default.contentsOfDirectory(atPath: directory.path)) ?? []
            return names.filter { $0.hasPrefix("zoo.cfg") }.sorted()
        }
    }

    private static let static3 = "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\n"

    private func configuration(_ members: String, _ version: Int64) throws -> QuorumConfiguration {
        try QuorumConfiguration.parse(members + "version=" + String(version, radix: 16))
    }

    @Test("The first configuration moves the members out of the zoo.cfg, whose former text is kept")
    func first() throws {
        let home = try Home(Self.static3)
        let former = home.text("")
        try home.commit(try configuration(Self.static3, 0x1_0000_0000), previous: 0)
        #expect(home.names == ["zoo.cfg", "zoo.cfg.bak", "zoo.cfg.dynamic.100000000"])
        #expect(home.text(".bak") == former)
        let three = (1...3).map { "server.\($0)=\(["a", "b", "c"][$0 - 1]):1:2:participant\n" }.joined()
        #expect(home.text(".dynamic.100000000") == three)
        #expect(home.text("")?.hasPrefix("# Ours\n") == true)
        #expect(home.text("")?.hasSuffix("clientPort=2181\ndynamicConfigFile=\(home.file).dynamic.100000000\n") == true)
        let start = try home.start()
        #expect(start.current.version == 0x1_0000_0000 && start.current.members.count == 3 && start.port == 2181)
        // Another change leaves what was kept.
        try home.commit(
            try configuration(Self.static3 + "server.4=d:1:2:observer\n", 0x1_0000_0007),
            previous: 0x1_0000_0000
        )
        #expect(home.text(".bak") == former)
        #expect(try home.start().current.observers == [ServerID(4)])
    }

    @Test("A server can be started from what any number of steps has left", arguments: 0...8)
    func crashes(count: Int) throws {
        let home = try Home(Self.static3)
        let first = try configuration(Self.static3, 0x1_0000_0000)
        let second = try configuration(Self.static3 + "server.4=d:1:2;2184\n", 0x1_0000_0009)
        var steps = try home.stepsToCommit(first, previous: 0)
        #expect(steps.count == 3)
        var left = count
        func carryOut() throws {
            for step in steps.prefix(left) { try home.files.carryOut(step) }
            left = max(0, left - steps.count)
        }
        try carryOut()
        if count >= 3 {
            steps = home.files.stepsToPropose(second)
            try carryOut()
            if count >= 4 { steps = try home.stepsToCommit(second, previous: first.version) } else { steps = [] }
            #expect(count < 4 || steps.count == 3)
            try carryOut()
        }
        let start = try home.start()
        #expect(start.current.version == (count < 3 ? 0 : count < 6 ? first.version : second.version))
        #expect(start.proposed?.version == ((4..<6).contains(count) ? second.version : nil))
        #expect(start.current.members.count == (count < 6 ? 3 : 4))
        // The change is done again where it stopped.
        let final = count < 4 ? first : second
        try home.commit(final, previous: start.current.version)
        #expect(try home.start().current.text == final.text)
        #expect(home.text(".dynamic.next") == nil)
        #expect(!home.names.contains { $0.hasSuffix(".tmp") })
    }

    @Test("What a broken replacement has left is no trouble")
    func unfinished() throws {
        let home = try Home(Self.static3)
        for name in ["", ".bak", ".dynamic.1", ".dynamic.next"] {
            try "half".write(toFile: home.file + name + ".tmp", atomically: false, encoding: .utf8)
        }
        #expect(try home.start().current.version == 0)
        try home.propose(try configuration(Self.static3, 1))
        try home.commit(try configuration(Self.static3, 1), previous: 0)
        #expect(try home.start().current.version == 1)
        #expect(!home.names.contains { $0.hasSuffix(".tmp") })
    }

    @Test("A proposal counts until it is in force, withdrawn, or older than what is")
    func proposals() throws {
        let home = try Home(Self.static3)
        try home.commit(try configuration(Self.static3, 5), previous: 0)
        try home.propose(try configuration(Self.static3, 9))
        #expect(home.text(".dynamic.next")?.hasSuffix("version=9\n") == true)
        try home.commit(try configuration(Self.static3, 7), previous: 5)
        #expect(try home.start().proposed?.version == 9)
        for step in try home.files.stepsToWithdraw() { try home.files.carryOut(step) }
        #expect(try home.start().proposed == nil)
        #expect(home.text(".dynamic.next") == nil)
        #expect(try home.files.stepsToWithdraw().isEmpty)
        try home.propose(try configuration(Self.static3, 6))
        #expect(try home.start().proposed == nil)
    }

    @Test("A proposal that cannot be read is passed over with a warning")
    func unreadable() throws {
        let home = try Home(Self.static3)
        try home.commit(try configuration(Self.static3, 5), previous: 0)
        try "server.1=nonsense\n".write(toFile: home.files.nextFile, atomically: false, encoding: .utf8)
        let (configuration, notes) = try ConfigurationFile.read(path: home.file, overrides: [])
        #expect(configuration.ensemble?.proposed == nil)
        #expect(notes.contains { $0.severity == .warning && $0.text.contains("zoo.cfg.dynamic.next") })
    }

    @Test("Who is no member yet keeps the file that it was started from; who is removed does not")
    func strangers() throws {
        let home = try Home(Self.static3 + "server.4=d:1:2\n", me: 4)
        let former = home.text("")
        let without = try configuration(Self.static3, 5)
        try home.commit(without, previous: 0)
        #expect(home.text("") == former && home.names == ["zoo.cfg"])
        try home.commit(try configuration(Self.static3 + "server.4=d:1:2\n", 7), previous: 5)
        #expect(try home.start().current.version == 7)
        try home.commit(without.with(version: 9), previous: 7)
        #expect(throws: ConfigurationError.self) { try home.start() }
        do {
            _ = try home.start()
        } catch let error as ConfigurationError {
            #expect(error.description.contains("a reconfiguration has removed it"))
        }
    }

    @Test("The client port moves with the line that has it")
    func clientPort() throws {
        let home = try Home(Self.static3)
        let there = try configuration("server.1=a:1:2;127.0.0.1:2999\nserver.2=b:1:2\nserver.3=c:1:2\n", 5)
        try home.commit(there, previous: 0)
        #expect(try home.start().port == 2999)
        #expect(home.text("")?.contains("clientPort") == false)
        try home.commit(try configuration(Self.static3, 7), previous: 5)
        #expect(try home.start().port == 2181)
    }

    @Test("The mode of the file and a link to it stay")
    func modeAndLink() throws {
        let home = try Home(Self.static3)
        let real = home.directory.path + "/real"
        try FileManager.default.moveItem(atPath: home.file, toPath: real)
        try FileManager.default.createSymbolicLink(atPath: home.file, withDestinationPath: real)
        try FileManager.default.setAttributes([.posixPermissions: 0o640], ofItemAtPath: real)
        try home.commit(try configuration(Self.static3, 5), previous: 0)
        #expect(try home.start().current.version == 5)
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: home.file) == real)
        for path in [real, home.file + ".dynamic.5", home.file + ".bak"] {
            let attributes = try FileManager.default.attributesOfItem(atPath: path)
            #expect(attributes[.posixPermissions] as? Int == 0o640)
        }
    }

    @Test("A file that cannot be written is named, and the one that counts stays whole")
    func readOnly() throws {
        let home = try Home(Self.static3)
        let former = home.text("")
        let next = try configuration(Self.static3, 5)
        // Nothing takes the place of a folder, whoever this user is.
        try FileManager.default.createDirectory(atPath: home.file + ".dynamic.5", withIntermediateDirectories: false)
        #expect { try home.commit(next, previous: 0) } throws: { "\($0)".hasPrefix(home.file + ".dynamic.5: ") }
        #expect(home.text("") == former)
        try FileManager.default.removeItem(atPath: home.file)
        #expect { try home.commit(next, previous: 0) } throws: { "\($0)".contains("there is no such file") }
    }

    @Test("Of a file that is mounted alone the reason and the remedy are told", arguments: [EBUSY, EXDEV])
    func mountedAlone(code: CInt) {
        let told = "\(FileReplacement.Trouble(path: "/etc/zoo.cfg", code: code))"
        #expect(told.hasPrefix("/etc/zoo.cfg: "))
        #expect(told.contains("a mount of its own"))
        #expect(told.contains("mount the directory"))
    }

    @Test("The thread writes one change after the other, and warns of what it cannot")
    func thread() async throws {
        let home = try Home(Self.static3)
        let log = RecordingLog()
        let thread = ConfigurationThread()
        let threads = LoopThreads(eventLoop: MultiThreadedEventLoopGroup.singleton.next())
        try #require(thread.start(home.files, threads: threads, logger: log.logger))
        for version in 1...20 as ClosedRange<Int64> {
            let next = try configuration(Self.static3, version)
            thread.submit(.propose(next))
            thread.submit(.commit(next, previousVersion: version - 1, clientPort: 2181))
        }
        #expect(
            try await TestServer.eventually {
                log.lines.filter { $0.contains("the configuration is written") }.count == 20
            }
        )
        #expect(try home.start().current.version == 20)
        #expect(home.text(".dynamic.next") == nil)
        try FileManager.default.removeItem(atPath: home.directory.path)
        thread.submit(.commit(try configuration(Self.static3, 21), previousVersion: 20, clientPort: 2181))
        #expect(
            try await TestServer.eventually { log.lines.contains { $0.contains("cannot be written to its files") } }
        )
        thread.stop()
    }
}
