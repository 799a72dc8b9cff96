import ZooKeeperProtocol

/// What the core is told about how to behave; the defaults are Apache's (docs/configuration.md).
package struct CoreOptions: Sendable {
    /// The high byte of session ids. A standalone server is 1.
    package var serverID: Int64 = 1
    package var tickTimeMilliseconds: Int64 = 3000
    package var minSessionTimeoutMilliseconds: Int64 = 6000
    package var maxSessionTimeoutMilliseconds: Int64 = 60_000
    /// Of a member: new sessions are known to their server alone, until they make an ephemeral.
    package var localSessionsEnabled = false
    /// Whether a local session may then become a global one; if not, it may not make ephemerals.
    package var localSessionsUpgradingEnabled = false
    /// How long a connection may take to its ConnectRequest.
    package var handshakeTimeoutMilliseconds: Int64 = 10_000

    /// The most bytes of one string or buffer.
    package var maxBufferBytes = JuteReader.defaultMaxBufferBytes
    /// The most bytes that the answer to one multiRead may have.
    package var maxReplyBytes = 4 << 20
    /// The most bytes that a list of children or of ephemerals may have in an answer: some millions of usual names.
    package var maxListBytes = 64 << 20
    /// The most memory that the watches of one connection may take: some hundred thousand of usual length.
    package var maxWatchBytes = 64 << 20
    /// The most memory that the watches of all connections may take; above it the connection that has the most is closed.
    package var maxTotalWatchBytes = Int.max
    /// Requests that waited longer behind writes of their own session are refused; 0 is off.
    package var throttledOpWaitMilliseconds: Int64 = 0

    package var extendedTypes = false
    package var emulate353 = false
    package var enforceQuota = false
    package var reconfigEnabled = false
    package var digestEnabled = true
    /// Whether closeSession transactions list the ephemerals that they delete.
    package var closeSessionTxn = true

    package var skipACL = false
    /// `user:BASE64(digest of user:password)` of the super user; nil is nobody.
    package var superDigest: String?
    package var digestAuthEnabled = true
    /// The digest of addauth's scheme `digest`: SHA-1 unless configured otherwise.
    package var passwordDigest: @Sendable (UnsafeRawBufferPointer) -> [UInt8]
    /// Until a connection has an identity of one of these, it may only authenticate; nil: nothing is asked.
    package var requiredAuthSchemes: [String]?
    /// The scheme `ensemble`: whether it is configured, and the names that are right.
    package var ensembleAuth: EnsembleAuth?

    /// A snapshot is due after about as many transactions.
    package var snapCount = 100_000
    /// … or after about as many bytes of log; nil is never.
    package var snapSizeLimitBytes: Int64? = 4_194_304 << 10

    package var containerCheckIntervalMilliseconds: Int64 = 60_000
    package var containerMaxPerMinute: Int64 = 10_000
    /// Removes containers that never had a child after this time; 0 is never.
    package var containerMaxNeverUsedMilliseconds: Int64 = 0

    package init(passwordDigest: @escaping @Sendable (UnsafeRawBufferPointer) -> [UInt8]) {
        self.passwordDigest = passwordDigest
    }

    package struct EnsembleAuth: Sendable {
        /// Empty: every name is right.
        package var names: [String]

        package init(names: [String]) {
            self.names = names
        }
    }
}
