// The rest of the table: what is accepted without effect, and what is refused because it promises a protection.

extension KeyTable {
    /// Reasons continue "accepted without effect: …", for one key and for many.
    private enum Without {
        static let adminServer = "there is no HTTP admin server yet, and no port is opened for one"
        static let metrics =
            "there is no metrics endpoint yet, and no port is opened; the four letter word mntr gives the numbers"
        static let threads = "for threads, buffers or caches that this server does not have"
        static let java = "for the Java virtual machine, and there is none here"
        static let watches = "watches are always stored compactly"
        static let statistics = "these statistics are not collected yet"
        static let noTLS = "there is no TLS yet"
        static let noSASL = "there is no SASL yet"
        static let audit = "there is no audit log yet"
        static let flowControl = "reading from a connection always stops before its buffers grow without end"
        static let stale = "reading stops before requests grow old, and those of a closed connection are not read"
        static let stall = "a request that waits goes on as soon as there is room"
        static let shutdown = "a stop answers what was accepted and does not wait longer"
        static let controller = "there is no fault controller, and no port is opened for one"
        static let forwarding = "for the HTTP admin server, and there is none yet"
    }

    /// Reasons continue "refused: …".
    private enum Refused {
        static let tls =
            "there is no TLS yet, and clients that rely on it would be unprotected or shut out; remove it, and put a "
            + "TLS proxy in front of the client port if the network needs it"
        static let sasl =
            "there is no SASL yet, and a server that only seems to require it would let everyone in; remove it, and "
            + "use enforce.auth.enabled with enforce.auth.schemes=digest to require authentication"
        static let quorumTLS =
            "there is no TLS between servers yet, and what they say to each other would be open to read and to forge; "
            + "remove it, and keep the quorum and election ports in a network of their own"
        static let quorumSASL =
            "there is no SASL between servers yet, and a server that only seems to require it would let everyone in; "
            + "remove it, and keep the quorum and election ports in a network of their own"
        static let audit = "there is no audit log yet, and nothing would be recorded; remove it"
        static let requiredScheme =
            "Apache has no such setting, and there is no SASL here yet, so that nothing would be required; use "
            + "enforce.auth.enabled with enforce.auth.schemes"
    }

    static let any = ValueKind<Int>.int32

