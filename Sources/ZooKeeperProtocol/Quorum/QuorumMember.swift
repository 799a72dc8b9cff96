/// Why a text is no configuration of an ensemble, or a value no part of one.
package struct MalformedConfiguration: Error, Hashable, Sendable, CustomStringConvertible {
    /// For people: what is wrong, with the text that is.
    package var text: String

    package init(text: String) {
        self.text = text
    }

    package var description: String { text }
}

/// Where a member is reached by the others, by one of possibly several networks.
package struct ServerAddress: Hashable, Sendable, CustomStringConvertible {
    /// A name or an address, without brackets. Names are resolved before each connection, never here.
    package var host: String
    /// Where learners connect to a leader.
    package var quorumPort: Int
    package var electionPort: Int

    package init(host: String, quorumPort: Int, electionPort: Int) {
        self.host = host
        self.quorumPort = quorumPort
        self.electionPort = electionPort
    }

    /// Hosts by their text, in any case, and not by what they resolve to (hazard H23).
    package static func == (left: ServerAddress, right: ServerAddress) -> Bool {
        left.quorumPort == right.quorumPort && left.electionPort == right.electionPort
            && HostText.isSame(left.host, right.host)
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(host.lowercased())
        hasher.combine(quorumPort)
        hasher.combine(electionPort)
    }

    package var description: String { "\(HostText.bracketed(host)):\(quorumPort):\(electionPort)" }
}

/// Where a member listens for clients, as its `server.N` says.
package struct ClientAddress: Hashable, Sendable, CustomStringConvertible {
    /// Without brackets.
    package var host: String
    package var port: Int

    package init(host: String = "0.0.0.0", port: Int) {
        self.host = host
        self.port = port
    }

    package static func == (left: ClientAddress, right: ClientAddress) -> Bool {
        left.port == right.port && HostText.isSame(left.host, right.host)
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(host.lowercased())
        hasher.combine(port)
    }

    package var description: String { "\(HostText.bracketed(host)):\(port)" }
}

/// One server of an ensemble: a `server.N` (docs/protocol/quorum-protocol.md section 2.4).
package struct QuorumMember: Hashable, Sendable {
    @frozen
    package enum Role: String, Hashable, Sendable, CaseIterable {
        /// Votes, and may lead.
        case participant
        case observer
    }

    package var id: ServerID
    /// One or more, in the order of their hosts.
    package let addresses: [ServerAddress]
    package var role: Role
    /// nil where the line does not say; a `clientPort` elsewhere in the file is not the ensemble's to know.
    package var client: ClientAddress?

    /// More networks than this has nobody; a hostile text may not make us try them all.
    package static let maxAddresses = 64

    package init(id: ServerID, addresses: [ServerAddress], role: Role = .participant, client: ClientAddress? = nil) {
        self.id = id
        self.addresses = addresses.sorted {
            ($0.host, $0.quorumPort, $0.electionPort) < ($1.host, $1.quorumPort, $1.electionPort)
        }
        self.role = role
        self.client = client
    }

    package static let form = "server.N=host:quorumPort:electionPort[:participant|:observer][;[host:]clientPort]"

    /// - Parameters:
    ///   - number: what stands behind `server.`.
    ///   - value: what stands behind `=`.
    package init(number: String, value: String) throws(MalformedConfiguration) {
        guard let id = Int64(number), id >= 0 else {
            throw MalformedConfiguration(text: "\(number) is not the number of a server")
        }
        let halves = value.split(separator: ";", omittingEmptySubsequences: false)
        guard halves.count <= 2 else { throw MalformedConfiguration(text: "more than one ';'") }
        let texts = halves[0].split(separator: "|", omittingEmptySubsequences: false)
        guard texts.count <= QuorumMember.maxAddresses else {
            throw MalformedConfiguration(
                text: "\(texts.count) addresses, and \(QuorumMember.maxAddresses) is the most"
            )
        }
        var addresses: [ServerAddress] = []
        // The canonical text has the role once, behind the last address: one without a role has that of the others.
        var role: Role?
        for text in texts {
            let (address, itsRole) = try QuorumMember.address(HostText.trimmed(text))
            guard !addresses.contains(where: { $0.overlaps(address) }) else {
                throw MalformedConfiguration(text: "\(address) has a port that another of its addresses has too")
            }
            addresses.append(address)
            guard let itsRole else { continue }
            guard role == nil || role == itsRole else {
                throw MalformedConfiguration(text: "its addresses have different roles")
            }
            role = itsRole
        }
        let client = halves.count == 2 ? try QuorumMember.clientAddress(HostText.trimmed(halves[1])) : nil
        self.init(id: ServerID(id), addresses: addresses, role: role ?? .participant, client: client)
    }

    /// Reads `host:port:port[:role]`.
    private static func address(_ text: Substring) throws(MalformedConfiguration) -> (ServerAddress, Role?) {
        guard let (host, rest) = HostText.split(text), rest.count == 2 || rest.count == 3 else {
            throw MalformedConfiguration(text: "\(text) is not host:quorumPort:electionPort")
        }
        guard let quorumPort = HostText.port(rest[0]), let electionPort = HostText.port(rest[1]) else {
            throw MalformedConfiguration(text: "\(text) has a port that is not a number from 0 to 65535")
        }
        guard quorumPort != electionPort else {
            throw MalformedConfiguration(text: "quorum port and election port are both \(quorumPort)")
        }
        let address = ServerAddress(host: host, quorumPort: quorumPort, electionPort: electionPort)
        guard rest.count == 3 else { return (address, nil) }
        guard let role = Role(rawValue: rest[2].lowercased()) else {
            throw MalformedConfiguration(text: "\(rest[2]) is neither participant nor observer")
        }
        return (address, role)
    }

    private static func clientAddress(_ text: Substring) throws(MalformedConfiguration) -> ClientAddress {
        if let port = HostText.port(text) { return ClientAddress(port: port) }
        guard let (host, rest) = HostText.split(text), rest.count == 1, let port = HostText.port(rest[0]) else {
            throw MalformedConfiguration(text: "\(text) is not [host:]clientPort")
        }
        return ClientAddress(host: host, port: port)
    }

    /// What stands behind `server.N=` in the canonical text (section 2.5).
    package var text: String {
        var text = addresses.map(\.description).joined(separator: "|") + ":" + role.rawValue
        if let client { text += ";\(client)" }
        return text
    }
}

extension ServerAddress {
    /// Whether both cannot be listened on.
    fileprivate func overlaps(_ other: ServerAddress) -> Bool {
        guard HostText.isSame(host, other.host) else { return false }
        return [other.quorumPort, other.electionPort].contains { $0 == quorumPort || $0 == electionPort }
    }
}
