import AviaryCore
import Testing
import ZooKeeperProtocol

@Suite("Session passwords")
struct PasswordTests {
    @Test("Those that Apache's servers gave out are taken for their sessions, and for no other")
    func recorded() {
        #expect(RecordedFrames.sessions.count > 100)
        let harness = CoreHarness()
        harness.core.reset()
        harness.core.restoreFreshTree()
        for (session, _) in RecordedFrames.sessions {
            harness.core.restore(session: SessionID(session), timeoutMilliseconds: 10_000)
        }
        harness.core.start(lastZxid: .zero, at: harness.now, into: &harness.output)
        harness.carryOut()
        for (session, password) in RecordedFrames.sessions {
            let client = harness.connect(session: session, password: password)
            #expect(client.session == session)
            #expect(client.password == password)
            for wrong in [[], password + [0], Array(password.dropLast()), password.map { $0 ^ 1 }] {
                #expect(harness.connect(session: session, password: wrong).session == 0)
            }
            #expect(!client.isClosed)
        }
    }
}
