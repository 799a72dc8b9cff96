/// Every key of `zoo.cfg` that this server knows.
///
/// The table is the one place that says which keys exist, what they may be and what becomes of them; the reader walks it
/// and `docs/configuration.md` is checked against it.
///
/// - Source: `docs/protocol/quorum-protocol.md` sections 2.2 and 2.3 for names, defaults and ranges.
package enum KeyTable {
    /// In the order of the documentation: what is honoured, what is accepted, what is refused.
    package static let all: [ConfigurationKey] =
        listener + sessions + storage + limits + throttles + access + features
        + ensemble + administration + runtime + transportSecurity + authentication

    /// The key that a name stands for, with or without the prefix `zookeeper.`.
    package static func key(named name: String) -> ConfigurationKey? {
        find(name) ?? (name.hasPrefix(prefix) ? find(String(name.dropFirst(prefix.count))) : nil)
    }

    /// What Apache puts before a key that its parser does not know, to make a property of it.
    package static let prefix = "zookeeper."

    private static let byName = Dictionary(
        all.filter { !$0.isFamily }.flatMap { key in ([key.name] + key.documentedNames).map { ($0, key) } },
        uniquingKeysWith: { first, _ in first }
    )

    /// What people write, for finding what somebody meant.
    package static let spellings = all.flatMap { [$0.isFamily ? $0.name + "N" : $0.name] + $0.documentedNames }

    private static let families = all.filter(\.isFamily)

    private static func find(_ name: String) -> ConfigurationKey? {
        byName[name] ?? families.first { name.hasPrefix($0.name) && name.count > $0.name.count }
    }
}

// MARK: - Honoured

extension KeyTable {
    private static let listener: [ConfigurationKey] = [
        .honoured("clientPort", .integer(0...65_535), default: "none in a file, 2181 without one") {
            $0.clientPort = $1
        },
        .honoured("clientPortAddress", .addresses, default: "all addresses with a file, loopback without one") {
            $0.clientAddresses = $1
        },
        .honoured("clientPortListenBacklog", .integer(-1...ValueKind.int32.upperBound), default: "-1 (the system's)") {
            $0.configuration.clients.listenBacklog = $1 > 0 ? $1 : nil
        },
        .honoured("maxClientCnxns", .integer(), default: "60") {
            $0.configuration.clients.maximumConnectionsPerAddress = $1 > 0 ? $1 : nil
        },
        .honoured("maxCnxns", .property(), default: "0 (no limit)") {
            $0.configuration.clients.maximumConnections = $1 > 0 ? $1 : nil
        },
        .honoured("clientTcpKeepAlive", .boolean, default: "false") {
            $0.configuration.clients.sendsTCPKeepAlive = $1
        },
        .honoured("nio.sessionlessCnxnTimeout", .propertyMilliseconds(ValueKind.positive), default: "10000") {
            $0.configuration.clients.sessionlessTimeout = $1
        },
    ]

    /// The longest tick whose twentyfold still is a timeout that the protocol can carry.
    private static let longestTick = Int(Int32.max) / 20

    private static let sessions: [ConfigurationKey] = [
        .honoured(
            "tickTime",
            .integer(1...longestTick, unit: "milliseconds"),
            default: "3000 with a file, 2000 without"
        ) {
            $0.tickTimeMilliseconds = $1
        },
        .honoured("minSessionTimeout", .integer(-1...ValueKind.int32.upperBound), default: "-1 (two ticks)") {
            $0.minimumSessionTimeout = $1
        },
        .honoured("maxSessionTimeout", .integer(-1...ValueKind.int32.upperBound), default: "-1 (twenty ticks)") {
            $0.maximumSessionTimeout = $1
        },
    ]

