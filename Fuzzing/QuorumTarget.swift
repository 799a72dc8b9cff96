import ZooKeeperProtocol

/// What a server reads from the others of its ensemble, and what a client may send as a new configuration.
///
/// Input: a byte that says what it is, then the bytes. Texts of a reconfig are separated by zero bytes.
enum QuorumTarget {
    static func run(_ bytes: UnsafeRawBufferPointer) {
        var input = FuzzInput(bytes)
        let form = input.byte()
        let maxBufferBytes = form & 8 != 0 ? 64 : JuteReader.defaultMaxBufferBytes
        let stream = input.remainder()
        switch form & 7 {
        case 0: packets(stream, maxBufferBytes: maxBufferBytes)
        case 1: notifications(stream)
        case 2: initialMessage(stream)
        case 3: authentication(stream)
        case 4: if let configuration = configuration(stream) { quorums(configuration, seed: form) }
        default: reconfiguration(stream, isStandaloneEnabled: form & 8 != 0)
        }
    }

    private static func written(_ body: (inout JuteWriter) -> Void) -> [UInt8] {
        var writer = JuteWriter()
        body(&writer)
        return writer.copy()
    }

    /// What `body` says; false where it throws, for then nobody waits for more.
    private static func isIncomplete<E: Error>(_ body: () throws(E) -> Bool) -> Bool {
        do throws(E) { return try body() } catch { return false }
    }

    // MARK: Packets

    private static func packets(_ stream: UnsafeRawBufferPointer, maxBufferBytes: Int) {
        var rest = stream
        while true {
            guard let next = try? QuorumPacket.parse(rest, maxBufferBytes: maxBufferBytes) else {
                let mayWait = isIncomplete { () throws(JuteError) in
                    try QuorumPacket.parse(rest, maxBufferBytes: maxBufferBytes) == nil
                }
                if mayWait {
                    let most = QuorumPacket.maximumSize(maxBufferBytes: maxBufferBytes)
                    expect(rest.count < most, "\(rest.count) bytes, and still no packet of at most \(most)")
                }
                return
            }
            expect(next.size >= QuorumPacket.minimumSize && next.size <= rest.count, "a packet of \(next.size) bytes")
            let own = UnsafeRawBufferPointer(rebasing: rest[0..<next.size])
            // The same bytes without what follows, and without the last one.
            expect(
                (try? QuorumPacket.parse(own, maxBufferBytes: maxBufferBytes))?.size == next.size,
                "a packet hangs on what follows it"
            )
            let cut = UnsafeRawBufferPointer(rebasing: own.dropLast())
            expect((try? QuorumPacket.parse(cut, maxBufferBytes: maxBufferBytes)) == nil, "a packet without its end")
            let again = written { next.packet.write(to: &$0) }
            if next.packet.identities == nil { expect(again.elementsEqual(own), "a packet is written differently") }
            // Text that is no UTF-8 is replaced once, and then stays.
            again.withUnsafeBytes { bytes in
                guard let second = try? QuorumPacket.parse(bytes, maxBufferBytes: 4 * maxBufferBytes) else {
                    return expect(false, "what was written is not read")
                }
                expect(second.packet.identities == next.packet.identities, "identities change")
            }
            takeApart(next.packet)
            rest = UnsafeRawBufferPointer(rebasing: rest[next.size...])
        }
    }

    private static func takeApart(_ packet: QuorumPacket) {
        let data = packet.data.map { [UInt8]($0) }
        func expectSame(_ bytes: [UInt8], _ what: String) {
            expect(bytes == data, "\(what) is written differently")
        }
        // As that of every type: whatever a peer says that it is, it is read without trust.
        if let info = try? LearnerInfo(data: packet.data), data?.count == 20 {
            expectSame(written { info.write(to: &$0) }, "a LearnerInfo")
        }
        if let info = try? LeaderInfo(data: packet.data), data?.count == 4 {
            expectSame(written { info.write(to: &$0) }, "a LEADERINFO")
        }
        if let answer = try? EpochAcknowledgement(data: packet.data), data?.count == 4 {
            expectSame(written { answer.write(to: &$0) }, "an ACKEPOCH")
        }
        if let request = try? ForwardedRequest(data: packet.data) {
            expectSame(written { request.write(to: &$0) }, "a REQUEST")
        }
        if let touches = try? SessionTouch.list(data: packet.data) {
            expect(touches.count == (data?.count ?? 0) / SessionTouch.encodedSize, "touches are lost")
            if data != nil { expectSame(written { for touch in touches { touch.write(to: &$0) } }, "a PING") }
        }
        if let request = try? Revalidation.Request(data: packet.data), data?.count == 12 {
            expectSame(written { request.write(to: &$0) }, "a REVALIDATE")
        }
        _ = try? Revalidation.Reply(data: packet.data)
        if let activation = try? Activation(data: packet.data) {
            expectSame(written { activation.write(to: &$0) }, "an activation")
            transaction(activation.txn)
        }
        if let data = packet.data {
            transaction(data)
            _ = configuration(data)
        }
    }

    private static func transaction(_ payload: UnsafeRawBufferPointer) {
        guard let txn = try? Txn(payload: payload) else { return }
        expect(Txn.zxid(ofPayload: payload) == txn.header.zxid, "two zxids of one transaction")
        let again = written { txn.write(to: &$0) }
        let read = again.withUnsafeBytes { try? Txn(payload: $0, maxBufferBytes: 4 * JuteReader.defaultMaxBufferBytes) }
        expect(read == txn, "a transaction is written differently")
    }

    // MARK: Election

