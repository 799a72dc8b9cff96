import AviaryServer
import ZooKeeperProtocol

/// What is printed once the server serves: where it is, and what to do with it.
struct Banner {
    var addresses: [String]
    var port: Int
    var dataDirectory: String
    var configuration: ServerConfiguration
    /// The configuration file, if there is one: whoever has one knows what to try next.
    var file: String?

    init(server: RunningServer, configuration: ServerConfiguration, file: String?) {
        addresses = server.addresses
        port = server.port
        dataDirectory = server.dataDirectory
        self.configuration = configuration
        self.file = file
    }

    func print() {
        // All at once, and not through a buffer: whoever started this may wait for it on a pipe.
        let text = lines.joined(separator: "\n") + "\n"
        StandardStream.output.write(text)
    }

    var lines: [String] {
        var lines = [BuildInfo.summary, "", "  clients    \(addresses.joined(separator: ", "))\(reach)"]
        if configuration.clients.addresses == .loopback {
            lines.append("             to open it to other machines: aviary serve --address all")
        }
        lines.append("  data       \(dataDirectory)")
        let storage = configuration.storage
        if storage.logDirectory != storage.dataDirectory {
            lines.append("  logs       \(absolute(storage.logDirectory))")
        }
        if let file { lines.append("  settings   \(absolute(file))") }
        lines += ensembleLines
        guard file == nil else { return lines + [""] }
        return lines + [
            "", "What to try next, in another terminal:", "",
            "  python3 -m venv tour && tour/bin/pip install kazoo && tour/bin/python",
            "  >>> from kazoo.client import KazooClient",
            "  >>> zk = KazooClient(\"\(example)\"); zk.start()",
            "  >>> zk.create(\"/tour\", b\"hello\"); zk.get(\"/tour\")", "",
            "  zkCli.sh -server \(example)", "",
            "Ctrl-C stops the server; the data stays.", "",
        ]
    }

    /// Which server of which ensemble it is, and where the others find it.
    private var ensembleLines: [String] {
        guard let ensemble = configuration.ensemble else { return [] }
        let members = ensemble.members
        let quorum =
            members.isHierarchical
            ? "more than half of the weight in more than half of the groups"
            : "any \(members.voters.count / 2 + 1) of \(members.voters.count)"
        var lines = ["  ensemble   server \(ensemble.me) of \(members.members.count); \(quorum) must be up to serve"]
        if let own = ensemble.ownMember {
            let places = own.addresses.map { "\($0)" }.joined(separator: " | ")
            let role = own.role == .observer ? "; an observer" : ""
            lines.append("  servers    \(places)   (quorum port, election port\(role))")
        }
        return lines
    }

    /// Who can reach the server.
    private var reach: String {
        switch configuration.clients.addresses {
        case .loopback: "   (this machine only)"
        case .all: "   (every address of this machine)"
        case .only: ""
        }
    }

    /// An address that a client on this machine can connect to.
    private var example: String {
        guard case .only = configuration.clients.addresses, let first = addresses.first else {
            return "127.0.0.1:\(port)"
        }
        return first
    }

    private func absolute(_ path: String) -> String {
        if path.hasPrefix("/") { return path }
        let base = StandardStream.workingDirectory
        return base + "/" + (path.hasPrefix("./") ? String(path.dropFirst(2)) : path)
    }
}
