import Testing

@testable import AviaryServer

@Suite("The table knows every key of ZooKeeper")
struct KeyTableTests {
    @Test("No name is there twice")
    func unique() {
        var seen: Set<String> = []
        for name in KeyTable.all.flatMap({ [$0.name] + $0.documentedNames }) {
            #expect(seen.insert(name).inserted, "\(name)")
        }
    }

    @Test("Every key can be found with and without the prefix", arguments: Self.keys)
    func known(name: String) {
        #expect(KeyTable.key(named: name) != nil)
        #expect(KeyTable.key(named: "zookeeper.\(name)") != nil)
    }

    @Test("Every key says what is allowed, its default and why it has no effect")
    func described() {
        for key in KeyTable.all {
            #expect(!key.allowed.isEmpty, "\(key.name)")
            #expect(!key.defaultValue.isEmpty, "\(key.name)")
            switch key.status {
            case .honoured: break
            case .withoutEffect(let reason), .refused(let reason): #expect(!reason.isEmpty, "\(key.name)")
            }
        }
    }

    @Test("Names of the documentation stand for the property that has the effect", arguments: Self.documentedNames)
    func documented(name: String, property: String) {
        #expect(KeyTable.key(named: name)?.name == property)
    }

    @Test("A family needs something behind its dot")
    func families() {
        #expect(KeyTable.key(named: "server.1")?.name == "server.")
        #expect(KeyTable.key(named: "server.") == nil)
        #expect(KeyTable.key(named: "metricsProvider.ssl.keyStore.password")?.isSecret == true)
        #expect(KeyTable.key(named: "authProvider.sasl")?.name == "authProvider.")
    }

    /// What Apache's administrator's guide calls them, and what its code reads.
    static let documentedNames: [(String, String)] = [
        ("connectionMaxTokens", "connection_throttle_tokens"),
        ("connectionTokenFillTime", "connection_throttle_fill_time"),
        ("connectionTokenFillCount", "connection_throttle_fill_count"),
        ("connectionFreezeTime", "connection_throttle_freeze_time"),
        ("connectionDropIncrease", "connection_throttle_drop_increase"),
        ("connectionDropDecrease", "connection_throttle_drop_decrease"),
        ("connectionDecreaseRatio", "connection_throttle_decrease_ratio"),
        ("requestThrottleLimit", "request_throttle_max_requests"),
        ("requestThrottleStallTime", "request_throttle_stall_time"),
        ("requestThrottleDropStale", "request_throttle_drop_stale"),
        ("requestStaleLatencyCheck", "request_stale_latency_check"),
        ("requestStaleConnectionCheck", "request_stale_connection_check"),
        ("throttledOpWaitTime", "throttled_op_wait_time"),
        ("advancedFlowControlEnabled", "netty.advancedFlowControl.enabled"),
        ("outstandingHandshake.limit", "netty.server.outstandingHandshake.limit"),
        ("maxConcurrentSnapSyncs", "leader.maxConcurrentSnapSyncs"),
        ("maxConcurrentDiffSyncs", "leader.maxConcurrentDiffSyncs"),
        ("maxTimeToWaitForEpoch", "leader.maxTimeToWaitForEpoch"),
    ]

    /// The feature ledger's keys, in its order.
    static let keys = ledger.split(whereSeparator: \.isWhitespace).map(String.init)