    static let administration: [ConfigurationKey] = [
        .ignored("admin.enableServer", .boolean, default: "true", because: Without.adminServer, unless: isOff),
        .ignored("admin.serverAddress", .text, default: "0.0.0.0", because: Without.adminServer),
        .ignored("admin.serverPort", .property(0...65_535), default: "8080", because: Without.adminServer),
        .ignored("admin.idleTimeout", .property(), default: "30000", because: Without.adminServer),
        .ignored("admin.commandURL", .text, default: "/commands", because: Without.adminServer),
        .ignored("admin.httpVersion", .property(), default: "11", because: Without.adminServer),
        .ignored("admin.rateLimiterIntervalInMS", .property(), default: "300000", because: Without.adminServer),
        .ignored("admin.snapshot.enabled", .boolean, default: "true", because: Without.adminServer, unless: isOff),
        .ignored("admin.restore.enabled", .boolean, default: "true", because: Without.adminServer, unless: isOff),
        .ignored("admin.needClientAuth", .boolean, default: "false", because: Without.adminServer, unless: isOff),
        .ignored("admin.forceHttps", .boolean, default: "false", because: Without.adminServer, unless: isOff),
        .ignored(
            "admin.portUnification",
            .boolean,
            default: "false",
            because: Without.adminServer,
            unless: isOff
        ),
        .ignored(
            "IPAuthenticationProvider.usexforwardedfor",
            .boolean,
            default: "false",
            because: Without.forwarding,
            unless: isOff
        ),
        .ignored(
            "metricsProvider.className",
            .text,
            default: "DefaultMetricsProvider",
            because: Without.metrics,
            unless: { $0.hasSuffix("DefaultMetricsProvider") || $0.hasSuffix("NullMetricsProvider") }
        ),
        .ignored("metricsProvider.httpHost", .text, default: "0.0.0.0", because: Without.metrics),
        .ignored("metricsProvider.httpPort", .property(-1...65_535), default: "none", because: Without.metrics),
        .ignored("metricsProvider.httpsPort", .property(-1...65_535), default: "none", because: Without.metrics),
        .ignored("metricsProvider.exportJvmInfo", .boolean, default: "true", because: Without.metrics),
        .ignored("metricsProvider.numWorkerThreads", .property(), default: "10", because: Without.metrics),
        .ignored("metricsProvider.maxQueueSize", .property(), default: "10000", because: Without.metrics),
        .ignored("metricsProvider.workerShutdownTimeoutMs", .property(), default: "1000", because: Without.metrics),
        .ignored("metricsProvider.", .anything, default: "none", because: Without.metrics).secret,
        .ignored("controllerPort", .property(0...65_535), default: "none", because: Without.controller),
        .ignored("audit.impl.class", .text, default: "Slf4jAuditLogger", because: Without.audit),
        .ignored("pathStats.enabled", .boolean, default: "false", because: Without.statistics, unless: isOff),
        .ignored("pathStats.slotCapacity", .property(), default: "60", because: Without.statistics),
        .ignored("pathStats.slotDuration", .property(), default: "15", because: Without.statistics),
        .ignored("pathStats.maxDepth", .property(), default: "6", because: Without.statistics),
        .ignored("pathStats.sampleRate", .real(0...1), default: "0.1", because: Without.statistics),
        .ignored("pathStats.initialDelay", .property(), default: "5", because: Without.statistics),
        .ignored("pathStats.delay", .property(), default: "5", because: Without.statistics),
        .ignored("pathStats.topPathMax", .property(), default: "20", because: Without.statistics),
        .ignored("messageTracker.Enabled", .boolean, default: "false", because: Without.statistics, unless: isOff),
        .ignored("messageTracker.BufferSize", .property(), default: "10", because: Without.statistics),
    ]

    /// Threads, buffers, caches and the Java virtual machine.
    static let runtime: [ConfigurationKey] = [
        .ignored("maxResponseCacheSize", .property(), default: "400", because: Without.threads),
        .ignored("maxGetChildrenResponseCacheSize", .property(), default: "400", because: Without.threads),
        .ignored(
            "intBufferStartingSizeBytes",
            .property(32...any.upperBound),
            default: "1024",
            because: Without.threads
        ),
        .ignored("serverCnxnFactory", .text, default: "NIOServerCnxnFactory", because: Without.threads),
        .ignored("nio.numSelectorThreads", .property(), default: "by the number of cores", because: Without.threads),
        .ignored("nio.numWorkerThreads", .property(), default: "by the number of cores", because: Without.threads),
        .ignored("nio.directBufferBytes", .property(), default: "65536", because: Without.threads),
        .ignored("nio.shutdownTimeout", .property(), default: "5000", because: Without.shutdown),
        .ignored(
            "commitProcessor.numWorkerThreads",
            .property(),
            default: "by the number of cores",
            because: Without.threads
        ),
        .ignored("commitProcessor.maxReadBatchSize", .property(), default: "-1", because: Without.threads),
        .ignored("commitProcessor.maxCommitBatchSize", .property(), default: "1", because: Without.threads),
        .ignored("commitProcessor.shutdownTimeout", .property(), default: "5000", because: Without.shutdown),
        .ignored("request_throttler.shutdownTimeout", .property(), default: "10000", because: Without.shutdown),
        .ignored(
            "netty.advancedFlowControl.enabled",
            .boolean,
            default: "false",
            documented: ["advancedFlowControlEnabled"],
            because: Without.flowControl,
            unless: isOn
        ),
        .ignored(
            "request_throttle_stall_time",
            .propertyMilliseconds(ValueKind<Int>.positive),
            default: "100",
            documented: ["requestThrottleStallTime"],
            because: Without.stall
        ),
        .ignored(
            "request_throttle_drop_stale",
            .boolean,
            default: "true",
            documented: ["requestThrottleDropStale"],
            because: Without.stale,
            unless: isOn
        ),
        .ignored(
            "request_stale_latency_check",
            .boolean,
            default: "false",
            documented: ["requestStaleLatencyCheck"],
            because: Without.stale,
            unless: isOff
        ),
        .ignored(
            "request_stale_connection_check",
            .boolean,
            default: "true",
            documented: ["requestStaleConnectionCheck"],
            because: Without.stale,
            unless: isOn
        ),
        .ignored("watchManagerName", .text, default: "WatchManager", because: Without.watches),
        .ignored("watcherCleanThreadsNum", .property(), default: "2", because: Without.watches),
        .ignored("watcherCleanThreshold", .property(), default: "1000", because: Without.watches),
        .ignored("watcherCleanIntervalInSeconds", .property(), default: "600", because: Without.watches),
        .ignored("maxInProcessingDeadWatchers", .property(), default: "-1", because: Without.watches),
        .ignored("bitHashCacheSize", .property(), default: "10", because: Without.watches),
        .ignored("jvm.pause.monitor", .boolean, default: "false", because: Without.java, unless: isOff),
        .ignored("jvm.pause.sleep.time.ms", .integer(), default: "500", because: Without.java),
        .ignored("jvm.pause.info-threshold.ms", .integer(), default: "1000", because: Without.java),
        .ignored("jvm.pause.warn-threshold.ms", .integer(), default: "10000", because: Without.java),
        .ignored("jmx.log4j.disable", .boolean, default: "false", because: Without.java),
        .ignored("jmx.log4j.mbean", .text, default: "log4j:hierarchy=default", because: Without.java),
    ]

