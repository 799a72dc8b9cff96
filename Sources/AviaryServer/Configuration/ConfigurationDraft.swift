/// Settings while they are being read: what the file says, before defaults that depend on each other are filled in.
struct ConfigurationDraft: Sendable {
    var configuration = ServerConfiguration()

    var clientPort: Int?
    var clientAddresses: [String]?
    var tickTimeMilliseconds: Int?
    /// Milliseconds; −1 asks for the default, as no key at all does.
    var minimumSessionTimeout = -1
    /// As `minimumSessionTimeout`.
    var maximumSessionTimeout = -1
    var dataDirectory: String?
    var logDirectory: String?
    var flushDelayMilliseconds = 0
    var queuePollTime: Duration?
    var purgeInterval: Duration = Purge().interval
    var retainedSnapshots = Purge().retainedSnapshots
    var extraRecordSize: Int?
    var isAuthenticationEnforced = false
    var enforcedSchemes: [String] = []
    /// `nil` without the key.
    var fourLetterWords: [String]?
    var isStandaloneEnabled = true
    var dynamicConfigurationFile: String?
    var ensemble = EnsembleDraft()
    var globalSessionWeight = ServerConfiguration.ConnectionThrottle().globalSessionWeight
    var renewSessionWeight = ServerConfiguration.ConnectionThrottle().renewSessionWeight

    private typealias Purge = ServerConfiguration.Purge
}
