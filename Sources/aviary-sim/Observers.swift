import ArgumentParser
import AviarySimulation
import ZooKeeperProtocol

/// `aviary-sim observers`.
struct Observers: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Tell what many observers cost: what the leader and its followers send them for each write.",
        discussion: """
            Three voters and their observers without faults, once with all observers at the leader, and once with \
            followers that serve them (observerMasterPort). docs/design/ensemble.md has the figures.
            """
    )

    @Option(help: "How many observers.")
    var count = 1000

    @Option(help: "How many writes.")
    var writes = 100

    @Option(help: "The seed.")
    var seed: UInt64 = 1

    func validate() throws {
        guard (0...5000).contains(count) else { throw ValidationError("--count has to be from 0 to 5000.") }
        guard writes > 0 else { throw ValidationError("--writes has to be above 0.") }
    }

    func run() throws {
        for hasMasters in [false, true] {
            print(hasMasters ? "\nfollowers serve observers (observerMasterPort)" : "all observers at the leader")
            let audience = try Audience.measure(
                observers: count,
                hasMasters: hasMasters,
                writes: writes,
                seed: seed
            )
            tell(audience)
        }
    }

    private func tell(_ audience: Audience) {
        let seconds = Double(audience.duration) / 1e6
        print("  everybody serves after \(tenths(Double(audience.gathering) / 1e6)) s")
        print("  \(audience.writes) writes in \(tenths(seconds)) s; of each, from and to:")
        for from in Traffic.Role.allCases {
            for to in Traffic.Role.allCases {
                let flow = Traffic.Flow(from: from, to: to)
                for kind in [QuorumPacketType.proposal, .commit, .inform, .ack] {
                    let amount = audience.traffic.amount(kind, flow)
                    guard amount.packets > 0 else { continue }
                    let packets = tenths(Double(amount.packets) / Double(audience.writes))
                    let bytes = tenths(Double(amount.bytes) / Double(audience.writes))
                    print("    \(from) to \(to)s: \(packets) \("\(kind)".uppercased()), \(bytes) bytes")
                }
                let pings = audience.traffic.amount(.ping, flow)
                guard pings.packets > 0 else { continue }
                let rate = tenths(Double(pings.packets) / seconds)
                print(
                    "    \(from) to \(to)s: \(rate) PING a second, \(tenths(Double(pings.bytes) / seconds)) bytes a second"
                )
            }
        }
    }

    private func tenths(_ value: Double) -> String {
        let tenths = Int((value * 10).rounded())
        return "\(tenths / 10).\(tenths % 10)"
    }
}
