/// Why a reconfiguration is not done: the code for the client, and words for the log.
package struct ReconfigurationRefusal: Error, Hashable, Sendable {
    package var code: ErrorCode
    package var reason: String

    package init(_ code: ErrorCode, _ reason: String) {
        self.code = code
        self.reason = reason
    }
}

/// What the configuration becomes that a `reconfig` asks for (docs/protocol/quorum-protocol.md section 15, and the row
/// of reconfig in docs/protocol/client-protocol.md section 8).
package enum Reconfiguration {
    /// Computes the next configuration.
    ///
    /// What needs the live state remains for the leader: whether reconfiguration is enabled (RECONFIGDISABLED), whether
    /// a quorum of the result is connected and in sync (NEWCONFIGNOQUORUM), whether the client may write the node.
    ///
    /// - Parameters:
    ///   - committed: the configuration that is active.
    ///   - lastSeen: the newest that was proposed; another version than that of `committed` means that one is under way.
    ///   - zxid: of the transaction, which becomes the version; refused when it is not above that of `committed`.
    ///   - isStandaloneEnabled: then two voters are the fewest, else one.
    package static func next(
        for request: ReconfigRequest,
        committed: QuorumConfiguration,
        lastSeen: QuorumConfiguration,
        zxid: Zxid,
        isStandaloneEnabled: Bool
    ) throws(ReconfigurationRefusal) -> QuorumConfiguration {
        guard committed.version == lastSeen.version else {
            throw ReconfigurationRefusal(
                .reconfigInProgress,
                "version \(lastSeen.versionText) is proposed, but version \(committed.versionText) still active"
            )
        }
        guard request.currentConfigID == -1 || request.currentConfigID == lastSeen.version else {
            throw ReconfigurationRefusal(
                .badVersion,
                "asked for on version \(String(request.currentConfigID, radix: 16)), but there is "
                    + "version \(lastSeen.versionText)"
            )
        }
        // A version from a file may be above all transactions. What followed it would be older: the leader would take it up,
        // and everybody else would keep what is newer. Not BADVERSION, which clients answer with another try.
        guard zxid.rawValue > committed.version else {
            throw ReconfigurationRefusal(
                .badArguments,
                "the configuration in force has version \(committed.versionText) from a file, and this change would be "
                    + "older, with version \(String(zxid.rawValue, radix: 16))"
            )
        }
        let next =
            if let text = request.newMembers {
                try replaced(by: text, version: zxid.rawValue)
            } else {
                try changed(lastSeen, joining: request.joiningServers, leaving: request.leavingServers)
                    .with(version: zxid.rawValue)
            }
        let fewest = isStandaloneEnabled ? 2 : 1
        guard next.voters.count >= fewest else {
            throw ReconfigurationRefusal(
                .badArguments,
                "\(next.voters.count) participants would be left, and \(fewest) is the fewest"
            )
        }
        return next
    }

    /// All members anew; entries are separated by commas or newlines.
    private static func replaced(
        by text: String,
        version: Int64
    ) throws(ReconfigurationRefusal) -> QuorumConfiguration {
        do {
            return try QuorumConfiguration.parse(text.replacing(",", with: "\n")).with(version: version)
        } catch {
            throw ReconfigurationRefusal(.badArguments, error.text)
        }
    }

    /// Leaving servers first, then joining ones, which also replace a member of the same number.
    private static func changed(
        _ current: QuorumConfiguration,
        joining: String?,
        leaving: String?
    ) throws(ReconfigurationRefusal) -> QuorumConfiguration {
        guard !current.isHierarchical else {
            throw ReconfigurationRefusal(
                .badArguments,
                "with groups the members can only be replaced all together, not added and removed"
            )
        }
        var members: [ServerID: QuorumMember] = [:]
        for member in current.members { members[member.id] = member }
        for text in entries(leaving) {
            // Apache does not expect this, and answers with the code for what it does not expect.
            guard let id = Int64(text) else {
                throw ReconfigurationRefusal(.marshallingError, "\(HostText.shown(text)) is not the number of a server")
            }
            members[ServerID(id)] = nil
        }
        for text in entries(joining) {
            let joiner = try joiner(text)
            members[joiner.id] = nil
            if let other = members.values.filter({ $0.shares(anAddressWith: joiner) }).map(\.id).min() {
                throw ReconfigurationRefusal(
                    .badArguments,
                    "server.\(joiner.id) has an address that server.\(other) has too"
                )
            }
            members[joiner.id] = joiner
        }
        do {
            return try QuorumConfiguration(members: Array(members.values))
        } catch {
            throw ReconfigurationRefusal(.badArguments, error.text)
        }
    }

    private static func joiner(_ text: String) throws(ReconfigurationRefusal) -> QuorumMember {
        var lines = ConfigurationLines()
        do {
            try lines.take(text)
        } catch {
            throw ReconfigurationRefusal(.badArguments, error.text)
        }
        guard let joiner = lines.members.first, lines.members.count == 1, joiner.client != nil, lines.groups.isEmpty,
            lines.weights.isEmpty, lines.version == nil
        else {
            throw ReconfigurationRefusal(
                .badArguments,
                "\(HostText.shown(text)): allowed is \(QuorumMember.form), the client port included"
            )
        }
        return joiner
    }

    private static func entries(_ list: String?) -> [String] {
        (list ?? "").split(separator: ",").map { String(HostText.trimmed($0)) }.filter { !$0.isEmpty }
    }
}

extension QuorumMember {
    /// Every host with a port that is listened on, in lower case; not those that are meant by each machine for itself.
    private var endpoints: Set<String> {
        var all: Set<String> = []
        func insert(_ host: String, _ port: Int) {
            guard !HostText.isWildcard(host), !HostText.isLoopback(host) else { return }
            all.insert("\(host.lowercased()) \(port)")
        }
        for address in addresses {
            insert(address.host, address.quorumPort)
            insert(address.host, address.electionPort)
        }
        if let client { insert(client.host, client.port) }
        return all
    }

    fileprivate func shares(anAddressWith other: QuorumMember) -> Bool {
        !endpoints.isDisjoint(with: other.endpoints)
    }
}
