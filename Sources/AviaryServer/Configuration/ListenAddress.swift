import ZooKeeperProtocol

/// What may stand where an address to listen on is expected.
enum ListenAddress {
    /// A host as it is given to the resolver, or `nil` for text that cannot be one.
    ///
    /// IPv6 may be in brackets. A port behind it is not allowed: it has a key of its own.
    static func host(_ text: String) -> String? {
        if text.hasPrefix("["), text.hasSuffix("]") {
            let inner = text.dropFirst().dropLast()
            return HostText.isIPv6(inner) ? String(inner) : nil
        }
        if text.contains(":") { return HostText.isIPv6(text) ? text : nil }
        return HostText.isName(text) ? text : nil
    }

    /// Whether a host means every address of this machine. Java listens on both families for either spelling.
    static func isWildcard(_ host: String) -> Bool {
        HostText.isWildcard(host)
    }
}
