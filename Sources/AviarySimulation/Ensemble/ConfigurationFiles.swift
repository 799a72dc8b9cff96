package import ZooKeeperProtocol

/// The configuration files of a server: what it was started from, what is in force, and what is proposed
/// (docs/protocol/quorum-protocol.md section 2.6).
package struct ConfigurationFiles: Sendable {
    package let first: QuorumConfiguration
    package private(set) var current: QuorumConfiguration
    package private(set) var next: QuorumConfiguration?

    init(_ first: QuorumConfiguration) {
        self.first = first
        current = first
    }

    /// As `DynamicFiles` writes them.
    mutating func write(_ configuration: QuorumConfiguration, isCommitted: Bool, by server: ServerID) {
        guard isCommitted else { return next = configuration }
        // Who is no member yet keeps what it was started from.
        if configuration.member(server) != nil || current.version != 0 { current = configuration }
        if let proposed = next, proposed.version <= configuration.version { next = nil }
    }

    /// Somebody has put back what was there at first.
    mutating func reset() {
        current = first
        next = nil
    }
}
