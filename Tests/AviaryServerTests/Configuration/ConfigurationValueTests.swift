import Testing

@testable import AviaryServer

/// A key with a value, and where the value has to arrive.
struct Setting: Sendable, CustomTestStringConvertible {
    var line: String
    var holds: @Sendable (ServerConfiguration) -> Bool

    init(_ line: String, _ holds: @escaping @Sendable (ServerConfiguration) -> Bool) {
        self.line = line
        self.holds = holds
    }

    var testDescription: String { line }
}

@Suite("Values of zoo.cfg")
struct ConfigurationValueTests {
    @Test("A file without optional keys has Apache's defaults, but purge on")
    func defaults() throws {
        let configuration = try read("")
        #expect(configuration.clients.addresses == .all)
        #expect(configuration.clients.port == 2181)
        #expect(configuration.clients.maximumConnectionsPerAddress == 60)
        #expect(configuration.clients.maximumConnections == nil)
        #expect(configuration.clients.listenBacklog == nil)
        #expect(configuration.sessions.tickTime == .milliseconds(3_000))
        #expect(configuration.sessions.minimumTimeout == .milliseconds(6_000))
        #expect(configuration.sessions.maximumTimeout == .milliseconds(60_000))
        #expect(configuration.storage.dataDirectory == "/data")
        #expect(configuration.storage.logDirectory == "/data")
        #expect(configuration.storage.purge == .init(interval: .seconds(3_600), retainedSnapshots: 3))
        #expect(configuration.limits == .init())
        #expect(configuration.connectionThrottle == .init())
        #expect(configuration.requestThrottle == .init())
        #expect(configuration.access == .init())
        #expect(configuration.features == .init())
        #expect(configuration.fourLetterWords.allowed == ["srvr", "ruok", "isro", "mntr"])
    }

    @Test("Without a file the server is for this machine")
    func withoutFile() throws {
        let (configuration, notes) = try ServerConfiguration.read(file: nil)
        #expect(configuration == .default)
        #expect(configuration.clients.addresses == .loopback)
        #expect(configuration.clients.port == 2181)
        #expect(configuration.sessions.tickTime == .milliseconds(2_000))
        #expect(configuration.sessions.maximumTimeout == .milliseconds(40_000))
        #expect(configuration.storage.dataDirectory == "aviary-data")
        #expect(notes.isEmpty)
    }

    @Test("Every honoured key arrives", arguments: Self.settings)
    func arrives(setting: Setting) throws {
        let configuration = try read(setting.line)
        #expect(setting.holds(configuration))
        // The other spelling is the same setting, and the value really came from the line.
        #expect(try read("zookeeper." + setting.line) == configuration)
        #expect(try read("") != configuration || setting.line.hasPrefix("autopurge.snapRetainCount=2"))
    }

    @Test("No honoured key is left out of these tests")
    func complete() {
        var tested = Set(Self.settings.compactMap { KeyTable.key(named: String($0.line.prefix { $0 != "=" }))?.name })
        // In tests of their own.
        tested.formUnion([
            "clientPortAddress", "autopurge.purgeInterval", "enforce.auth.enabled", "enforce.auth.schemes",
            "standaloneEnabled", "dynamicConfigFile", "server.",
        ])
        // ConfigurationEnsembleTests.
        tested.formUnion(KeyTable.ensemble.filter { $0.status == .honoured }.map(\.name))
        let honoured = KeyTable.all.filter { $0.status == .honoured }.map(\.name)
        #expect(tested == Set(honoured))
    }

