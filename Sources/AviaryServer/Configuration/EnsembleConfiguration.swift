package import ZooKeeperProtocol

/// Everything a member of an ensemble is told beyond what every server is.
///
/// Every property names the `zoo.cfg` key that sets it.
///
/// - Source: `docs/protocol/quorum-protocol.md` sections 2 and 13.
package struct EnsembleConfiguration: Sendable, Equatable {
    /// The file `myid` in `dataDir`: which of the members this server is.
    package var me: ServerID

    /// `server.N`, `group.N`, `weight.N`, from the file or from the one that `dynamicConfigFile` names, whose version is in
    /// its name.
    package var members: QuorumConfiguration

    /// `standaloneEnabled`: whether the ensemble may not become smaller than two voters, because one would stand alone.
    package var isStandaloneEnabled = true

    /// `initLimit`: ticks that a learner may take to connect and to catch up, and a leader to find its quorum.
    package var initLimit: Int

    /// `syncLimit`: ticks that a learner and its leader may hear nothing of each other.
    package var syncLimit: Int

    /// `connectToLearnerMasterLimit`: ticks that a learner tries to connect; `nil` is `initLimit` (0 in the file).
    package var connectLimit: Int?

    /// `quorumListenOnAllIPs`: whether quorum and election port are open on all addresses of this machine, and not only on
    /// those of its `server.N` line.
    package var listensOnAllAddresses = false

    /// `cnxTimeout`: how long an attempt to connect to another server may take.
    package var connectTimeout: Duration = .milliseconds(5_000)

    /// `quorumCnxnTimeoutMs`: how long an election connection may take to say who it is; `syncLimit` ticks unless it is
    /// given.
    package var introductionTimeout: Duration

    /// `tcpKeepAlive`: whether the kernel probes silent connections between servers.
    package var sendsTCPKeepAlive = false

    /// `multiAddress.enabled`: whether members may have several addresses.
    package var allowsSeveralAddresses = false

    /// `fastleader.minNotificationInterval` and `fastleader.maxNotificationInterval`: how soon a vote that nobody answers
    /// is sent again; the time doubles from the first to the second.
    package var minimumNotificationInterval: Duration = .milliseconds(200)
    package var maximumNotificationInterval: Duration = .milliseconds(60_000)

    /// `observer.election.DelayMs`: the most that an observer waits before it looks for a leader again.
    package var observerElectionDelay: Duration = .milliseconds(200)

    /// `observerMasterPort`: where followers serve observers, which then ask them first; `nil` where only the leader does.
    package var observerMasterPort: Int?

    /// `leaderServes`: whether a leader takes clients.
    package var leaderServes = true

    /// `localSessionsEnabled`: whether new sessions are known to their server alone.
    package var localSessions = false

    /// `localSessionsUpgradingEnabled`: whether they become global with their first ephemeral.
    package var upgradesLocalSessions = false

    /// `commitLogCount`: transactions kept in memory for learners that are behind; at least 500.
    package var recentTransactions = 500

    /// `snapshotSizeFactor`: how large a part of the newest snapshot the logs may be that a learner is brought up to date
    /// from instead of by that snapshot; `nil` never looks into the logs (below 0 in the file).
    package var snapshotSizeFactor: Double? = 0.33

    /// `forceSnapshotSync`: whether every learner that is behind gets a snapshot.
    package var forcesSnapshotSync = false

    /// The static file, which a reconfiguration rewrites; `nil` without one, and where flags name the members.
    package var staticFile: String?

    /// What `<cfg>.dynamic.next` holds beside it: a newer configuration that was proposed when this server ended.
    package var proposed: QuorumConfiguration?

    /// A flag says where clients are served, and no configuration changes that.
    package var isClientAddressFixed = false

    /// `dynamicConfigFile`.
    package var dynamicFile: String?

    package init(
        me: ServerID,
        members: QuorumConfiguration,
        initLimit: Int,
        syncLimit: Int,
        introductionTimeout: Duration
    ) {
        self.me = me
        self.members = members
        self.initLimit = initLimit
        self.syncLimit = syncLimit
        self.introductionTimeout = introductionTimeout
    }

    /// The `server.N` of this server.
    package var ownMember: QuorumMember? { members.member(me) }
}

/// What the keys for members say, before it is known whether this server is one.
struct EnsembleDraft: Sendable {
    var initLimit: Int?
    var syncLimit: Int?
    var connectLimit = 0
    var peerType: QuorumMember.Role?
    var listensOnAllAddresses = false
    var connectTimeout: Duration = .milliseconds(5_000)
    /// Milliseconds; −1 asks for the default.
    var introductionTimeoutMilliseconds = -1
    var sendsTCPKeepAlive = false
    var allowsSeveralAddresses = false
    var minimumNotificationInterval: Duration = .milliseconds(200)
    var maximumNotificationInterval: Duration = .milliseconds(60_000)
    var observerElectionDelay: Duration = .milliseconds(200)
    var leaderServes = true
    var localSessions = false
    var upgradesLocalSessions = false
    var recentTransactions = 500
    var snapshotSizeFactor: Double? = 0.33
    var forcesSnapshotSync = false
    var observerMasterPort: Int?
}