    static let transportSecurity: [ConfigurationKey] =
        [
            .refused("secureClientPort", .integer(0...65_535), default: "none", because: Refused.tls),
            .refused("secureClientPortAddress", .text, default: "none", because: Refused.tls),
            .refused("client.portUnification", .boolean, default: "false", because: Refused.tls, unless: isOff),
            .refused("sslQuorum", .boolean, default: "false", because: Refused.quorumTLS, unless: isOff),
            .refused("portUnification", .boolean, default: "false", because: Refused.quorumTLS, unless: isOff),
            .refused("ssl.authProvider", .text, default: "x509", because: Refused.tls),
            .refused("ssl.sslProvider", .text, default: "JDK", because: Refused.tls),
            .ignored("client.certReload", .boolean, default: "false", because: Without.noTLS, unless: isOff),
            .ignored("sslQuorumReloadCertFiles", .boolean, default: "false", because: Without.noTLS, unless: isOff),
            .ignored("fips-mode", .boolean, default: "true", because: Without.noTLS, unless: isOff),
            .ignored(
                "netty.server.outstandingHandshake.limit",
                .property(),
                default: "-1 (off)",
                documented: ["outstandingHandshake.limit"],
                because: Without.noTLS
            ),
            .ignored(
                "netty.server.earlyDropSecureConnectionHandshakes",
                .boolean,
                default: "false",
                because: Without.noTLS,
                unless: isOff
            ),
            .ignored("X509AuthenticationProvider.superUser", .text, default: "none", because: Without.noTLS),
        ] + stores(prefix: "ssl.", because: Refused.tls) + stores(prefix: "ssl.quorum.", because: Refused.quorumTLS)

    /// The settings that clients and servers have alike.
    private static func stores(prefix: String, because reason: String) -> [ConfigurationKey] {
        let switches: [(name: String, defaultValue: String)] = [
            ("hostnameVerification", "true"), ("clientHostnameVerification", "false"),
            ("allowReverseDnsLookup", "false"), ("crl", "false"), ("ocsp", "false"),
        ]
        let texts: [(name: String, defaultValue: String)] = [
            ("keyStore.location", "none"), ("keyStore.passwordPath", "none"), ("keyStore.type", "by the file's name"),
            ("trustStore.location", "none"), ("trustStore.passwordPath", "none"),
            ("trustStore.type", "by the file's name"), ("protocol", "TLSv1.3"), ("enabledProtocols", "protocol"),
            ("ciphersuites", "by the runtime"), ("context.supplier.class", "none"),
            ("handshakeDetectionTimeoutMillis", "5000"),
        ]
        var keys: [ConfigurationKey] = []
        for text in texts {
            keys.append(.refused(prefix + text.name, .text, default: text.defaultValue, because: reason))
        }
        for name in ["keyStore.password", "trustStore.password"] {
            keys.append(.refused(prefix + name, .anything, default: "none", because: reason).secret)
        }
        for toggle in switches {
            keys.append(
                .refused(prefix + toggle.name, .boolean, default: toggle.defaultValue, because: reason, unless: isOff)
            )
        }
        keys.append(
            .refused(
                prefix + "clientAuth",
                .choice("need", "want", "none"),
                default: "need",
                because: reason,
                unless: { $0 == "none" }
            )
        )
        return keys
    }

