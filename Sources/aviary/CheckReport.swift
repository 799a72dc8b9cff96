import AviaryServer
import ZooKeeperProtocol

/// The answer to `aviary serve --check`.
enum CheckReport {
    static func print(_ configuration: ServerConfiguration, notes: [ConfigurationNote], file: String?) {
        for note in notes {
            Swift.print("\(note.severity.rawValue): \(note.text)")
        }
        Swift.print("\(file ?? "the configuration"): a server could be started with it")
        for (name, value) in rows(configuration) {
            Swift.print("  " + name + String(repeating: " ", count: 19 - name.count) + value)
        }
    }

    /// The settings that people ask about first.
    private static func rows(_ configuration: ServerConfiguration) -> [(String, String)] {
        let clients = configuration.clients
        let addresses =
            switch clients.addresses {
            case .loopback: "the loopback addresses"
            case .all: "all addresses"
            case .only(let hosts): hosts.joined(separator: ", ")
            }
        let sessions = configuration.sessions
        let storage = configuration.storage
        let purge =
            storage.purge.map { "every \(text($0.interval)), the newest \($0.retainedSnapshots) stay" } ?? "off"
        return ensembleRows(configuration) + [
            ("clients", "port \(clients.port) of \(addresses)"),
            ("connections", clients.maximumConnectionsPerAddress.map { "\($0) from one address" } ?? "no limit"),
            ("tick", text(sessions.tickTime)),
            (
                "session timeout",
                "\(text(sessions.minimumTimeout)) to \(text(sessions.maximumTimeout))"
            ),
            ("data directory", storage.dataDirectory),
            ("log directory", storage.logDirectory),
            ("purge", purge),
            ("four letter words", configuration.fourLetterWords.allowed.sorted().joined(separator: ", ")),
        ]
    }

    /// What makes this server a member of an ensemble.
    private static func ensembleRows(_ configuration: ServerConfiguration) -> [(String, String)] {
        guard let ensemble = configuration.ensemble else { return [] }
        let members = ensemble.members
        let role = ensemble.ownMember?.role.rawValue ?? "member"
        let quorum =
            members.isHierarchical
            ? "the weight of groups \(members.groups.map { "\($0.id)" }.joined(separator: ", "))"
            : "\(members.voters.count / 2 + 1) of \(members.voters.count) participants"
        var rows = [("server", "\(ensemble.me), \(role)")]
        for member in members.members {
            let addresses = member.addresses.map(\.description).joined(separator: "|")
            rows.append(("  server.\(member.id)", "\(addresses), \(member.role.rawValue)"))
        }
        let tick = configuration.sessions.tickTime
        rows += [
            ("quorum", quorum),
            ("catching up", "within \(text(tick * ensemble.initLimit))"),
            ("hearing nothing", "for \(text(tick * ensemble.syncLimit)) at most"),
            (
                "quorum, election",
                "ports of " + (ensemble.listensOnAllAddresses ? "all addresses" : "server.\(ensemble.me)'s addresses")
            ),
        ]
        if members.version != 0 { rows.append(("version", members.versionText)) }
        return rows
    }

    /// In the largest unit that gives a whole number.
    private static func text(_ duration: Duration) -> String {
        let (seconds, attoseconds) = duration.components
        let milliseconds = seconds * 1_000 + attoseconds / 1_000_000_000_000_000
        let units: [(name: String, milliseconds: Int64)] = [
            ("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000),
        ]
        for unit in units where milliseconds > 0 && milliseconds % unit.milliseconds == 0 {
            return "\(milliseconds / unit.milliseconds) \(unit.name)"
        }
        return "\(milliseconds) ms"
    }
}
