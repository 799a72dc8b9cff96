import Testing
import ZooKeeperProtocol

@testable import Zab

@Suite("A configuration that was proposed and came to nothing")
struct WithdrawnProposalTests {
    @Test("It is forgotten when a new leader does not know it")
    func withdrawn() throws {
        let current = try QuorumConfiguration.parse("server.1=a:1:2\nversion=5")
        let proposed = try QuorumConfiguration.parse("server.1=a:1:2\nserver.2=b:1:2\nversion=9")
        var options = PeerOptions(me: ServerID(1), tickMilliseconds: 2000, initLimit: 10, syncLimit: 5)
        options.reconfigEnabled = true
        var state = PeerState(
            options: options,
            configuration: current,
            durable: DurableState(lastZxid: Zxid(9), acceptedEpoch: Epoch(0), currentEpoch: Epoch(0)),
            seed: 1
        )
        var output = ZabOutput()
        state.takeLastSeen(current, into: &output)
        #expect(output.upcalls.isEmpty)
        state.takeLastSeen(proposed, into: &output)
        #expect(state.configurations.proposed?.version == 9)
        output.reset()
        state.takeLastSeen(current, into: &output)
        #expect(state.configurations.proposed == nil)
        #expect(output.upcalls.count == 1)
        guard case .configuration(let told, isCommitted: true) = try #require(output.upcalls.first) else {
            Issue.record("\(output.upcalls)")
            return
        }
        #expect(told.version == 5)
    }
}
