/// What may stand where an address to listen on is expected.
enum ListenAddress {
    /// A host as it is given to the resolver, or `nil` for text that cannot be one.
    ///
    /// IPv6 may be in brackets. A port behind it is not allowed: it has a key of its own.
    static func host(_ text: String) -> String? {
        if text.hasPrefix("["), text.hasSuffix("]") {
            let inner = text.dropFirst().dropLast()
            return isIPv6(inner) ? String(inner) : nil
        }
        if text.contains(":") { return isIPv6(text[...]) ? text : nil }
        return isName(text) ? text : nil
    }

    /// Whether a host means every address of this machine. Java listens on both families for either spelling.
    static func isWildcard(_ host: String) -> Bool {
        host == "0.0.0.0" || host == "::" || host == "0:0:0:0:0:0:0:0"
    }

    /// A name or an IPv4 address: whether it exists is for the resolver to say.
    private static func isName(_ text: String) -> Bool {
        !text.isEmpty
            && text.unicodeScalars.allSatisfy { scalar in
                scalar.properties.isAlphabetic || ("0"..."9").contains(scalar) || "-._".unicodeScalars.contains(scalar)
            }
    }

    /// Roughly: enough to tell an address from `host:port`; the system has the last word. A zone such as `%eth0` may
    /// follow.
    private static func isIPv6(_ text: Substring) -> Bool {
        let address = text.prefix { $0 != "%" }
        let groups = address.split(separator: ":", omittingEmptySubsequences: false)
        guard groups.count >= 3, groups.count <= 9 else { return false }
        return groups.enumerated().allSatisfy { index, group in
            if index == groups.count - 1, group.contains(".") { return group.allSatisfy { $0.isNumber || $0 == "." } }
            return group.count <= 4 && group.allSatisfy(\.isHexDigit)
        }
    }
}
