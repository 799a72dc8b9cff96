import Testing
import ZooKeeperProtocol

/// What Apache's servers said to each other (Tests/Golden/quorum/README.md) is understood, and said again alike.
@Suite("Golden frames between servers")
struct QuorumGoldenTests {
    @Test("All recorded frames are there")
    func count() {
        #expect(QuorumFrame.all.count == 2151)
        // Whole snapshots belong to the storage layer.
        #expect(QuorumFrame.of("SNAPSHOT_STREAM").count == 9)
        let names = Set(QuorumFrame.packets.map(\.decoded.msg))
        #expect(names == Set(QuorumPacketType.allCases.map { "\($0)".uppercased() }))
    }

    @Test("Each packet is read, and written again byte for byte")
    func packets() throws {
        for frame in QuorumFrame.packets {
            try viewing(frame.bytes) { bytes in
                let (packet, size) = try #require(try QuorumPacket.parse(bytes), "\(frame.place)")
                #expect(size == bytes.count, "\(frame.place)")
                #expect(packet.kind.map { "\($0)".uppercased() } == frame.decoded.msg, "\(frame.place)")
                #expect(packet.zxid.rawValue == frame.decoded.zxid?.value, "\(frame.place)")
                #expect(
                    packet.identities == frame.decoded.authinfo?.map { Identity(scheme: $0.scheme, id: $0.id) },
                    "\(frame.place)"
                )
                let again = try rewritten(packet, frame)
                #expect(again == frame.bytes, "\(frame.place)")
                #expect(written { packet.write(to: &$0) } == frame.bytes, "\(frame.place)")
            }
        }
    }

    /// Takes a packet apart down to its fields, compares them with the recording's, and puts it together again.
    private func rewritten(_ packet: QuorumPacket, _ frame: QuorumFrame) throws -> [UInt8] {
        let kind = try #require(packet.kind)
        let expected = frame.decoded
        func write(_ body: (inout JuteWriter) -> Void) -> [UInt8] {
            written {
                QuorumPacket.write(kind, zxid: packet.zxid, identities: packet.identities, to: &$0, data: body)
            }
        }
        switch kind {
        case .followerInfo, .observerInfo:
            let info = try LearnerInfo(data: packet.data)
            #expect(info.server.rawValue == expected.learnerInfo?.serverid)
            #expect(info.configurationVersion == expected.learnerInfo?.configVersion.value)
            return write { info.write(to: &$0) }
        case .leaderInfo:
            let info = try LeaderInfo(data: packet.data)
            #expect(Int64(info.protocolVersion) == expected.protocolVersion?.value)
            return write { info.write(to: &$0) }
        case .ackEpoch:
            let answer = try EpochAcknowledgement(data: packet.data)
            #expect(answer.currentEpoch?.rawValue ?? -1 == expected.currentEpoch)
            return write { answer.write(to: &$0) }
        case .request:
            let request = try ForwardedRequest(data: packet.data)
            #expect(request.session.rawValue == expected.request?.sessionId.value)
            #expect(request.cxid == expected.request?.cxid)
            #expect(Operation(rawValue: request.operation) != nil)
            #expect([UInt8](request.body) == QuorumFrame.bytes(hex: expected.request?.payload ?? ""))
            return write { request.write(to: &$0) }
        case .revalidate:
            if let isValid = expected.valid {
                let reply = try Revalidation.Reply(data: packet.data)
                #expect(reply.session.rawValue == expected.sessionId?.value && reply.isValid == isValid)
                return write { reply.write(to: &$0) }
            }
            let request = try Revalidation.Request(data: packet.data)
            #expect(request.session.rawValue == expected.sessionId?.value)
            #expect(request.timeoutMilliseconds == expected.timeout)
            return write { request.write(to: &$0) }
        case .ping where packet.data != nil:
            let touches = try SessionTouch.list(data: packet.data)
            let found = touches.map { ($0.session.rawValue, $0.timeoutMilliseconds) }
            #expect(found.elementsEqual((expected.touched ?? []).map { ($0.sessionId.value, $0.timeout) }, by: ==))
            return write { for touch in touches { touch.write(to: &$0) } }
        case .commitAndActivate:
            let activation = try Activation(data: packet.data)
            #expect(activation.designatedLeader.rawValue == expected.designatedLeader && activation.txn.isEmpty)
            return write { activation.write(to: &$0) }
        case .informAndActivate:
            let activation = try Activation(data: packet.data)
            #expect(activation.designatedLeader.rawValue == expected.designatedLeader)
            let txn = try Txn(payload: activation.txn)
            expectTxn(txn, in: frame)
            return write {
                Activation(designatedLeader: activation.designatedLeader).write(to: &$0)
                txn.write(to: &$0)
            }
        case .proposal, .inform:
            let data = try #require(packet.data)
            #expect(Txn.zxid(ofPayload: data) == packet.zxid)
            let txn = try Txn(payload: data)
            expectTxn(txn, in: frame)
            return write { txn.write(to: &$0) }
        case .newLeader:
            let configuration = try QuorumConfiguration.parse(utf8: try #require(packet.data))
            #expect(configuration.text == expected.config)
            return write { $0.raw(ArraySlice(configuration.text.utf8)) }
        case .ack, .commit, .ping, .sync, .upToDate, .diff, .trunc, .snap:
            #expect(packet.data == nil && packet.identities == nil)
            return written { QuorumPacket.write(kind, zxid: packet.zxid, to: &$0) }
        }
    }

    private func expectTxn(_ txn: Txn, in frame: QuorumFrame) {
        let header = frame.decoded.txn?.hdr
        #expect(txn.header.zxid.rawValue == frame.decoded.zxid?.value, "\(frame.place)")
        #expect(txn.header.session.rawValue == header?.clientId.value, "\(frame.place)")
        #expect(txn.header.cxid == header?.cxid && txn.header.time == header?.time, "\(frame.place)")
        #expect(txn.body.type.rawValue == header?.type, "\(frame.place)")
        guard case .setData(_, let data, _, isReconfig: true) = txn.body else { return }
        let configuration = try? QuorumConfiguration.parse(utf8: data ?? [])
        #expect(configuration.map { Array($0.text.utf8) } == data, "\(frame.place)")
        #expect(configuration?.version == txn.header.zxid.rawValue, "\(frame.place)")
    }

    @Test("A direction of a connection is read in pieces of any size")
    func streams() throws {
        var random = SeededRandom(5)
        let byDirection = Dictionary(grouping: QuorumFrame.packets) { $0.place.prefix(2) + $0.conn + $0.from }
        for frames in byDirection.values {
            var waiting = frames[...]
            var stream: [UInt8] = []
            var unsent = frames.flatMap(\.bytes)[...]
            while !unsent.isEmpty {
                let piece = unsent.prefix(1 + random.below(200))
                stream += piece
                unsent = unsent.dropFirst(piece.count)
                var taken = 0
                try viewing(stream) { bytes in
                    while let next = try QuorumPacket.parse(UnsafeRawBufferPointer(rebasing: bytes[taken...])) {
                        let first = waiting.popFirst()
                        let frame = try #require(first)
                        #expect(written { next.packet.write(to: &$0) } == frame.bytes, "\(frame.place)")
                        taken += next.size
                    }
                }
                stream.removeFirst(taken)
            }
            #expect(waiting.isEmpty && stream.isEmpty)
        }
    }

    @Test("Each notification is read, and written again byte for byte")
    func notifications() throws {
        for frame in QuorumFrame.of("NOTIFICATION") {
            try viewing(frame.bytes) { bytes in
                let (payload, size) = try #require(try Notification.frame(in: bytes), "\(frame.place)")
                #expect(size == bytes.count)
                let notification = try Notification.parse(payload)
                let expected = frame.decoded
                #expect("\(notification.state)".uppercased() == expected.state)
                #expect(notification.leader.rawValue == expected.leader?.value)
                #expect(notification.zxid.rawValue == expected.zxid?.value)
                #expect(notification.electionEpoch == expected.electionEpoch)
                #expect(notification.peerEpoch.rawValue == expected.peerEpoch?.value)
                #expect(notification.version == expected.version)
                let configuration = try QuorumConfiguration.parse(utf8: try #require(notification.configuration))
                #expect(configuration.text == expected.config)
                let again = Notification(
                    state: notification.state,
                    leader: notification.leader,
                    zxid: notification.zxid,
                    electionEpoch: notification.electionEpoch,
                    peerEpoch: notification.peerEpoch,
                    configuration: Array(configuration.text.utf8)
                )
                #expect(written { again.write(to: &$0) } == frame.bytes, "\(frame.place)")
            }
        }
    }

    @Test("Each first message of an election connection is read, and written again byte for byte")
    func initialMessages() throws {
        for frame in QuorumFrame.of("INITIAL") {
            try viewing(frame.bytes) { bytes in
                let (message, size) = try #require(try InitialMessage.parse(bytes), "\(frame.place)")
                #expect(size == bytes.count)
                #expect(message.server.rawValue == frame.decoded.sid)
                #expect(message.form == (frame.decoded.protocolVersion == -65536 ? .v1 : .v2))
                let addresses = message.addresses.map { "\($0.host):\($0.port)" }
                #expect(addresses.joined(separator: "|") == frame.decoded.electionAddrs)
                #expect(written { message.write(to: &$0) } == frame.bytes, "\(frame.place)")
            }
        }
    }

    @Test("Each SASL step is read, and written again byte for byte")
    func authentication() throws {
        for frame in QuorumFrame.of("QuorumAuthPacket") {
            try viewing(frame.bytes) { bytes in
                #expect(QuorumAuthPacket.begins(bytes) == true)
                let (packet, size) = try #require(try QuorumAuthPacket.parse(bytes), "\(frame.place)")
                #expect(size == bytes.count)
                #expect(written { packet.write(to: &$0) } == frame.bytes, "\(frame.place)")
            }
        }
    }
}

extension JuteWriter {
    fileprivate mutating func raw(_ bytes: ArraySlice<UInt8>) {
        bytes.withUnsafeBytes { raw($0) }
    }
}
