internal import AviaryCore
internal import AviaryEnsemble
internal import Zab
internal import ZooKeeperProtocol

// mntr's lines of a member of an ensemble, with Apache's names.

extension ServerLoop {
    /// What a member says besides.
    func addRole(to text: inout StatusText) {
        guard let ensemble else { return }
        text.metric("quorum_size", ensemble.member.configuration.voters.count)
        switch core.role {
        case .standalone, .looking, .readOnly:
            break
        case .learner(let isObserver):
            text.metric("peer_state", isObserver ? "observing - broadcast" : "following - broadcast")
        case .leader:
            text.metric("peer_state", "leading - broadcast")
            addFollowing(ensemble, to: &text)
        }
    }

    private func addFollowing(_ ensemble: EnsembleLink, to text: inout StatusText) {
        let counts = ensemble.member.learners ?? LearnerCounts()
        text.metric("learners", counts.learners)
        text.metric("synced_followers", counts.followers)
        text.metric("synced_non_voting_followers", counts.nonVotingFollowers)
        text.metric("synced_observers", counts.observers)
        text.metric("pending_syncs", core.pendingSyncCount)
        let since = ensemble.availability.leadingSince ?? now.monotonicMicroseconds
        text.metric("leader_uptime", (now.monotonicMicroseconds - since) / 1000)
        text.metric("proposal_count", core.statistics.proposals)
        text.metric("last_proposal_size", core.statistics.lastProposalBytes)
        text.metric("min_proposal_size", core.statistics.minProposalBytes)
        text.metric("max_proposal_size", core.statistics.maxProposalBytes)
    }

    /// What is counted over all roles.
    func addEnsemble(to text: inout StatusText) {
        guard let ensemble else { return }
        let syncs = ensemble.member.syncs
        text.metric("diff_count", syncs.transactions)
        text.metric("snap_count", syncs.snapshots)
        text.metric("looking_count", ensemble.availability.lookingCount)
        text.metrics("election_time", ensemble.availability.electionTime)
        text.metrics("unavailable_time", ensemble.availability.unavailableTime)
        text.metrics("leader_unavailable_time", ensemble.availability.leaderUnavailableTime)
    }
}
