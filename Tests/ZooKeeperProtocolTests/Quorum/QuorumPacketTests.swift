import Testing
import ZooKeeperProtocol

/// Bytes of the quorum port that no honest server sends (docs/protocol/quorum-protocol.md sections 1 and 6).
@Suite("Packets between servers")
struct QuorumPacketTests {
    private func parse(
        _ bytes: some Collection<UInt8>,
        max: Int = JuteReader.defaultMaxBufferBytes
    ) throws -> (type: Int32, data: [UInt8]?, identities: [Identity]?, size: Int)? {
        try viewing(bytes) { view in
            try QuorumPacket.parse(view, maxBufferBytes: max).map { next in
                (next.packet.type, next.packet.data.map { [UInt8]($0) }, next.packet.identities, next.size)
            }
        }
    }

    private func packet(dataLength: Int32, data: [UInt8] = [], identities: (inout JuteWriter) -> Void) -> [UInt8] {
        written {
            $0.int32(5)
            $0.int64(7)
            $0.int32(dataLength)
            for byte in data { $0.byte(byte) }
            identities(&$0)
        }
    }

    @Test("No beginning of a packet is a packet, and none is an error")
    func prefixes() throws {
        let kinds = Dictionary(grouping: QuorumFrame.packets, by: \.decoded.msg)
        for frame in kinds.values.flatMap({ [$0.first, $0.last] }).compactMap(\.self) {
            for count in 0..<frame.bytes.count {
                #expect(try parse(frame.bytes.prefix(count)) == nil, "\(frame.place), \(count) bytes")
            }
        }
    }

    @Test("What follows a packet is left alone")
    func next() throws {
        let frame = QuorumFrame.packets[0]
        #expect(try parse(frame.bytes + [1, 2, 3])?.size == frame.bytes.count)
    }

    @Test(
        "A length that cannot be ends the connection as soon as it is seen",
        arguments: [-2, .min, 1001, .max] as [Int32]
    )
    func lengths(length: Int32) {
        let bytes = packet(dataLength: length) { _ in }
        #expect(throws: JuteError.badLength(length)) { try parse(bytes, max: 1000) }
    }

    @Test("Data of the greatest length is taken, null and empty are different")
    func greatest() throws {
        let bytes = packet(dataLength: 1000, data: [UInt8](repeating: 1, count: 1000)) { $0.int32(-1) }
        #expect(try parse(bytes, max: 1000)?.data?.count == 1000)
        #expect(try parse(packet(dataLength: 0) { $0.int32(-1) })?.data == [])
        #expect(try parse(packet(dataLength: -1) { $0.int32(-1) })?.data == .some(nil))
    }

    @Test("An unknown type is read like any other")
    func unknownType() throws {
        let bytes = written { QuorumPacket(type: 77, zxid: Zxid(1), data: nil).write(to: &$0) }
        #expect(try parse(bytes)?.type == 77)
        #expect(QuorumPacketType(rawValue: 77) == nil)
    }

