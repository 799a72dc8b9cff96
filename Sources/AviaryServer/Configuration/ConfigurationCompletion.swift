import ZooKeeperProtocol

// What depends on more than one value: defaults that follow from others, and values that only fit together.

extension ConfigurationReader {
    /// Fills in the defaults that depend on other values, and checks what only fits together.
    mutating func finish() -> ServerConfiguration {
        finishListener()
        finishSessions()
        finishStorage()
        finishAccess()
        finishFourLetterWords()
        draft.configuration.limits.extraRecordSize =
            draft.extraRecordSize ?? max(draft.configuration.limits.maximumPacketSize, 1_024)
        draft.configuration.connectionThrottle.globalSessionWeight = weight(
            draft.globalSessionWeight,
            key: "connection_throttle_global_session_weight"
        )
        draft.configuration.connectionThrottle.renewSessionWeight = weight(
            draft.renewSessionWeight,
            key: "connection_throttle_renew_session_weight"
        )
        return draft.configuration
    }

    private mutating func finishListener() {
        takeClientAddressOfMember()
        if let addresses = draft.clientAddresses {
            draft.configuration.clients.addresses =
                addresses.contains(where: ListenAddress.isWildcard) ? .all : .only(addresses)
        } else {
            draft.configuration.clients.addresses = fileName == nil ? .loopback : .all
        }
        if let port = draft.clientPort {
            draft.configuration.clients.port = port
        } else if fileName != nil, source(of: "clientPort") == nil, !isMember || draft.configuration.ensemble != nil {
            report(
                source(of: "clientPortAddress"),
                "clientPort is not set, so that no client could connect; add a line such as clientPort=2181"
            )
        }
    }

    /// The `server.N` line of this server may carry the client port; a static one beside it has to agree, as in Apache.
    private mutating func takeClientAddressOfMember() {
        let own = isMember ? draft.configuration.ensemble?.ownMember : members.count == 1 ? members.first : nil
        guard let member = own, let client = member.client else { return }
        let (host, port) = (client.host, client.port)
        if case .line(_)? = source(of: "clientPort"), let other = draft.clientPort, other != port {
            report(
                source(of: "clientPort"),
                "clientPort=\(other) differs from the client port \(port) of server.\(member.id); keep one of them"
            )
        }
        if case .line(_)? = source(of: "clientPortAddress"), let others = draft.clientAddresses,
            !others.contains(where: ListenAddress.isWildcard), others != [host]
        {
            report(
                source(of: "clientPortAddress"),
                "clientPortAddress=\(others.joined(separator: ",")) differs from the client address \(host) of "
                    + "server.\(member.id); keep one of them"
            )
        }
        draft.clientPort = isFlag("clientPort") ? draft.clientPort : port
        draft.clientAddresses = isFlag("clientPortAddress") ? draft.clientAddresses : [host]
    }

    private mutating func finishSessions() {
        let tick = draft.tickTimeMilliseconds ?? (fileName == nil ? 2_000 : 3_000)
        let least = draft.minimumSessionTimeout == -1 ? 2 * tick : draft.minimumSessionTimeout
        let most = draft.maximumSessionTimeout == -1 ? 20 * tick : draft.maximumSessionTimeout
        if least > most {
            let text =
                "minSessionTimeout \(least) is above maxSessionTimeout \(most); they are two and twenty ticks of "
                + "\(tick) ms unless they are set"
            report(
                source(of: "minSessionTimeout") ?? source(of: "maxSessionTimeout"),
                text
            )
        }
        draft.configuration.sessions.tickTime = .milliseconds(tick)
        draft.configuration.sessions.minimumTimeout = .milliseconds(least)
        draft.configuration.sessions.maximumTimeout = .milliseconds(most)
    }

    private mutating func finishStorage() {
        if let directory = draft.dataDirectory {
            draft.configuration.storage.dataDirectory = directory
        } else if fileName != nil, source(of: "dataDir") == nil {
            report(nil, "dataDir is not set; add a line such as dataDir=/var/lib/zookeeper")
        }
        draft.configuration.storage.logDirectory =
            draft.logDirectory ?? draft.configuration.storage.dataDirectory
        draft.configuration.storage.flushDelay = .milliseconds(draft.flushDelayMilliseconds)
        draft.configuration.storage.maximumQueuePollTime =
            draft.queuePollTime ?? .milliseconds(draft.flushDelayMilliseconds / 3)
        if draft.purgeInterval > .zero {
            draft.configuration.storage.purge = Purge(
                interval: draft.purgeInterval,
                retainedSnapshots: draft.retainedSnapshots
            )
        } else {
            draft.configuration.storage.purge = nil
            note(
                .info,
                source(of: "autopurge.purgeInterval"),
                "automatic purge is off: old snapshots and logs stay until somebody deletes them"
            )
        }
    }

    private typealias Purge = ServerConfiguration.Purge

    private mutating func finishAccess() {
        guard draft.isAuthenticationEnforced else { return }
        let access = draft.configuration.access
        var available = ["ip"]
        if access.isDigestEnabled { available.append("digest") }
        if access.isEnsembleSchemeEnabled { available.append("ensemble") }
        let source = source(of: "enforce.auth.schemes") ?? source(of: "enforce.auth.enabled")
        if draft.enforcedSchemes.isEmpty {
            report(
                source,
                "enforce.auth.enabled=true needs the schemes to ask for; add a line such as enforce.auth.schemes=digest"
            )
        }
        for scheme in draft.enforcedSchemes where !available.contains(scheme) {
            report(
                source,
                "enforce.auth.schemes: the scheme \(scheme) is not available; allowed are "
                    + available.joined(separator: ", ")
            )
        }
        draft.configuration.access.enforcedSchemes = draft.enforcedSchemes
    }

    private mutating func finishFourLetterWords() {
        let all = ServerConfiguration.FourLetterWords.all
        if let words = draft.fourLetterWords {
            for word in words where word != "*" && !all.contains(word) {
                let hint = Spelling.nearest(to: word, among: all.sorted()).map { "; did you mean \($0)?" } ?? ""
                note(
                    .warning,
                    source(of: "4lw.commands.whitelist"),
                    "\(word) is not a four letter word of ZooKeeper\(hint)"
                )
            }
            draft.configuration.fourLetterWords.allowed = words.contains("*") ? all : all.intersection(words)
        }
        // Scripts of Apache's own depend on these two, whatever the list says.
        draft.configuration.fourLetterWords.allowed.insert("srvr")
        if draft.configuration.features.readOnlyMode {
            draft.configuration.fourLetterWords.allowed.insert("isro")
        }
    }

    /// A session that is not local costs at least what a local one does.
    private mutating func weight(_ weight: Int, key: String) -> Int {
        let least = draft.configuration.connectionThrottle.localSessionWeight
        guard weight < least else { return weight }
        let source = source(of: key) ?? source(of: "connection_throttle_local_session_weight")
        note(.warning, source, "\(key) \(weight) is below the weight of a local session; \(least) is used")
        return least
    }
}
