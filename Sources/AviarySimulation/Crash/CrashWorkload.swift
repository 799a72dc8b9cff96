internal import AviaryCore
internal import AviaryStorage
internal import ZooKeeperProtocol

/// What clients, the loop and the disk threads do in a life, one step at a time, whose turn it is by chance.
extension CrashRun {
    func work() throws(Violation) {
        if clients.isEmpty {
            clients = ["10.0.0.1", "10.0.0.2", "192.0.2.7", "10.0.0.3"].map { SimulatedClient(address: $0) }
        }
        for _ in 0..<(plan == .random ? 40 + random.below(hasFullDisk ? 200 : 100) : 70) {
            guard let server, disk.hasPower else { return }
            do throws(StorageError) { try step(server) } catch { return try ended(by: error) }
            if !random.oneIn(3) { server.endTurn(at: now) }
            guard disk.hasPower else { return }
            try takeResults()
        }
    }

    private func step(_ server: SimulatedServer) throws(StorageError) {
        switch random.below(100) {
        case 0..<45: send(server)
        case 45..<50: connect(random.pick(clients), server)
        case 50: disconnect(random.pick(clients), server)
        case 51: closeSession(random.pick(clients), server)
        case 52..<57: advance(server, Int64(random.below(700)))
        case 57: advance(server, Int64(2000 + random.below(9000)))
        case 58: now.wallMilliseconds += Int64(random.below(10_000)) - 5000
        case 59..<71: if !isDiskSlow || random.oneIn(4) { try server.stepLog(at: now) }
        case 71..<83: server.takeLogReport(at: now)
        case 83..<86: server.beginSnapshot(at: now)
        case 86..<90: server.encodeSnapshot()
        case 90..<97: for _ in 0..<2 { server.stepSnapshots(at: now) }
        case 97: try server.noteSilence(at: now)
        case 98: if hasFullDisk, plan == .random { changeSpace(fills: random.oneIn(2)) }
        default: server.endTurn(at: now)
        }
    }

    private func send(_ server: SimulatedServer) {
        let client = random.pick(clients)
        guard case .connected = client.phase, let connection = client.connection else {
            if case .disconnected = client.phase { connect(client, server) }
            return
        }
        for _ in 0..<(random.oneIn(3) ? 1 + random.below(4) : 1) {
            // The shell lets a write wait with its connection; here the client thinks of it later.
            if server.isLogBehind { return }
            let request = workload.next()
            let frame = client.request(request.operation, request.expected, request.body)
            server.receive(frame, from: connection, at: now)
        }
    }

    func connect(_ client: SimulatedClient, _ server: SimulatedServer) {
        guard case .disconnected = client.phase else { return }
        if client.session != 0 { counts[.sessionsRenewed] += 1 }
        let id = server.accept(client.address, at: now)
        owners[id] = client
        let timeout = random.pick([2000, 3000, 10_000, 20_000] as [Int32])
        server.receive(client.connect(as: id, timeoutMilliseconds: timeout), from: id, at: now)
    }

    private func disconnect(_ client: SimulatedClient, _ server: SimulatedServer) {
        guard let id = client.connection else { return }
        server.disconnected(id, at: now)
        owners[id] = nil
        client.disconnect()
    }

    private func closeSession(_ client: SimulatedClient, _ server: SimulatedServer) {
        guard case .connected = client.phase, let connection = client.connection else { return }
        server.receive(client.request(.closeSession, .closeSession, []), from: connection, at: now)
    }

    func advance(_ server: SimulatedServer, _ milliseconds: Int64) {
        now.wallMilliseconds += milliseconds
        now.monotonicMicroseconds += milliseconds * 1000
        server.advance(to: now)
    }

    func take(_ delivery: SimulatedServer.Delivery, _ server: SimulatedServer) throws(Violation) {
        switch delivery {
        case .frame(let id, let frame):
            guard let client = owners[id] else { return }
            let wasConnecting = if case .connecting = client.phase { true } else { false }
            trace.mix(Int(id.slot))
            trace.mix(Int(id.generation))
            trace.mix(frame)
            try client.receive(frame, &ledger, refusesWrites: refusesWrites)
            guard wasConnecting, case .connected = client.phase else { return }
            // Answered at once, before what waits: hence first.
            if random.oneIn(2) {
                let frame = client.request(.auth, .done, CrashRun.credentials(random.pick(WorkloadGenerator.users)))
                server.receive(frame, from: id, at: now)
            }
            for path in WorkloadGenerator.lastingPaths + ["/a", "/b"] where ledger.tree.nodes[path] == nil {
                let request = WorkloadGenerator.create(path)
                server.receive(client.request(request.operation, request.expected, request.body), from: id, at: now)
            }
        case .close(let id):
            guard let client = owners.removeValue(forKey: id) else { return }
            if case .connecting(renews: true) = client.phase {
                throw Violation(
                    .zxidWentBack,
                    "a client that has seen \(client.lastZxidSeen) is turned away at \(server.core.lastProcessedZxid)"
                )
            }
            client.disconnect()
            server.disconnected(id, at: now)
        }
    }

    private static func credentials(_ user: String) -> [UInt8] {
        var writer = JuteWriter()
        writer.int32(0)
        writer.string("digest")
        writer.string(user)
        return writer.copy()
    }
}
