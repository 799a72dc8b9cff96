/// Everything a server can be told, typed and validated.
///
/// A value of this type is always usable: `ServerConfiguration.read` refuses what it cannot
/// represent, so that nothing behind it has to look at text again. Every property names the `zoo.cfg` key that sets it.
///
/// - Source: `docs/protocol/quorum-protocol.md` section 2 for keys, defaults and ranges.
package struct ServerConfiguration: Sendable, Equatable {
    package var clients = ClientListener()
    package var sessions = Sessions()
    package var storage = Storage()
    package var limits = Limits()
    package var connectionThrottle = ConnectionThrottle()
    package var requestThrottle = RequestThrottle()
    package var access = Access()
    package var features = Features()
    package var containers = Containers()
    package var fourLetterWords = FourLetterWords()
    /// `nil` for a server that stands alone.
    package var ensemble: EnsembleConfiguration?

    package init() {}

    /// What a server started without a file and without flags runs with: reachable from this machine only.
    package static let `default` = ServerConfiguration()
}

extension ServerConfiguration {
    /// Where clients connect, and how many of them may.
    package struct ClientListener: Sendable, Equatable {
        /// `clientPortAddress`. A file without it means all addresses, as in Apache; no file at all means loopback.
        package var addresses: ListenAddresses = .loopback

        /// `clientPort`; 0 lets the system choose one.
        package var port = 2181

        /// `maxClientCnxns`: connections from one address; `nil` is no limit (0 or less in the file).
        package var maximumConnectionsPerAddress: Int? = 60

        /// `maxCnxns`: connections in total; `nil` is no limit (0 or less in the file, and the default).
        package var maximumConnections: Int?

        /// `clientPortListenBacklog`; `nil` leaves it to the system (−1 in the file).
        package var listenBacklog: Int?

        /// `clientTcpKeepAlive`: whether the kernel probes silent connections.
        package var sendsTCPKeepAlive = false

        /// `nio.sessionlessCnxnTimeout`: a connection that has not asked for a session by then is closed.
        package var sessionlessTimeout: Duration = .milliseconds(10_000)
    }

    /// The addresses a port is opened on.
    package enum ListenAddresses: Sendable, Equatable {
        /// 127.0.0.1 and, where this machine has it, ::1.
        case loopback
        /// Every address of this machine, of both families.
        case all
        /// These, as written: IPv4, IPv6 without brackets, or a host name.
        case only([String])
    }

    /// How time is measured out to sessions.
    package struct Sessions: Sendable, Equatable {
        /// `tickTime`. Sessions expire in buckets of this length. A file without it means 3 s, no file 2 s.
        package var tickTime: Duration = .milliseconds(2_000)

        /// `minSessionTimeout`; two ticks unless it is given. Never above `maximumTimeout`.
        package var minimumTimeout: Duration = .milliseconds(4_000)

        /// `maxSessionTimeout`; twenty ticks unless it is given.
        package var maximumTimeout: Duration = .milliseconds(40_000)
    }

