import Testing
import ZooKeeperProtocol

/// docs/protocol/quorum-protocol.md section 15, as far as it needs no live server.
@Suite("Reconfiguration")
struct ReconfigurationTests {
    private static func members(_ lines: String...) -> String { lines.joined(separator: "\n") }

    private let three = members(
        "server.1=127.0.0.1:23111:23121:participant;127.0.0.1:23101",
        "server.2=127.0.0.1:23112:23122:participant;127.0.0.1:23102",
        "server.3=127.0.0.1:23113:23123:participant;127.0.0.1:23103",
        "version=100000000"
    )

    private func next(
        _ text: String,
        joining: String? = nil,
        leaving: String? = nil,
        members: String? = nil,
        on version: Int64 = -1,
        zxid: Int64 = 0x1_0000_0002,
        isStandaloneEnabled: Bool = false
    ) throws -> String {
        let current = try QuorumConfiguration.parse(text)
        return try Reconfiguration.next(
            for: ReconfigRequest(
                joiningServers: joining,
                leavingServers: leaving,
                newMembers: members,
                currentConfigID: version
            ),
            committed: current,
            lastSeen: current,
            zxid: Zxid(zxid),
            isStandaloneEnabled: isStandaloneEnabled
        ).text
    }

    private func refusal(_ body: () throws -> String) -> ErrorCode? {
        do {
            _ = try body()
            return nil
        } catch let refusal as ReconfigurationRefusal {
            #expect(!refusal.reason.isEmpty)
            return refusal.code
        } catch {
            return ErrorCode(0)
        }
    }

    @Test("The recorded ones come out as Apache made them")
    func recorded() throws {
        var made: [Zxid: String] = [:]
        for frame in QuorumFrame.of("PROPOSAL") where frame.decoded.txn?.hdr.type == 16 {
            try viewing(frame.bytes) { bytes in
                let (packet, _) = try #require(try QuorumPacket.parse(bytes))
                let txn = try Txn(payload: try #require(packet.data))
                guard case .setData(_, let data, _, _) = txn.body else { return }
                made[packet.zxid] = String(decoding: data ?? [], as: UTF8.self)
            }
        }
        let second = try next(three, joining: "server.6=127.0.0.1:23116:23126:participant;127.0.0.1:23106")
        #expect(second == made[Zxid(0x1_0000_0002)])
        let third = try next(
            second,
            joining: "server.5=127.0.0.1:23115:23125:observer;127.0.0.1:23105",
            zxid: 0x1_0000_0003
        )
        #expect(third == made[Zxid(0x1_0000_0003)])
        let fifth = try next(third, leaving: "1", zxid: 0x1_0000_0005)
        #expect(fifth == made[Zxid(0x1_0000_0005)])
        #expect(try next(fifth, leaving: "3", zxid: 0x1_0000_0006) == made[Zxid(0x1_0000_0006)])
    }

    @Test("Who leaves goes first, who joins under a number that is there takes its place")
    func order() throws {
        let text = try next(three, joining: "server.2=b:1:2:observer;3,server.1=a:1:2;3", leaving: " 1 , 3,77")
        #expect(text == "server.1=a:1:2:participant;0.0.0.0:3\nserver.2=b:1:2:observer;0.0.0.0:3\nversion=100000002")
    }

    @Test("Nothing to do is done")
    func nothing() throws {
        let same = three.replacing("version=100000000", with: "version=100000002")
        #expect(try next(three, joining: "", leaving: "") == same)
        #expect(try next(three) == same)
    }

    @Test(
        "What would be older than the configuration in force is refused",
        arguments: [0x1_0000_0002, 0x7fff_ffff_0000_0000]
    )
    func older(version: Int64) {
        let text = three.replacing("version=100000000", with: "version=\(String(version, radix: 16))")
        #expect(refusal { try next(text, leaving: "3") } == .badArguments)
        #expect(refusal { try next(text, members: "server.1=a:1:2;3\nserver.2=b:1:2;3") } == .badArguments)
        #expect(refusal { try next(text, leaving: "3", on: version) } == .badArguments)
        #expect(refusal { try next(text, leaving: "3", on: version, zxid: .max) } == nil)
    }

    @Test("All members at once, by commas or lines")
    func replaced() throws {
        let expected = "server.4=d:1:2:participant\nserver.5=e:1:2:observer\nversion=100000002"
        #expect(try next(three, members: "server.4=d:1:2,server.5=e:1:2:observer") == expected)
        #expect(try next(three, members: "server.4=d:1:2\nserver.5=e:1:2:observer\nversion=77") == expected)
        // Joining and leaving servers are not looked at then.
        let all = "server.4=d:1:2,server.5=e:1:2:observer"
        #expect(try next(three, joining: "x", leaving: "y", members: all) == expected)
        let grouped = try next(three, members: "server.4=d:1:2,server.5=e:1:2,group.1=4:5,weight.5=0")
        #expect(grouped.hasSuffix("group.1=4:5\nweight.4=1\nweight.5=0\nversion=100000002"))
    }

    @Test("A version that somebody else has changed meanwhile")
    func version() throws {
        #expect(refusal { try next(three, leaving: "1", on: 0x1_0000_0000) } == nil)
        #expect(refusal { try next(three, leaving: "1", on: 0) } == .badVersion)
        #expect(refusal { try next(three, leaving: "x", on: 7) } == .badVersion)
    }

    @Test("One at a time")
    func inProgress() throws {
        let committed = try QuorumConfiguration.parse(three)
        #expect {
            try Reconfiguration.next(
                for: ReconfigRequest(joiningServers: nil, leavingServers: "1", newMembers: nil, currentConfigID: 7),
                committed: committed,
                lastSeen: committed.with(version: 0x1_0000_0001),
                zxid: Zxid(0x1_0000_0002),
                isStandaloneEnabled: false
            )
        } throws: {
            ($0 as? ReconfigurationRefusal)?.code == .reconfigInProgress
        }
    }

