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
        return ([title(of: number) + "\(plan.count). \(note)"] + lines).joined(separator: "\n") + "\n"
    }

    /// Says to whom a file belongs. It stays when a reconfiguration rewrites the rest of the file.
    private static func title(of number: Int) -> String { "# Server \(number) of " }
    private static let note = "`aviary dev` writes this file at every start; see --set."

    /// Whether the file of server `number` is one of `text(of:in:)`, and not somebody's own.
    static func isOwn(_ text: String, of number: Int) -> Bool {
        guard let first = text.split(separator: "\n", omittingEmptySubsequences: false).first else { return false }
        return first.hasPrefix(title(of: number)) && first.hasSuffix(note)
    }
}
