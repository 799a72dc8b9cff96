import Testing
import ZooKeeperProtocol

@testable import Zab

@Suite("A configuration that was proposed and came to nothing")
struct WithdrawnProposalTests {
    /// Server 1 and one more each, of which a quorum needs both.
    private static func configuration(_ other: Int64, version: Int64) throws -> QuorumConfiguration {
        try QuorumConfiguration.parse(
            "server.1=a:1:2\nserver.\(other)=b:1:2\nversion=" + String(version, radix: 16)
        )
    }

    private static func state(last: Zxid = Zxid(9)) throws -> PeerState {
        var options = PeerOptions(me: ServerID(1), tickMilliseconds: 2000, initLimit: 10, syncLimit: 5)
        options.reconfigEnabled = true
        return PeerState(
            options: options,
            configuration: try configuration(2, version: 5),
            durable: DurableState(lastZxid: last, acceptedEpoch: last.epoch, currentEpoch: last.epoch),
            seed: 1
        )
    }

    private static func told(_ output: borrowing ZabOutput) -> [(Int64, Bool)] {
        output.upcalls.compactMap {
            guard case .configuration(let configuration, let isCommitted) = $0 else { return nil }
            return (configuration.version, isCommitted)
        }
    }

    @Test("It is forgotten when a new leader does not know it")
    func withdrawn() throws {
        let current = try Self.configuration(2, version: 5)
        let proposed = try Self.configuration(3, version: 9)
        var state = try Self.state()
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

    @Test("While its transaction is in the log it counts, whatever was proposed behind it and came to nothing")
    func later() throws {
        var state = try Self.state()
        var output = ZabOutput()
        state.propose(try Self.configuration(3, version: 9), into: &output)
        state.propose(try Self.configuration(4, version: 12), into: &output)
        #expect(!state.configurations.isQuorum([ServerID(1), ServerID(2), ServerID(4)]))
        output.reset()
        state.forgetLostProposals(into: &output)
        #expect(Self.told(output).map(\.0) == [9])
        #expect(Self.told(output).map(\.1) == [false])
        #expect(!state.configurations.isQuorum([ServerID(1), ServerID(2)]))
        #expect(state.configurations.isQuorum([ServerID(1), ServerID(2), ServerID(3)]))
    }

    @Test("A leader's snapshot that never came takes nothing back")
    func snapshotFailed() throws {
        var state = try Self.state()
        var output = ZabOutput()
        state.propose(try Self.configuration(3, version: 9), into: &output)
        state.beginSnapshot(Zxid(7), from: LinkID(1), into: &output)
        // The leader knows another one, of a past that is not ours.
        state.takeLastSeen(try Self.configuration(4, version: 6), into: &output)
        state.forgetLostProposals(into: &output)
        state.snapshotFailed(into: &output)
        #expect(state.configurations.proposals.map(\.version) == [9])
        #expect(!state.configurations.isQuorum([ServerID(1), ServerID(2)]))
        let last = try #require(Self.told(output).last)
        #expect(last == (9, false))
    }

    @Test("A leader's snapshot takes its place, with what that holds of the members")
    func snapshotInstalled() throws {
        let last = Epoch(2).newLeaderZxid.next
        let later = Zxid(0x3_0000_0004)
        for stored in [nil, 5, later.rawValue] as [Int64?] {
            var state = try Self.state(last: last)
            var output = ZabOutput()
            state.propose(try Self.configuration(3, version: last.rawValue), into: &output)
            state.beginSnapshot(later, from: LinkID(1), into: &output)
            output.reset()
            let configuration = try stored.map { try Self.configuration(4, version: $0) }
            state.snapshotInstalled(later, configuration: configuration, into: &output)
            let isProposed = stored == later.rawValue
            #expect(state.configurations.proposals.map(\.version) == (isProposed ? [later.rawValue] : []))
            #expect(Self.told(output).map(\.0) == [isProposed ? later.rawValue : 5])
            #expect(Self.told(output).map(\.1) == [!isProposed])
        }
    }

    @Test("Behind one that is committed it does not keep that from coming into force")
    func inFront() throws {
        var state = try Self.state()
        var output = ZabOutput()
        state.propose(try Self.configuration(3, version: 9), into: &output)
        // The leader has committed the one and proposed the next.
        state.takeLastSeen(try Self.configuration(4, version: 12), into: &output)
        output.reset()
        state.activateProposals(upTo: Zxid(11), into: &output)
        #expect(Self.told(output).map(\.0) == [9, 12])
        #expect(Self.told(output).map(\.1) == [true, false])
        #expect(state.configurations.current.version == 9)
        #expect(state.configurations.proposed?.version == 12)
        #expect(state.configurations.isQuorum([ServerID(1), ServerID(3), ServerID(4)]))
        state.forgetLostProposals(into: &output)
        #expect(state.configurations.current.version == 9)
        #expect(state.configurations.proposed == nil)
    }
}
