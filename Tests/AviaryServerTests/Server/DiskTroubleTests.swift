import Testing

@testable import AviaryServer

@Suite("Disks in trouble")
struct DiskTroubleTests {
    @Test("A full disk refuses writes with -1 and without a zxid; reads go on, and writes when there is room again")
    func full() async throws {
        let disk = FaultDisk()
        try await TestServer.with(disk: disk) { server in
            let client = try server.open()
            #expect(try client.create("/n").error == 0)
            disk.set(.full)
            let data = [UInt8](repeating: 1, count: 10_000)
            var last: TestClient.Reply?
            for _ in 0..<200 {
                try client.send(client.setDataRequest("/n", data: data))
                last = try client.readReply()
                if last?.error != 0 { break }
            }
            let refusal = try #require(last)
            #expect(refusal.error == -1)
            let zxid = refusal.zxid
            for _ in 0..<10 {
                try client.send(client.setDataRequest("/n", data: data))
                let reply = try client.readReply()
                #expect(reply.error == -1)
                #expect(reply.zxid == zxid)
            }
            #expect(try client.exists("/n"))
            #expect(server.log.count(containing: "writes are refused with error -1") == 1)
            // The end of sessions has a reserve.
            let other = try server.open()
            #expect(try other.closeSession().error == 0)
            disk.clear()
            let goesOn = try await TestServer.eventually {
                try client.send(client.setDataRequest("/n", data: data))
                return try client.readReply().error == 0
            }
            #expect(goesOn)
            #expect(server.fatal.all.isEmpty)
        }
    }

    @Test("A server that starts on a full disk lives, lets nobody begin a session, and goes on when there is room")
    func fullAtStart() async throws {
        let directory = try TestDirectory()
        let disk = FaultDisk()
        try await TestServer.with(in: directory, disk: disk) { server in
            let client = try server.open()
            #expect(try client.create("/n").error == 0)
        }
        disk.set(.full)
        try await TestServer.with(in: directory, disk: disk) { server in
            #expect(throws: (any Error).self) { try server.open() }
            #expect(try server.ask("ruok") == "imok")
            #expect(server.fatal.all.isEmpty)
            disk.clear()
            let goesOn = try await TestServer.eventually {
                guard let client = try? server.open() else { return false }
                return try client.create("/later").error == 0
            }
            #expect(goesOn)
            #expect(server.fatal.all.isEmpty)
        }
    }

    @Test("A log that cannot roll for want of space goes on, with one line in the log")
    func failedRoll() async throws {
        let disk = FaultDisk()
        try await TestServer.with(disk: disk) {
            $0.storage.logSizeLimit = 10_000
            $0.storage.preallocationSize = 64 << 20
        } _: { server in
            let client = try server.open()
            #expect(try client.create("/n").error == 0)
            disk.set(.full)
            let data = [UInt8](repeating: 1, count: 1000)
            for index in 0..<200 { #expect(try client.create("/m\(index)", data: data).error == 0) }
            #expect(server.log.count(containing: "goes on in its file") == 1)
            #expect(server.log.count(containing: "writes are refused") == 0)
        }
    }

    @Test("After a failed sync nothing is acknowledged, and the reason is told")
    func failedSync() async throws {
        let disk = FaultDisk()
        let server = try await TestServer.start(disk: disk)
        let client = try server.open()
        #expect(try client.create("/kept").error == 0)
        disk.set(.brokenSync)
        try client.send(client.createRequest("/lost"))
        let isTold = try await TestServer.eventually { !server.fatal.all.isEmpty }
        #expect(isTold)
        #expect(server.fatal.all.first.map { "\($0)".contains("may be lost") } == true)
        // In a real process this is the end; here the connection shows that no reply is on its way.
        try client.send(TestClient.pingRequest)
        await server.running.stop()
        var xids: [Int32] = []
        while let reply = try? client.readReply() { xids.append(reply.xid) }
        #expect(!xids.contains(2))
    }

    @Test("A snapshot that fails is one line in the log; everything else goes on")
    func failedSnapshot() async throws {
        let disk = FaultDisk()
        try await TestServer.with(disk: disk) {
            $0.storage.snapshotCount = 20
        } _: { server in
            disk.set(.brokenFile("snapshot."))
            let client = try server.open()
            for index in 0..<50 { #expect(try client.create("/n\(index)").error == 0) }
            let isTold = try await TestServer.eventually {
                server.log.count(containing: "a snapshot could not be written") > 0
            }
            #expect(isTold)
            for index in 50..<100 { #expect(try client.create("/n\(index)").error == 0) }
            #expect(server.log.count(containing: "a snapshot could not be written") == 1)
            #expect(server.directory.files.filter { $0.hasPrefix("snapshot") } == ["snapshot.0"])
            #expect(try client.create("/after").error == 0)
            #expect(Int(try server.metric("snapshot_error_count") ?? "") ?? 0 > 0)
        }
    }

    @Test("Snapshots follow snapCount, logs roll with them, and old files go")
    func snapshots() async throws {
        let directory = try TestDirectory()
        try await TestServer.with(in: directory) {
            $0.storage.snapshotCount = 20
        } _: { server in
            let client = try server.open()
            for index in 0..<200 {
                #expect(try client.create("/n\(index)", data: [UInt8](repeating: 1, count: 500)).error == 0)
                if index % 40 == 39 {
                    let count = index / 40 + 2
                    _ = try await TestServer.eventually {
                        server.log.count(containing: "snapshot written") >= count - 1
                    }
                }
            }
            let isPurged = try await TestServer.eventually {
                directory.files.filter { $0.hasPrefix("snapshot") }.count <= 4 && !directory.files.contains("log.1")
            }
            #expect(isPurged, "\(directory.files)")
            #expect(directory.files.filter { $0.hasPrefix("log") }.count > 1)
        }
        try await TestServer.with(in: directory) { server in
            let client = try server.open()
            for index in 0..<200 { #expect(try client.exists("/n\(index)")) }
        }
    }

    @Test("maxBatchSize bounds a flush, flushDelay lets writes wait for company")
    func flushPolicy() async throws {
        try await TestServer.with {
            $0.storage.maximumBatchSize = 1
        } _: { server in
            let client = try server.open()
            #expect(try client.create("/n").error == 0)
            try client.send((0..<50).flatMap { _ in client.setDataRequest("/n", data: [1]) })
            for _ in 0..<50 { #expect(try client.readReply().error == 0) }
            #expect(try server.metric("max_sync_processor_batch_size") == "1")
        }
        try await TestServer.with {
            $0.storage.flushDelay = .milliseconds(30)
            $0.storage.maximumQueuePollTime = .milliseconds(10)
        } _: { server in
            let client = try server.open()
            #expect(try client.create("/n").error == 0)
            for _ in 0..<5 { #expect(try client.create("/m", flags: 2).error == 0) }
        }
    }
}
