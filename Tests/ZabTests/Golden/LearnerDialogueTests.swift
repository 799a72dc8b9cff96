import Testing
import ZooKeeperProtocol

@testable import Zab

/// Our learner in the place of Apache's: given what the recorded leader sent, it says byte for byte what the recorded
/// learner said.
@Suite("Our learner and a recorded leader")
struct LearnerDialogueTests {
    struct Case: CustomTestStringConvertible, Sendable {
        var files: ClosedRange<Int>
        var connection: String
        /// The learner's log and epochs beforehand.
        var zxid: Int64
        var epoch: Int64
        /// Committed at the end.
        var last: Int64
        /// Who leads, where the connection is one to an observer master.
        var leader: Int64?

        var testDescription: String { "\(files) \(connection)" }
    }

    static let cases = [
        Case(files: 1...11, connection: "quorum:1->2#1", zxid: 0, epoch: 0, last: 0x1_0000_0021),
        Case(files: 1...11, connection: "quorum:3->2#1", zxid: 0, epoch: 0, last: 0x1_0000_0030),
        Case(files: 1...11, connection: "quorum:4->2#1", zxid: 0, epoch: 0, last: 0x1_0000_0029),
        Case(files: 1...11, connection: "quorum:1->2#2", zxid: 0x1_0000_0021, epoch: 1, last: 0x1_0000_0026),
        Case(files: 1...11, connection: "quorum:1->2#3", zxid: 0, epoch: 0, last: 0x1_0000_0030),
        Case(files: 1...11, connection: "quorum:4->2#2", zxid: 0x1_0000_0029, epoch: 1, last: 0x1_0000_0030),
        Case(files: 1...11, connection: "quorum:1->3#1", zxid: 0x1_0000_0030, epoch: 1, last: 0x2_0000_0004),
        Case(files: 1...11, connection: "quorum:2->3#1", zxid: 0x1_0000_0032, epoch: 1, last: 0x2_0000_0004),
        Case(files: 1...11, connection: "quorum:4->3#1", zxid: 0x1_0000_0030, epoch: 1, last: 0x2_0000_0004),
        Case(files: 1...11, connection: "quorum:1->2#4", zxid: 0x2_0000_0004, epoch: 2, last: 0x3_0000_0007),
        Case(files: 1...11, connection: "quorum:4->2#3", zxid: 0x2_0000_0004, epoch: 2, last: 0x3_0000_0007),
        Case(files: 1...11, connection: "quorum:3->2#2", zxid: 0x2_0000_0005, epoch: 2, last: 0x3_0000_0007),
        Case(files: 1...11, connection: "quorum:1->3#2", zxid: 0x3_0000_0007, epoch: 3, last: 0x4_0000_0002),
        Case(files: 1...11, connection: "quorum:4->3#2", zxid: 0x3_0000_0007, epoch: 3, last: 0x4_0000_0002),
        Case(files: 1...11, connection: "quorum:2->3#2", zxid: 0x3_0000_0007, epoch: 3, last: 0x4_0000_0002),
        Case(files: 12...15, connection: "quorum:1->3#1", zxid: 0, epoch: 0, last: 0x1_0000_0006),
        Case(files: 12...15, connection: "quorum:2->3#1", zxid: 0, epoch: 0, last: 0x1_0000_0006),
        Case(files: 12...15, connection: "quorum:5->3#1", zxid: 0, epoch: 0, last: 0x1_0000_0003),
        Case(files: 12...15, connection: "quorum:6->3#1", zxid: 0, epoch: 0, last: 0x1_0000_0006),
        Case(files: 12...15, connection: "quorum:5->3#2", zxid: 0x1_0000_0003, epoch: 1, last: 0x1_0000_0006),
        Case(files: 12...15, connection: "quorum:6->2#1", zxid: 0x1_0000_0006, epoch: 1, last: 0x1_0000_0006),
        Case(files: 12...15, connection: "quorum:1->2#1", zxid: 0x1_0000_0006, epoch: 1, last: 0x1_0000_0006),
        Case(files: 12...15, connection: "quorum:5->2#1", zxid: 0x1_0000_0006, epoch: 1, last: 0x1_0000_0006),
        Case(files: 12...15, connection: "quorum:3->2#1", zxid: 0x1_0000_0006, epoch: 1, last: 0x1_0000_0006),
        Case(files: 16...16, connection: "quorum:1->3#1", zxid: 0, epoch: 0, last: 0x1_0000_0008),
        Case(files: 16...16, connection: "quorum:2->3#1", zxid: 0, epoch: 0, last: 0x1_0000_0008),
        Case(files: 18...18, connection: "quorum:1->3#1", zxid: 0x1_0000_0002, epoch: 1, last: 0x1_0000_0027),
        Case(files: 20...20, connection: "quorum:1->3#1", zxid: 0, epoch: 0, last: 0x1_0000_0003),
        Case(files: 20...20, connection: "quorum:2->3#1", zxid: 0, epoch: 0, last: 0x1_0000_0003),
        Case(files: 20...20, connection: "quorum:4->OM1#1", zxid: 0, epoch: 0, last: 0x1_0000_0003, leader: 3),
        Case(files: 21...21, connection: "quorum:1->3#1", zxid: 0x2_0000_0002, epoch: 2, last: 0x2_0000_028d),
    ]

