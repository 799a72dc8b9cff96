import Testing
import ZooKeeperProtocol

/// docs/protocol/quorum-protocol.md sections 2.4 to 2.6.
@Suite("The text of a configuration")
struct QuorumConfigurationTextTests {
    private func problem(_ text: String) -> String? {
        do {
            _ = try QuorumConfiguration.parse(text)
            return nil
        } catch {
            return error.text
        }
    }

    @Test("What Apache says comes out as it went in")
    func recorded() throws {
        let texts = Set(QuorumFrame.all.compactMap(\.decoded.config))
        #expect(texts.count >= 8)
        for text in texts {
            let configuration = try QuorumConfiguration.parse(text)
            #expect(configuration.text == text)
            #expect(try QuorumConfiguration.parse(configuration.dynamicFileText(includesVersion: true)).text == text)
        }
    }

    @Test(
        "One way to write a member",
        arguments: [
            ("a:1:2", "a:1:2:participant"),
            ("a:1:2:PARTICIPANT", "a:1:2:participant"),
            ("a:1:2:Observer", "a:1:2:observer"),
            (" a:1:2 ; 2181 ", "a:1:2:participant;0.0.0.0:2181"),
            ("a:1:2;b:2181", "a:1:2:participant;b:2181"),
            ("[::1]:1:2;[fe80::1%eth0]:2181", "[::1]:1:2:participant;[fe80::1%eth0]:2181"),
            ("b:1:2|a:1:2", "a:1:2|b:1:2:participant"),
            ("a:3:4|a:1:2", "a:1:2|a:3:4:participant"),
            ("a:1:2:observer|b:1:2", "a:1:2|b:1:2:observer"),
            ("a:1:2|b:1:2:observer;7", "a:1:2|b:1:2:observer;0.0.0.0:7"),
            ("zoo_1.EXAMPLE.org:0:65535", "zoo_1.EXAMPLE.org:0:65535:participant"),
        ]
    )
    func members(value: String, canonical: String) throws {
        let member = try QuorumMember(number: "1", value: value)
        #expect(member.text == canonical)
        #expect(try QuorumMember(number: "1", value: canonical) == member)
    }

    @Test(
        "What is no member says why",
        arguments: [
            ("", " is not host:quorumPort:electionPort"),
            ("a:1", "a:1 is not host:quorumPort:electionPort"),
            ("a:1:2:participant:3", "a:1:2:participant:3 is not host:quorumPort:electionPort"),
            ("::1:1:2", "::1:1:2 is not host:quorumPort:electionPort"),
            ("[a]:1:2", "[a]:1:2 is not host:quorumPort:electionPort"),
            ("[::1]1:2", "[::1]1:2 is not host:quorumPort:electionPort"),
            ("a b:1:2", "a b:1:2 is not host:quorumPort:electionPort"),
            ("a:1:65536", "a:1:65536 has a port that is not a number from 0 to 65535"),
            ("a:-1:2", "a:-1:2 has a port that is not a number from 0 to 65535"),
            ("a:7:7", "quorum port and election port are both 7"),
            ("a:1:2:leader", "leader is neither participant nor observer"),
            ("a:1:2;1;2", "more than one ';'"),
            ("a:1:2;", " is not [host:]clientPort"),
            ("a:1:2;x:y", "x:y is not [host:]clientPort"),
            ("a:1:2;::1:2181", "::1:2181 is not [host:]clientPort"),
            ("a:1:2:participant|b:1:2:observer", "its addresses have different roles"),
            ("a:1:2|A:2:3", "A:2:3 has a port that another of its addresses has too"),
            ("a:1:2|", " is not host:quorumPort:electionPort"),
            (String(repeating: "|", count: 64), "65 addresses, and 64 is the most"),
        ]
    )
    func malformedMembers(value: String, text: String) {
        #expect(throws: MalformedConfiguration(text: text)) { try QuorumMember(number: "1", value: value) }
    }

