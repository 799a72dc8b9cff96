/// The text of a configuration, in notifications, NEWLEADER, reconfig transactions, `/zookeeper/config` and dynamic files
/// (docs/protocol/quorum-protocol.md sections 2.4 to 2.6).
extension QuorumConfiguration {
    /// Reads a text that carries its version; one without a `version` line has 0.
    ///
    /// - Throws: for every line that is not understood: half of a configuration is none.
    package static func parse(_ text: String) throws(MalformedConfiguration) -> QuorumConfiguration {
        var lines = ConfigurationLines()
        try lines.take(text)
        return try lines.configuration(version: lines.version ?? 0)
    }

    /// Reads a text as it came from a peer or stands in a znode.
    package static func parse(utf8: some Collection<UInt8>) throws(MalformedConfiguration) -> QuorumConfiguration {
        try parse(String(decoding: utf8, as: UTF8.self))
    }

    /// Reads a dynamic file, whose version is in its name.
    package static func parse(
        dynamicFile text: String,
        version: Int64
    ) throws(MalformedConfiguration) -> QuorumConfiguration {
        var lines = ConfigurationLines()
        try lines.take(text)
        guard lines.version == nil else {
            throw MalformedConfiguration(text: "version: allowed in a dynamic file are server.N, group.N and weight.N")
        }
        return try lines.configuration(version: version)
    }

    /// The version at the end of a dynamic file's name, `zoo.cfg.dynamic.<hex>`; nil where it has none.
    package static func version(ofDynamicFileNamed name: String) -> Int64? {
        guard let dot = name.lastIndex(of: ".") else { return nil }
        return version(hex: name[name.index(after: dot)...])
    }

    static func version(hex text: some StringProtocol) -> Int64? {
        guard let version = Int64(text, radix: 16), version >= 0 else { return nil }
        return version
    }

    /// The canonical text: members, groups and weights, each ascending, then the version; no newline at the end.
    package var text: String {
        (lines + ["version=" + versionText]).joined(separator: "\n")
    }

    /// What a dynamic file holds: the lines sorted as text, each with a newline.
    ///
    /// - Parameter includesVersion: with `<cfg>.dynamic.next`, whose name does not tell the version.
    package func dynamicFileText(includesVersion: Bool = false) -> String {
        let all = includesVersion ? lines + ["version=" + versionText] : lines
        return all.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }.map { $0 + "\n" }.joined()
    }

    /// As in texts and file names: hexadecimal, no prefix.
    package var versionText: String { String(version, radix: 16) }

    private var lines: [String] {
        members.map { "server.\($0.id)=\($0.text)" }
            + groups.map { group in
                "group.\(group.id)=" + group.members.map(\.description).joined(separator: ":")
            }
            + weights.sorted { $0.key < $1.key }.map { "weight.\($0.key)=\($0.value)" }
    }
}

/// Collects the lines of a configuration, from one text or several.
package struct ConfigurationLines {
    package private(set) var members: [QuorumMember] = []
    package private(set) var groups: [QuorumConfiguration.Group] = []
    package private(set) var weights: [ServerID: Int64] = [:]
    package private(set) var version: Int64?

    package init() {}

    /// Takes every line of a text; empty ones and comments (`#`, `!`) are passed over.
    package mutating func take(_ text: String) throws(MalformedConfiguration) {
        // By bytes: to Swift, CR LF is one character.
        for line in text.utf8.split(whereSeparator: { $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\r") }) {
            let line = HostText.trimmed(Substring(line))
            guard let first = line.utf8.first, first != UInt8(ascii: "#"), first != UInt8(ascii: "!") else { continue }
            guard let equals = line.utf8.firstIndex(of: UInt8(ascii: "=")) else {
                throw MalformedConfiguration(text: "\(HostText.shown(String(line))) is not key=value")
            }
            try take(
                key: String(HostText.trimmed(line[..<equals])),
                value: String(HostText.trimmed(line[line.utf8.index(after: equals)...]))
            )
        }
    }

    /// Takes one line.
    ///
    /// - Throws: for a key that is none of `server.N`, `group.N`, `weight.N`, `version`, and for a value that is wrong.
    package mutating func take(key: String, value: String) throws(MalformedConfiguration) {
        if let number = key.suffix(behind: "server.") {
            do {
                members.append(try QuorumMember(number: number, value: value))
            } catch {
                throw MalformedConfiguration(
                    text: "\(HostText.shown("\(key)=\(value)")): \(HostText.shown(error.text))"
                )
            }
        } else if let number = key.suffix(behind: "group.") {
            groups.append(try group(number, value, key: key))
        } else if let number = key.suffix(behind: "weight.") {
            guard let id = Int64(number), id >= 0, let weight = Int64(value) else {
                throw malformed(key, value, allowed: "weight.N=number")
            }
            guard weights.updateValue(weight, forKey: ServerID(id)) == nil else {
                throw MalformedConfiguration(text: "weight.\(id) is there twice")
            }
        } else if key == "version" {
            guard version == nil else { throw MalformedConfiguration(text: "version is there twice") }
            guard let number = QuorumConfiguration.version(hex: value) else {
                throw malformed(key, value, allowed: "a hexadecimal number")
            }
            version = number
        } else {
            throw MalformedConfiguration(
                text: "\(HostText.shown(key)): allowed are server.N, group.N, weight.N and version"
            )
        }
    }

    private func group(
        _ number: String,
        _ value: String,
        key: String
    ) throws(MalformedConfiguration) -> QuorumConfiguration.Group {
        guard let id = Int64(number) else { throw malformed(key, value, allowed: "group.N=N:N…") }
        var ids: [ServerID] = []
        for part in value.split(separator: ":", omittingEmptySubsequences: false) {
            guard let member = Int64(HostText.trimmed(part)), member >= 0 else {
                throw malformed(key, value, allowed: "group.N=N:N…")
            }
            ids.append(ServerID(member))
        }
        return QuorumConfiguration.Group(id: id, members: ids)
    }

    private func malformed(_ key: String, _ value: String, allowed: String) -> MalformedConfiguration {
        MalformedConfiguration(text: "\(HostText.shown("\(key)=\(value)")): allowed is \(allowed)")
    }

    /// All lines together.
    package func configuration(version: Int64) throws(MalformedConfiguration) -> QuorumConfiguration {
        try QuorumConfiguration(members: members, groups: groups, weights: weights, version: version)
    }
}

extension String {
    fileprivate func suffix(behind prefix: String) -> String? {
        hasPrefix(prefix) ? String(dropFirst(prefix.count)) : nil
    }
}
