import Testing
import ZooKeeperProtocol

/// Votes that no honest server sends, and those of old servers (docs/protocol/quorum-protocol.md section 5.1).
@Suite("Notifications")
struct NotificationTests {
    private static let vote = Notification(
        state: .following,
        leader: ServerID(3),
        zxid: Zxid(0x5_0000_0009),
        electionEpoch: 7,
        peerEpoch: Epoch(6),
        configuration: Array("server.1=a:1:2:participant\nversion=0".utf8)
    )

    private var payload: [UInt8] { Array(written { Self.vote.write(to: &$0) }.dropFirst(4)) }

    private func parse(_ payload: some Collection<UInt8>) throws -> Notification {
        try viewing(payload) { try Notification.parse($0) }
    }

    @Test("By its length a message tells how old its sender is")
    func lengths() throws {
        for count in 0..<payload.count {
            let short = payload.prefix(count)
            switch count {
            case 28:
                let notification = try parse(short)
                #expect(notification.peerEpoch == Epoch(5))
                #expect(notification.version == 0 && notification.configuration == nil)
            case 40:
                let notification = try parse(short)
                #expect(notification.peerEpoch == Epoch(6))
                #expect(notification.version == 0 && notification.configuration == nil)
            default:
                #expect(throws: JuteError.truncated, "\(count)") { try parse(short) }
            }
        }
        #expect(try parse(payload) == Self.vote)
        #expect(try parse(payload + [1, 2, 3]) == Self.vote)
    }

    @Test("Only version 2 and above carry a configuration", arguments: [-1, 0, 1, 2, 3] as [Int32])
    func versions(version: Int32) throws {
        var bytes = payload
        withUnsafeBytes(of: version.bigEndian) { bytes.replaceSubrange(36..<40, with: $0) }
        let notification = try parse(bytes)
        #expect(notification.version == version)
        #expect(notification.configuration == (version > 1 ? Self.vote.configuration : nil))
    }

    @Test("Museum 38: a configuration with names beyond ASCII comes as it went")
    func namesBeyondASCII() throws {
        let text = "server.1=zoé:1:2:participant;0.0.0.0:3\nserver.2=動物園.example:1:2:observer\nversion=5"
        var vote = Self.vote
        vote.configuration = Array(text.utf8)
        let bytes = Array(written { vote.write(to: &$0) }.dropFirst(4))
        let configuration = try #require(try parse(bytes).configuration)
        #expect(try QuorumConfiguration.parse(utf8: configuration).text == text)
    }

    @Test("Another state is none", arguments: [-1, 4, .max] as [Int32])
    func states(state: Int32) {
        var bytes = payload
        withUnsafeBytes(of: state.bigEndian) { bytes.replaceSubrange(0..<4, with: $0) }
        #expect(throws: JuteError.badValue(Int64(state))) { try parse(bytes) }
    }

    @Test("A configuration is as long as it says, and inside the message")
    func configurationLength() {
        func parse(length: Int32) throws -> Notification {
            var bytes = payload
            withUnsafeBytes(of: length.bigEndian) { bytes.replaceSubrange(40..<44, with: $0) }
            return try self.parse(bytes)
        }
        #expect(throws: JuteError.unexpectedNull) { try parse(length: -1) }
        #expect(throws: JuteError.badLength(-2)) { try parse(length: -2) }
        #expect(throws: JuteError.badLength(.max)) { try parse(length: .max) }
        #expect(throws: JuteError.truncated) { try parse(length: Int32(payload.count - 43)) }
        #expect((try? parse(length: 0))?.configuration == [])
    }

    @Test("A frame has from 1 to 524288 bytes")
    func frames() throws {
        func frame(_ length: Int32, _ bytes: Int = 0) throws -> Int? {
            let bytes = written {
                $0.int32(length)
                $0.zeros(bytes)
            }
            return try viewing(bytes) { try Notification.frame(in: $0)?.size }
        }
        for length in [0, -1, .min, 524_289, .max] as [Int32] {
            #expect(throws: JuteError.badLength(length)) { try frame(length) }
        }
        #expect(try frame(524_288) == nil)
        #expect(try frame(524_288, 524_288) == 524_292)
        #expect(try frame(1, 1) == 5)
        #expect(try frame(3, 2) == nil)
        for count in 0..<4 {
            #expect(try viewing([UInt8](repeating: 9, count: count)) { try Notification.frame(in: $0)?.size } == nil)
        }
    }