    static let settings: [Setting] = [
        Setting("clientPort=2281") { $0.clients.port == 2281 },
        Setting("clientPort=0") { $0.clients.port == 0 },
        Setting("clientPortListenBacklog=128") { $0.clients.listenBacklog == 128 },
        Setting("maxClientCnxns=5") { $0.clients.maximumConnectionsPerAddress == 5 },
        Setting("maxClientCnxns=0") { $0.clients.maximumConnectionsPerAddress == nil },
        Setting("maxClientCnxns=-1") { $0.clients.maximumConnectionsPerAddress == nil },
        Setting("maxCnxns=1000") { $0.clients.maximumConnections == 1000 },
        Setting("clientTcpKeepAlive=TRUE") { $0.clients.sendsTCPKeepAlive },
        Setting("nio.sessionlessCnxnTimeout=500") { $0.clients.sessionlessTimeout == .milliseconds(500) },
        Setting("tickTime=500") {
            $0.sessions.tickTime == .milliseconds(500) && $0.sessions.minimumTimeout == .milliseconds(1_000)
                && $0.sessions.maximumTimeout == .milliseconds(10_000)
        },
        Setting("minSessionTimeout=100") { $0.sessions.minimumTimeout == .milliseconds(100) },
        Setting("maxSessionTimeout=900000") { $0.sessions.maximumTimeout == .milliseconds(900_000) },
        Setting("dataDir=/other") { $0.storage.dataDirectory == "/other" && $0.storage.logDirectory == "/other" },
        Setting("dataLogDir=/log") { $0.storage.dataDirectory == "/data" && $0.storage.logDirectory == "/log" },
        Setting("preAllocSize=16") { $0.storage.preallocationSize == 16_384 },
        Setting("preAllocSize=-1") { $0.storage.preallocationSize == 0 },
        Setting("snapCount=10") { $0.storage.snapshotCount == 10 },
        Setting("snapCount=1") { $0.storage.snapshotCount == 2 },
        Setting("snapCount=0x10") { $0.storage.snapshotCount == 16 },
        Setting("snapCount=010") { $0.storage.snapshotCount == 8 },
        Setting("snapSizeLimitInKb=1") { $0.storage.snapshotSizeLimit == 1_024 },
        Setting("snapSizeLimitInKb=0") { $0.storage.snapshotSizeLimit == nil },
        Setting("snapSizeLimitInKb=-1") { $0.storage.snapshotSizeLimit == nil },
        Setting("txnLogSizeLimitInKb=131072") { $0.storage.logSizeLimit == 134_217_728 },
        Setting("forceSync=no") { !$0.storage.forcesSync },
        Setting("fsync.warningthresholdms=20") { $0.storage.fsyncWarningThreshold == .milliseconds(20) },
        Setting("flushDelay=30") {
            $0.storage.flushDelay == .milliseconds(30) && $0.storage.maximumQueuePollTime == .milliseconds(10)
        },
        Setting("maxWriteQueuePollTime=7") { $0.storage.maximumQueuePollTime == .milliseconds(7) },
        Setting("maxBatchSize=1") { $0.storage.maximumBatchSize == 1 },
        Setting("maxBatchSize=0") { $0.storage.maximumBatchSize == nil },
        Setting("snapshot.compression.method=gz") { $0.storage.snapshotCompression == .gzip },
        Setting("snapshot.compression.method=snappy") { $0.storage.snapshotCompression == .snappy },
        Setting("snapshot.trust.empty=true") { $0.storage.trustsMissingSnapshot },
        Setting("serializeLastProcessedZxid.enabled=false") { !$0.storage.writesLastProcessedZxid },
        Setting("digest.enabled=False") { !$0.storage.keepsDigest },
        Setting("closeSessionTxn.enabled=false") { !$0.storage.listsEphemeralsOnClose },
        Setting("db.autocreate=false") { !$0.storage.createsDatabase },
        Setting("datadir.autocreate=false") { !$0.storage.createsDirectories },
        Setting("autopurge.snapRetainCount=10") { $0.storage.purge?.retainedSnapshots == 10 },
        Setting("autopurge.snapRetainCount=2") { $0.storage.purge?.retainedSnapshots == 3 },
        Setting("jute.maxbuffer=4194304") {
            $0.limits.maximumPacketSize == 4_194_304 && $0.limits.extraRecordSize == 4_194_304
        },
        Setting("jute.maxbuffer=0x9fffff") { $0.limits.maximumPacketSize == 10_485_759 },
        Setting("jute.maxbuffer=512") { $0.limits.extraRecordSize == 1_024 },
        Setting("jute.maxbuffer.extrasize=5000") { $0.limits.extraRecordSize == 5_000 },
        Setting("jute.maxbuffer.extrasize=5") { $0.limits.extraRecordSize == 1_024 },
        Setting("globalOutstandingLimit=10") { $0.limits.outstandingRequests == 10 },
        Setting("largeRequestThreshold=2048") { $0.limits.largeRequestThreshold == 2_048 },
        Setting("largeRequestMaxBytes=4096") { $0.limits.largeRequestMaximumTotal == 4_096 },
        Setting("aviary.maxClientBytes=50000000") { $0.limits.clientBytes == 50_000_000 },
        Setting("aviary.maxWatchBytes=5000000000") { $0.limits.watchBytes == 5_000_000_000 },
        Setting("aviary.maxConnectionWatchBytes=1000000") { $0.limits.connectionWatchBytes == 1_000_000 },
        Setting("connection_throttle_tokens=9") { $0.connectionThrottle.tokens == 9 },
        Setting("connectionMaxTokens=9") { $0.connectionThrottle.tokens == 9 },
        Setting("connection_throttle_fill_time=50") { $0.connectionThrottle.fillTime == .milliseconds(50) },
        Setting("connection_throttle_fill_count=3") { $0.connectionThrottle.fillCount == 3 },
        Setting("connection_throttle_freeze_time=200") { $0.connectionThrottle.freezeTime == .milliseconds(200) },
        Setting("connection_throttle_drop_increase=0.5") { $0.connectionThrottle.dropIncrease == 0.5 },
        Setting("connection_throttle_drop_decrease=.25") { $0.connectionThrottle.dropDecrease == 0.25 },
        Setting("connection_throttle_decrease_ratio=1") { $0.connectionThrottle.decreaseRatio == 1 },
        Setting("connection_throttle_weight_enabled=true") { $0.connectionThrottle.isWeighted },
        Setting("connection_throttle_global_session_weight=7") { $0.connectionThrottle.globalSessionWeight == 7 },
        Setting("connection_throttle_local_session_weight=5") {
            let throttle = $0.connectionThrottle
            return throttle.localSessionWeight == 5 && throttle.globalSessionWeight == 5
                && throttle.renewSessionWeight == 5
        },
        Setting("connection_throttle_renew_session_weight=4") { $0.connectionThrottle.renewSessionWeight == 4 },
        Setting("request_throttle_max_requests=100") { $0.requestThrottle.maximumRequests == 100 },
        Setting("throttledOpWaitTime=40") { $0.requestThrottle.throttledOperationWaitTime == .milliseconds(40) },
        Setting("skipACL=yes") { $0.access.skipsACL },
        Setting("DigestAuthenticationProvider.superDigest=super:xQJmxLMiHGwaqBvst5y6rkB6HQs=") {
            $0.access.superDigest == "super:xQJmxLMiHGwaqBvst5y6rkB6HQs="
        },
        Setting("DigestAuthenticationProvider.enabled=false") { !$0.access.isDigestEnabled },
        Setting("DigestAuthenticationProvider.digestAlg=SHA-256") { $0.access.digestAlgorithm == .sha256 },
        Setting("ensembleAuthName=one, two") { $0.access.ensembleNames == ["one", "two"] },
        Setting("authProvider.1=org.apache.zookeeper.server.auth.EnsembleAuthenticationProvider") {
            $0.access.isEnsembleSchemeEnabled
        },
        Setting("extendedTypesEnabled=true") { $0.features.extendedTypes },
        Setting("emulate353TTLNodes=true") { $0.features.emulates353TTLNodes },
        Setting("enforceQuota=true") { $0.features.enforcesQuota },
        Setting("reconfigEnabled=true") { $0.features.reconfig },
        Setting("readonlymode.enabled=true") { $0.features.readOnlyMode },
        Setting("znode.container.checkIntervalMs=500") { $0.containers.checkInterval == .milliseconds(500) },
        Setting("znode.container.maxPerMinute=1") { $0.containers.maximumPerMinute == 1 },
        Setting("znode.container.maxNeverUsedIntervalMs=300000") {
            $0.containers.neverUsedInterval == .milliseconds(300_000)
        },
        Setting("4lw.commands.whitelist=*") { $0.fourLetterWords.allowed == ServerConfiguration.FourLetterWords.all },
        Setting("4lw.commands.whitelist=stat, conf") { $0.fourLetterWords.allowed == ["srvr", "stat", "conf"] },
        Setting("4lw.commands.whitelist=") { $0.fourLetterWords.allowed == ["srvr"] },
    ]

