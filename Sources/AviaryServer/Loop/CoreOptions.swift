internal import AviaryCore
internal import Crypto
internal import ZooKeeperProtocol

extension CoreOptions {
    /// What the configuration means for the core.
    init(_ configuration: ServerConfiguration) {
        self.init(passwordDigest: CoreOptions.digest(configuration.access.digestAlgorithm))
        let sessions = configuration.sessions
        tickTimeMilliseconds = sessions.tickTime.milliseconds
        minSessionTimeoutMilliseconds = sessions.minimumTimeout.milliseconds
        maxSessionTimeoutMilliseconds = sessions.maximumTimeout.milliseconds
        handshakeTimeoutMilliseconds = configuration.clients.sessionlessTimeout.milliseconds

        if let ensemble = configuration.ensemble {
            serverID = ensemble.me.rawValue
            localSessionsEnabled = ensemble.localSessions
            localSessionsUpgradingEnabled = ensemble.upgradesLocalSessions
        }

        maxBufferBytes = configuration.limits.maximumPacketSize + configuration.limits.extraRecordSize
        // A reply may be larger than a request, and one that collects many of them larger still.
        maxReplyBytes = max(maxReplyBytes, configuration.limits.maximumPacketSize * 4)
        maxListBytes = max(maxListBytes, maxReplyBytes)
        maxWatchBytes = configuration.limits.connectionWatchBytes
        maxTotalWatchBytes = configuration.limits.watchBytes ?? ProcessFacts.memoryLimit() / 4
        throttledOpWaitMilliseconds = configuration.requestThrottle.throttledOperationWaitTime?.milliseconds ?? 0

        let features = configuration.features
        extendedTypes = features.extendedTypes
        emulate353 = features.emulates353TTLNodes
        enforceQuota = features.enforcesQuota
        reconfigEnabled = features.reconfig
        digestEnabled = configuration.storage.keepsDigest
        closeSessionTxn = configuration.storage.listsEphemeralsOnClose

        let access = configuration.access
        skipACL = access.skipsACL
        superDigest = access.superDigest
        digestAuthEnabled = access.isDigestEnabled
        requiredAuthSchemes = access.enforcedSchemes
        ensembleAuth = access.isEnsembleSchemeEnabled ? EnsembleAuth(names: access.ensembleNames) : nil

        snapCount = configuration.storage.snapshotCount
        snapSizeLimitBytes = configuration.storage.snapshotSizeLimit.map(Int64.init)

        let containers = configuration.containers
        containerCheckIntervalMilliseconds = containers.checkInterval.milliseconds
        containerMaxPerMinute = Int64(containers.maximumPerMinute)
        containerMaxNeverUsedMilliseconds = containers.neverUsedInterval?.milliseconds ?? 0
    }

    private static func digest(
        _ algorithm: ServerConfiguration.DigestAlgorithm
    ) -> @Sendable (UnsafeRawBufferPointer) -> [UInt8] {
        switch algorithm {
        case .sha1: { hash($0, Insecure.SHA1.self) }
        case .sha256: { hash($0, SHA256.self) }
        case .sha512: { hash($0, SHA512.self) }
        }
    }

    private static func hash<Hash: HashFunction>(_ bytes: UnsafeRawBufferPointer, _ type: Hash.Type) -> [UInt8] {
        var hash = Hash()
        hash.update(bufferPointer: bytes)
        return [UInt8](hash.finalize())
    }
}
