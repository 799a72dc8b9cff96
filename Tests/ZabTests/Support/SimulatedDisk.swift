import ZooKeeperProtocol

@testable import Zab

/// The disk of a simulated server: one operation after the other, each of which lasts for good once it is answered.
extension Simulation {
    func order(_ operation: DiskOperation, _ server: SimulatedServer) {
        server.operations.append(operation)
        if server.operations.count == 1 { work(server) }
    }

    func work(_ server: SimulatedServer) {
        let delay = Int64(chance(maxDiskDelay)) + 20
        events.push(.disk(server.id, incarnation: server.incarnation), at: time + delay)
    }

    func resumeDisk(_ server: SimulatedServer) {
        guard server.isDiskStopped else { return }
        server.isDiskStopped = false
        if !server.operations.isEmpty { work(server) }
    }

    func finishOperation(_ server: SimulatedServer, _ incarnation: Int) {
        guard server.incarnation == incarnation, !server.operations.isEmpty, !server.isDiskStopped else { return }
        let report = carryOut(server.operations.removeFirst(), on: server)
        if !server.operations.isEmpty { work(server) }
        // Durable, but nobody knows: a crash may come in between.
        schedule(after: Int64(chance(500))) { [self] in
            guard server.incarnation == incarnation else { return }
            input(server) { report(&$0, self.now, &$1) }
        }
    }

    typealias Report = (inout Peer, Now, inout ZabOutput) -> Void

    /// - Returns: how the peer hears of it.
    func carryOut(_ operation: DiskOperation, on server: SimulatedServer) -> Report {
        switch operation {
        case .append(let record):
            if !History.isContiguous(record.zxid, after: server.lastLogged) {
                checker.fail("the log of \(server.id) has \(record.zxid) behind \(server.lastLogged)")
            }
            server.log.append(record)
            return { $0.stored(upTo: record.zxid, at: $1, into: &$2) }
        case .storeAccepted(let epoch):
            if epoch <= server.acceptedEpoch { checker.fail("\(server.id) accepts \(epoch) again") }
            server.acceptedEpoch = epoch
            return { $0.epochStored(accepted: epoch, at: $1, into: &$2) }
        case .storeCurrent(let epoch):
            if epoch > server.acceptedEpoch { checker.fail("\(server.id) is in \(epoch), not accepted") }
            server.currentEpoch = epoch
            server.remembersAll = true
            server.promised = nil
            return { $0.epochStored(current: epoch, at: $1, into: &$2) }
        case .truncate(let zxid):
            if zxid < server.snapshotZxid {
                checker.fail("\(server.id) cuts to \(zxid), but its snapshot holds \(server.snapshotZxid)")
            }
            server.log.removeAll { $0.zxid > zxid }
            if let last = server.tree.last?.zxid, last > zxid, server.peer != nil { server.tree = server.log }
            let end = server.lastLogged
            return { $0.truncated(to: end, at: $1, into: &$2) }
        case .install(let link, let records, let zxid):
            guard !server.abandoned.contains(link) else { return { $0.snapshotFailed(at: $1, into: &$2) } }
            if zxid < server.lastLogged, server.remembersAll {
                server.remembersAll = false
                server.promised = HistoryEnd(epoch: server.currentEpoch, zxid: server.lastLogged)
            }
            server.log = records
            server.logStart = zxid
            server.snapshotZxid = zxid
            server.installed.insert(link)
            if server.peer != nil { server.tree = records }
            let configuration = records.compactMap { record in
                record.payload.withUnsafeBytes { ReconfigurationTxn.configuration(in: $0) }
            }.last
            return { $0.snapshotInstalled(zxid, configuration: configuration, at: $1, into: &$2) }
        case .abandon(let link):
            if server.installed.contains(link) { return { _, _, _ in } }
            if server.operations.contains(where: { if case .install(link, _, _) = $0 { true } else { false } }) {
                server.abandoned.insert(link)
                return { _, _, _ in }
            }
            return { $0.snapshotFailed(at: $1, into: &$2) }
        }
    }
}

/// A snapshot on its way: SNAP, then a count, then the transactions.
enum SnapshotStream {
    static func bytes(_ records: [Record], _ zxid: Zxid) -> [UInt8] {
        var writer = JuteWriter(capacity: 1024)
        QuorumPacket.write(.snap, zxid: zxid, data: nil, identities: nil, to: &writer)
        let lengthOffset = writer.count
        writer.int32(0)
        writer.int32(Int32(records.count))
        for record in records {
            writer.int64(record.zxid.rawValue)
            writer.buffer(record.payload)
        }
        writer.patch(Int32(writer.count - lengthOffset - 4), at: lengthOffset)
        return writer.copy()
    }

    /// - Returns: nil while it is not complete.
    static func parse(_ bytes: [UInt8]) -> ([Record], Int)? {
        bytes.withUnsafeBytes { bytes in
            var reader = JuteReader(bytes)
            guard let length = try? reader.int32(), reader.remaining >= Int(length), let count = try? reader.int32()
            else { return nil }
            var records: [Record] = []
            for _ in 0..<count {
                guard let zxid = try? reader.int64(), let payload = try? reader.bytes() else { return nil }
                records.append(Record(zxid: Zxid(zxid), payload: payload))
            }
            return (records, 4 + Int(length))
        }
    }
}
