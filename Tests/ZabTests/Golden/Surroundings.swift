import Testing
import ZooKeeperProtocol

@testable import Zab

/// The disk and the core of a replayed server.
extension ReplayedPeer {
    // MARK: The disk

    /// The disk does the next thing.
    ///
    /// - Returns: false when nothing is left to do.
    func work(for link: LinkID) -> Bool {
        if case .records(let after, let through, let maxBytes, _) = readings[link] {
            readings[link] = nil
            read(after, through, maxBytes, for: link)
        } else if let zxid = arrived {
            arrived = nil
            input { $0.snapshotInstalled(zxid, at: $1, into: &$2) }
        } else if owed.isEmpty {
            return false
        } else {
            carryOut(owed.removeFirst())
        }
        return true
    }

    private func carryOut(_ order: ZabStorageOrder) {
        switch order {
        case .append(let zxid):
            if let payload = peer.history.withPayload(of: zxid, { [UInt8]($0) }) {
                log.append(Record(zxid: zxid, payload: payload))
            }
            input { $0.stored(upTo: zxid, at: $1, into: &$2) }
        case .storeAccepted(let epoch): input { $0.epochStored(accepted: epoch, at: $1, into: &$2) }
        case .storeCurrent(let epoch): input { $0.epochStored(current: epoch, at: $1, into: &$2) }
        case .truncate(let zxid):
            log.removeAll { $0.zxid > zxid }
            input { $0.truncated(to: zxid, at: $1, into: &$2) }
        case .abandonSnapshot: break
        }
    }

    private func read(_ after: Zxid, _ through: Zxid, _ maxBytes: Int, for link: LinkID) {
        let previous = log.last { $0.zxid <= after }?.zxid ?? .zero
        var bytes: [UInt8] = []
        var ranges: [(zxid: Zxid, range: Range<Int>)] = []
        for record in log where record.zxid > after && record.zxid <= through && bytes.count < maxBytes {
            ranges.append((record.zxid, bytes.count..<bytes.count + record.payload.count))
            bytes += record.payload
        }
        bytes.withUnsafeBytes { bytes in
            let records = ranges.map {
                HistoryRecord(zxid: $0.zxid, payload: UnsafeRawBufferPointer(rebasing: bytes[$0.range]))
            }
            input { $0.historyRead(link, .records(previous: previous, records), at: $1, into: &$2) }
        }
    }

    // MARK: The core

    /// The core says what the recorded server's said before this packet.
    func prompt(_ line: Recording.Line, on link: LinkID) throws {
        try line.packet { packet in
            switch (packet.kind, link == upstream) {
            case (.proposal, false):
                let payload = try #require(packet.data)
                if peer.mayPropose, packet.zxid > peer.history.last { propose(packet.zxid, payload) }
            case (.sync, false):
                input { $0.answerSync(on: link, at: $1, into: &$2) }
            case (.revalidate, false):
                let reply = try Revalidation.Reply(data: packet.data)
                input {
                    $0.answerRevalidation(
                        on: link,
                        session: reply.session,
                        isValid: reply.isValid,
                        at: $1,
                        into: &$2
                    )
                }
            case (.request, true):
                let request = try ForwardedRequest(data: packet.data)
                input { $0.forward(request, identities: packet.identities, at: $1, into: &$2) }
            case (.revalidate, true):
                let ask = try Revalidation.Request(data: packet.data)
                input {
                    $0.revalidate(
                        session: ask.session,
                        timeoutMilliseconds: ask.timeoutMilliseconds,
                        at: $1,
                        into: &$2
                    )
                }
            case (.ping, true):
                // What observers have said a master adds itself.
                let own = try SessionTouch.list(data: packet.data).filter { !touches.contains($0) }
                touches = []
                input { $0.answerPing(touched: own, at: $1, into: &$2) }
            default:
                break
            }
        }
    }

    func propose(_ zxid: Zxid, _ payload: UnsafeRawBufferPointer) {
        owed.append(.append(zxid))
        let configuration = ReconfigurationTxn.configuration(in: payload)
        input { $0.proposed(zxid: zxid, payload: payload, configuration: configuration, at: $1, into: &$2) }
    }

    /// What a learner asks for or tells reaches the core of its leader as it was said.
    func hearForCore(_ line: Recording.Line, on link: LinkID, _ heard: [Upcall]) throws {
        let from = try #require(line.from)
        try line.packet { packet in
            var expected: [Upcall] = []
            switch packet.kind {
            case .request:
                let request = try ForwardedRequest(data: packet.data)
                if request.operation == Operation.sync.rawValue {
                    input { $0.expectSync(on: link, behind: $0.history.last, at: $1, into: &$2) }
                }
                let copy = LearnerRequest(
                    session: request.session,
                    cxid: request.cxid,
                    operation: request.operation,
                    body: [UInt8](request.body),
                    identities: packet.identities
                )
                expected = [.request(link, from: from, copy)]
            case .revalidate:
                let ask = try Revalidation.Request(data: packet.data)
                expected = [.revalidate(link, ask.session, timeoutMilliseconds: ask.timeoutMilliseconds)]
            case .ping:
                let touches = try SessionTouch.list(data: packet.data)
                if upstream != nil { self.touches += touches }
                if !touches.isEmpty { expected = [.touched(link, touches)] }
            default:
                return
            }
            // A master hands on what it hears.
            #expect(heard == (upstream == nil ? expected : []), "\(line)")
        }
    }
}
