import Testing
import ZooKeeperProtocol

@testable import AviaryServer

@Suite("Lines for an ensemble")
struct ConfigurationEnsembleTests {
    private func parse(
        _ text: String,
        dynamicFile: String? = nil
    ) throws(ConfigurationError) -> ServerConfiguration {
        try ServerConfiguration.read(
            file: ConfigurationText(name: "zoo.cfg", text: "dataDir=/data\n" + text),
            openDynamicFile: { path throws(UnreadableFile) in
                guard let dynamicFile else { throw UnreadableFile(reason: "there is no such file") }
                return dynamicFile
            }
        ).configuration
    }

    private func problems(_ text: String, dynamicFile: String? = nil) -> [String] {
        do throws(ConfigurationError) {
            _ = try parse(text, dynamicFile: dynamicFile)
            return []
        } catch {
            return error.problems.map(\.description)
        }
    }

    @Test("Several participants are refused in words")
    func ensemble() {
        let found = problems(
            "clientPort=2181\nserver.1=zoo1:2888:3888\nserver.2=zoo2:2888:3888\nserver.3=zoo3:2888:3888"
        )
        #expect(
            found == [
                "zoo.cfg:3: server.1, server.2 and server.3 ask for an ensemble of 3 servers, and ensembles are not "
                    + "available yet; keep one server.N line, or none, to serve alone with data of its own"
            ]
        )
    }

    @Test("One participant stands alone")
    func single() throws {
        let configuration = try parse("clientPort=2181\nserver.1=localhost:2888:3888")
        #expect(configuration.clients.port == 2181)
        #expect(configuration.clients.addresses == .all)
    }

    @Test(
        "Its line may carry the client port",
        arguments: [
            ("server.1=localhost:2888:3888;2182", .all),
            ("server.1=localhost:2888:3888;0.0.0.0:2182", .all),
            ("server.1=[::1]:2888:3888:participant;[::1]:2182", .only(["::1"])),
            ("server.1=localhost:2888:3888;127.0.0.1:2182", .only(["127.0.0.1"])),
            ("zookeeper.server.9=zoo_1.example.org:2888:3888:PARTICIPANT;2182\nclientPort=2182", .all),
            ("server.1=10.0.0.1:2888:3888|10.0.0.2:2888:3888;2182\nmultiAddress.enabled=true", .all),
        ] as [(String, ServerConfiguration.ListenAddresses)]
    )
    func clientPort(text: String, addresses: ServerConfiguration.ListenAddresses) throws {
        let configuration = try parse(text)
        #expect(configuration.clients.port == 2182)
        #expect(configuration.clients.addresses == addresses)
    }

    @Test("Two client ports that differ are an error")
    func differing() {
        #expect(
            problems("clientPort=2181\nserver.1=localhost:2888:3888;2182") == [
                "zoo.cfg:2: clientPort=2181 differs from the client port 2182 of server.1; keep one of them"
            ]
        )
        #expect(problems("clientPort=2182\nclientPortAddress=::1\nserver.1=a:1:2;127.0.0.1:2182").count == 1)
    }

    @Test("A flag decides between them")
    func flag() throws {
        let (configuration, _) = try ServerConfiguration.read(
            file: ConfigurationText(name: "f", text: "dataDir=/d\nserver.1=localhost:2888:3888;2182"),
            overrides: [ConfigurationOverride(key: "clientPort", value: "0", origin: "--port")]
        )
        #expect(configuration.clients.port == 0)
    }

    @Test("An ensemble of one is an ensemble")
    func ensembleOfOne() {
        #expect(
            problems("clientPort=1\nstandaloneEnabled=false\nserver.1=a:1:2").first?.hasPrefix(
                "zoo.cfg:4: standaloneEnabled=false asks for an ensemble of one (server.1)"
            ) == true
        )
        #expect(
            problems("clientPort=1\nstandaloneEnabled=false").first?.hasPrefix(
                "zoo.cfg:3: standaloneEnabled=false asks for an ensemble of one, "
            ) == true
        )
    }

    @Test(
        "Observers do not stand alone",
        arguments: [
            "server.1=a:1:2:observer", "server.1=a:1:2\nserver.2=b:1:2:observer",
        ]
    )
    func observers(lines: String) {
        #expect(problems("clientPort=1\n" + lines).count == 1)
    }

    @Test(
        "A malformed line says what is wrong with it",
        arguments: [
            ("server.one=a:1:2", "one is not the number of a server"),
            ("server.1=a:1", "a:1 is not host:quorumPort:electionPort"),
            ("server.1=", " is not host:quorumPort:electionPort"),
            ("server.1=a:1:1", "quorum port and election port are both 1"),
            ("server.1=a:1:x", "a:1:x has a port that is not a number from 0 to 65535"),
            ("server.1=a:1:2:leader", "leader is neither participant nor observer"),
            ("server.1=a:1:2;1;2", "more than one ';'"),
            ("server.1=a:1:2;x:y", "x:y is not [host:]clientPort"),
            ("server.1=::1:1:2", "::1:1:2 is not host:quorumPort:electionPort"),
            ("server.1=a:1:2:participant|b:1:2:observer", "its addresses have different roles"),
        ]
    )
    func malformed(line: String, text: String) {
        #expect(problems("clientPort=1\n" + line) == ["zoo.cfg:3: \(line): \(text); allowed is \(QuorumMember.form)"])
    }

    @Test("A dynamic file is read like lines of this one")
    func dynamicFile() throws {
        let text = "dynamicConfigFile=/etc/zoo.cfg.dynamic"
        let member = "server.1=localhost:2888:3888:participant;2182\n"
        #expect(try parse(text, dynamicFile: member).clients.port == 2182)
        #expect(
            problems("clientPort=1\n" + text, dynamicFile: "#\n" + member + "server.2=zoo2:1:2").first?.hasPrefix(
                "/etc/zoo.cfg.dynamic:2: server.1 and server.2 ask for an ensemble of 2 servers"
            ) == true
        )
        #expect(
            problems("clientPort=2182\n" + text, dynamicFile: member + "version=100000000\n") == [
                "/etc/zoo.cfg.dynamic:2: version: allowed in a dynamic file are server.N, group.N and weight.N"
            ]
        )
        #expect(
            problems("clientPort=1\n" + text) == [
                "zoo.cfg:3: dynamicConfigFile=/etc/zoo.cfg.dynamic: the file cannot be read: there is no such file"
            ]
        )
        #expect(
            problems(text + "\nserver.1=localhost:1:2", dynamicFile: member) == [
                "zoo.cfg:3: server.1=localhost:1:2: with dynamicConfigFile this belongs into that file"
            ]
        )
    }
}
