import Testing

@testable import AviaryServer

@Suite("Clients that speak something else")
struct WrongProtocolTests {
    static let strangers: [(name: String, bytes: [UInt8], explanation: String)] = [
        ("HTTP", Array("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".utf8), "it speaks HTTP"),
        ("TLS", [0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03], "it speaks TLS"),
        ("text", Array("hello\n".utf8), "text that is no four letter word"),
        ("noise", [0xfe, 0xdc, 0xba, 0x98, 0x76], "not the ZooKeeper protocol"),
    ]

    @Test("They are told off in the log once, in words, and closed; nobody else notices", arguments: strangers)
    func closes(stranger: (name: String, bytes: [UInt8], explanation: String)) async throws {
        try await TestServer.with { server in
            let client = try server.open()
            for _ in 0..<5 {
                let wrong = try server.connect()
                try wrong.send(stranger.bytes)
                #expect(wrong.isClosed(), "\(stranger.name)")
            }
            #expect(server.log.count(containing: stranger.explanation) == 1, "\(server.log.lines)")
            #expect(try client.ping().error == 0)
        }
    }
}

@Suite("Saying the same thing once")
struct LogLimiterTests {
    @Test("A key is silent for the interval, others are not")
    func interval() {
        var limiter = LogLimiter<String>(interval: .seconds(1))
        let calls: [(String, Int64)] = [("a", 0), ("a", 999_999), ("b", 999_999), ("a", 1_000_000)]
        let verdicts = calls.map { limiter.allows($0, at: $1) }
        #expect(verdicts == [true, false, true, true])
    }
}
