internal import AviaryEnsemble
internal import ZooKeeperProtocol

/// Somebody changes the members now and then, and the files that say who they are.
extension EnsembleRun {
    func planReconfiguration() {
        guard settings.hasReconfigurations else { return }
        plan(.reconfiguration, after: random.range(50_000, 1_500_000))
    }

    /// A client asks for other members.
    func reconfigure() {
        guard isFaulty else { return }
        planReconfiguration()
        let attached = clients.filter(\.isAttached)
        guard !attached.isEmpty, let request = drawReconfiguration() else { return }
        narrate("members: \(request)")
        random.pick(attached).ask([request])
    }

    /// Whether a change may be refused so: who is in sync, and whether another one is under way, the leader alone knows.
    static func refusesReconfiguration(_ code: ErrorCode) -> Bool {
        [.badVersion, .badArguments, .reconfigInProgress, .newConfigNoQuorum].contains(code)
    }

    private func drawReconfiguration() -> Request? {
        let version: Int64 = random.oneIn(6) ? configuration.version : -1
        let server = random.pick(machines).id
        let role = random.oneIn(3) ? "observer" : "participant"
        let isMember = configuration.member(server) != nil
        switch random.below(isMember ? 4 : 8) {
        case 0, 1:
            guard isMember else { return nil }
            return .reconfigure(joining: nil, leaving: "\(server.rawValue)", members: nil, from: version)
        case 2:
            let chosen = machines.filter { _ in random.oneIn(2) }
            let lines = chosen.map { line(of: $0.id, random.oneIn(4) ? "observer" : "participant") }
            guard !lines.isEmpty else { return nil }
            return .reconfigure(joining: nil, leaving: nil, members: lines.joined(separator: ","), from: version)
        default:
            return .reconfigure(joining: line(of: server, role), leaving: nil, members: nil, from: version)
        }
    }

    private func line(of server: ServerID, _ role: String) -> String {
        let port = random.oneIn(4) ? 2889 : 2888
        return "server.\(server.rawValue)=server-\(server.rawValue):\(port):3888:\(role);2181"
    }

    /// A member wants its files changed: by a thread that takes its time, and not at all if it ends before.
    func write(_ configuration: QuorumConfiguration, isCommitted: Bool, to machine: Machine) {
        guard settings.hasReconfigurations else { return }
        machine.unwritten.append((configuration, isCommitted))
        plan(
            .configuration(server: machine.host.rawValue, incarnation: machine.incarnation),
            after: random.range(0, random.oneIn(3) ? 1_000_000 : 5_000)
        )
    }

    func writeConfiguration(_ machine: Machine) {
        guard !machine.unwritten.isEmpty else { return }
        let (configuration, isCommitted) = machine.unwritten.removeFirst()
        machine.files.write(configuration, isCommitted: isCommitted, by: machine.id)
    }

    /// Now and then a server is started with the files of long ago.
    func resetFiles(_ machine: Machine) {
        machine.unwritten = []
        guard settings.hasReconfigurations, isFaulty, machine.hasStarted, random.oneIn(5) else { return }
        counts[.oldConfigurations] += 1
        machine.files.reset()
    }
}