    @Test("One voter has to be left, or two where a server may stand alone")
    func voters() {
        #expect(refusal { try next(three, leaving: "1,2") } == nil)
        #expect(refusal { try next(three, leaving: "1,2,3") } == .badArguments)
        #expect(refusal { try next(three, leaving: "1", isStandaloneEnabled: true) } == nil)
        #expect(refusal { try next(three, leaving: "1,2", isStandaloneEnabled: true) } == .badArguments)
        #expect(refusal { try next(three, members: "server.1=a:1:2:observer") } == .badArguments)
        #expect(refusal { try next(three, members: "") } == .badArguments)
    }

    @Test(
        "A joiner has all three ports, and nothing else",
        arguments: [
            "server.4=d:1:2", "server.4=d:1", "server.4", "x", "4=d:1:2;3", "group.1=4", "weight.4=1", "version=1",
            "server.x=d:1:2;3", "server.4=d:1:2;3;4", "server.4=d:1:2;3\nserver.5=e:1:2;3",
            "server.4=d:1:2;3\nversion=1",
        ]
    )
    func joiners(text: String) {
        #expect(refusal { try next(three, joining: text) } == .badArguments)
    }

    @Test("Who leaves has a number; Apache answers with the code for surprises")
    func leavers() {
        #expect(refusal { try next(three, leaving: "server.1") } == .marshallingError)
    }

    @Test("With groups members are not added and removed")
    func groups() {
        let grouped = three + "\ngroup.1=1:2:3"
        #expect(refusal { try next(grouped, leaving: "1") } == .badArguments)
        #expect(refusal { try next(grouped, members: "server.1=a:1:2,server.2=b:1:2") } == nil)
    }

    @Test(
        "A joiner's address is its own",
        arguments: [
            ("server.4=zoo1:2888:5;6", true), ("server.4=ZOO1:5:2888;6", true), ("server.4=b:5:6;zoo1:2888", true),
            ("server.4=zoo1:4:5;2181", false), ("server.4=zoo1:4:5;zoo1:2181", true), ("server.4=zoo1:4:5;7", false),
            // The same number may keep its address, and change its role.
            ("server.1=zoo1:2888:3888:observer;2181", false),
            // These differ from machine to machine.
            ("server.4=localhost:2888:3888;2181", false), ("server.4=127.0.0.1:2888:3888;2181", false),
            ("server.4=b:2888:3888|zoo1:3888:9;6", true),
            ("server.4=b:2888:3888;6,server.5=b:1:2888;6", true),
        ]
    )
    func duplicates(joining: String, isRefused: Bool) {
        let text = Self.members(
            "server.1=zoo1:2888:3888;zoo1:2181",
            "server.2=zoo2:2888:3888;0.0.0.0:2181",
            "server.3=localhost:2888:3888;2181"
        )
        #expect(refusal { try next(text, joining: joining) } == (isRefused ? .badArguments : nil))
    }

    @Test("Whatever a client asks for is refused, or makes a configuration that is read again", arguments: 0..<4)
    func mutations(seed: UInt64) throws {
        var random = SeededRandom(seed + 40)
        let texts = [
            "server.6=127.0.0.1:23116:23126:participant;127.0.0.1:23106,server.7=[::1]:5:6;7", "1,2", "3", three,
            "server.1=a:1:2,server.2=b:1:2,group.1=1:2,weight.1=0",
        ]
        for _ in 0..<1500 {
            func some() -> String? {
                random.below(3) == 0
                    ? nil
                    : String(decoding: random.mutated(Array(texts[random.below(texts.count)].utf8)), as: UTF8.self)
            }
            let (joining, leaving, members) = (some(), some(), some())
            guard let text = try? next(three, joining: joining, leaving: leaving, members: members) else { continue }
            #expect(try QuorumConfiguration.parse(text).text == text)
        }
    }
}
