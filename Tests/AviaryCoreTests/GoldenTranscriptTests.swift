import AviaryCore
import Crypto
import Testing

// The conversations recorded with Apache ZooKeeper 3.9.5, against the core alone. `scripts/test` replays them over
// sockets too; what belongs to the shell (framing, four-letter words) is only there.

@Suite("Golden transcripts, without sockets")
struct GoldenTranscriptTests {
    /// What the shell does before the core hears of anything.
    static let ofTheShell: Set<String> = [
        "frame-negative-length", "frame-too-long-first", "frame-too-long", "frame-http-request",
        "frame-4lw-after-handshake",
    ]

    static func transcripts(_ profile: String) -> [Transcript] {
        let all = (try? Transcript.all(profile: profile)) ?? []
        return all.filter { transcript in
            !transcript.name.contains("4lw") && !ofTheShell.contains(transcript.name)
        }
    }

    @Test("Profile base")
    func base() {
        replay(Self.transcripts("base"), CoreHarness(Self.configureBase))
    }

    @Test("Profile noext: no TTL nodes, no enforced quotas, reconfig enabled")
    func noExtensions() {
        replay(
            Self.transcripts("noext"),
            CoreHarness {
                Self.configureBase(&$0)
                $0.extendedTypes = false
                $0.enforceQuota = false
                $0.reconfigEnabled = true
            }
        )
    }

    @Test("Profile enforce-auth")
    func enforcedAuthentication() {
        replay(
            Self.transcripts("enforce-auth"),
            CoreHarness {
                Self.configureBase(&$0)
                $0.requiredAuthSchemes = ["digest"]
            }
        )
    }

    static func configureBase(_ options: inout CoreOptions) {
        options.enforceQuota = true
        options.containerCheckIntervalMilliseconds = 1000
        options.superDigest = "super:lK75jTNcA+U9vtVEw5vB51mj/w4="
        options.passwordDigest = { bytes in Array(Insecure.SHA1.hash(data: bytes)) }
    }

    private func replay(_ transcripts: [Transcript], _ harness: CoreHarness) {
        Self.replay(transcripts, harness)
    }

    static func replay(_ transcripts: [Transcript], _ harness: CoreHarness) {
        #expect(!transcripts.isEmpty)
        for transcript in transcripts {
            var run = TranscriptRun(harness: harness)
            do {
                try run.run(transcript)
            } catch {
                Issue.record("\(error)")
            }
        }
        #expect(harness.core.digestMismatchCount == 0)
    }
}