    @Test("The number of a server is one", arguments: ["", "x", "-1", "1.5", "9223372036854775808"])
    func numbers(number: String) {
        #expect(throws: MalformedConfiguration(text: "\(number) is not the number of a server")) {
            try QuorumMember(number: number, value: "a:1:2")
        }
    }

    @Test("Groups and weights stand behind the members, the version is last and hexadecimal")
    func canonical() throws {
        let text = """
            # Two of three groups
            version = 1f0000000A
            weight.2=0
            group.7=3:2

              server.10=c:1:2:observer
            !
            group.4=1
            server.3=c:1:2\r
            server.2=b:1:2;2181\r
            server.1=a:1:2
            """
        let configuration = try QuorumConfiguration.parse(text)
        let canonical = """
            server.1=a:1:2:participant
            server.2=b:1:2:participant;0.0.0.0:2181
            server.3=c:1:2:participant
            server.10=c:1:2:observer
            group.4=1
            group.7=2:3
            weight.1=1
            weight.2=0
            weight.3=1
            version=1f0000000a
            """
        #expect(configuration.text == canonical)
        #expect(try QuorumConfiguration.parse(canonical).text == canonical)
        #expect(configuration.voters == [1, 2, 3].map { ServerID($0) })
        #expect(configuration.observers == [ServerID(10)])
        #expect(
            configuration.dynamicFileText() == """
                group.4=1
                group.7=2:3
                server.10=c:1:2:observer
                server.1=a:1:2:participant
                server.2=b:1:2:participant;0.0.0.0:2181
                server.3=c:1:2:participant
                weight.1=1
                weight.2=0
                weight.3=1

                """
        )
    }

    @Test("Without a version it is 0")
    func noVersion() throws {
        #expect(try QuorumConfiguration.parse("server.1=a:1:2").version == 0)
        #expect(try QuorumConfiguration.parse("").members.isEmpty)
    }

    @Test(
        "One line that is not understood spoils the whole text",
        arguments: [
            ("clientPort=2181", "clientPort: allowed are server.N, group.N, weight.N and version"),
            ("Server.2=b:1:2", "Server.2: allowed are server.N, group.N, weight.N and version"),
            ("version.x=1", "version.x: allowed are server.N, group.N, weight.N and version"),
            ("peerType=observer", "peerType: allowed are server.N, group.N, weight.N and version"),
            ("group=1", "group: allowed are server.N, group.N, weight.N and version"),
            ("server.2", "server.2 is not key=value"),
            ("server.2=b:1", "server.2=b:1: b:1 is not host:quorumPort:electionPort"),
            ("server.x=b:1:2", "server.x=b:1:2: x is not the number of a server"),
            ("group.x=1", "group.x=1: allowed is group.N=N:N…"),
            ("group.1=", "group.1=: allowed is group.N=N:N…"),
            ("group.1=1:", "group.1=1:: allowed is group.N=N:N…"),
            ("weight.x=1", "weight.x=1: allowed is weight.N=number"),
            ("weight.1=x", "weight.1=x: allowed is weight.N=number"),
            ("version=", "version=: allowed is a hexadecimal number"),
            ("version=0x1", "version=0x1: allowed is a hexadecimal number"),
            ("version=-1", "version=-1: allowed is a hexadecimal number"),
            ("version=8000000000000000", "version=8000000000000000: allowed is a hexadecimal number"),
            ("version=1\nversion=1", "version is there twice"),
            ("server.1=b:1:2", "server.1 is there twice"),
        ]
    )
    func refusals(line: String, text: String) {
        #expect(problem("server.1=a:1:2\n" + line) == text)
    }

    @Test("A dynamic file has its version in its name")
    func dynamicFile() throws {
        let configuration = try QuorumConfiguration.parse(dynamicFile: "server.1=a:1:2\n", version: 0x1_0000_0000)
        #expect(configuration.versionText == "100000000")
        #expect(
            throws: MalformedConfiguration(
                text: "version: allowed in a dynamic file are server.N, group.N and weight.N"
            )
        ) {
            try QuorumConfiguration.parse(dynamicFile: "server.1=a:1:2\nversion=100000000\n", version: 0x1_0000_0000)
        }
        #expect(QuorumConfiguration.version(ofDynamicFileNamed: "zoo.cfg.dynamic.10000000a") == 0x1_0000_000a)
        #expect(QuorumConfiguration.version(ofDynamicFileNamed: "/etc/zk/zoo.cfg.dynamic") == nil)
        #expect(QuorumConfiguration.version(ofDynamicFileNamed: "zoo.cfg.dynamic.next") == nil)
        #expect(QuorumConfiguration.version(ofDynamicFileNamed: "members") == nil)
        #expect(QuorumConfiguration.version(ofDynamicFileNamed: "zoo.cfg.dynamic.-1") == nil)
        #expect(QuorumConfiguration.version(ofDynamicFileNamed: "zoo.cfg.dynamic.ffffffffffffffff") == nil)
    }

    @Test("Equal is what has the same version, or the same members, groups and weights")
    func equality() throws {
        let one = try QuorumConfiguration.parse("server.1=a:1:2\nserver.2=b:1:2\nversion=1")
        let same = try QuorumConfiguration.parse("server.2=B:1:2\nserver.1=A:1:2:participant\nversion=2")
        let client = try QuorumConfiguration.parse("server.1=a:1:2;2181\nserver.2=b:1:2\nversion=3")
        let role = try QuorumConfiguration.parse("server.1=a:1:2:observer\nserver.2=b:1:2\nversion=4")
        let weighed = try QuorumConfiguration.parse("server.1=a:1:2\nserver.2=b:1:2\ngroup.1=1:2\nversion=5")
        #expect(one == same)
        #expect(one != client && one != role && one != weighed)
        #expect(client == one.with(version: 3) && !client.hasSameMembers(as: one))
    }

    @Test("Each changed a little is refused, or comes out as it went in", arguments: 0..<4)
    func mutations(seed: UInt64) throws {
        var random = SeededRandom(seed + 400)
        var texts = Set(QuorumFrame.all.compactMap(\.decoded.config)).sorted()
        texts.append(
            "server.1=[::1]:1:2|b:3:4;2181\nserver.2=c:1:2\nserver.3=d:1:2:observer\n"
                + "group.1=1:2\nweight.1=2\nversion=7"
        )
        for _ in 0..<1500 {
            let bytes = random.mutated(Array(texts[random.below(texts.count)].utf8))
            guard let configuration = try? QuorumConfiguration.parse(utf8: bytes) else { continue }
            let again = try QuorumConfiguration.parse(configuration.text)
            #expect(again.text == configuration.text && again.hasSameMembers(as: configuration))
            let file = try QuorumConfiguration.parse(
                dynamicFile: configuration.dynamicFileText(),
                version: configuration.version
            )
            #expect(file.text == configuration.text)
        }
    }

    @Test("A random one comes out as it went in", arguments: 0..<50)
    func randomOnes(seed: UInt64) throws {
        var random = SeededRandom(seed + 900)
        let (_, configuration) = try QuorumModel.random(&random)
        let again = try QuorumConfiguration.parse(configuration.text)
        #expect(again.text == configuration.text && again.hasSameMembers(as: configuration))
    }
}