    private static let storage: [ConfigurationKey] = [
        .honoured("dataDir", .path, default: "none in a file, aviary-data without one") { $0.dataDirectory = $1 },
        .honoured("dataLogDir", .path, default: "dataDir") { $0.logDirectory = $1 },
        .honoured("preAllocSize", .integer(unit: "KiB"), default: "65536") {
            $0.configuration.storage.preallocationSize = max($1, 0) * 1024
        },
        .honoured("snapCount", .property(), default: "100000", caution: { $0 < 2 ? "the least is 2; 2 is used" : nil })
        {
            $0.configuration.storage.snapshotCount = max($1, 2)
        },
        .honoured("snapSizeLimitInKb", .property(kibibytes, unit: "KiB"), default: "4194304") {
            $0.configuration.storage.snapshotSizeLimit = $1 > 0 ? $1 * 1024 : nil
        },
        .honoured("txnLogSizeLimitInKb", .property(kibibytes, unit: "KiB"), default: "-1 (off)") {
            $0.configuration.storage.logSizeLimit = $1 > 0 ? $1 * 1024 : nil
        },
        .honoured(
            "forceSync",
            .yesNo,
            default: "yes",
            caution: { $0 ? nil : "replies do not wait for the disk: a power failure can lose acknowledged writes" }
        ) {
            $0.configuration.storage.forcesSync = $1
        },
        .honoured("fsync.warningthresholdms", .propertyMilliseconds(ValueKind.natural), default: "1000") {
            $0.configuration.storage.fsyncWarningThreshold = $1
        },
        .honoured("flushDelay", .property(unit: "milliseconds"), default: "0 (off)") {
            $0.flushDelayMilliseconds = max($1, 0)
        },
        .honoured("maxWriteQueuePollTime", .propertyMilliseconds(ValueKind.natural), default: "flushDelay / 3") {
            $0.queuePollTime = $1
        },
        .honoured("maxBatchSize", .property(), default: "1000") {
            $0.configuration.storage.maximumBatchSize = $1 > 0 ? $1 : nil
        },
        .honoured("snapshot.compression.method", .compression, default: "none") {
            $0.configuration.storage.snapshotCompression = $1
        },
        .honoured(
            "snapshot.trust.empty",
            .boolean,
            default: "false",
            caution: { $0 ? "a lost snapshot would go unnoticed; set it for one start after an upgrade only" : nil }
        ) {
            $0.configuration.storage.trustsMissingSnapshot = $1
        },
        .honoured("serializeLastProcessedZxid.enabled", .boolean, default: "true") {
            $0.configuration.storage.writesLastProcessedZxid = $1
        },
        .honoured(
            "digest.enabled",
            .boolean,
            default: "true",
            caution: { $0 ? nil : "a tree that differs from what its log says would go unnoticed" }
        ) {
            $0.configuration.storage.keepsDigest = $1
        },
        .honoured("closeSessionTxn.enabled", .boolean, default: "true") {
            $0.configuration.storage.listsEphemeralsOnClose = $1
        },
        .honoured("db.autocreate", .boolean, default: "true") { $0.configuration.storage.createsDatabase = $1 },
        .honoured("datadir.autocreate", .boolean, default: "true") {
            $0.configuration.storage.createsDirectories = $1
        },
        .honoured("autopurge.purgeInterval", .purgeInterval, default: "1 (an hour); Apache: 0 (off)") {
            $0.purgeInterval = $1
        },
        .honoured(
            "autopurge.snapRetainCount",
            .integer(),
            default: "3",
            caution: { $0 < 3 ? "the least is 3; 3 is used" : nil }
        ) {
            $0.retainedSnapshots = max($1, 3)
        },
    ]

    /// Numbers of KiB whose bytes fit in 64 bits.
    private static let kibibytes = -1...(Int.max / 1024)

    private static let limits: [ConfigurationKey] = [
        .honoured("jute.maxbuffer", .property(128...ValueKind.int32.upperBound, unit: "bytes"), default: "1048575") {
            $0.configuration.limits.maximumPacketSize = $1
        }.flagOnly,
        .honoured("jute.maxbuffer.extrasize", .property(unit: "bytes"), default: "jute.maxbuffer") {
            $0.extraRecordSize = max($1, 1_024)
        },
        .honoured("globalOutstandingLimit", .property(ValueKind.natural), default: "1000") {
            $0.configuration.limits.outstandingRequests = $1
        },
        .honoured(
            "largeRequestThreshold",
            .property(unit: "bytes"),
            default: "-1 (off)",
            caution: { $0 == 0 || $0 < -1 ? "only -1 and positive numbers mean something; -1 (off) is used" : nil }
        ) {
            $0.configuration.limits.largeRequestThreshold = $1 > 0 ? $1 : nil
        },
        .honoured("largeRequestMaxBytes", .property(ValueKind.positive, unit: "bytes"), default: "104857600") {
            $0.configuration.limits.largeRequestMaximumTotal = $1
        },
        .honoured(
            "aviary.maxClientBytes",
            .property(0...Int.max / 4, unit: "bytes"),
            default: "0 (a quarter of the memory)"
        ) {
            $0.configuration.limits.clientBytes = $1 > 0 ? $1 : nil
        },
        .honoured(
            "aviary.maxWatchBytes",
            .property(0...Int.max / 4, unit: "bytes"),
            default: "0 (a quarter of the memory)"
        ) {
            $0.configuration.limits.watchBytes = $1 > 0 ? $1 : nil
        },
        .honoured(
            "aviary.maxConnectionWatchBytes",
            .property(1...Int.max / 4, unit: "bytes"),
            default: "67108864"
        ) {
            $0.configuration.limits.connectionWatchBytes = $1
        },
    ]

