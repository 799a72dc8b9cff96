internal import AviaryCore
internal import AviaryEnsemble
internal import AviaryStorage
internal import Zab
internal import ZooKeeperProtocol

/// The loop's side of the ensemble: this server's part in it, and what it speaks to the others with. Touched on the loop
/// alone.
final class EnsembleLink {
    let member: Member
    let configuration: EnsembleConfiguration
    let election: ElectionTransport
    let links: QuorumLinks
    let history: HistoryThread
    /// Writes configurations to their files; nil where there are none.
    let files: ConfigurationThread?
    /// Loads the tree again from disk.
    let reload: (inout CoreRestorer) throws(StorageError) -> RecoveryReport

    /// What is being carried out, while the member collects what comes next.
    @exclusivity(unchecked) var orders = MemberOrders()
    /// Everything up to here is on disk.
    var durableZxid: Zxid
    /// What was replayed at the start shall not be replayed again: a snapshot follows once it is known to be committed.
    var wantsSnapshot: Bool
    /// Version of the configuration in force, as far as the rest of this server was told of it.
    var configurationVersion: Int64
    /// That there is no file to write a configuration to was told.
    var hasToldOfNoFile = false
    /// How long it took to find leaders.
    var availability = AvailabilityMetrics()
    /// Links that are open.
    var open: [LinkID: OpenLink] = [:]
    /// Whether links are read from.
    var isReading = true

    /// A quorum connection as far as the loop has to know.
    struct OpenLink {
        /// A snapshot that is being sent has the link for itself.
        var stream: Stream?
        /// The history thread keeps something for it.
        var hasHistory = false
    }

    /// A snapshot on its way to a learner.
    struct Stream {
        let zxid: Zxid
        /// The next bytes are being read.
        var isReading = false
        /// Their memory, while they are not.
        var piece = SnapshotPiece()
    }

    /// So many bytes of a snapshot are read at a time.
    static let pieceBytes = 256 << 10

    init(
        member: Member,
        configuration: EnsembleConfiguration,
        election: ElectionTransport,
        links: QuorumLinks,
        history: HistoryThread,
        files: ConfigurationThread?,
        durableZxid: Zxid,
        wantsSnapshot: Bool,
        reload: @escaping (inout CoreRestorer) throws(StorageError) -> RecoveryReport
    ) {
        self.member = member
        self.configuration = configuration
        self.election = election
        self.links = links
        self.history = history
        self.files = files
        configurationVersion = member.configuration.version
        self.durableZxid = durableZxid
        self.wantsSnapshot = wantsSnapshot
        self.reload = reload
    }

    /// Not all of a turn is done.
    var hasMore: Bool { member.isApplying || !member.orders.isEmpty }

    /// Whether clients are let in (`leaderServes`).
    var takesClients: Bool {
        guard !configuration.leaderServes, case .leading = member.role else { return true }
        return false
    }

    /// Ends what others see of this server.
    func close() {
        links.close()
        election.close()
        history.stop()
        files?.stop()
        open = [:]
    }
}
