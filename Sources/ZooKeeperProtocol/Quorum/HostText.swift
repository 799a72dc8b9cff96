/// How hosts and ports are written in everything that servers tell each other (docs/protocol/quorum-protocol.md section 2.4).
package enum HostText {
    /// Whether this can be a name or an IPv4 address; whether it exists is for the resolver to say.
    package static func isName(_ text: some StringProtocol) -> Bool {
        !text.isEmpty
            && text.unicodeScalars.allSatisfy { scalar in
                scalar.properties.isAlphabetic || isDigit(scalar) || scalar == "-" || scalar == "." || scalar == "_"
            }
    }

    /// Roughly: enough to tell an address from `host:port`; the system has the last word. A zone such as `%eth0` may
    /// follow.
    package static func isIPv6(_ text: some StringProtocol) -> Bool {
        let parts = text.split(separator: "%", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = parts.first, parts.count == 1 || isName(parts[1]) else { return false }
        let groups = address.split(separator: ":", omittingEmptySubsequences: false)
        guard groups.count >= 3, groups.count <= 9 else { return false }
        return groups.enumerated().allSatisfy { index, group in
            if index == groups.count - 1, group.contains(".") {
                return group.unicodeScalars.allSatisfy { isDigit($0) || $0 == "." }
            }
            return group.utf8.count <= 4 && group.allSatisfy { $0.isASCII && $0.isHexDigit }
        }
    }

    private static func isDigit(_ scalar: Unicode.Scalar) -> Bool {
        ("0"..."9").contains(scalar)
    }

    /// Separates a host, which has to be in brackets if it is IPv6, from what follows it behind colons.
    ///
    /// - Returns: the host without brackets, and one or more parts; nil for what cannot be a host, and without a colon.
    package static func split(_ text: Substring) -> (host: String, rest: [Substring])? {
        if text.hasPrefix("["), let end = text.firstIndex(of: "]") {
            let host = text[text.index(after: text.startIndex)..<end]
            let rest = text[text.index(after: end)...]
            guard isIPv6(host), rest.hasPrefix(":") else { return nil }
            return (String(host), rest.dropFirst().split(separator: ":", omittingEmptySubsequences: false))
        }
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard let host = parts.first, parts.count > 1, isName(host) else { return nil }
        return (String(host), Array(parts.dropFirst()))
    }

    /// A port, 0 included; nil for everything else.
    package static func port(_ text: Substring) -> Int? {
        guard let port = Int(text), (0...65_535).contains(port) else { return nil }
        return port
    }

    /// As it stands in front of `:port`.
    package static func bracketed(_ host: String) -> String {
        host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]" : host
    }

    /// Whether a host means every address of a machine.
    package static func isWildcard(_ host: String) -> Bool {
        host == "0.0.0.0" || host == "::" || host == "0:0:0:0:0:0:0:0"
    }

    /// Whether a host means the machine that speaks, so that it differs from machine to machine.
    package static func isLoopback(_ host: String) -> Bool {
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        if parts.count == 4, parts[0] == "127" { return parts.allSatisfy { UInt8($0) != nil } }
        return host.lowercased() == "localhost" || host == "::1" || host == "0:0:0:0:0:0:0:1"
    }

    /// Names are the same in any case.
    static func isSame(_ left: String, _ right: String) -> Bool {
        left == right || left.lowercased() == right.lowercased()
    }

    /// Without the blanks around it.
    static func trimmed(_ text: Substring) -> Substring {
        var text = text
        while let first = text.first, first == " " || first == "\t" { text.removeFirst() }
        while let last = text.last, last == " " || last == "\t" { text.removeLast() }
        return text
    }

    /// A stranger's text as it may stand in a message: short, and without what moves a terminal's cursor.
    package static func shown(_ text: String) -> String {
        var shown = ""
        for scalar in text.unicodeScalars.prefix(80) {
            shown += scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value) ? "?" : String(scalar)
        }
        return text.unicodeScalars.count > 80 ? shown + "…" : shown
    }
}