    /// Where the data is, and how it is written.
    package struct Storage: Sendable, Equatable {
        /// `dataDir`: snapshots, in its folder `version-2`. Relative to where the server was started.
        package var dataDirectory = "aviary-data"

        /// `dataLogDir`: transaction logs, in its folder `version-2`; `dataDir` unless it is given.
        package var logDirectory = "aviary-data"

        /// `preAllocSize` (KiB in the file): bytes by which a log file grows ahead of what is written; 0 is never.
        package var preallocationSize = 65_536 * 1024

        /// `forceSync`. False acknowledges writes that a power failure can take back.
        package var forcesSync = true

        /// `fsync.warningthresholdms`: a flush that takes longer is logged.
        package var fsyncWarningThreshold: Duration = .milliseconds(1_000)

        /// `flushDelay`: how long a write may wait for company before the flush; zero is not at all.
        package var flushDelay: Duration = .zero

        /// `maxBatchSize`: writes in one flush; `nil` is no limit (0 or less in the file).
        package var maximumBatchSize: Int? = 1_000

        /// `maxWriteQueuePollTime`: how long to wait for the next write before a flush that `flushDelay` allows to wait
        /// longer; a third of `flushDelay` unless it is given.
        package var maximumQueuePollTime: Duration = .zero

        /// `snapCount`: a snapshot follows after half of this many transactions, plus a random part of the other half.
        package var snapshotCount = 100_000

        /// `snapSizeLimitInKb` (KiB in the file): the same for bytes of log; `nil` is off (0 or less in the file).
        package var snapshotSizeLimit: Int? = 4_194_304 * 1024

        /// `txnLogSizeLimitInKb` (KiB in the file): bytes after which a new log file begins; `nil` is off.
        package var logSizeLimit: Int?

        /// `snapshot.compression.method`.
        package var snapshotCompression: SnapshotCompression = .none

        /// `snapshot.trust.empty`: whether logs without any snapshot are replayed from an empty tree.
        package var trustsMissingSnapshot = false

        /// `serializeLastProcessedZxid.enabled`: whether a snapshot ends with the last applied zxid.
        package var writesLastProcessedZxid = true

        /// `digest.enabled`: whether the tree digest is kept, logged and compared.
        package var keepsDigest = true

        /// `closeSessionTxn.enabled`: whether the record of a closed session lists its ephemerals.
        package var listsEphemeralsOnClose = true

        /// `db.autocreate`: whether a directory without data starts an empty tree; without it only where a file
        /// `initialize` says so.
        package var createsDatabase = true

        /// `datadir.autocreate`: whether a missing directory is made.
        package var createsDirectories = true

        /// `autopurge.*`; `nil` is off. On unless `autopurge.purgeInterval` is 0 or less (in Apache it is off without
        /// the key, and disks fill up).
        package var purge: Purge? = Purge()
    }

    package enum SnapshotCompression: String, Sendable, Equatable, CaseIterable {
        case none = ""
        case gzip = "gz"
        case snappy
    }

    /// When old snapshots and logs are deleted, and how many stay.
    package struct Purge: Sendable, Equatable {
        /// `autopurge.purgeInterval`; hours unless the value has a unit. The first purge is at start.
        package var interval: Duration = .seconds(3_600)

        /// `autopurge.snapRetainCount`; at least 3.
        package var retainedSnapshots = 3
    }

    /// The bounds on what one client, or all of them, can ask for at once.
    package struct Limits: Sendable, Equatable {
        /// `jute.maxbuffer`: bytes in one frame of a client.
        package var maximumPacketSize = 1_048_575

        /// `jute.maxbuffer.extrasize`: bytes a record of the log or of a snapshot may be longer than a client's frame,
        /// for what the server adds to it. At least 1024; `jute.maxbuffer` unless it is given.
        package var extraRecordSize = 1_048_575

        /// `globalOutstandingLimit`: requests accepted and not yet answered, above which reading stops.
        package var outstandingRequests = 1_000

        /// `largeRequestThreshold`: bytes above which a request counts as large; `nil` is off (−1 in the file).
        package var largeRequestThreshold: Int?

        /// `largeRequestMaxBytes`: bytes of large requests in flight; one more closes its connection.
        package var largeRequestMaximumTotal = 100 * 1024 * 1024

        /// `aviary.maxClientBytes`: bytes that may be held for all clients, requests and answers together; `nil` is a
        /// quarter of the memory (0 in the file).
        package var clientBytes: Int?

        /// `aviary.maxWatchBytes`: bytes that the watches of all clients may take; `nil` is a quarter of the memory (0
        /// in the file).
        package var watchBytes: Int?

        /// `aviary.maxConnectionWatchBytes`: the same for one connection.
        package var connectionWatchBytes = 64 << 20
    }

    /// The token bucket in front of new sessions (`connection_throttle_*`).
    ///
    /// - Source: `docs/protocol/client-protocol.md` section 18.
    package struct ConnectionThrottle: Sendable, Equatable {
        /// `_tokens`: tokens in a full bucket; 0 is off.
        package var tokens = 0
        /// `_fill_time`: how often tokens are added.
        package var fillTime: Duration = .milliseconds(1)
        /// `_fill_count`: tokens added each time.
        package var fillCount = 1
        /// `_freeze_time`: how often the probability of dropping changes; `nil` never drops by chance (−1 in the file).
        package var freezeTime: Duration?
        /// `_drop_increase`: added to that probability while the bucket is empty; 0 to 1.
        package var dropIncrease = 0.02
        /// `_drop_decrease`: taken from it while the bucket is fuller than `decreaseRatio`; 0 to 1.
        package var dropDecrease = 0.002
        /// `_decrease_ratio`: 0 to 1.
        package var decreaseRatio = 0.0
        /// `_weight_enabled`: whether a session costs its weight instead of one token. The bucket and what is added to
        /// it are then multiplied by `globalSessionWeight`.
        package var isWeighted = false
        /// `_global_session_weight`.
        package var globalSessionWeight = 3
        /// `_local_session_weight`.
        package var localSessionWeight = 1
        /// `_renew_session_weight`.
        package var renewSessionWeight = 2
    }

