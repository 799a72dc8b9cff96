/// The `zoo.cfg` of a server of `aviary dev`.
enum DevConfiguration {
    /// What `aviary dev` decides; `--set` has no say in it.
    static let ownKeys: Set<String> = [
        "dataDir", "dataLogDir", "clientPort", "clientPortAddress", "dynamicConfigFile",
    ]

    /// A short tick: a hung leader is given up after two seconds, sessions can be short in tests and long in debuggers.
    private static let tickMilliseconds = 500
    private static let syncLimit = 4
    private static let initLimit = 20
    private static let maxSessionMilliseconds = 60_000

    /// How long servers wait for one that says nothing, in words.
    static func patience(_ plan: DevPlan) -> String {
        func number(_ key: String, _ standard: Int) -> Int? {
            guard let value = plan.settings.last(where: { $0.key == key })?.value else { return standard }
            return Int(value)
        }
        guard let tick = number("tickTime", tickMilliseconds), let limit = number("syncLimit", syncLimit) else {
            return "syncLimit ticks"
        }
        return "\(Duration.milliseconds(tick * limit))"
    }

    static func isOwn(_ key: String) -> Bool {
        ownKeys.contains(key) || ["server.", "group.", "weight."].contains { key.hasPrefix($0) }
    }

    /// The file of server `number`, and with it all that another of them differs in.
    static func text(of number: Int, in plan: DevPlan) -> String {
        var lines = ["tickTime=\(tickMilliseconds)", "maxSessionTimeout=\(maxSessionMilliseconds)"]
        if plan.isEnsemble { lines += ["initLimit=\(initLimit)", "syncLimit=\(syncLimit)"] }
        lines.append("4lw.commands.whitelist=*")
        for setting in plan.settings {
            lines.removeAll { $0.hasPrefix(setting.key + "=") }
            lines.append("\(setting.key)=\(setting.value)")
        }
        let path = plan.data(of: number).replacing("\\", with: "\\\\")
        lines += ["dataDir=\(path)", "clientPort=\(plan.ports(of: number).client)", "clientPortAddress=127.0.0.1"]
        if plan.isEnsemble {
            lines += plan.numbers.map {
                "server.\($0)=127.0.0.1:\(plan.ports(of: $0).quorum):\(plan.ports(of: $0).election)"
            }
        }
        let title = "# Server \(number) of \(plan.count). `aviary dev` writes this file at every start; see --set."
        return ([title] + lines).joined(separator: "\n") + "\n"
    }

    /// The ports that a file of `text(of:in:)` gives to server `number`; nil for a file of somebody else.
    static func ports(of number: Int, in text: String) -> DevPlan.Ports? {
        var ports = DevPlan.Ports(client: 0)
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: "=", maxSplits: 1)
            guard parts.count == 2 else { continue }
            switch parts[0] {
            case "clientPort":
                ports.client = Int(parts[1]) ?? 0
            case "server.\(number)":
                let numbers = parts[1].split(separator: ":").compactMap { Int($0) }
                guard numbers.count == 2 else { return nil }
                (ports.quorum, ports.election) = (numbers[0], numbers[1])
            default:
                continue
            }
        }
        return ports.client > 0 ? ports : nil
    }
}