    @Test("Each recorded one: every beginning but two is dropped")
    func prefixes() {
        for frame in QuorumFrame.of("NOTIFICATION").prefix(20) {
            let payload = frame.bytes.dropFirst(4)
            // Its configuration is found to be too long as soon as its length is there.
            let length = payload.count - 44
            for count in 0..<payload.count where count != 28 && count != 40 {
                let isTooLong = count >= 44 && length > count
                let error = isTooLong ? JuteError.badLength(Int32(length)) : .truncated
                #expect(throws: error) { try parse(payload.prefix(count)) }
            }
        }
    }

    @Test("Each changed a little is dropped or a notification", arguments: 0..<4)
    func mutations(seed: UInt64) throws {
        var random = SeededRandom(seed + 90)
        let frames = QuorumFrame.of("NOTIFICATION")
        for _ in 0..<3000 {
            let bytes = random.mutated(frames[random.below(frames.count)].bytes)
            try viewing(bytes) { view in
                guard let (payload, _) = try? Notification.frame(in: view),
                    let notification = try? Notification.parse(payload)
                else { return }
                let again = written { notification.write(to: &$0) }
                if notification.version > 1 {
                    let read = try parse(again.dropFirst(4))
                    #expect(read == notification, "seed \(seed): \(bytes)")
                }
                _ = try? QuorumConfiguration.parse(utf8: notification.configuration ?? [])
            }
        }
    }

    @Test("One that takes no part says the least numbers")
    func undecided() {
        let frame = QuorumFrame.of("NOTIFICATION")[0]
        let notification = Notification(
            state: .looking,
            leader: .none,
            zxid: Zxid(.min),
            electionEpoch: 1,
            peerEpoch: Epoch(.min),
            configuration: Array((frame.decoded.config ?? "").utf8)
        )
        #expect(written { notification.write(to: &$0) } == frame.bytes)
    }
}

/// First messages of an election connection that no honest server sends (section 4).
@Suite("First messages of an election connection")
struct InitialMessageTests {
    private func message(_ addresses: String, version: Int64 = -65536) -> [UInt8] {
        written {
            $0.int64(version)
            $0.int64(4)
            $0.string(addresses)
        }
    }

    private func parse(_ bytes: some Collection<UInt8>) throws -> InitialMessage? {
        try viewing(bytes) { try InitialMessage.parse($0)?.message }
    }

