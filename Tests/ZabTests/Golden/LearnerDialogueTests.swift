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
        Case(files: 18...18, connection: "quorum:1->3#1", zxid: 0x1_0000_0002, epoch: 1, last: 0x1_0000_0027),
    ]

    @Test("Byte for byte", arguments: cases)
    func dialogue(_ dialogue: Case) throws {
        let recording = try Recording(files: dialogue.files)
        let lines = recording.connection(dialogue.connection)
        try #require(!lines.isEmpty)
        let introduction = try #require(lines.first?.decoded?.learnerInfo)
        let version = try #require(Int64(introduction.configVersion.dropFirst(2), radix: 16))
        let configuration = try #require(recording.configurations[version])
        let me = ServerID(try #require(lines.first).from)
        let leader = ServerID(try #require(lines.first?.to))
        let learner = RecordedLearner(me: me, leader: leader, dialogue, configuration)
        for line in lines { try learner.play(line) }
        #expect(learner.produced == [], "bytes that nobody recorded")
        #expect(learner.peer?.committed == Zxid(dialogue.last))
    }
}

/// Plays one connection: the leader's lines are inputs, the learner's are what must have come out.
private final class RecordedLearner {
    var peer: Peer?
    var output = ZabOutput()
    let me: ServerID
    var link = LinkID(0)
    /// Bytes that the learner has sent and that are not compared yet.
    var produced: [UInt8] = []
    var owed: [ZabStorageOrder] = []
    var snapshot: Zxid?

    init(
        me: ServerID,
        leader: ServerID,
        _ dialogue: LearnerDialogueTests.Case,
        _ configuration: QuorumConfiguration
    ) {
        self.me = me
        var options = PeerOptions(me: me, tickMilliseconds: 1000, initLimit: 10, syncLimit: 5)
        options.reconfigEnabled = dialogue.files.lowerBound == 12
        peer = Peer(
            options: options,
            configuration: configuration,
            durable: DurableState(
                lastZxid: Zxid(dialogue.zxid),
                acceptedEpoch: Epoch(dialogue.epoch),
                currentEpoch: Epoch(dialogue.epoch)
            ),
            lastProcessed: Zxid(dialogue.zxid),
            seed: 1,
            now: now
        )
        input { $0.start(at: self.now, into: &$1) }
        input { peer, output in
            peer.election.settle(
                on: Vote(leader: leader, zxid: Zxid(dialogue.zxid), peerEpoch: Epoch(dialogue.epoch), round: 1)
            )
            peer.takeRole(into: &output)
        }
        input { $0.connected(self.link, at: self.now, into: &$1) }
    }

    var now: Now { Now(wallMilliseconds: 0, monotonicMicroseconds: 0) }

    func input(_ body: (inout Peer, inout ZabOutput) -> Void) {
        body(&peer!, &output)
        let taken = output.take()
        for action in taken.links {
            switch action {
            case .connect(let link, _): self.link = link
            case .send(link, let range): produced += taken.bytes[range]
            case .receiveSnapshot(_, let zxid): snapshot = zxid
            default: break
            }
        }
        owed += taken.storage
    }

    func play(_ line: Recording.Line) throws {
        guard line.from == me.rawValue else {
            guard line.decoded?.msg != "SNAPSHOT_STREAM" else { return }
            line.bytes.withUnsafeBytes { bytes in
                guard let (packet, _) = try? QuorumPacket.parse(bytes) else { return }
                input { $0.receive(packet: packet, on: self.link, at: self.now, into: &$1) }
            }
            return
        }
        try answer(line)
        let expected = line.bytes
        let message = "\(line.file ?? 0): \(line.decoded?.msg ?? "")"
        try #require(produced.count >= expected.count, "\(message) was not sent")
        try #require(Array(produced.prefix(expected.count)) == expected, "\(message)")
        produced.removeFirst(expected.count)
    }

    /// What the recorded learner's surroundings did before it said this.
    private func answer(_ line: Recording.Line) throws {
        try line.bytes.withUnsafeBytes { bytes in
            let (packet, _) = try #require(try QuorumPacket.parse(bytes))
            switch packet.kind {
            case .ack where packet.zxid.counter != 0:
                settle(upTo: packet.zxid)
            case .ack, .ackEpoch:
                settle(upTo: Zxid(.max))
            case .ping:
                let touched = try SessionTouch.list(data: packet.data)
                input { $0.answerPing(touched: touched, at: self.now, into: &$1) }
            case .request:
                let request = try ForwardedRequest(data: packet.data)
                input { $0.forward(request, identities: packet.identities, at: self.now, into: &$1) }
            case .revalidate:
                let request = try Revalidation.Request(data: packet.data)
                input {
                    $0.revalidate(
                        session: request.session,
                        timeoutMilliseconds: request.timeoutMilliseconds,
                        at: self.now,
                        into: &$1
                    )
                }
            default:
                break
            }
        }
    }

    /// The disk has done what it was told, as far as the recorded one had.
    private func settle(upTo limit: Zxid) {
        if let zxid = snapshot {
            snapshot = nil
            input { $0.snapshotInstalled(zxid, at: self.now, into: &$1) }
        }
        while let order = owed.first {
            if case .append(let zxid) = order, zxid > limit { return }
            owed.removeFirst()
            switch order {
            case .append(let zxid): input { $0.stored(upTo: zxid, at: self.now, into: &$1) }
            case .storeAccepted(let epoch): input { $0.epochStored(accepted: epoch, at: self.now, into: &$1) }
            case .storeCurrent(let epoch): input { $0.epochStored(current: epoch, at: self.now, into: &$1) }
            case .truncate(let zxid): input { $0.truncated(to: zxid, at: self.now, into: &$1) }
            case .abandonSnapshot: break
            }
        }
    }
}