    @Test(
        "Purge: hours unless there is a unit",
        arguments: [
            ("1", 3_600_000), ("24", 86_400_000), ("500ms", 500), ("500MS", 500), ("30s", 30_000), ("10m", 600_000),
            ("2H", 7_200_000), ("7d", 604_800_000),
        ]
    )
    func purgeInterval(value: String, milliseconds: Int) throws {
        #expect(try read("autopurge.purgeInterval=\(value)").storage.purge?.interval == .milliseconds(milliseconds))
    }

    @Test("An explicit purge interval of zero or less is off, and said", arguments: ["0", "-1", "0h", "-5m"])
    func purgeOff(value: String) throws {
        #expect(try read("autopurge.purgeInterval=\(value)\nautopurge.snapRetainCount=5").storage.purge == nil)
        let notes = try notes("autopurge.purgeInterval=\(value)")
        #expect(
            notes == [
                ConfigurationNote(
                    .info,
                    "zoo.cfg:3: automatic purge is off: old snapshots and logs stay until somebody deletes them"
                )
            ]
        )
    }

    @Test("Authentication can be required")
    func enforcement() throws {
        let configuration = try read("enforce.auth.enabled=true\nenforce.auth.schemes=digest, ip")
        #expect(configuration.access.enforcedSchemes == ["digest", "ip"])
        #expect(try read("enforce.auth.enabled=false\nenforce.auth.schemes=digest").access.enforcedSchemes == nil)
    }

    @Test("isro is answered where read-only mode is possible")
    func readOnlyWords() throws {
        let configuration = try read("4lw.commands.whitelist=ruok\nreadonlymode.enabled=true")
        #expect(configuration.fourLetterWords.allowed == ["srvr", "ruok", "isro"])
    }
}

