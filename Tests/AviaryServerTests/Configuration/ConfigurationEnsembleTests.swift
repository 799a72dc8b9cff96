import Testing
import ZooKeeperProtocol

@testable import AviaryServer

@Suite("Lines for an ensemble")
struct ConfigurationEnsembleTests {
    /// - Parameters:
    ///   - text: begins on line 2.
    ///   - myid: what the file says; nil for none.
    private func read(
        _ text: String,
        myid: String? = "1",
        dynamicFile: String? = nil
    ) throws(ConfigurationError) -> (configuration: ServerConfiguration, notes: [ConfigurationNote]) {
        try ServerConfiguration.read(
            file: ConfigurationText(name: "zoo.cfg", text: "dataDir=/data\n" + text),
            openFile: { path throws(UnreadableFile) in
                guard let text = path == "/data/myid" ? myid : dynamicFile else {
                    throw UnreadableFile(reason: "there is no such file")
                }
                return text
            }
        )
    }

    private func parse(
        _ text: String,
        myid: String? = "1",
        dynamicFile: String? = nil
    ) throws(ConfigurationError) -> ServerConfiguration {
        try read(text, myid: myid, dynamicFile: dynamicFile).configuration
    }

    private func problems(_ text: String, myid: String? = "1", dynamicFile: String? = nil) -> [String] {
        do throws(ConfigurationError) {
            _ = try parse(text, myid: myid, dynamicFile: dynamicFile)
            return []
        } catch {
            return error.problems.map(\.description)
        }
    }

    private static let three = "server.1=zoo1:2888:3888\nserver.2=zoo2:2888:3888\nserver.3=zoo3:2888:3888\n"
    private static let limits = "initLimit=10\nsyncLimit=5\nclientPort=2181\n"

    // MARK: - Which mode

    @Test("Three participants are an ensemble")
    func ensemble() throws {
        let configuration = try parse(Self.limits + "tickTime=500\n" + Self.three, myid: "2")
        let ensemble = try #require(configuration.ensemble)
        #expect(ensemble.me == ServerID(2))
        #expect(ensemble.ownMember?.addresses.first?.host == "zoo2")
        #expect(ensemble.members.text.hasSuffix("server.3=zoo3:2888:3888:participant\nversion=0"))
        #expect(ensemble.connectLimit == nil)
        #expect(ensemble.introductionTimeout == .milliseconds(2_500))
        #expect(ensemble.staticFile == "zoo.cfg")
        #expect(configuration.clients.port == 2181)
    }

    @Test("One participant stands alone")
    func single() throws {
        let configuration = try parse("clientPort=2181\nserver.1=localhost:2888:3888", myid: nil)
        #expect(configuration.ensemble == nil)
        #expect(configuration.clients.port == 2181)
        #expect(configuration.clients.addresses == .all)
    }

