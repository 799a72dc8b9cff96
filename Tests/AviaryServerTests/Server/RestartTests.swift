import Foundation
import NIOCore
import Testing

@testable import AviaryServer

@Suite("Starting and stopping")
struct RestartTests {
    @Test("A fresh directory has its first snapshot before the first log record")
    func fresh() async throws {
        try await TestServer.with { server in
            #expect(server.directory.files == ["snapshot.0"])
            let client = try server.open()
            #expect(try client.create("/a").error == 0)
            #expect(server.directory.files == ["log.1", "snapshot.0"])
        }
    }

    @Test("What was acknowledged is there after a stop, and sessions with their ephemerals live on")
    func restart() async throws {
        let directory = try TestDirectory()
        let client = try await TestServer.with(in: directory) { server in
            let client = try server.open()
            #expect(try client.create("/kept", data: [1, 2, 3]).error == 0)
            #expect(try client.create("/ephemeral", flags: 1).error == 0)
            return client
        }
        try await TestServer.with(in: directory) { server in
            let again = try server.connect()
            #expect(try again.reattach(session: client.session, password: client.password) == 30_000)
            #expect(again.session == client.session)
            #expect(try again.exists("/kept"))
            #expect(try again.exists("/ephemeral"))
            let wrong = try server.connect()
            var password = client.password
            password[0] ^= 1
            #expect(try wrong.reattach(session: client.session, password: password) == 0)
            #expect(wrong.isClosed())
            #expect(try again.closeSession().error == 0)
        }
        try await TestServer.with(in: directory) { server in
            let late = try server.open()
            #expect(try late.exists("/kept"))
            #expect(try !late.exists("/ephemeral"))
        }
    }

    @Test("A start that replayed something takes a snapshot while it serves")
    func snapshotAtStart() async throws {
        let directory = try TestDirectory()
        try await TestServer.with(in: directory) { server in _ = try server.open().create("/a") }
        try await TestServer.with(in: directory) { server in
            let isThere = try await TestServer.eventually { directory.files.contains("snapshot.2") }
            #expect(isThere, "\(directory.files)")
            let other = try server.open()
            #expect(try other.exists("/a"))
        }
        // Nothing but a session came since.
        try await TestServer.with(in: directory) { server in
            let other = try server.open()
            #expect(try other.exists("/a"))
        }
    }

    @Test("Stopping answers what was accepted, and clients see an orderly end")
    func stopAnswers() async throws {
        let server = try await TestServer.start()
        let client = try server.open()
        #expect(try client.create("/n").error == 0)
        var bytes: [UInt8] = []
        for _ in 0..<100 { bytes += client.setDataRequest("/n", data: [1]) }
        try client.send(bytes)
        #expect(try client.readReply().error == 0)
        await server.running.stop()
        var answered = 1
        while (try? client.readReply()) != nil { answered += 1 }
        // Whatever was read was answered; nothing was answered twice.
        #expect(answered <= 100)
        try await TestServer.with(in: server.directory) { again in
            let reader = try again.open()
            try reader.send(reader.getDataRequest("/n"))
            let reply = try reader.readReply()
            // The version in the stat counts every write.
            let version = Int(TestClient.integer(reply.body[37..<41]))
            #expect(version >= answered)
        }
    }

    @Test("Stopping twice, or while somebody waits for it, ends once")
    func stopTwice() async throws {
        let server = try await TestServer.start()
        async let waiting: Void = server.running.waitUntilStopped()
        async let first: Void = server.running.stop()
        async let second: Void = server.running.stop()
        _ = await (waiting, first, second)
        await server.running.waitUntilStopped()
        #expect(throws: TestClient.Failure.self) { try server.connect() }
        #expect(server.log.count(containing: "error:") == 0, "\(server.log.lines)")
    }

    @Test("A client that does not read does not hold up the end")
    func stopWithSlowReader() async throws {
        let server = try await TestServer.start()
        let client = try TestClient(port: server.port, receiveBufferBytes: 4096)
        try client.openSession(timeoutMilliseconds: 600_000)
        #expect(try client.create("/big", data: [UInt8](repeating: 1, count: 1_000_000)).error == 0)
        var bytes: [UInt8] = []
        for _ in 0..<20 { bytes += client.getDataRequest("/big") }
        try client.send(bytes)
        await server.running.stop()
    }