@Suite("Addresses have Apache's meaning")
struct ConfigurationAddressTests {
    @Test(
        "clientPortAddress",
        arguments: [
            ("127.0.0.1", .only(["127.0.0.1"])), ("::1", .only(["::1"])), ("[fe80::1%eth0]", .only(["fe80::1%eth0"])),
            ("zoo1.example.org", .only(["zoo1.example.org"])), ("0.0.0.0", .all), ("::", .all), ("[::]", .all),
            ("10.0.0.1, 127.0.0.1", .only(["10.0.0.1", "127.0.0.1"])),
        ] as [(String, ServerConfiguration.ListenAddresses)]
    )
    func address(value: String, expected: ServerConfiguration.ListenAddresses) throws {
        #expect(try read("clientPortAddress=\(value)").clients.addresses == expected)
    }

    @Test(
        "A port does not belong there",
        arguments: ["10.0.0.1:2181", "zoo1:2181", "", "a b", "10.0.0.1,", "[10.0.0.1]"]
    )
    func bad(value: String) {
        #expect(
            problems("clientPortAddress=\(value)") == [
                "zoo.cfg:3: clientPortAddress=\(value): allowed is an IPv4 or IPv6 address or a host name, without a "
                    + "port, several of them with commas between"
            ]
        )
    }

    @Test("An address without a port is an error, as is no port at all")
    func withoutPort() {
        #expect(throws: ConfigurationError.self) {
            _ = try ServerConfiguration.parse(text: "dataDir=/d\nclientPortAddress=::1", fileName: "zoo.cfg")
        }
        #expect(throws: ConfigurationError([.init(place: "zoo.cfg", text: Self.noPort)])) {
            _ = try ServerConfiguration.parse(text: "dataDir=/d", fileName: "zoo.cfg")
        }
    }

    private static let noPort =
        "clientPort is not set, so that no client could connect; add a line such as clientPort=2181"
}
