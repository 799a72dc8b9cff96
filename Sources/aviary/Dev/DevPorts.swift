/// Which ports the servers of `aviary dev` get.
enum DevPorts {
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
    ///   - memory: of the last time in this directory, whose ports are taken again when they are free.
    static func choose(
        _ count: Int,
        firstClient: Int?,
        before memory: DevMemory
    ) throws(DevError) -> [DevPlan.Ports] {
        if let firstClient { try checkClients(firstClient, count) }
        let clients = firstClient.map { first in (0..<count).map { first + $0 } }
        if let before = memory.ports, before.count == count {
            try checkFixed(before, clients, memory)
            let ports = zip(before, clients ?? before.map(\.client)).map {
                DevPlan.Ports(client: $1, quorum: $0.quorum, election: $0.election)
            }
            if claim(ports) { return ports }
            // The first of the hundred is for others to keep away, and all else is ours.
            if memory.hasFixedMembers { return ports }
        }
        var base = first
        for _ in 0..<attempts {
            let ports = (1...count).map { number in
                let client = clients?[number - 1] ?? base + number
                guard count > 1 else { return DevPlan.Ports(client: client) }
                return DevPlan.Ports(client: client, quorum: base + 10 + number, election: base + 20 + number)
            }
            if claim(ports) { return ports }
            base = Int.random(in: random) * 100
        }
        throw DevError("found no free ports for \(count) servers: end some programs, or give ports with --port")
    }

    private static func checkClients(_ first: Int, _ count: Int) throws(DevError) {
        guard first + count - 1 <= 65_535 else {
            let last = first + count - 1
            throw DevError("--port \(first): \(count) servers need ports up to \(last), and 65535 is the last")
        }
        for port in first..<first + count where !LoopbackPort.isFree(port) {
            let owner = count > 1 ? "port \(port), for server \(port - first + 1)," : "port \(port)"
            throw DevError("\(owner) is taken: end what listens there, give another --port, or none to get free ports")
        }
    }

    /// What a reconfiguration has put into the data cannot be chosen anew.
    private static func checkFixed(
        _ ports: [DevPlan.Ports],
        _ clients: [Int]?,
        _ memory: DevMemory
    ) throws(DevError) {
        for (index, ports) in ports.enumerated() {
            let number = index + 1
            if let clients, memory.fixedClients.contains(number), clients[index] != ports.client {
                throw DevError(
                    "--port: a reconfiguration gave server \(number) the port \(ports.client) for clients, and that is in "
                        + "its data: leave --port out, or give another --dir to begin anew"
                )
            }
            guard memory.hasFixedMembers else { continue }
            for port in [ports.quorum, ports.election, clients?[index] ?? ports.client]
            where !LoopbackPort.isFree(port) {
                throw DevError(
                    "port \(port), of server \(number), is taken, and with reconfigEnabled=true servers keep their ports: "
                        + "end what listens there, or give another --dir to begin anew"
                )
            }
        }
    }

    /// Takes the ports if all of them are free, for as long as this process lives.
    ///
    /// Servers bind theirs a moment later, and again whenever they are restarted. So that another `aviary dev` keeps away
    /// meanwhile, the hundred's first port is taken, which nobody else uses.
    private static func claim(_ ports: [DevPlan.Ports]) -> Bool {
        guard let first = ports.first else { return false }
        let all = ports.flatMap { $0.quorum == 0 ? [$0.client] : [$0.client, $0.quorum, $0.election] }
        guard Set(all).count == all.count, all.allSatisfy(LoopbackPort.isFree) else { return false }
        let base = (first.quorum == 0 ? first.client : first.quorum) / 100 * 100
        // A port for clients that somebody asked for is no part of such a block.
        guard first.quorum > 0 || first.client == base + 1 else { return true }
        return LoopbackPort.hold(base)
    }
}