    @Test("Byte for byte", arguments: cases)
    func dialogue(_ dialogue: Case) throws {
        let recording = try Recording(files: dialogue.files)
        let lines = recording.connection(dialogue.connection)
        let opening = try #require(lines.first)
        let me = try #require(opening.from)
        let options = PeerOptions.recorded(me, dialogue.files, hasObserverMasters: dialogue.leader != nil)
        let learner = ReplayedPeer(
            options: options,
            configuration: try recording.configuration(atBeginningOf: lines),
            durable: DurableState(
                lastZxid: Zxid(dialogue.zxid),
                acceptedEpoch: Epoch(dialogue.epoch),
                currentEpoch: Epoch(dialogue.epoch)
            ),
            time: opening.time
        )
        let leader = try #require(dialogue.leader.map { ServerID($0) } ?? opening.to)
        learner.elect(leader)
        try learner.play(lines)
        learner.finish()
        #expect(learner.committed == Zxid(dialogue.last))
    }

    /// Server 1 follows server 3, and server 4 observes through it: what it says to both.
    @Test("An observer master, byte for byte")
    func master() throws {
        let recording = try Recording(files: 20...20)
        let lines = recording.lines.filter { ["quorum:1->3#1", "quorum:4->OM1#1"].contains($0.connection) }
        let opening = try #require(lines.first)
        let master = ReplayedPeer(
            options: .recorded(ServerID(1), 20...20, hasObserverMasters: true),
            configuration: try recording.configuration(atBeginningOf: lines),
            durable: DurableState(lastZxid: .zero, acceptedEpoch: .zero, currentEpoch: .zero),
            time: opening.time
        )
        master.elect(ServerID(3))
        try master.play(lines)
        master.finish()
        #expect(master.committed == Zxid(0x1_0000_0003))
    }
}

extension PeerOptions {
    /// As the recorded servers were configured.
    static func recorded(_ me: ServerID, _ files: ClosedRange<Int>, hasObserverMasters: Bool = false) -> PeerOptions {
        var options = PeerOptions(me: me, tickMilliseconds: 1000, initLimit: 10, syncLimit: 5)
        options.reconfigEnabled = files.lowerBound == 12
        options.hasObserverMasters = hasObserverMasters
        return options
    }
}

extension Recording {
    /// The one that the first learner says that it has in force.
    func configuration(atBeginningOf lines: [Line]) throws -> QuorumConfiguration {
        let introduction = try #require(lines.first { $0.kind == .followerInfo || $0.kind == .observerInfo })
        let info = try #require(try introduction.packet { try LearnerInfo(data: $0.data) })
        return try #require(configurations[info.configurationVersion])
    }
}