    @Test("Unless it is told not to")
    func ensembleOfOne() throws {
        let configuration = try parse(Self.limits + "standaloneEnabled=false\nserver.1=a:1:2\nserver.2=b:1:2:observer")
        #expect(configuration.ensemble?.isStandaloneEnabled == false)
        #expect(configuration.ensemble?.members.voters == [ServerID(1)])
        #expect(
            problems("clientPort=1\nstandaloneEnabled=false") == [
                "zoo.cfg:3: standaloneEnabled=false asks for an ensemble, if only of one server, and there is no server.N "
                    + "line; add one such as server.1=localhost:2888:3888, or set it to true to serve alone"
            ]
        )
    }

    @Test(
        "Observers do not stand alone",
        arguments: [
            ("server.1=a:1:2:observer", "server.1: observers without a participant to follow"),
            ("server.1=a:1:2\nserver.2=b:1:2:observer", "server.2: observers of one participant, which stands alone"),
        ]
    )
    func observers(lines: String, text: String) {
        let found = problems("clientPort=1\n" + lines)
        #expect(found.count == 1)
        #expect(found.first?.hasPrefix("zoo.cfg:3: " + text) == true)
    }

    // MARK: - What a member needs

    @Test("A member needs initLimit, syncLimit and the file myid")
    func needs() {
        #expect(
            problems("clientPort=1\n" + Self.three, myid: nil) == [
                "zoo.cfg:1: the file /data/myid cannot be read: there is no such file; it says which server this is of "
                    + "server.1, server.2 and server.3: its number, alone on the first line (echo 1 > /data/myid)",
                "zoo.cfg:3: a member of an ensemble needs initLimit, in ticks; add a line such as initLimit=10",
                "zoo.cfg:3: a member of an ensemble needs syncLimit, in ticks; add a line such as syncLimit=5",
            ]
        )
        #expect(
            problems("clientPort=1\ninitLimit=0\nsyncLimit=0\n" + Self.three) == [
                "zoo.cfg:3: initLimit=0 leaves no time for anything; allowed is a number of ticks above 0, such as 10",
                "zoo.cfg:4: syncLimit=0 leaves no time for anything; allowed is a number of ticks above 0, such as 5",
            ]
        )
        #expect(
            problems("clientPort=1\ninitLimit=2000000000\nsyncLimit=5\n" + Self.three) == [
                "zoo.cfg:3: initLimit=2000000000: ticks of 3000 ms, that is more than 2147483647 ms"
            ]
        )
        // A value that is wrong is not missing as well.
        #expect(problems("clientPort=1\ninitLimit=ten\nsyncLimit=5\n" + Self.three).count == 1)
    }

    @Test(
        "The file myid says which of them this server is",
        arguments: [
            ("", "/data/myid is empty; allowed is the number of one of server.1, server.2 and server.3"),
            ("\n1", "/data/myid is empty"),
            ("one", "/data/myid begins with one"),
            ("-1", "/data/myid begins with -1"),
            (
                "4",
                "/data/myid says that this is server 4, and there is no server.4 among server.1, server.2 and server.3"
            ),
        ]
    )
    func wrongID(myid: String, text: String) {
        let found = problems(Self.limits + Self.three, myid: myid)
        #expect(found.count == 1)
        #expect(found.first?.hasPrefix("zoo.cfg:1: " + text) == true)
    }

    @Test(
        "It may have spaces, line ends of any system, and more lines",
        arguments: ["3", " 3 \n", "3\r\n", "3\n# three"]
    )
    func rightID(myid: String) throws {
        #expect(try parse(Self.limits + Self.three, myid: myid).ensemble?.me == ServerID(3))
    }

    @Test("Numbers of servers begin session ids, and end where those do")
    func largeIDs() throws {
        let lines = "server.254=a:1:2\nserver.255=b:1:2\n"
        #expect(try parse(Self.limits + lines, myid: "255").ensemble?.me == ServerID(255))
        #expect(problems(Self.limits + lines + "extendedTypesEnabled=true", myid: "254").count == 1)
        #expect(problems(Self.limits + lines + "server.256=c:1:2", myid: "254").count == 1)
    }

    @Test("Several addresses have to be allowed")
    func severalAddresses() throws {
        let lines = Self.limits + Self.three + "server.4=d:1:2|e:1:2:observer\n"
        #expect(problems(lines).first?.contains("server.4 has 2 addresses; set multiAddress.enabled=true") == true)
        let ensemble = try #require(try parse(lines + "multiAddress.enabled=true").ensemble)
        #expect(ensemble.members.member(ServerID(4))?.addresses.count == 2)
        #expect(ensemble.allowsSeveralAddresses)
    }

    // MARK: - Groups and weights

    @Test("Groups and weights make another quorum")
    func groups() throws {
        let ensemble = try #require(
            try parse(Self.limits + Self.three + "group.1=1:2:3\nweight.1=3\nzookeeper.weight.2=1\n").ensemble
        )
        #expect(ensemble.members.isHierarchical)
        #expect(ensemble.members.isQuorum([ServerID(1)]))
        #expect(!ensemble.members.isQuorum([ServerID(2), ServerID(3)]))
    }

    @Test(
        "Groups have to hold every participant once",
        arguments: [
            "group.1=1:2", "group.1=1:2:3\ngroup.2=3", "weight.1=2", "group.1=1:x:3", "group.one=1:2:3",
            "group.1=1:2:3\nweight.1=-1", "group.1=1:2:3:9", "group.1=1:2:3\nweight.x=1",
        ]
    )
    func wrongGroups(lines: String) {
        #expect(problems(Self.limits + Self.three + lines).count == 1)
    }

    // MARK: - Client ports

    @Test(
        "Its line may carry the client port",
        arguments: [
            ("server.1=localhost:2888:3888;2182", .all),
            ("server.1=localhost:2888:3888;0.0.0.0:2182", .all),
            ("server.1=[::1]:2888:3888:participant;[::1]:2182", .only(["::1"])),
            ("server.1=localhost:2888:3888;127.0.0.1:2182", .only(["127.0.0.1"])),
            ("zookeeper.server.9=zoo_1.example.org:2888:3888:PARTICIPANT;2182\nclientPort=2182", .all),
            ("server.1=10.0.0.1:2888:3888|10.0.0.2:2888:3888;2182\nmultiAddress.enabled=true", .all),
            (
                "initLimit=1\nsyncLimit=1\nserver.1=a:1:2;127.0.0.1:2182\nserver.2=b:1:2;2183\nserver.3=c:1:2;2184",
                .only(["127.0.0.1"])
            ),
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
        // Those of other members are theirs.
        #expect(problems(Self.limits + Self.three + "server.4=d:1:2:observer;1").isEmpty)
    }

    @Test("A flag decides between them")
    func flag() throws {
        let (configuration, _) = try ServerConfiguration.read(
            file: ConfigurationText(name: "f", text: "dataDir=/d\nserver.1=localhost:2888:3888;2182"),
            overrides: [ConfigurationOverride(key: "clientPort", value: "0", origin: "--port")]
        )
        #expect(configuration.clients.port == 0)
    }

    // MARK: - Lines that are wrong

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
        let ensemble = try #require(
            try parse(
                "initLimit=1\nsyncLimit=1\n" + text + ".1f",
                dynamicFile: "#\n" + member + "server.2=zoo2:1:2\n"
            ).ensemble
        )
        #expect(ensemble.members.version == 0x1f)
        #expect(ensemble.members.members.count == 2)
        #expect(ensemble.dynamicFile == "/etc/zoo.cfg.dynamic.1f")
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

    // MARK: - Keys

    @Test("Keys for members are taken by members")
    func keys() throws {
        let (configuration, notes) = try read(
            Self.limits + Self.three + """
                connectToLearnerMasterLimit=3
                quorumListenOnAllIPs=true
                cnxTimeout=100
                quorumCnxnTimeoutMs=200
                tcpKeepAlive=true
                fastleader.minNotificationInterval=50
                fastleader.maxNotificationInterval=5000
                observer.election.DelayMs=7
                leaderServes=no
                localSessionsEnabled=true
                localSessionsUpgradingEnabled=true
                commitLogCount=700
                snapshotSizeFactor=-1
                forceSnapshotSync=true
                """
        )
        let ensemble = try #require(configuration.ensemble)
        #expect(ensemble.connectLimit == 3)
        #expect(ensemble.listensOnAllAddresses)
        #expect(ensemble.connectTimeout == .milliseconds(100))
        #expect(ensemble.introductionTimeout == .milliseconds(200))
        #expect(ensemble.sendsTCPKeepAlive)
        #expect(ensemble.minimumNotificationInterval == .milliseconds(50))
        #expect(ensemble.maximumNotificationInterval == .seconds(5))
        #expect(ensemble.observerElectionDelay == .milliseconds(7))
        #expect(!ensemble.leaderServes)
        #expect(ensemble.localSessions && ensemble.upgradesLocalSessions)
        #expect(ensemble.recentTransactions == 700)
        #expect(ensemble.snapshotSizeFactor == nil)
        #expect(ensemble.forcesSnapshotSync)
        #expect(notes.isEmpty)
    }

    @Test("Observer masters are the members', and nothing to a server that stands alone")
    func observerMaster() throws {
        #expect(try parse(Self.limits + Self.three + "observerMasterPort=2891").ensemble?.observerMasterPort == 2891)
        #expect(try parse(Self.limits + Self.three + "observerMasterPort=0").ensemble?.observerMasterPort == nil)
        let (_, notes) = try read("clientPort=1\nobserverMasterPort=2891")
        #expect(notes.count == 1)
    }

    @Test(
        "What a member should hear at every start",
        arguments: [
            ("peerType=observer", "peerType=observer differs from the participant of server.1, which counts"),
            ("server.3=zoo3:2888:3888:observer", "two participants are less available than one"),
            ("server.4=zoo4:2888:3888", "4 participants survive as many failures as 3 do"),
            ("commitLogCount=5", "500 is used"),
        ]
    )
    func notes(line: String, text: String) throws {
        let notes = try read(Self.limits + Self.three + line).notes
        #expect(notes.contains { $0.text.contains(text) })
    }
}
