import ZooKeeperProtocol

/// Whether `server.N` lines leave a server alone, or ask for an ensemble, which does not exist yet.
///
/// - Source: `docs/protocol/quorum-protocol.md` section 2.1 (which mode) and 2.4 (sanity rules).
enum EnsembleRefusal {
    /// Why a server with these members cannot be started, or `nil` where it stands alone.
    ///
    /// As in Apache, one participant with `standaloneEnabled=true` is a standalone server: tools such as HBase and the
    /// Docker image write such a line.
    static func reason(members: [QuorumMember], isStandaloneEnabled: Bool) -> String? {
        let participants = members.filter { $0.role == .participant }
        let observers = members.filter { $0.role == .observer }
        let remedy = "keep one server.N line, or none, to serve alone with data of its own"
        switch (participants.count, observers.count) {
        case (0, 0):
            return isStandaloneEnabled
                ? nil
                : "standaloneEnabled=false asks for an ensemble of one, and ensembles are not available yet; "
                    + "set it to true or remove it"
        case (0, _):
            return "\(names(observers)): observers without a participant to follow"
        case (1, 0) where isStandaloneEnabled:
            return nil
        case (1, 0):
            return "standaloneEnabled=false asks for an ensemble of one (\(names(participants))), and ensembles are "
                + "not available yet; set it to true or remove it to serve alone"
        default:
            return "\(names(members)) ask for an ensemble of \(members.count) servers, and ensembles are not available "
                + "yet; \(remedy)"
        }
    }

    private static func names(_ members: [QuorumMember]) -> String {
        let names = members.map { "server.\($0.id)" }
        guard let last = names.last, names.count > 1 else { return names.first ?? "" }
        return names.dropLast().joined(separator: ", ") + " and " + last
    }
}
