import AviaryCore
import Testing
import ZooKeeperProtocol

// The conversations recorded with Apache ZooKeeper 3.9.5 do not depend on which server of an ensemble a client talks to.

@Suite("Golden transcripts at members of an ensemble")
struct MemberTranscriptTests {
    enum Place: CaseIterable {
        case leader, follower, observer
    }

    private func ensemble(_ configure: (inout CoreOptions) -> Void) -> Ensemble {
        Ensemble(count: 3, observers: [2], configure)
    }

    private func replay(_ profile: String, at place: Place, _ configure: (inout CoreOptions) -> Void) {
        let ensemble = ensemble(configure)
        let member =
            switch place {
            case .leader: ensemble.leader
            case .follower: ensemble.learners[0]
            case .observer: ensemble.learners[1]
            }
        GoldenTranscriptTests.replay(GoldenTranscriptTests.transcripts(profile), member)
        ensemble.expectEqual()
    }

    @Test("Profile base", arguments: Place.allCases)
    func base(place: Place) {
        replay("base", at: place, GoldenTranscriptTests.configureBase)
    }

    @Test("Profile noext", arguments: Place.allCases)
    func noExtensions(place: Place) {
        replay("noext", at: place) {
            GoldenTranscriptTests.configureBase(&$0)
            $0.extendedTypes = false
            $0.enforceQuota = false
            $0.reconfigEnabled = true
        }
    }

    @Test("Profile enforce-auth", arguments: Place.allCases)
    func enforcedAuthentication(place: Place) {
        replay("enforce-auth", at: place) {
            GoldenTranscriptTests.configureBase(&$0)
            $0.requiredAuthSchemes = ["digest"]
        }
    }

    @Test("Profile local-sessions: a follower, sessions that stay local", arguments: [Place.follower, .observer])
    func localSessions(place: Place) {
        replay("local-sessions", at: place) {
            GoldenTranscriptTests.configureBase(&$0)
            $0.localSessionsEnabled = true
        }
    }

    @Test("Profile read-only: a member without a quorum")
    func readOnly() {
        let ensemble = ensemble {
            GoldenTranscriptTests.configureBase(&$0)
            $0.localSessionsEnabled = true
        }
        let member = ensemble.learners[0]
        ensemble.leader.connect().create("/ro-node", "x")
        ensemble.stop()
        member.core.serveReadOnly(at: ensemble.now, into: &member.output)
        GoldenTranscriptTests.replay(GoldenTranscriptTests.transcripts("read-only"), member)
    }
}
