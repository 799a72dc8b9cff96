import Testing

@testable import AviaryServer

@Suite("What is wrong with a configuration is told in words")
struct ConfigurationProblemTests {
    @Test(
        "A bad value names file, line, value and what is allowed",
        arguments: [
            ("tickTime=2s", "a whole number from 1 to 107374182 (milliseconds)"),
            ("tickTime=0", "a whole number from 1 to 107374182 (milliseconds)"),
            ("tickTime=", "a whole number from 1 to 107374182 (milliseconds)"),
            ("clientPort=65536", "a whole number from 0 to 65535"),
            ("clientPort=0x885", "a whole number from 0 to 65535"),
            ("maxClientCnxns=unlimited", "a whole number from -2147483648 to 2147483647"),
            ("snapCount=1e5", "a whole number from -2147483648 to 2147483647"),
            ("snapCount=0x", "a whole number from -2147483648 to 2147483647"),
            ("snapCount=0x-5", "a whole number from -2147483648 to 2147483647"),
            ("snapCount=09", "a whole number from -2147483648 to 2147483647"),
            ("forceSync=false", "yes or no"),
            ("skipACL=true", "yes or no"),
            ("enforceQuota=yes", "true or false"),
            ("standaloneEnabled=1", "true or false"),
            ("snapshot.compression.method=zstd", "gz, snappy or nothing"),
            ("DigestAuthenticationProvider.digestAlg=ROT13", "SHA1, SHA-256 or SHA-512"),
            ("connection_throttle_drop_increase=2", "a number from 0.0 to 1.0"),
            ("connection_throttle_drop_increase=nan", "a number from 0.0 to 1.0"),
            ("autopurge.purgeInterval=weekly", "a number of hours, or a number followed by ms, s, m, h or d"),
            ("autopurge.purgeInterval=2w", "a number of hours, or a number followed by ms, s, m, h or d"),
            ("autopurge.purgeInterval=9223372036854775807d", "a number of hours, or a number followed by ms, s, m"),
            ("dataDir=", "a path"),
            ("initLimit=ten", "a whole number from 0 to 2147483647 (ticks)"),
            ("electionAlg=0", "a whole number from 3 to 3"),
            ("peerType=leader", "participant or observer"),
            ("jute.maxbuffer=1m", "a whole number from 128 to 2147483647 (bytes)"),
        ]
    )
    func badValue(line: String, allowed: String) throws {
        let problem = try #require(problems(line).first)
        #expect(problem.hasPrefix("zoo.cfg:3: \(line): allowed is \(allowed)"))
        #expect(problems(line).count == 1)
    }

    @Test("All problems are told at once, in the order of the file")
    func allAtOnce() {
        let found = problems("tickTime=x\n# fine\nsecureClientPort=2281\nforceSync=maybe")
        #expect(found.map { $0.prefix(10) } == ["zoo.cfg:3:", "zoo.cfg:5:", "zoo.cfg:6:"])
    }

