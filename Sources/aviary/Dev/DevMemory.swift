/// What the files of an earlier `aviary dev` say of its servers' ports.
///
/// With `reconfigEnabled=true` servers move the members out of `N.cfg` to `N.cfg.dynamic.<version>` and leave the former
/// text in `N.cfg.bak`. From then on the members' ports are in their data as well and are no longer for `aviary dev` to
/// choose: what is in the data counts, whatever `N.cfg` says.
struct DevMemory {
    /// Those of server 1 first; nil where some are not known.
    let ports: [DevPlan.Ports]?
    /// The members' quorum and election ports are in their data, and have to stay.
    let hasFixedMembers: Bool
    /// The client ports of these servers are so, too: a client reconfigured them.
    let fixedClients: Set<Int>

    /// - Parameters:
    ///   - count: of servers.
    ///   - isReconfigEnabled: otherwise `N.cfg` alone counts.
    ///   - names: of the files in the directory.
    ///   - read: gives the text of one.
    init(count: Int, isReconfigEnabled: Bool, names: [String], read: (String) -> String?) {
        let newest = Self.newestDynamicFile(names, count).flatMap(read).map(Self.settings)
        var ports: [DevPlan.Ports] = []
        var fixedClients: Set<Int> = []
        for number in Self.numbers(count) {
            let own = read("\(number).cfg").map(Self.settings) ?? [:]
            let former = read("\(number).cfg.bak").map(Self.settings) ?? [:]
            // Who was removed is in the file of nobody else.
            let texts = isReconfigEnabled ? [newest, own, former] : [own, newest, former]
            let member = texts.lazy.compactMap { $0?["server.\(number)"].flatMap(Member.init) }.first
            let client =
                member?.client ?? own["clientPort"].flatMap { Int($0) } ?? former["clientPort"].flatMap { Int($0) }
            guard let client, client > 0, count == 1 || member != nil else { continue }
            if member?.client != nil { fixedClients.insert(number) }
            ports.append(DevPlan.Ports(client: client, quorum: member?.quorum ?? 0, election: member?.election ?? 0))
        }
        self.ports = count > 0 && ports.count == count ? ports : nil
        hasFixedMembers = isReconfigEnabled && newest != nil
        self.fixedClients = hasFixedMembers ? fixedClients : []
    }

    /// One line `server.N`.
    private struct Member {
        let quorum: Int
        let election: Int
        let client: Int?

        /// - Parameter text: `host:quorum:election[:role][;[host:]client]`, on this machine always 127.0.0.1.
        init?(_ text: String) {
            let halves = text.split(separator: ";", maxSplits: 1)
            let numbers = (halves.first ?? "").split(separator: ":")
            guard numbers.count >= 3, let quorum = Int(numbers[1]), let election = Int(numbers[2]) else { return nil }
            self.quorum = quorum
            self.election = election
            client = halves.count > 1 ? halves[1].split(separator: ":").last.flatMap { Int($0) } : nil
        }
    }

    private static func settings(_ text: String) -> [String: String] {
        var settings: [String: String] = [:]
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: "=", maxSplits: 1)
            if parts.count == 2 { settings[String(parts[0])] = String(parts[1]) }
        }
        return settings
    }

    /// Each server has its own, and some may be behind.
    private static func newestDynamicFile(_ names: [String], _ count: Int) -> String? {
        let files = names.compactMap { name -> (name: String, version: UInt64)? in
            for number in numbers(count) {
                let beginning = "\(number).cfg.dynamic."
                guard name.hasPrefix(beginning) else { continue }
                return UInt64(name.dropFirst(beginning.count), radix: 16).map { (name, $0) }
            }
            return nil
        }
        return files.max { $0.version < $1.version }?.name
    }

    private static func numbers(_ count: Int) -> Range<Int> { 1..<count + 1 }
}
