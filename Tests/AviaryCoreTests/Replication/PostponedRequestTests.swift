import Testing
import ZooKeeperProtocol

@testable import AviaryCore

@Suite("Requests that wait for room in the log")
struct PostponedRequestTests {
    @Test("It is known of which sessions there are any, whatever comes and goes")
    func sessions() {
        var postponed = PostponedRequests()
        func held() -> [Int64] { (1...3).filter { postponed.holdsAny(of: SessionID($0)) } }
        for (learner, session) in [(1, 1), (1, 2), (2, 2), (2, 2)] as [(UInt64, Int64)] {
            postponed.append(
                PostponedRequests.Request(
                    learner: LearnerID(learner),
                    session: SessionID(session),
                    kind: .write(cxid: 1)
                )
            )
        }
        #expect(held() == [1, 2])
        postponed.removeAll(of: LearnerID(1))
        #expect(held() == [2])
        var taken = postponed.takeAll()
        #expect(taken.count == 2)
        #expect(held() == [])
        while let request = taken.popFirst() { postponed.append(request) }
        #expect(held() == [2])
        postponed.removeAll()
        #expect(held() == [])
    }
}