    @Test("What belongs together is checked together")
    func together() {
        #expect(
            problems("tickTime=1000\nminSessionTimeout=30000") == [
                "zoo.cfg:4: minSessionTimeout 30000 is above maxSessionTimeout 20000; they are two and twenty ticks of "
                    + "1000 ms unless they are set"
            ]
        )
        #expect(problems("maxSessionTimeout=1000").count == 1)
        #expect(problems("minSessionTimeout=20000\nmaxSessionTimeout=20000").isEmpty)
        #expect(problems("enforce.auth.enabled=true").first?.contains("enforce.auth.schemes=digest") == true)
        #expect(
            problems("enforce.auth.enabled=true\nenforce.auth.schemes=sasl,digest") == [
                "zoo.cfg:4: enforce.auth.schemes: the scheme sasl is not available; allowed are ip, digest"
            ]
        )
    }

    @Test("A directory is needed")
    func dataDirectory() {
        #expect(throws: ConfigurationError([.init(place: "f", text: Self.noDirectory)])) {
            _ = try ServerConfiguration.parse(text: "clientPort=1", fileName: "f")
        }
    }

    private static let noDirectory = "dataDir is not set; add a line such as dataDir=/var/lib/zookeeper"

    @Test("A broken escape is told with its line")
    func escape() {
        #expect(
            problems("dataLogDir=/\\u00") == [
                "zoo.cfg:3: dataLogDir=/\\u00: allowed behind \\u are four hexadecimal digits"
            ]
        )
    }

    @Test(
        "A protection that does not exist is refused",
        arguments: [
            "secureClientPort=2281", "secureClientPortAddress=0.0.0.0", "client.portUnification=true", "sslQuorum=true",
            "portUnification=true", "ssl.keyStore.location=/k.jks", "ssl.trustStore.location=/t.jks",
            "ssl.clientAuth=need", "ssl.hostnameVerification=true", "ssl.quorum.keyStore.location=/k.pem",
            "ssl.quorum.crl=true", "ssl.protocol=TLSv1.3", "ssl.authProvider=x509",
            "authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider",
            "authProvider.sasl=org.apache.zookeeper.server.auth.SASLAuthenticationProvider",
            "authProvider.x509=org.apache.zookeeper.server.auth.X509AuthenticationProvider",
            "authProvider.2=com.example.OurProvider", "sessionRequireClientSASLAuth=true",
            "requireClientAuthScheme=sasl", "sasl.serverconfig=Server", "quorum.auth.enableSasl=true",
            "quorum.auth.learnerRequireSasl=true", "quorum.auth.serverRequireSasl=true", "audit.enable=true",
        ]
    )
    func protections(line: String) throws {
        for line in [line, "zookeeper." + line] {
            let found = problems(line)
            #expect(found.count == 1)
            #expect(found.first?.hasPrefix("zoo.cfg:3: \(line) is refused: ") == true)
        }
    }

    @Test(
        "The same keys may say that they want nothing",
        arguments: [
            "client.portUnification=false", "sslQuorum=false", "portUnification=FALSE", "ssl.clientAuth=none",
            "ssl.crl=false", "ssl.quorum.ocsp=false", "sessionRequireClientSASLAuth=false",
            "requireClientAuthScheme=none", "quorum.auth.enableSasl=false", "audit.enable=false",
            "authProvider.1=org.apache.zookeeper.server.auth.DigestAuthenticationProvider",
            "authProvider.2=org.apache.zookeeper.server.auth.IPAuthenticationProvider",
        ]
    )
    func harmless(line: String) throws {
        #expect(problems(line).isEmpty)
        #expect(try notes(line).isEmpty)
    }

    @Test("Secrets are not repeated")
    func secrets() throws {
        let found = problems("ssl.keyStore.password=hunter2\nssl.quorum.trustStore.password=hunter2")
        #expect(found.count == 2)
        let notes = try notes("DigestAuthenticationProvider.superDigest=hunter2\nmetricsProvider.ssl.x=hunter2")
        #expect(notes.count == 2)
        #expect(!(found + notes.map(\.text)).contains { $0.contains("hunter2") })
        #expect(found.first?.hasPrefix("zoo.cfg:3: ssl.keyStore.password=(hidden) is refused") == true)
    }
}

@Suite("A configuration's notes")
struct ConfigurationNoteTests {
    @Test(
        "Values that weaken safety are warned of",
        arguments: [
            ("forceSync=no", "a power failure can lose acknowledged writes"),
            ("skipACL=yes", "access control is off"),
            ("snapshot.trust.empty=true", "a lost snapshot would go unnoticed"),
            ("digest.enabled=false", "would go unnoticed"),
            ("snapCount=1", "2 is used"),
            ("autopurge.snapRetainCount=1", "3 is used"),
            ("largeRequestThreshold=0", "-1 (off) is used"),
            ("connection_throttle_global_session_weight=1\nconnection_throttle_local_session_weight=2", "2 is used"),
            ("DigestAuthenticationProvider.superDigest=admin", "nobody can match it"),
        ]
    )
    func warnings(line: String, text: String) throws {
        let notes = try notes(line)
        #expect(notes.count == 1)
        #expect(notes.first?.severity == .warning)
        #expect(notes.first?.text.hasPrefix("zoo.cfg:3: ") == true)
        #expect(notes.first?.text.contains(text) == true)
    }

