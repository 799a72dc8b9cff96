import ZooKeeperProtocol

// Whether the lines for members make this server one, and then what it is.
//
// Source: `docs/protocol/quorum-protocol.md` section 2.1 (which mode) and 2.4 (sanity rules).

extension ConfigurationReader {
    /// How many ticks a limit may have: so many milliseconds are a timeout that Apache's servers can have, too.
    private static let longestLimit = Int(Int32.max)

    /// Reads the `server.N` lines, from this file or from the dynamic one, and what belongs to them.
    mutating func takeEnsemble(open: (String) throws(UnreadableFile) -> String) {
        let version = takeMembers(open: open)
        guard areMembersComplete else {
            // What the lines ask for cannot be told, so nothing else is said of it.
            isMember = true
            return
        }
        guard checkMode() else { return noteForMembersOnly() }
        isMember = true
        let configuration = makeConfiguration(version: version)
        let limits = takeLimits()
        let me = takeID(open: open, members: configuration)
        guard let configuration, let limits, let me else { return }
        note(configuration, me)
        let ensemble = draft.ensemble
        var result = EnsembleConfiguration(
            me: me,
            members: configuration,
            initLimit: limits.initLimit,
            syncLimit: limits.syncLimit,
            introductionTimeout: limits.introductionTimeout
        )
        result.isStandaloneEnabled = draft.isStandaloneEnabled
        result.connectLimit = ensemble.connectLimit > 0 ? ensemble.connectLimit : nil
        result.listensOnAllAddresses = ensemble.listensOnAllAddresses
        result.connectTimeout = ensemble.connectTimeout
        result.sendsTCPKeepAlive = ensemble.sendsTCPKeepAlive
        result.allowsSeveralAddresses = ensemble.allowsSeveralAddresses
        result.minimumNotificationInterval = ensemble.minimumNotificationInterval
        result.maximumNotificationInterval = max(
            ensemble.maximumNotificationInterval,
            ensemble.minimumNotificationInterval
        )
        result.observerElectionDelay = ensemble.observerElectionDelay
        result.observerMasterPort = ensemble.observerMasterPort
        result.leaderServes = ensemble.leaderServes
        result.localSessions = ensemble.localSessions
        result.upgradesLocalSessions = ensemble.upgradesLocalSessions
        result.recentTransactions = ensemble.recentTransactions
        result.snapshotSizeFactor = ensemble.snapshotSizeFactor
        result.forcesSnapshotSync = ensemble.forcesSnapshotSync
        result.staticFile = areMembersFromFlags ? nil : fileName
        result.dynamicFile = draft.dynamicConfigurationFile
        result.proposed = takeProposed(open: open, behind: configuration)
        result.isClientAddressFixed = isFlag("clientPort") || isFlag("clientPortAddress")
        draft.configuration.ensemble = result
    }

    // MARK: - Which mode

    /// Whether this server is a member of an ensemble. What can be neither is reported.
    ///
    /// As in Apache, one participant with `standaloneEnabled=true` is a standalone server: tools such as HBase and the
    /// Docker image write such a line.
    private mutating func checkMode() -> Bool {
        let participants = members.count { $0.role == .participant }
        let observers = members.filter { $0.role == .observer }
        switch (participants, observers.count) {
        case (0, 0):
            if !draft.isStandaloneEnabled {
                report(
                    source(of: "standaloneEnabled"),
                    "standaloneEnabled=false asks for an ensemble, if only of one server, and there is no server.N line; "
                        + "add one such as server.1=localhost:2888:3888, or set it to true to serve alone"
                )
            }
            return false
        case (0, _):
            report(
                sourceOfMembers,
                "\(ConfigurationReader.names(observers)): observers without a participant to follow; add the server.N "
                    + "lines of the participants"
            )
            return false
        case (1, 0): return !draft.isStandaloneEnabled
        case (1, _) where draft.isStandaloneEnabled:
            report(
                sourceOfMembers,
                "\(ConfigurationReader.names(observers)): observers of one participant, which stands alone with "
                    + "standaloneEnabled=true and has no port for them; set it to false on all servers"
            )
            return false
        default: return true
        }
    }

    /// Names what has no effect because this server stands alone.
    private mutating func noteForMembersOnly() {
        guard !forMembers.isEmpty else { return }
        for (source, keys) in forMembers {
            note(
                .info,
                "\(source): accepted without effect: \(keys.joined(separator: ", ")) (used by members of an ensemble, "
                    + "and this server stands alone)"
            )
        }
    }

    static func names(_ members: [QuorumMember]) -> String {
        let names = members.map { "server.\($0.id)" }
        guard let last = names.last, names.count > 1 else { return names.first ?? "" }
        return names.dropLast().joined(separator: ", ") + " and " + last
    }

    // MARK: - Parts

    private mutating func makeConfiguration(version: Int64) -> QuorumConfiguration? {
        var isValid = true
        let limit = draft.configuration.features.extendedTypes ? 254 : 255
        for member in members where member.id.rawValue > limit {
            let reason =
                limit == 255
                ? "is above 255, which is the most" : "is above 254, which is the most with extendedTypesEnabled=true"
            report(sourceOfMembers, "server.\(member.id): the number of a server \(reason): session ids begin with it")
            isValid = false
        }
        for member in members where member.addresses.count > 1 && !draft.ensemble.allowsSeveralAddresses {
            report(
                sourceOfMembers,
                "server.\(member.id) has \(member.addresses.count) addresses; set multiAddress.enabled=true on all servers "
                    + "to use them, or keep one"
            )
            isValid = false
        }
        guard isValid else { return nil }
        do throws(MalformedConfiguration) {
            return try lines.configuration(version: version)
        } catch {
            report(sourceOfMembers, error.text)
            return nil
        }
    }