    private static let throttles: [ConfigurationKey] = [
        .honoured(
            "connection_throttle_tokens",
            .property(ValueKind.natural),
            default: "0 (off)",
            documented: ["connectionMaxTokens"]
        ) { $0.configuration.connectionThrottle.tokens = $1 },
        .honoured(
            "connection_throttle_fill_time",
            .propertyMilliseconds(ValueKind.positive),
            default: "1",
            documented: ["connectionTokenFillTime"]
        ) { $0.configuration.connectionThrottle.fillTime = $1 },
        .honoured(
            "connection_throttle_fill_count",
            .property(ValueKind.natural),
            default: "1",
            documented: ["connectionTokenFillCount"]
        ) { $0.configuration.connectionThrottle.fillCount = $1 },
        .honoured(
            "connection_throttle_freeze_time",
            .property(-1...ValueKind.int32.upperBound, unit: "milliseconds"),
            default: "-1 (off)",
            documented: ["connectionFreezeTime"]
        ) { $0.configuration.connectionThrottle.freezeTime = $1 < 0 ? nil : .milliseconds($1) },
        .honoured(
            "connection_throttle_drop_increase",
            .real(0...1),
            default: "0.02",
            documented: ["connectionDropIncrease"]
        ) { $0.configuration.connectionThrottle.dropIncrease = $1 },
        .honoured(
            "connection_throttle_drop_decrease",
            .real(0...1),
            default: "0.002",
            documented: ["connectionDropDecrease"]
        ) { $0.configuration.connectionThrottle.dropDecrease = $1 },
        .honoured(
            "connection_throttle_decrease_ratio",
            .real(0...1),
            default: "0",
            documented: ["connectionDecreaseRatio"]
        ) { $0.configuration.connectionThrottle.decreaseRatio = $1 },
        .honoured("connection_throttle_weight_enabled", .boolean, default: "false") {
            $0.configuration.connectionThrottle.isWeighted = $1
        },
        .honoured("connection_throttle_global_session_weight", .property(ValueKind.positive), default: "3") {
            $0.globalSessionWeight = $1
        },
        .honoured("connection_throttle_local_session_weight", .property(ValueKind.positive), default: "1") {
            $0.configuration.connectionThrottle.localSessionWeight = $1
        },
        .honoured("connection_throttle_renew_session_weight", .property(ValueKind.positive), default: "2") {
            $0.renewSessionWeight = $1
        },
        .honoured(
            "request_throttle_max_requests",
            .property(ValueKind.natural),
            default: "0 (off)",
            documented: ["requestThrottleLimit"]
        ) { $0.configuration.requestThrottle.maximumRequests = $1 > 0 ? $1 : nil },
        .honoured(
            "throttled_op_wait_time",
            .property(unit: "milliseconds"),
            default: "0 (off)",
            documented: ["throttledOpWaitTime"]
        ) { $0.configuration.requestThrottle.throttledOperationWaitTime = $1 > 0 ? .milliseconds($1) : nil },
    ]

