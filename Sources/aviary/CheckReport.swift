import AviaryServer

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
        return [
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