    @Test(
        "The same keys are silent where they are safe",
        arguments: ["forceSync=yes", "skipACL=no", "snapshot.trust.empty=false", "digest.enabled=true", "snapCount=2"]
    )
    func silent(line: String) throws {
        #expect(try notes(line).isEmpty)
    }

    @Test("Keys without effect are named once, with the reason")
    func withoutEffect() throws {
        let notes = try notes("initLimit=10\nadmin.serverPort=9090\nsyncLimit=5\nadmin.enableServer=true")
        #expect(
            notes == [
                ConfigurationNote(
                    .info,
                    "zoo.cfg: accepted without effect: admin.serverPort, admin.enableServer (there is no HTTP admin "
                        + "server yet, and no port is opened for one)"
                ),
                ConfigurationNote(
                    .info,
                    "zoo.cfg: accepted without effect: initLimit, syncLimit (used by members of an ensemble, and this "
                        + "server stands alone)"
                ),
            ]
        )
    }

    @Test("Metrics are said not to open a port")
    func metrics() throws {
        let notes = try notes(
            "metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider\n"
                + "metricsProvider.httpPort=7000"
        )
        #expect(notes.count == 1)
        #expect(notes.first?.text.contains("no port is opened") == true)
    }

    @Test(
        "Values that this server meets anyway need no note",
        arguments: [
            "admin.enableServer=false", "leaderServes=yes", "localSessionsEnabled=false", "electionAlg=3",
            "metricsProvider.className=org.apache.zookeeper.metrics.impl.DefaultMetricsProvider", "syncEnabled=true",
            "advancedFlowControlEnabled=true\n#",
        ]
    )
    func met(line: String) throws {
        #expect(try notes(line).allSatisfy { !$0.text.contains("without effect") })
    }

    @Test(
        "An unknown key is a warning with the nearest known one",
        arguments: [
            ("datadir=/x", "datadir", "dataDir"), ("tickTme=5", "tickTme", "tickTime"),
            ("snapcount=5", "snapcount", "snapCount"), ("zookeeper.maxCxns=5", "zookeeper.maxCxns", "maxCnxns"),
            ("autopurge.purgeIntervall=1", "autopurge.purgeIntervall", "autopurge.purgeInterval"),
            ("sever.1=a:1:2", "sever.1", "server.N"), ("froceSync=no", "froceSync", "forceSync"),
            ("requestThrotleLimit=5", "requestThrotleLimit", "requestThrottleLimit"),
        ]
    )
    func unknown(line: String, key: String, nearest: String) throws {
        #expect(
            try notes(line) == [
                ConfigurationNote(
                    .warning,
                    "zoo.cfg:3: \(key) is not a key of ZooKeeper and has no effect; did you mean \(nearest)?"
                )
            ]
        )
    }

    @Test("A key that resembles none gets no suggestion")
    func resemblesNone() throws {
        #expect(
            try notes("com.example.thing=1").map(\.text) == [
                "zoo.cfg:3: com.example.thing is not a key of ZooKeeper and has no effect"
            ]
        )
    }

    @Test("The last of equal keys wins, with a warning")
    func duplicates() throws {
        let lines = "tickTime=1000\nsnapCount=7\ntickTime=2000\nzookeeper.snapCount=8"
        #expect(try read(lines).sessions.tickTime == .milliseconds(2_000))
        #expect(try read(lines).storage.snapshotCount == 8)
        #expect(
            try notes(lines).filter { $0.severity == .warning }.map(\.text) == [
                "zoo.cfg:5: tickTime is set again, and line 3 has no effect",
                "zoo.cfg:6: zookeeper.snapCount is set again, and line 4 has no effect",
            ]
        )
        // A value that is replaced does not matter, even if it is wrong.
        #expect(problems("tickTime=x\ntickTime=5").isEmpty)
    }

    @Test("Names that Apache's zoo.cfg does not take are said")
    func spellings() throws {
        let notes = try notes("requestThrottleLimit=5\nzookeeper.snapCount=9\njute.maxbuffer=1048575")
        #expect(notes.allSatisfy { $0.severity == .info })
        #expect(
            notes.map { $0.text.prefix(60) } == [
                "zoo.cfg:3: requestThrottleLimit is taken as request_throttle",
                "zoo.cfg:4: zookeeper.snapCount is taken as snapCount; Apache",
                "zoo.cfg:5: jute.maxbuffer is taken from this file; Apache ta",
            ]
        )
    }

    @Test("A four letter word that does not exist is a warning")
    func fourLetterWords() throws {
        #expect(
            try notes("4lw.commands.whitelist=mntr, rouk, lead") == [
                ConfigurationNote(
                    .warning,
                    "zoo.cfg:3: rouk is not a four letter word of ZooKeeper; did you mean ruok?"
                ),
                ConfigurationNote(.warning, "zoo.cfg:3: lead is not a four letter word of ZooKeeper"),
            ]
        )
    }
}

