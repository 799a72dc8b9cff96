/// One `server.N` line.
///
/// A standalone server needs little of it, but reads all of it, so that a mistake is told where it was made.
///
/// - Source: `docs/protocol/quorum-protocol.md` section 2.4.
struct EnsembleMember: Sendable, Equatable {
    enum Role: Sendable, Equatable {
        case participant
        case observer
    }

    struct Malformed: Error, Sendable, Equatable {
        var text: String
    }

    var id: Int64
    var role: Role
    /// Behind `;`, for the clients of this member; `nil` if the line does not say.
    var clientHost: String?
    var clientPort: Int?

    static let form = "server.N=host:quorumPort:electionPort[:participant|:observer][;[host:]clientPort]"

    /// - Parameter number: what stands behind `server.`.
    init(number: String, value: String) throws(Malformed) {
        guard let id = Int64(number) else { throw Malformed(text: "\(number) is not the number of a server") }
        self.id = id
        let halves = value.split(separator: ";", omittingEmptySubsequences: false)
        guard halves.count <= 2 else { throw Malformed(text: "more than one ';'") }

        var roles: [Role] = []
        for address in halves[0].split(separator: "|", omittingEmptySubsequences: false) {
            roles.append(try Self.role(ofAddress: address.trimmed))
        }
        guard let role = roles.first, roles.allSatisfy({ $0 == role }) else {
            throw Malformed(text: "its addresses have different roles")
        }
        self.role = role
        if halves.count == 2 {
            (clientHost, clientPort) = try Self.clientAddress(halves[1].trimmed)
        }
    }

    /// Checks `host:port:port[:role]`.
    private static func role(ofAddress text: String) throws(Malformed) -> Role {
        let (host, parts) = split(text)
        guard let host, ListenAddress.host(host) != nil, parts.count == 2 || parts.count == 3 else {
            throw Malformed(text: "\(text) is not host:quorumPort:electionPort")
        }
        guard let quorumPort = port(parts[0]), let electionPort = port(parts[1]) else {
            throw Malformed(text: "\(text) has a port that is not a number from 0 to 65535")
        }
        guard quorumPort != electionPort else {
            throw Malformed(text: "quorum port and election port are both \(quorumPort)")
        }
        guard parts.count == 3 else { return .participant }
        switch parts[2].lowercased() {
        case "participant": return .participant
        case "observer": return .observer
        default: throw Malformed(text: "\(parts[2]) is neither participant nor observer")
        }
    }

    private static func clientAddress(_ text: String) throws(Malformed) -> (host: String?, port: Int) {
        if let port = port(text) { return (nil, port) }
        let (host, parts) = split(text)
        guard let host, let valid = ListenAddress.host(host), parts.count == 1, let port = port(parts[0]) else {
            throw Malformed(text: "\(text) is not [host:]clientPort")
        }
        return (valid, port)
    }

    /// Separates a host, which may be IPv6 in brackets, from what follows it behind colons.
    private static func split(_ text: String) -> (host: String?, parts: [String]) {
        if text.hasPrefix("["), let end = text.firstIndex(of: "]") {
            let rest = text[text.index(after: end)...]
            guard rest.hasPrefix(":") else { return (nil, []) }
            return (String(text[...end]), parts(rest.dropFirst()))
        }
        var all = parts(text[...])
        guard all.count > 1 else { return (nil, []) }
        let host = all.removeFirst()
        return (host, all)
    }

    private static func parts(_ text: Substring) -> [String] {
        text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
    }

    private static func port(_ text: String) -> Int? {
        guard let port = Int(text), (0...65_535).contains(port) else { return nil }
        return port
    }
}