    /// The configuration that was proposed when the server ended. As in Apache it counts beside a dynamic file only.
    private mutating func takeProposed(
        open: (String) throws(UnreadableFile) -> String,
        behind current: QuorumConfiguration
    ) -> QuorumConfiguration? {
        guard draft.configuration.features.reconfig, let fileName, draft.dynamicConfigurationFile != nil else {
            return nil
        }
        let path = fileName + DynamicFiles.nextSuffix
        guard let text = try? open(path) else { return nil }
        do throws(MalformedConfiguration) {
            let next = try QuorumConfiguration.parse(text)
            return next.version > current.version ? next : nil
        } catch {
            note(.warning, "\(path) is left from a reconfiguration and cannot be used: \(error.text)")
            return nil
        }
    }

    private mutating func takeLimits() -> (initLimit: Int, syncLimit: Int, introductionTimeout: Duration)? {
        let tick = draft.tickTimeMilliseconds ?? (fileName == nil ? 2_000 : 3_000)
        let initLimit = limit(draft.ensemble.initLimit, "initLimit", usual: 10, tick)
        let syncLimit = limit(draft.ensemble.syncLimit, "syncLimit", usual: 5, tick)
        if draft.ensemble.connectLimit > Self.longestLimit / tick {
            report(
                source(of: "connectToLearnerMasterLimit"),
                "connectToLearnerMasterLimit=\(draft.ensemble.connectLimit): ticks of \(tick) ms, that is more than "
                    + "\(Self.longestLimit) ms"
            )
        }
        guard let initLimit, let syncLimit else { return nil }
        let introduction = draft.ensemble.introductionTimeoutMilliseconds
        return (initLimit, syncLimit, .milliseconds(introduction > 0 ? introduction : syncLimit * tick))
    }

    private mutating func limit(_ value: Int?, _ key: String, usual: Int, _ tick: Int) -> Int? {
        guard let value, value != 0 else {
            // A value that is not allowed was reported where it stands.
            if value != nil || source(of: key) == nil {
                report(
                    source(of: key) ?? sourceOfMembers,
                    value == 0
                        ? "\(key)=0 leaves no time for anything; allowed is a number of ticks above 0, such as \(usual)"
                        : "a member of an ensemble needs \(key), in ticks; add a line such as \(key)=\(usual)"
                )
            }
            return nil
        }
        guard value <= Self.longestLimit / tick else {
            report(
                source(of: key),
                "\(key)=\(value): ticks of \(tick) ms, that is more than \(Self.longestLimit) ms"
            )
            return nil
        }
        return value
    }

    /// Who this server is, from the file `myid` in its data directory.
    private mutating func takeID(
        open: (String) throws(UnreadableFile) -> String,
        members: QuorumConfiguration?
    ) -> ServerID? {
        // With a file there is no default, and its lack is reported as it is for every server.
        let usual = fileName == nil ? ServerConfiguration.Storage().dataDirectory : nil
        guard let directory = draft.dataDirectory ?? usual else { return nil }
        let path = directory.hasSuffix("/") ? directory + "myid" : directory + "/myid"
        let names = ConfigurationReader.names(self.members)
        let text: String
        do throws(UnreadableFile) {
            text = try open(path)
        } catch {
            report(
                source(of: "dataDir"),
                "the file \(path) cannot be read: \(error.reason); it says which server this is of \(names): its number, "
                    + "alone on the first line (echo 1 > \(path))"
            )
            return nil
        }
        let line = text.prefix { !$0.isNewline }.filter { !$0.isWhitespace }
        guard let number = Int64(line), number >= 0 else {
            let shown = line.isEmpty ? "is empty" : "begins with \(line.prefix(40))"
            report(source(of: "dataDir"), "\(path) \(shown); allowed is the number of one of \(names)")
            return nil
        }
        let me = ServerID(number)
        guard let members else { return me }
        guard members.member(me) != nil else {
            let reason =
                members.version > 0
                ? "a reconfiguration has removed it, or this is another server's configuration; to let it come back, give "
                    + "it the server.N lines of all members and its own again, and add it with reconfig"
                : "correct the one or the other"
            report(
                source(of: "dataDir"),
                "\(path) says that this is server \(me), and there is no server.\(me) among \(names); \(reason)"
            )
            return nil
        }
        return me
    }

    // MARK: - What to hear at every start

    private mutating func note(_ members: QuorumConfiguration, _ me: ServerID) {
        if let type = draft.ensemble.peerType, let own = members.member(me), own.role != type {
            note(
                .warning,
                source(of: "peerType"),
                "peerType=\(type.rawValue) differs from the \(own.role.rawValue) of server.\(me), which counts"
            )
        }
        let voters = members.voters.count
        guard !members.isHierarchical else { return }
        if voters == 2 {
            note(
                .warning,
                sourceOfMembers,
                "two participants are less available than one: without either of them there is no quorum; better have "
                    + "three"
            )
        } else if voters % 2 == 0 {
            note(
                .info,
                sourceOfMembers,
                "\(voters) participants survive as many failures as \(voters - 1) do; better have an odd number"
            )
        }
    }
}