    @Test("Every beginning is incomplete, and what follows is left alone")
    func prefixes() throws {
        for bytes in [message("127.0.0.1:3888"), message("[::1]:3888|zoo1:3888", version: -65535)] {
            for count in 0..<bytes.count { #expect(try parse(bytes.prefix(count)) == nil) }
            #expect(try viewing(bytes + [0, 0, 0]) { try InitialMessage.parse($0)?.size } == bytes.count)
        }
    }

    @Test("IPv6 is in brackets on the wire alone")
    func ipv6() throws {
        let bytes = message("[2001:db8::1]:3888|zoo_1.example.org:13888", version: -65535)
        let parsed = try #require(try parse(bytes))
        #expect(parsed.addresses.map(\.host) == ["2001:db8::1", "zoo_1.example.org"])
        #expect(parsed.addresses.map(\.port) == [3888, 13888])
        #expect(written { parsed.write(to: &$0) } == bytes)
    }

    @Test(
        "Museum 38: a name beyond ASCII is UTF-8 in both directions, wherever a server runs",
        arguments: ["zoé.example.org", "öl", "動物園.example", "зоопарк-1", "𐌰𐌱"]
    )
    func beyondASCII(host: String) throws {
        for (form, version) in [(InitialMessage.Form.v1, -65536), (.v2, -65535)] as [(InitialMessage.Form, Int64)] {
            let sent = InitialMessage(form: form, server: ServerID(4), addresses: [.init(host: host, port: 3888)])
            let bytes = written { sent.write(to: &$0) }
            #expect(bytes == message(host + ":3888", version: version))
            #expect(Array(bytes.suffix(host.utf8.count + 5)) == Array((host + ":3888").utf8))
            #expect(try parse(bytes) == sent)
            for count in 0..<bytes.count { #expect(try parse(bytes.prefix(count)) == nil) }
        }
    }

    @Test("Museum 38: the length of the addresses counts bytes, not characters")
    func lengthInBytes() throws {
        // Two bytes each, and ":1" behind them.
        let longest = String(repeating: "é", count: (InitialMessage.maxAddressBytes - 2) / 2) + ":1"
        let parsed = try #require(try parse(message(longest)))
        #expect(parsed.addresses.first?.host.utf8.count == InitialMessage.maxAddressBytes - 2)
        #expect(throws: JuteError.badLength(Int32(InitialMessage.maxAddressBytes + 2))) {
            try parse(message("é" + longest))
        }
    }

    @Test("Museum 38: what is not UTF-8 is no address, and ends one connection")
    func otherEncodings() {
        let latin1: [UInt8] = [0x7a, 0x6f, 0xe9, 0x3a, 0x33]
        let bytes = written {
            $0.int64(-65536)
            $0.int64(4)
            $0.int32(Int32(latin1.count))
            for byte in latin1 { $0.byte(byte) }
        }
        #expect(throws: JuteError.self) { try parse(bytes) }
    }

    @Test("A wildcard is no address to connect to")
    func wildcards() throws {
        let parsed = try #require(try parse(message("0.0.0.0:1|zoo1:2|[::]:3|[0:0:0:0:0:0:0:0]:4")))
        #expect(parsed.addresses.count == 4)
        #expect(parsed.reachableAddresses == [.init(host: "zoo1", port: 2)])
    }

    @Test("A number of at least zero is a server of old, and nothing follows")
    func bare() throws {
        for number in [0, 5, Int64.max] {
            let bytes = written { $0.int64(number) }
            let parsed = try #require(try parse(bytes))
            #expect(parsed == InitialMessage(form: .serverIDAlone, server: ServerID(number)))
            #expect(written { parsed.write(to: &$0) } == bytes)
        }
    }

    @Test("Other versions end the connection", arguments: [-1, -65534, -65537, .min] as [Int64])
    func versions(version: Int64) {
        #expect(throws: JuteError.badValue(version)) { try parse(message("a:1", version: version)) }
        #expect(throws: JuteError.badValue(version)) { try parse(written { $0.int64(version) }) }
    }

    @Test("So does a length outside of 1 to 2048", arguments: [0, -1, .min, 2049, .max] as [Int32])
    func lengths(length: Int32) {
        let bytes = written {
            $0.int64(-65536)
            $0.int64(4)
            $0.int32(length)
        }
        #expect(throws: JuteError.badLength(length)) { try parse(bytes) }
    }

    @Test(
        "So does what is no address",
        arguments: [
            "a", "a:", ":1", "a:1:2", "a:65536", "a:-1", "::1:3888", "[::1]", "[::1", "[a]:1", "a:1|", "|a:1", "a b:1",
            "a:1\n",
        ]
    )
    func addresses(text: String) {
        #expect(throws: JuteError.badText(HostText.shown(text))) { try parse(message(text)) }
    }

    @Test("A stranger's text is shown short and harmless")
    func shown() {
        #expect(HostText.shown("a\u{1b}[31m\n\u{9b}b") == "a?[31m??b")
        #expect(HostText.shown(String(repeating: "x", count: 2000)).count == 81)
    }

    @Test("Each changed a little is an error, incomplete, or a message")
    func mutations() throws {
        var random = SeededRandom(11)
        let frames = QuorumFrame.of("INITIAL")
        for _ in 0..<5000 {
            let bytes = random.mutated(frames[random.below(frames.count)].bytes)
            guard let message = try? parse(bytes) else { continue }
            #expect(try parse(written { message.write(to: &$0) }) == message)
        }
    }
}