    static let authentication: [ConfigurationKey] = [
        ConfigurationKey(
            name: "authProvider.",
            allowed: "a class name of Apache's digest, ip or ensemble provider",
            defaultValue: "none",
            status: .honoured,
            respond: respondToProvider
        ),
        .refused("sessionRequireClientSASLAuth", .boolean, default: "false", because: Refused.sasl, unless: isOff),
        .refused(
            "requireClientAuthScheme",
            .text,
            default: "none",
            because: Refused.requiredScheme,
            unless: { $0 == "none" }
        ),
        .refused("sasl.serverconfig", .text, default: "Server", because: Refused.sasl),
        .refused("quorum.auth.enableSasl", .boolean, default: "false", because: Refused.quorumSASL, unless: isOff),
        .refused(
            "quorum.auth.serverRequireSasl",
            .boolean,
            default: "false",
            because: Refused.quorumSASL,
            unless: isOff
        ),
        .refused(
            "quorum.auth.learnerRequireSasl",
            .boolean,
            default: "false",
            because: Refused.quorumSASL,
            unless: isOff
        ),
        .refused("audit.enable", .boolean, default: "false", because: Refused.audit, unless: isOff),
        .ignored("allowSaslFailedClients", .boolean, default: "false", because: Without.noSASL, unless: isOff),
        .ignored("letAnySaslUserDoX", .text, default: "none", because: Without.noSASL),
        .ignored("superUser", .text, default: "none", because: Without.noSASL),
        .ignored("superUser.", .text, default: "none", because: Without.noSASL),
        .ignored("SASLAuthenticationProvider.superPassword", .anything, default: "none", because: Without.noSASL)
            .secret,
        .ignored(
            "kerberos.removeHostFromPrincipal",
            .boolean,
            default: "false",
            because: Without.noSASL,
            unless: isOff
        ),
        .ignored(
            "kerberos.removeRealmFromPrincipal",
            .boolean,
            default: "false",
            because: Without.noSASL,
            unless: isOff
        ),
        .ignored("kerberos.minReLoginTimeMs", .property(), default: "60000", because: Without.noSASL),
        .ignored("security.auth_to_local", .text, default: "DEFAULT", because: Without.noSASL),
        .ignored("jaasLoginRenew", .property(), default: "none", because: Without.noSASL),
        .ignored("kinit", .text, default: "/usr/bin/kinit", because: Without.noSASL),
    ]

    /// Apache loads the class that `authProvider.N` names; a scheme that nobody checks must not seem to exist.
    @Sendable private static func respondToProvider(
        _ text: String,
        _ draft: inout ConfigurationDraft
    ) -> ConfigurationKey.Response {
        switch text.split(separator: ".").last {
        case nil: return .invalid
        case "DigestAuthenticationProvider", "IPAuthenticationProvider": return .taken
        case "EnsembleAuthenticationProvider":
            draft.configuration.access.isEnsembleSchemeEnabled = true
            return .taken
        case "SASLAuthenticationProvider": return .refused(Refused.sasl)
        case "X509AuthenticationProvider": return .refused(Refused.tls)
        case _?:
            return .refused(
                "this server is not a Java program and cannot load the class, so that its checks would not happen; "
                    + "remove it"
            )
        }
    }

    static let isOff: @Sendable (Bool) -> Bool = { !$0 }
    static let isOn: @Sendable (Bool) -> Bool = { $0 }
}