    private static let ledger = """
        znode.container.checkIntervalMs znode.container.maxPerMinute znode.container.maxNeverUsedIntervalMs
        readonlymode.enabled jute.maxbuffer follower.nodelay leader.nodelay

        extendedTypesEnabled emulate353TTLNodes
        watchManagerName watcherCleanThreadsNum watcherCleanThreshold watcherCleanIntervalInSeconds
        maxInProcessingDeadWatchers bitHashCacheSize
        tickTime minSessionTimeout maxSessionTimeout
        localSessionsEnabled localSessionsUpgradingEnabled closeSessionTxn.enabled jute.maxbuffer.extrasize

        authProvider.1 authProvider.x509 ssl.authProvider ensembleAuthName
        DigestAuthenticationProvider.enabled DigestAuthenticationProvider.digestAlg
        DigestAuthenticationProvider.superDigest X509AuthenticationProvider.superUser superUser superUser.2
        skipACL enforce.auth.enabled enforce.auth.schemes sessionRequireClientSASLAuth allowSaslFailedClients
        enableEagerACLCheck sasl.serverconfig kerberos.removeHostFromPrincipal kerberos.removeRealmFromPrincipal
        security.auth_to_local
        quorum.auth.enableSasl quorum.auth.serverRequireSasl quorum.auth.learnerRequireSasl
        quorum.auth.kerberos.servicePrincipal quorum.auth.learner.saslLoginContext
        quorum.auth.server.saslLoginContext quorum.cnxn.threads.size kerberos.canonicalizeHostNames

        secureClientPort secureClientPortAddress client.portUnification sslQuorum portUnification
        ssl.keyStore.location ssl.keyStore.password ssl.keyStore.passwordPath ssl.keyStore.type
        ssl.trustStore.location ssl.trustStore.password ssl.trustStore.passwordPath ssl.trustStore.type
        ssl.quorum.keyStore.location ssl.quorum.keyStore.password ssl.quorum.keyStore.passwordPath
        ssl.quorum.keyStore.type ssl.quorum.trustStore.location ssl.quorum.trustStore.password
        ssl.quorum.trustStore.passwordPath ssl.quorum.trustStore.type
        ssl.protocol ssl.enabledProtocols ssl.ciphersuites ssl.sslProvider ssl.context.supplier.class
        ssl.quorum.protocol ssl.quorum.enabledProtocols ssl.quorum.ciphersuites ssl.quorum.context.supplier.class
        ssl.clientAuth ssl.hostnameVerification ssl.clientHostnameVerification ssl.allowReverseDnsLookup ssl.crl
        ssl.ocsp ssl.handshakeDetectionTimeoutMillis
        ssl.quorum.clientAuth ssl.quorum.hostnameVerification ssl.quorum.clientHostnameVerification
        ssl.quorum.allowReverseDnsLookup ssl.quorum.crl ssl.quorum.ocsp ssl.quorum.handshakeDetectionTimeoutMillis
        client.certReload sslQuorumReloadCertFiles fips-mode
        netty.server.outstandingHandshake.limit netty.server.earlyDropSecureConnectionHandshakes

        server.1 electionAlg initLimit syncLimit
        connectToLearnerMasterLimit leader.maxTimeToWaitForEpoch fastleader.minNotificationInterval
        fastleader.maxNotificationInterval cnxTimeout quorumCnxnTimeoutMs electionPortBindRetry tcpKeepAlive
        leader.maxConcurrentSnapSyncs leader.maxConcurrentDiffSyncs commitLogCount leaderServes
        peerType syncEnabled observer.syncEnabled observer.reconnectDelayMs observer.election.DelayMs
        observerMasterPort observerMaster.sizeLimit reconfigEnabled standaloneEnabled dynamicConfigFile
        group.1 weight.1 oraclePath
        multiAddress.enabled multiAddress.reachabilityCheckEnabled multiAddress.reachabilityCheckTimeoutMs
        digest.enabled db.autocreate datadir.autocreate quorumListenOnAllIPs

        dataDir dataLogDir preAllocSize forceSync fsync.warningthresholdms
        snapCount snapSizeLimitInKb txnLogSizeLimitInKb maxBatchSize flushDelay maxWriteQueuePollTime
        snapshot.compression.method snapshot.trust.empty serializeLastProcessedZxid.enabled
        autopurge.purgeInterval autopurge.snapRetainCount

        clientPort clientPortAddress maxClientCnxns maxCnxns clientPortListenBacklog clientTcpKeepAlive
        connection_throttle_tokens connection_throttle_fill_time connection_throttle_fill_count
        connection_throttle_freeze_time connection_throttle_drop_increase connection_throttle_drop_decrease
        connection_throttle_decrease_ratio connection_throttle_weight_enabled
        connection_throttle_global_session_weight connection_throttle_local_session_weight
        connection_throttle_renew_session_weight
        request_throttle_max_requests request_throttle_stall_time request_throttle_drop_stale
        request_stale_latency_check request_stale_connection_check throttled_op_wait_time
        largeRequestMaxBytes largeRequestThreshold globalOutstandingLimit enforceQuota
        maxResponseCacheSize maxGetChildrenResponseCacheSize nio.numSelectorThreads nio.numWorkerThreads
        nio.directBufferBytes nio.shutdownTimeout nio.sessionlessCnxnTimeout
        commitProcessor.numWorkerThreads commitProcessor.maxReadBatchSize commitProcessor.maxCommitBatchSize
        commitProcessor.shutdownTimeout

        4lw.commands.whitelist
        admin.enableServer admin.serverAddress admin.serverPort admin.idleTimeout admin.commandURL
        admin.httpVersion admin.rateLimiterIntervalInMS admin.snapshot.enabled admin.restore.enabled
        admin.needClientAuth admin.forceHttps admin.portUnification
        metricsProvider.className metricsProvider.httpHost metricsProvider.httpPort metricsProvider.httpsPort
        metricsProvider.ssl.keyStore.location metricsProvider.exportJvmInfo metricsProvider.numWorkerThreads
        metricsProvider.maxQueueSize metricsProvider.workerShutdownTimeoutMs
        audit.enable audit.impl.class
        pathStats.enabled pathStats.slotCapacity pathStats.slotDuration pathStats.maxDepth pathStats.sampleRate
        pathStats.initialDelay pathStats.delay pathStats.topPathMax
        messageTracker.Enabled messageTracker.BufferSize controllerPort

        forceSnapshotSync leaderConnectDelayDuringRetryMs snapshotSizeFactor letAnySaslUserDoX
        serverCnxnFactory netty.advancedFlowControl.enabled request_throttler.shutdownTimeout
        learner.closeSocketAsync leader.closeSocketAsync learner.asyncSending leader.ackLoggingFrequency
        forward_learner_requests_to_commit_processor_disabled follower.skipLearnerRequestToNextProcessor
        IPAuthenticationProvider.usexforwardedfor SASLAuthenticationProvider.superPassword
        jvm.pause.monitor jvm.pause.sleep.time.ms jvm.pause.info-threshold.ms jvm.pause.warn-threshold.ms
        intBufferStartingSizeBytes kerberos.minReLoginTimeMs kinit jmx.log4j.disable
        """
}