    @Test("A second server on the same directory is refused, in words, and the first goes on")
    func sameDirectory() async throws {
        let directory = try TestDirectory()
        try await TestServer.with(in: directory) { server in
            let error = await #expect(throws: StartError.self) { _ = try await TestServer.start(in: directory) }
            #expect(error?.description.contains("in use by another server (process ") == true)
            #expect(error?.description.contains("on port \(server.port)") == true)
            let other = try server.open()
            #expect(try other.create("/a").error == 0)
        }
        // The lock goes with the server.
        try await TestServer.with(in: directory) { server in
            let other = try server.open()
            #expect(try other.exists("/a"))
        }
    }

    @Test("A port that is taken is named, with what to do about it")
    func samePort() async throws {
        try await TestServer.with { server in
            let directory = try TestDirectory()
            let error = await #expect(throws: StartError.self) {
                _ = try await TestServer.start(in: directory) { $0.clients.port = server.port }
            }
            #expect(error?.description.contains("port \(server.port) is taken") == true)
            #expect(error?.description.contains("--port") == true)
            // It was told before anything was made.
            #expect(directory.files.isEmpty)
        }
    }

    #if os(Linux)
        // Elsewhere a machine has one address of this kind.
        @Test("A port that is taken on one of two addresses leaves nothing behind on the other, nor in the directory")
        func onePortOfTwo() async throws {
            let directory = try TestDirectory()
            let other = try BoundSocket.bind(SocketAddress(ipAddress: "127.0.0.1", port: 0))
            let port = other.port
            let descriptor = other.release()
            defer { close(descriptor) }
            let log = RecordingLog()
            var configuration = TestServer.configuration(directory)
            configuration.clients.addresses = .only(["127.0.0.2", "127.0.0.1"])
            configuration.clients.port = port
            let error = await #expect(throws: StartError.self) {
                _ = try await Server.start(
                    configuration: configuration,
                    logger: log.logger,
                    disk: FaultDisk(),
                    gzip: ZlibCodec(),
                    // Behind the claim of the ports, and before clients are let in.
                    adjustLimits: { _ in _ = listen(descriptor, 1) },
                    fatal: { _ in }
                )
            }
            #expect(error?.description.contains("port \(port) is taken") == true)
            #expect(log.count(containing: "opening it again") == 0)
            try await TestServer.with(in: directory) { server in
                let client = try server.open()
                #expect(try client.create("/a").error == 0)
            }
        }
    #endif

    @Test("A damaged log is named, and not served")
    func damage() async throws {
        let directory = try TestDirectory()
        try await TestServer.with(in: directory) { server in
            let client = try server.open()
            for index in 0..<20 {
                #expect(try client.create("/n\(index)", data: [UInt8](repeating: 5, count: 100)).error == 0)
            }
        }
        let log = directory.path + "/version-2/log.1"
        var bytes = try Data(contentsOf: URL(fileURLWithPath: log))
        bytes[bytes.count / 2] ^= 0x40
        try bytes.write(to: URL(fileURLWithPath: log))
        let error = await #expect(throws: StartError.self) { _ = try await TestServer.start(in: directory) }
        #expect(error?.description.contains("log.1") == true)
        #expect(error?.description.contains("last good zxid") == true)
    }

    @Test("Without data and without leave to begin, the server does not start")
    func uninitialized() async throws {
        let error = await #expect(throws: StartError.self) {
            _ = try await TestServer.start { $0.storage.createsDatabase = false }
        }
        #expect(error?.description.contains("db.autocreate=false") == true)
    }

    @Test("Loopback means both families, with one port")
    func loopback() async throws {
        try await TestServer.with {
            $0.clients.addresses = .loopback
        } _: { server in
            #expect(server.running.addresses.first == "127.0.0.1:\(server.port)")
            for address in server.running.addresses.dropFirst() { #expect(address == "[::1]:\(server.port)") }
            let answer = try server.ask("ruok")
            #expect(answer == "imok")
        }
    }

    @Test("All addresses means IPv4 too")
    func allAddresses() async throws {
        try await TestServer.with {
            $0.clients.addresses = .all
        } _: { server in
            #expect(server.running.addresses.count == 1)
            let answer = try server.ask("stat")
            #expect(answer.contains(" /127.0.0.1:"))
        }
    }
}
