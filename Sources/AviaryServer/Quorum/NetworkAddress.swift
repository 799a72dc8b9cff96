internal import ZooKeeperProtocol

/// One port of one server, by name: what is connected to or listened on.
struct NetworkAddress: Hashable, Sendable, CustomStringConvertible {
    /// A name or an address, without brackets. Resolved before every use (`NameResolver`).
    var host: String
    /// 0 lets the system choose, for listening only.
    var port: Int

    init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    var description: String { HostText.bracketed(host) + ":\(port)" }
}

extension QuorumMember {
    var electionAddresses: [NetworkAddress] {
        addresses.map { NetworkAddress(host: $0.host, port: $0.electionPort) }
    }

    var quorumAddresses: [NetworkAddress] {
        addresses.map { NetworkAddress(host: $0.host, port: $0.quorumPort) }
    }

    /// Where a follower serves observers.
    func masterAddresses(port: Int) -> [NetworkAddress] {
        addresses.map { NetworkAddress(host: $0.host, port: port) }
    }

    /// Where learners come to.
    ///
    /// - Parameter masterPort: `observerMasterPort`.
    func learnerAddresses(masterPort: Int?) -> [NetworkAddress] {
        guard let masterPort, role == .participant else { return quorumAddresses }
        return quorumAddresses + masterAddresses(port: masterPort)
    }
}