@Suite("Settings from the command line")
struct ConfigurationOverrideTests {
    @Test("They win over the file, silently")
    func win() throws {
        let overrides = [
            ConfigurationOverride(key: "clientPort", value: "2999", origin: "--port"),
            ConfigurationOverride(key: "tickTime", value: "100", origin: "--tick-time"),
        ]
        let configuration = try read("tickTime=5000", overrides: overrides)
        #expect(configuration.clients.port == 2999)
        #expect(configuration.sessions.maximumTimeout == .milliseconds(2_000))
        #expect(try notes("tickTime=5000", overrides: overrides).isEmpty)
    }

    @Test("They complete a file")
    func complete() throws {
        let overrides = [
            ConfigurationOverride(key: "clientPort", value: "0", origin: "--port"),
            ConfigurationOverride(key: "dataDir", value: "/d", origin: "--data-dir"),
        ]
        let (configuration, _) = try ServerConfiguration.read(
            file: ConfigurationText(name: "f", text: "maxClientCnxns=1"),
            overrides: overrides
        )
        #expect(configuration.clients.port == 0)
        #expect(configuration.storage.logDirectory == "/d")
        #expect(configuration.clients.addresses == .all)
    }

    @Test("They work without a file, which keeps the server on this machine")
    func withoutFile() throws {
        let (configuration, _) = try ServerConfiguration.read(
            file: nil,
            overrides: [ConfigurationOverride(key: "clientPort", value: "2999", origin: "--port")]
        )
        #expect(configuration.clients.port == 2999)
        #expect(configuration.clients.addresses == .loopback)
    }

    @Test("A bad value names the flag, and an unknown key is an error here")
    func bad() {
        let overrides = [
            ConfigurationOverride(key: "clientPort", value: "http", origin: "--port"),
            ConfigurationOverride(key: "snapcont", value: "1", origin: "--set"),
            ConfigurationOverride(key: "audit.enable", value: "true", origin: "--set"),
        ]
        let found = problems("", overrides: overrides)
        #expect(found.count == 3)
        #expect(found.contains("--port: clientPort=http: allowed is a whole number from 0 to 65535"))
        #expect(found.contains("--set: snapcont is not a key of ZooKeeper; did you mean snapCount?"))
    }

    @Test("A flag replaces a line that is wrong")
    func repair() {
        let port = ConfigurationOverride(key: "clientPort", value: "1", origin: "--port")
        #expect(problems("clientPort=http", overrides: [port]).isEmpty)
    }
}
