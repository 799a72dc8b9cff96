import ZooKeeperProtocol

// The keys for members of an ensemble.

extension KeyTable {
    /// Reasons continue "accepted without effect: …".
    private enum Without {
        static let sockets = "for threads and sockets that this server does not have"
        static let noDelay = "what servers send each other is never held back"
        static let waits = "a learner that is faster than its leader waits on the open port"
        static let reconnects = "an observer reconnects at once"
        static let bind = "a port that cannot be opened is tried again for as long as it takes"
        static let oracle = "there is no oracle for ensembles of two; without one of its servers there is no quorum"
        static let logs = "an observer always writes its log and snapshots"
        static let throttle = "a learner that synchronizes takes no memory of its leader's"
        static let epoch = "a leader without its quorum gives up after initLimit"
        static let addresses = "all addresses of a member are tried at once"
        static let checks = "permissions are checked by the leader"
        static let noSASL = "there is no SASL between servers yet"
        static let cache = "observers are sent what their master keeps in memory for all learners (commitLogCount)"
    }

    static let ensemble: [ConfigurationKey] = [
        .forMembers("initLimit", .integer(ValueKind.natural, unit: "ticks"), default: "none; members need it") {
            $0.initLimit = $1
        },
        .forMembers("syncLimit", .integer(ValueKind.natural, unit: "ticks"), default: "none; members need it") {
            $0.syncLimit = $1
        },
        .forMembers(
            "connectToLearnerMasterLimit",
            .integer(ValueKind.natural, unit: "ticks"),
            default: "0 (initLimit)"
        ) { $0.connectLimit = $1 },
        .forMembers("electionAlg", .integer(3...3), default: "3", unless: { $0 == 3 }) { _, _ in },
        .forMembers(
            "peerType",
            .choice("participant", "observer"),
            default: "participant",
            unless: { $0 == "participant" }
        ) { $0.peerType = QuorumMember.Role(rawValue: $1) },
        // Read with the members, by ZooKeeperProtocol; the table only knows the names.
        .forMembers("group.", .text, default: "none") { _, _ in },
        .forMembers("weight.", .text, default: "1") { _, _ in },
        .forMembers("quorumListenOnAllIPs", .boolean, default: "false", unless: isOff) {
            $0.listensOnAllAddresses = $1
        },
        .forMembers("leaderServes", .yesNo, default: "yes", unless: isOn) { $0.leaderServes = $1 },
        .forMembers("localSessionsEnabled", .boolean, default: "false", unless: isOff) { $0.localSessions = $1 },
        .forMembers("localSessionsUpgradingEnabled", .boolean, default: "false", unless: isOff) {
            $0.upgradesLocalSessions = $1
        },
        .forMembers("cnxTimeout", .propertyMilliseconds(ValueKind.positive), default: "5000") {
            $0.connectTimeout = $1
        },
        .forMembers("quorumCnxnTimeoutMs", .property(unit: "milliseconds"), default: "-1 (syncLimit ticks)") {
            $0.introductionTimeoutMilliseconds = $1
        },
        .forMembers("tcpKeepAlive", .boolean, default: "false", unless: isOff) { $0.sendsTCPKeepAlive = $1 },
        .forMembers(
            "fastleader.minNotificationInterval",
            .propertyMilliseconds(ValueKind.positive),
            default: "200"
        ) { $0.minimumNotificationInterval = $1 },
        .forMembers(
            "fastleader.maxNotificationInterval",
            .propertyMilliseconds(ValueKind.positive),
            default: "60000"
        ) { $0.maximumNotificationInterval = $1 },
        .forMembers("observer.election.DelayMs", .propertyMilliseconds(ValueKind.natural), default: "200") {
            $0.observerElectionDelay = $1
        },
        .forMembers(
            "commitLogCount",
            .property(),
            default: "500",
            caution: { $0 < 500 ? "the least is 500; 500 is used" : nil }
        ) { $0.recentTransactions = max($1, 500) },
        .forMembers("snapshotSizeFactor", .real(-1_000...1_000), default: "0.33") {
            // As in Apache, what is more than the whole snapshot is taken for a mistake.
            $0.snapshotSizeFactor = $1 < 0 ? nil : $1 > 1 ? 0.33 : $1
        },
        .forMembers("forceSnapshotSync", .boolean, default: "false", unless: isOff) { $0.forcesSnapshotSync = $1 },
        .forMembers("multiAddress.enabled", .boolean, default: "false", unless: isOff) {
            $0.allowsSeveralAddresses = $1
        },
        .forMembers(
            "observerMasterPort",
            .integer(any.lowerBound...65_535),
            default: "0 (off)",
            unless: { $0 <= 0 }
        ) { $0.observerMasterPort = $1 > 0 ? $1 : nil },
        .ignored("observerMaster.sizeLimit", .property(), default: "33554432", because: Without.cache),
        .ignored("oraclePath", .path, default: "none", because: Without.oracle),
        .ignored("syncEnabled", .boolean, default: "true", because: Without.logs, unless: isOn),
        .ignored("observer.syncEnabled", .boolean, default: "true", because: Without.logs, unless: isOn),
        .ignored("observer.reconnectDelayMs", .property(), default: "0", because: Without.reconnects),
        .ignored("enableEagerACLCheck", .boolean, default: "false", because: Without.checks, unless: isOff),
        .ignored("electionPortBindRetry", .property(), default: "3", because: Without.bind),
        .ignored("leaderConnectDelayDuringRetryMs", .property(), default: "100", because: Without.waits),
        .ignored(
            "leader.maxConcurrentSnapSyncs",
            .property(),
            default: "10",
            documented: ["maxConcurrentSnapSyncs"],
            because: Without.throttle
        ),
        .ignored(
            "leader.maxConcurrentDiffSyncs",
            .property(),
            default: "100",
            documented: ["maxConcurrentDiffSyncs"],
            because: Without.throttle
        ),
        .ignored(
            "leader.maxTimeToWaitForEpoch",
            .property(),
            default: "-1 (off)",
            documented: ["maxTimeToWaitForEpoch"],
            because: Without.epoch
        ),
        .ignored("leader.ackLoggingFrequency", .property(), default: "1000", because: Without.sockets),
        .ignored("leader.closeSocketAsync", .boolean, default: "false", because: Without.sockets, unless: isOff),
        .ignored("learner.closeSocketAsync", .boolean, default: "false", because: Without.sockets, unless: isOff),
        .ignored("learner.asyncSending", .boolean, default: "false", because: Without.sockets, unless: isOff),
        .ignored("leader.nodelay", .boolean, default: "true", because: Without.noDelay, unless: isOn).flagOnly,
        .ignored("follower.nodelay", .boolean, default: "true", because: Without.noDelay, unless: isOn).flagOnly,
        .ignored(
            "follower.skipLearnerRequestToNextProcessor",
            .boolean,
            default: "false",
            because: Without.sockets,
            unless: isOff
        ),
        .ignored(
            "forward_learner_requests_to_commit_processor_disabled",
            .boolean,
            default: "false",
            because: Without.sockets,
            unless: isOff
        ),
        .ignored(
            "multiAddress.reachabilityCheckEnabled",
            .boolean,
            default: "true",
            because: Without.addresses,
            unless: isOn
        ),
        .ignored(
            "multiAddress.reachabilityCheckTimeoutMs",
            .integer(),
            default: "1000",
            because: Without.addresses
        ),
        .ignored("quorum.cnxn.threads.size", .integer(), default: "20", because: Without.sockets),
        .ignored(
            "quorum.auth.kerberos.servicePrincipal",
            .text,
            default: "zkquorum/localhost",
            because: Without.noSASL
        ),
        .ignored(
            "quorum.auth.learner.saslLoginContext",
            .text,
            default: "QuorumLearner",
            because: Without.noSASL
        ),
        .ignored(
            "quorum.auth.server.saslLoginContext",
            .text,
            default: "QuorumServer",
            because: Without.noSASL
        ),
        .ignored(
            "kerberos.canonicalizeHostNames",
            .boolean,
            default: "false",
            because: Without.noSASL,
            unless: isOff
        ),
    ]
}
