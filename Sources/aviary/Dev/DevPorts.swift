/// Which ports the servers of `aviary dev` get.
struct DevPorts {
    /// Tells whether somebody listens there; the system's answer, but for tests.
    var isFree: (Int) -> Bool = LoopbackPort.isFree

    /// Where the search begins, so that the ports are the same from one time to the next as long as they are free. All of it
    /// is below the range that systems take for outgoing connections: a port there could be gone when its server comes
    /// back.
    private static let first = 21_800
    private static let random = 100..<327
    private static let attempts = 200

    /// The ports of `count` servers.
    ///
    /// - Parameters:
    ///   - firstClient: what `--port` says.
    ///   - before: those of the last time in this directory, which are taken again when they are free.
    func choose(_ count: Int, firstClient: Int?, before: [DevPlan.Ports]?) throws(DevError) -> [DevPlan.Ports] {
        if let firstClient { try checkClients(firstClient, count) }
        let clients = firstClient.map { first in (0..<count).map { first + $0 } }
        if let before, before.count == count {
            let ports = zip(before, clients ?? before.map(\.client)).map {
                DevPlan.Ports(client: $1, quorum: $0.quorum, election: $0.election)
            }
            if areUsable(ports) { return ports }
        }
        var base = Self.first
        for _ in 0..<Self.attempts {
            let ports = (1...count).map { number in
                let client = clients?[number - 1] ?? base + number
                guard count > 1 else { return DevPlan.Ports(client: client) }
                return DevPlan.Ports(client: client, quorum: base + 10 + number, election: base + 20 + number)
            }
            if areUsable(ports) { return ports }
            base = Int.random(in: Self.random) * 100
        }
        throw DevError("found no free ports for \(count) servers: end some programs, or give ports with --port")
    }

    private func checkClients(_ first: Int, _ count: Int) throws(DevError) {
        guard first + count - 1 <= 65_535 else {
            let last = first + count - 1
            throw DevError("--port \(first): \(count) servers need ports up to \(last), and 65535 is the last")
        }
        for port in first..<first + count where !isFree(port) {
            let owner = count > 1 ? "port \(port), for server \(port - first + 1)," : "port \(port)"
            throw DevError("\(owner) is taken: end what listens there, give another --port, or none to get free ports")
        }
    }

    private func areUsable(_ ports: [DevPlan.Ports]) -> Bool {
        let all = ports.flatMap { $0.quorum == 0 ? [$0.client] : [$0.client, $0.quorum, $0.election] }
        return Set(all).count == all.count && all.allSatisfy(isFree)
    }
}