    private static let access: [ConfigurationKey] = [
        .honoured(
            "skipACL",
            .yesNo,
            default: "no",
            caution: { $0 ? "access control is off: every client may read and change everything" : nil }
        ) {
            $0.configuration.access.skipsACL = $1
        },
        .honoured(
            "DigestAuthenticationProvider.superDigest",
            .text,
            default: "none",
            caution: { $0.contains(":") ? nil : "it is not of the form user:hash, so that nobody can match it" }
        ) {
            $0.configuration.access.superDigest = $1
        }.secret,
        .honoured("DigestAuthenticationProvider.enabled", .boolean, default: "true") {
            $0.configuration.access.isDigestEnabled = $1
        },
        .honoured("DigestAuthenticationProvider.digestAlg", .digestAlgorithm, default: "SHA1") {
            $0.configuration.access.digestAlgorithm = $1
        },
        .honoured("enforce.auth.enabled", .boolean, default: "false") { $0.isAuthenticationEnforced = $1 },
        .honoured("enforce.auth.schemes", .words, default: "none") { $0.enforcedSchemes = $1 },
        .honoured("ensembleAuthName", .words, default: "none") { $0.configuration.access.ensembleNames = $1 },
    ]

    private static let features: [ConfigurationKey] = [
        .honoured("extendedTypesEnabled", .boolean, default: "false") {
            $0.configuration.features.extendedTypes = $1
        },
        .honoured("emulate353TTLNodes", .boolean, default: "false") {
            $0.configuration.features.emulates353TTLNodes = $1
        },
        .honoured("enforceQuota", .boolean, default: "false") { $0.configuration.features.enforcesQuota = $1 },
        .honoured("reconfigEnabled", .boolean, default: "false") { $0.configuration.features.reconfig = $1 },
        .honoured("readonlymode.enabled", .boolean, default: "false") {
            $0.configuration.features.readOnlyMode = $1
        }.flagOnly,
        .honoured(
            "znode.container.checkIntervalMs",
            .propertyMilliseconds(ValueKind.positive),
            default: "60000"
        ) { $0.configuration.containers.checkInterval = $1 }.flagOnly,
        .honoured("znode.container.maxPerMinute", .property(ValueKind.positive), default: "10000") {
            $0.configuration.containers.maximumPerMinute = $1
        }.flagOnly,
        .honoured(
            "znode.container.maxNeverUsedIntervalMs",
            .property(0...Int.max / 1_000_000, unit: "milliseconds"),
            default: "0 (never)"
        ) { $0.configuration.containers.neverUsedInterval = $1 > 0 ? .milliseconds($1) : nil }.flagOnly,
        .honoured("4lw.commands.whitelist", .fourLetterWords, default: "srvr, ruok, isro, mntr; Apache: srvr") {
            $0.fourLetterWords = $1
        },
        .honoured("standaloneEnabled", .boolean, default: "true") { $0.isStandaloneEnabled = $1 },
        .honoured("dynamicConfigFile", .path, default: "none") { $0.dynamicConfigurationFile = $1 },
        // Members are read by ZooKeeperProtocol, with the dynamic file; the table only knows the names.
        .honoured("server.", .anything, default: "none") { _, _ in },
    ]
}

extension ValueKind where Value == [String] {
    /// Addresses to listen on. Apache takes one; we take several with commas between them.
    fileprivate static var addresses: ValueKind {
        ValueKind(
            allowed: "an IPv4 or IPv6 address or a host name, without a port, several of them with commas between"
        ) { text in
            var addresses: [String] = []
            for part in text.split(separator: ",", omittingEmptySubsequences: false) {
                guard let host = ListenAddress.host(part.trimmed) else { return nil }
                addresses.append(host)
            }
            return addresses
        }
    }

    /// Words of four letters, and `*` for all of them. Which of them exist is for the reader to say, as a warning:
    /// Apache overlooks the others.
    fileprivate static var fourLetterWords: ValueKind {
        ValueKind(
            allowed: "four letter words separated by commas, or * for all of them",
            parse: ValueKind.words.parse
        )
    }
}

extension ValueKind where Value == ServerConfiguration.SnapshotCompression {
    fileprivate static var compression: ValueKind {
        ValueKind(allowed: "gz, snappy or nothing") { text in
            ServerConfiguration.SnapshotCompression(rawValue: text)
        }
    }
}

extension ValueKind where Value == ServerConfiguration.DigestAlgorithm {
    /// By Java's names for them, which are several for SHA-1, in any case.
    fileprivate static var digestAlgorithm: ValueKind {
        ValueKind(allowed: "SHA1, SHA-256 or SHA-512") { text in
            switch text.uppercased() {
            case "SHA1", "SHA-1", "SHA": .sha1
            case "SHA-256": .sha256
            case "SHA-512": .sha512
            default: nil
            }
        }
    }
}
