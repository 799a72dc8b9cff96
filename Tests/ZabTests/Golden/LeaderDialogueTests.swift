import Testing
import ZooKeeperProtocol

@testable import Zab

/// Our leader in the place of Apache's: given what the recorded learners sent in one term, it says byte for byte what the
/// recorded leader said to each of them.
@Suite("Our leader and recorded learners")
struct LeaderDialogueTests {
    struct Term: CustomTestStringConvertible, Sendable {
        var files: ClosedRange<Int>
        var leader: Int64
        var epoch: Int64
        /// The leader's log beforehand; its epochs are the one in front of the term's.
        var zxid: Int64
        /// Committed at the end.
        var last: Int64
        /// Who leads next, by a reconfiguration.
        var successor: Int64?
        /// What an unrecorded follower had acknowledged before the recording begins.
        var unrecorded: Unrecorded?
        var exceptions: [DialogueException] = []

        var testDescription: String { "\(files) leader \(leader) epoch \(epoch)" }
    }

    struct Unrecorded {
        var follower: Int64
        var last: Int64
    }

    static let terms = [
        Term(
            files: 1...11,
            leader: 2,
            epoch: 1,
            zxid: 0,
            last: 0x1_0000_0030,
            exceptions: [.emptyTree("quorum:4->2#1")]
        ),
        Term(files: 1...11, leader: 3, epoch: 2, zxid: 0x1_0000_0030, last: 0x2_0000_0004),
        Term(files: 1...11, leader: 2, epoch: 3, zxid: 0x2_0000_0004, last: 0x3_0000_0007),
        Term(files: 1...11, leader: 3, epoch: 4, zxid: 0x3_0000_0007, last: 0x4_0000_0002),
        Term(
            files: 12...15,
            leader: 3,
            epoch: 1,
            zxid: 0,
            last: 0x1_0000_0006,
            successor: 2,
            exceptions: [.emptyTree("quorum:5->3#1"), .emptyTree("quorum:6->3#1")]
        ),
        Term(files: 12...15, leader: 2, epoch: 2, zxid: 0x1_0000_0006, last: 0x1_0000_0006),
        Term(
            files: 16...16,
            leader: 3,
            epoch: 1,
            zxid: 0,
            last: 0x1_0000_0008,
            exceptions: [.emptyTree("quorum:1->3#1")]
        ),
        Term(
            files: 18...18,
            leader: 3,
            epoch: 1,
            zxid: 0,
            last: 0x1_0000_0027,
            unrecorded: Unrecorded(follower: 2, last: 0x1_0000_0002)
        ),
        Term(
            files: 20...20,
            leader: 3,
            epoch: 1,
            zxid: 0,
            last: 0x1_0000_0003,
            exceptions: [.emptyTree("quorum:1->3#1")]
        ),
        Term(
            files: 21...21,
            leader: 3,
            epoch: 2,
            zxid: 0,
            last: 0x2_0000_028d,
            unrecorded: Unrecorded(follower: 2, last: 0x2_0000_028d)
        ),
    ]

    /// - Parameter forgets: whether everything that is missing comes from the log on disk.
    @Test("Byte for byte", arguments: terms, [false, true])
    func dialogue(_ term: Term, forgets: Bool) throws {
        let recording = try Recording(files: term.files)
        let epoch = Epoch(term.epoch)
        let lines = recording.term(of: ServerID(term.leader), epoch)
        let opening = try #require(lines.first)
        var options = PeerOptions.recorded(ServerID(term.leader), term.files)
        if forgets {
            options.recentCount = 0
            options.recentBytes = 0
        }
        let configuration = try recording.configuration(atBeginningOf: lines)
        let committed = recording.committed
        let leader = ReplayedPeer(
            options: options,
            configuration: configuration,
            durable: DurableState(
                lastZxid: Zxid(term.zxid),
                acceptedEpoch: Epoch(term.epoch - 1),
                currentEpoch: Epoch(term.epoch - 1)
            ),
            log: committed.filter { $0.zxid <= Zxid(term.zxid) },
            time: opening.time
        )
        leader.exceptions = term.exceptions
        leader.elect(ServerID(term.leader))
        if let unrecorded = term.unrecorded {
            let counters = 1...Zxid(unrecorded.last).counter
            let zxids = counters.map { Zxid(epoch.newLeaderZxid.rawValue + $0) }
            let proposed = zxids.map { zxid in
                committed.first { $0.zxid == zxid } ?? Recording.idle(zxid)
            }
            leader.lead(with: ServerID(unrecorded.follower), configuration, proposed: proposed)
        }
        try leader.play(lines)
        leader.finish()
        #expect(leader.committed == Zxid(term.last))
        #expect(leader.leader == ServerID(term.successor ?? term.leader))
    }
}

/// A packet that our server sends in place of a recorded one.
struct DialogueException: Sendable {
    var connection: String
    var kind: QuorumPacketType
    var zxid: Int64
    var instead: [UInt8]

    func applies(to line: Recording.Line) -> Bool {
        line.connection == connection && line.kind == kind && line.zxid == Zxid(zxid)
    }

    /// DIFF(0) for SNAP(100000000): a learner that has nothing comes to a leader that has nothing.
    ///
    /// Apache's leader counts the zxid of its own NEWLEADER as a transaction as soon as it serves, so the one who comes
    /// later is behind, and gets a snapshot of a tree that holds what every server begins with. Before that moment it
    /// sends DIFF(0) itself to the same learner (01 `1->2#1`, 12 both). Ours goes by transactions, of which there are
    /// none: nothing is missing.
    static func emptyTree(_ connection: String) -> DialogueException {
        DialogueException(
            connection: connection,
            kind: .snap,
            zxid: 0x1_0000_0000,
            instead: Recording.packet(.diff, .zero)
        )
    }
}