    /// What happens to requests that cannot be served soon (`request_throttle_max_requests`, `throttled_op_wait_time`).
    ///
    /// - Source: `docs/protocol/client-protocol.md` section 18.
    package struct RequestThrottle: Sendable, Equatable {
        /// `request_throttle_max_requests`: requests in progress above which others wait; `nil` is off (0 in the file).
        package var maximumRequests: Int?
        /// `throttled_op_wait_time`: a request that waited longer is answered with −127; `nil` is off (0 in the file).
        package var throttledOperationWaitTime: Duration?
    }

    /// Who may do what.
    package struct Access: Sendable, Equatable {
        /// `skipACL=yes`: everyone may do everything.
        package var skipsACL = false

        /// `DigestAuthenticationProvider.superDigest`: `user:hash` of the identity that no ACL stops.
        package var superDigest: String?

        /// `DigestAuthenticationProvider.enabled`: whether the scheme `digest` exists.
        package var isDigestEnabled = true

        /// `DigestAuthenticationProvider.digestAlg`.
        package var digestAlgorithm: DigestAlgorithm = .sha1

        /// `enforce.auth.enabled` with `enforce.auth.schemes`: a connection has to have an identity of one of these
        /// schemes before it may do anything else; `nil` asks for none.
        package var enforcedSchemes: [String]?

        /// Whether the scheme `ensemble` exists (`authProvider.N` names Apache's EnsembleAuthenticationProvider).
        package var isEnsembleSchemeEnabled = false

        /// `ensembleAuthName`: the names a client may give with the scheme `ensemble`, separated by commas.
        package var ensembleNames: [String] = []
    }

    /// The hash of the `digest` scheme, by the names that Java gives it.
    package enum DigestAlgorithm: String, Sendable, Equatable, CaseIterable {
        case sha1 = "SHA1"
        case sha256 = "SHA-256"
        case sha512 = "SHA-512"
    }

    /// Switches for parts of the protocol.
    package struct Features: Sendable, Equatable {
        /// `extendedTypesEnabled`: whether TTL nodes exist.
        package var extendedTypes = false
        /// `emulate353TTLNodes`: whether their owner is written as release 3.5.3 did.
        package var emulates353TTLNodes = false
        /// `enforceQuota`: whether hard quotas refuse.
        package var enforcesQuota = false
        /// `reconfigEnabled`: whether an ensemble can be changed while it serves; in a standalone server, which error
        /// `reconfig` is answered with.
        package var reconfig = false
        /// `readonlymode.enabled`.
        package var readOnlyMode = false
    }

    /// The reaper of empty containers and expired TTL nodes (`znode.container.*`).
    ///
    /// - Source: `docs/protocol/client-protocol.md` section 14.
    package struct Containers: Sendable, Equatable {
        /// `checkIntervalMs`.
        package var checkInterval: Duration = .milliseconds(60_000)
        /// `maxPerMinute`: deletions in a minute, evenly spaced.
        package var maximumPerMinute = 10_000
        /// `maxNeverUsedIntervalMs`: how long a container that never had a child may stay; `nil` is forever (0 in the
        /// file, and the default of release 3.9.5).
        package var neverUsedInterval: Duration?
    }

    /// The four letter words that are answered (`4lw.commands.whitelist`).
    package struct FourLetterWords: Sendable, Equatable {
        /// Every word there is.
        ///
        /// - Source: `docs/protocol/client-protocol.md` section 19.
        package static let all: Set<String> = [
            "conf", "cons", "crst", "dirs", "dump", "envi", "gtmk", "hash", "isro", "mntr", "ruok", "srst", "srvr",
            "stat", "stmk", "wchc", "wchp", "wchs",
        ]

        /// Those that are answered; `srvr` is always among them, `isro` with `readonlymode.enabled`.
        package var allowed: Set<String> = ["srvr", "ruok", "isro", "mntr"]

        package init(allowed: Set<String> = ["srvr", "ruok", "isro", "mntr"]) {
            self.allowed = allowed
        }
    }
}