    @Test("The number of identities has a bound, and so have their bytes")
    func identities() throws {
        let most = Int32(QuorumPacket.maxIdentities)
        func list(_ count: Int32, length: Int = 0) -> [UInt8] {
            packet(dataLength: -1) {
                $0.int32(count)
                for _ in 0..<max(count, 0) {
                    $0.string("")
                    $0.buffer([UInt8](repeating: 97, count: length))
                }
            }
        }
        #expect(try parse(list(most))?.identities?.count == QuorumPacket.maxIdentities)
        #expect(try parse(list(0))?.identities == [])
        for count in [-2, most + 1, .max] {
            let bytes = packet(dataLength: -1) { $0.int32(count) }
            #expect(throws: JuteError.badLength(count)) { try parse(bytes) }
        }
        #expect(try parse(list(10, length: 100), max: 1000)?.identities?.count == 10)
        #expect(throws: JuteError.badLength(1001)) { try parse(list(11, length: 91), max: 1000) }
        #expect(throws: JuteError.unexpectedNull) {
            try parse(
                packet(dataLength: -1) {
                    $0.int32(1)
                    $0.int32(-1)
                }
            )
        }
        let greatest = list(most, length: 0).count + 2 * 1000
        #expect(greatest <= QuorumPacket.maximumSize(maxBufferBytes: 1000))
    }

    @Test("Each changed a little is an error, incomplete, or a packet", arguments: 0..<4)
    func mutations(seed: UInt64) {
        var random = SeededRandom(seed + 70)
        let frames = QuorumFrame.packets
        for _ in 0..<4000 {
            let bytes = random.mutated(frames[random.below(frames.count)].bytes)
            viewing(bytes) { view in
                guard let (packet, size) = try? QuorumPacket.parse(view) else { return }
                #expect(size <= bytes.count && size >= QuorumPacket.minimumSize)
                let again = written { packet.write(to: &$0) }
                // Malformed UTF-8 in an identity is replaced; everything else comes out as it went in.
                if packet.identities == nil { #expect(again == Array(bytes.prefix(size)), "seed \(seed): \(bytes)") }
                takeApart(packet)
            }
        }
    }

    /// Reads the data as that of every type: nothing may stop the process.
    private func takeApart(_ packet: QuorumPacket) {
        _ = try? LearnerInfo(data: packet.data)
        _ = try? LeaderInfo(data: packet.data)
        _ = try? EpochAcknowledgement(data: packet.data)
        _ = try? ForwardedRequest(data: packet.data)
        _ = try? SessionTouch.list(data: packet.data)
        _ = try? Revalidation.Request(data: packet.data)
        _ = try? Revalidation.Reply(data: packet.data)
        if let activation = try? Activation(data: packet.data) { _ = try? Txn(payload: activation.txn) }
        if let data = packet.data {
            _ = try? Txn(payload: data)
            _ = try? QuorumConfiguration.parse(utf8: data)
        }
    }

    @Test("Data that is missing or short is an error")
    func payloads() {
        for count in 0..<20 {
            viewing([UInt8](repeating: 0, count: count)) { data in
                #expect((try? LearnerInfo(data: data)) != nil || count < 8)
                #expect((try? LeaderInfo(data: data)) != nil || count < 4)
                #expect((try? EpochAcknowledgement(data: data)) != nil || count < 4)
                #expect((try? ForwardedRequest(data: data)) != nil || count < 16)
                #expect((try? Revalidation.Request(data: data)) != nil || count < 12)
                #expect((try? Revalidation.Reply(data: data)) != nil || count < 9)
                #expect((try? Activation(data: data)) != nil || count < 8)
                #expect((try? SessionTouch.list(data: data)) != nil || count % 12 != 0)
            }
        }
        #expect(throws: JuteError.unexpectedNull) { try LearnerInfo(data: nil) }
        #expect(throws: JuteError.unexpectedNull) { try ForwardedRequest(data: nil) }
        // A leader's PING has none.
        #expect(throws: Never.self) { try SessionTouch.list(data: nil) }
    }

    @Test("A learner of old says less about itself")
    func shortLearnerInfo() throws {
        let full = written { LearnerInfo(server: ServerID(3), configurationVersion: 9).write(to: &$0) }
        #expect(try viewing(full) { try LearnerInfo(data: $0) }.configurationVersion == 9)
        let twelve = try viewing(full.prefix(12)) { try LearnerInfo(data: $0) }
        #expect(twelve.protocolVersion == 0x10000 && twelve.configurationVersion == 0)
        let eight = try viewing(full.prefix(8)) { try LearnerInfo(data: $0) }
        #expect(eight.server == ServerID(3) && eight.protocolVersion < LearnerInfo.protocolVersion)
    }

    @Test("An epoch that is not said is −1, and none is below")
    func acknowledgement() throws {
        let silent = written { EpochAcknowledgement(currentEpoch: nil).write(to: &$0) }
        #expect(silent == [0xff, 0xff, 0xff, 0xff])
        #expect(try viewing(silent) { try EpochAcknowledgement(data: $0) }.currentEpoch == nil)
        #expect(throws: JuteError.badValue(-2)) {
            try viewing([0xff, 0xff, 0xff, 0xfe]) { try EpochAcknowledgement(data: $0) }
        }
    }

    @Test("The zxid of a NEWLEADER is the epoch's first")
    func epochs() {
        #expect(Epoch(2).newLeaderZxid == Zxid(0x2_0000_0000))
        #expect(Epoch(2).newLeaderZxid.epoch == Epoch(2))
        #expect(Epoch.max.newLeaderZxid.rawValue == 0x7fff_ffff_0000_0000)
        #expect(Epoch(.max).next < .zero && Zxid(.min).epoch.rawValue == -0x8000_0000)
    }

    @Test("SASL steps: every beginning is incomplete, every change an error or a step")
    func authentication() throws {
        var random = SeededRandom(3)
        for frame in QuorumFrame.of("QuorumAuthPacket") {
            for count in 0..<frame.bytes.count {
                #expect(try viewing(frame.bytes.prefix(count)) { try QuorumAuthPacket.parse($0)?.size } == nil)
            }
            for _ in 0..<200 { _ = try? viewing(random.mutated(frame.bytes)) { _ = try QuorumAuthPacket.parse($0) } }
        }
        let info = written { LearnerInfo(server: ServerID(1), configurationVersion: 0).write(to: &$0) }
        #expect(viewing(info) { QuorumAuthPacket.begins($0) } == false)
        #expect(viewing(info.prefix(7)) { QuorumAuthPacket.begins($0) } == nil)
    }
}
