/// The servers that `aviary dev` runs, before any of them runs: their numbers, ports and files.
struct DevPlan {
    /// The ports of one server.
    struct Ports: Equatable {
        var client: Int
        /// Both 0 for a server that stands alone.
        var quorum = 0
        var election = 0
    }

    /// Absolute.
    var directory: String
    /// Those of server 1 first.
    var ports: [Ports]
    /// Keys of zoo.cfg that the user wants on every server, in their order.
    var settings: [(key: String, value: String)] = []

    var count: Int { ports.count }
    var numbers: ClosedRange<Int> { 1...count }
    var isEnsemble: Bool { count > 1 }
    /// How many must be up to serve.
    var majority: Int { count / 2 + 1 }

    func ports(of number: Int) -> Ports { ports[number - 1] }
    /// `dataDir`.
    func data(of number: Int) -> String { "\(directory)/\(number)" }
    func configuration(of number: Int) -> String { "\(directory)/\(number).cfg" }
    func log(of number: Int) -> String { "\(directory)/\(number).log" }

    /// What a client is given to connect to.
    var connectString: String {
        ports.map { "127.0.0.1:\($0.client)" }.joined(separator: ",")
    }
}
