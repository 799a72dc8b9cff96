package import ZooKeeperProtocol

/// What servers have sent each other on quorum connections: packets and bytes by sender, receiver and type.
package struct Traffic: Sendable {
    package enum Role: String, Sendable, CaseIterable { case leader, follower, observer }

    package struct Flow: Hashable, Sendable {
        package var from: Role
        package var to: Role

        package init(from: Role, to: Role) {
            self.from = from
            self.to = to
        }
    }

    package struct Amount: Sendable {
        package private(set) var packets = 0
        package private(set) var bytes = 0

        mutating func add(bytes count: Int) {
            packets += 1
            bytes += count
        }
    }

    private var amounts: [Flow: [QuorumPacketType: Amount]] = [:]

    init() {}

    mutating func add(_ kind: QuorumPacketType, bytes: Int, _ flow: Flow) {
        amounts[flow, default: [:]][kind, default: Amount()].add(bytes: bytes)
    }

    package func amount(_ kind: QuorumPacketType, _ flow: Flow) -> Amount { amounts[flow]?[kind] ?? Amount() }
}