    private static func notifications(_ stream: UnsafeRawBufferPointer) {
        var rest = stream
        while let next = try? Notification.frame(in: rest) {
            expect(next.size == next.payload.count + 4 && next.size <= rest.count, "a frame of \(next.size) bytes")
            notification(next.payload)
            rest = UnsafeRawBufferPointer(rebasing: rest[next.size...])
        }
        // Whatever is left, as if it had a length.
        notification(rest)
    }

    private static func notification(_ payload: UnsafeRawBufferPointer) {
        guard let notification = try? Notification.parse(payload) else { return }
        expect(payload.count >= 28, "a notification of \(payload.count) bytes")
        expect((notification.configuration == nil) == (notification.version < 2), "a configuration without a version")
        if let text = notification.configuration {
            expect(text.count <= payload.count - 44, "a configuration of \(text.count) bytes out of \(payload.count)")
            text.withUnsafeBytes { _ = configuration($0) }
        }
        let again = written { notification.write(to: &$0) }
        again.withUnsafeBytes { bytes in
            let frame = try? Notification.frame(in: bytes)
            expect(frame?.size == again.count, "a notification without its frame")
            guard notification.version > 1, let frame else { return }
            expect((try? Notification.parse(frame.payload)) == notification, "a notification is written differently")
        }
    }

    private static func initialMessage(_ stream: UnsafeRawBufferPointer) {
        guard let next = try? InitialMessage.parse(stream) else {
            let mayWait = isIncomplete { () throws(JuteError) in try InitialMessage.parse(stream) == nil }
            expect(!mayWait || stream.count < InitialMessage.maximumSize, "a first message without an end")
            return
        }
        expect(next.size <= stream.count && next.size <= InitialMessage.maximumSize, "a message of \(next.size) bytes")
        let again = written { next.message.write(to: &$0) }
        let read = again.withUnsafeBytes { try? InitialMessage.parse($0) }
        // Ports may have had zeros in front, and are then shorter now: what is read stays the same.
        expect(read?.message == next.message, "a first message is written differently")
        expect(next.message.reachableAddresses.count <= next.message.addresses.count, "addresses out of nowhere")
    }

    private static func authentication(_ stream: UnsafeRawBufferPointer) {
        let begins = QuorumAuthPacket.begins(stream)
        guard let next = try? QuorumAuthPacket.parse(stream) else { return }
        expect(begins == true, "a step of SASL that does not begin like one")
        expect(
            written { next.packet.write(to: &$0) }.elementsEqual(stream.prefix(next.size)),
            "a step of SASL is written differently"
        )
    }

    // MARK: Configurations

    /// The configuration that a text is; nil for one that is refused, which has to have a reason.
    private static func configuration(_ bytes: UnsafeRawBufferPointer) -> QuorumConfiguration? {
        do {
            let configuration = try QuorumConfiguration.parse(utf8: bytes)
            expectSame(configuration.text, configuration)
            expectSame(configuration.dynamicFileText(includesVersion: true), configuration)
            return configuration
        } catch {
            expect(!error.text.isEmpty, "refused without a reason")
            return nil
        }
    }

    private static func expectSame(_ text: String, _ configuration: QuorumConfiguration) {
        let again = try? QuorumConfiguration.parse(text)
        expect(again?.text == configuration.text, "a configuration is read differently from its own text")
        expect(again?.hasSameMembers(as: configuration) == true, "members change on the way through a text")
    }

    /// What makes an ensemble safe: no two quorums are disjoint, and what a quorum has acknowledged, it has.
    private static func quorums(_ configuration: QuorumConfiguration, seed: UInt8) {
        var state = UInt64(seed) &* 0x9e37_79b9_7f4a_7c15 | 1
        func chance() -> UInt64 {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return state >> 20
        }
        let ids = configuration.members.map(\.id)
        for _ in 0..<8 {
            let chosen = Set(ids.filter { _ in chance() & 3 != 0 })
            let others = Set(ids).subtracting(chosen)
            let bothAre = configuration.isQuorum(chosen) && configuration.isQuorum(others)
            expect(!bothAre, "two quorums without a server in common")
            let acked = ids.map { ($0, Zxid(Int64(chance() % 5))) }
            let zxid = configuration.quorumZxid(acked)
            func isQuorum(above: Zxid) -> Bool {
                configuration.isQuorum(Set(acked.filter { $0.1 >= above }.map(\.0)))
            }
            expect(zxid == .zero || isQuorum(above: zxid), "\(zxid) is called acknowledged, and is not")
            expect(!isQuorum(above: zxid.next), "more than \(zxid) is acknowledged")
        }
        expect(!configuration.isQuorum([]), "nobody is a quorum")
    }

    private static func reconfiguration(_ bytes: UnsafeRawBufferPointer, isStandaloneEnabled: Bool) {
        let parts = bytes.split(separator: 0, maxSplits: 3, omittingEmptySubsequences: false)
        func part(_ index: Int) -> String? {
            guard index < parts.count, !parts[index].isEmpty else { return nil }
            return String(decoding: parts[index], as: UTF8.self)
        }
        guard let current = try? QuorumConfiguration.parse(part(0) ?? "") else { return }
        let request = ReconfigRequest(joiningServers: part(1), leavingServers: part(2), newMembers: part(3))
        do {
            let next = try Reconfiguration.next(
                for: request,
                committed: current,
                lastSeen: current,
                zxid: Zxid(0x7_0000_0001),
                isStandaloneEnabled: isStandaloneEnabled
            )
            expect(next.version == 0x7_0000_0001, "a configuration without its version")
            expect(next.voters.count >= (isStandaloneEnabled ? 2 : 1), "too few voters are left")
            expectSame(next.text, next)
            quorums(next, seed: 1)
        } catch {
            expect(!error.reason.isEmpty && error.code != .ok, "refused without a reason")
        }
    }
}
