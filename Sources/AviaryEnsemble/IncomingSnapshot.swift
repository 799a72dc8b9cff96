import AviaryCore
import AviaryStorage
import Zab
import ZooKeeperProtocol

/// A leader's tree on its way here, into the core and onto the disk at once.
final class IncomingSnapshot {
    let link: LinkID
    @exclusivity(unchecked) var scanner: SnapshotStreamScanner
    /// Everything was read and handed to the disk, which has not answered.
    var isComplete: Bool { scanner.isComplete }

    init(link: LinkID, zxid: Zxid, limits: ReadingLimits) {
        self.link = link
        scanner = SnapshotStreamScanner(zxid: zxid, limits: limits)
    }

    /// - Returns: how many bytes belong to it; the rest is behind it.
    func read(_ bytes: UnsafeRawBufferPointer, into core: inout ServerCore) throws(UnreadableLink) -> Int {
        var restorer = CoreRestorer(core)
        var failure: SnapshotStreamError?
        var count = 0
        do throws(SnapshotStreamError) {
            count = try scanner.scan(bytes, into: &restorer)
        } catch {
            failure = error
        }
        core = restorer.finish()
        if let failure { throw UnreadableLink(reason: failure.description) }
        return count
    }
}

extension Member {
    /// The peer has read a SNAP packet: what follows on its link is a snapshot.
    func beginSnapshotIfAsked(_ core: inout ServerCore, at now: Now) {
        switch peer.role {
        case .following(isSynced: false), .observing(isSynced: false): break
        case .looking, .leading, .following, .observing: return
        }
        guard let index = zab.links.lastIndex(where: { if case .receiveSnapshot = $0 { true } else { false } }),
            case .receiveSnapshot(let link, let zxid) = zab.links.remove(at: index)
        else { return }
        invariant(incoming == nil, "a second snapshot while one is received")
        incoming = IncomingSnapshot(link: link, zxid: zxid, limits: options.limits)
        if core.isSnapshotUnderWay { orders.abandonsSnapshot = true }
        core.reset()
        closeBatch(at: now)
        submit(.beginSnapshot(zxid))
    }

    /// - Returns: how many bytes belong to the snapshot.
    func receive(
        _ bytes: UnsafeRawBufferPointer,
        of incoming: IncomingSnapshot,
        _ core: inout ServerCore,
        at now: Now
    ) throws(UnreadableLink) -> Int {
        let count = try incoming.read(bytes, into: &core)
        let piece = takePiece()
        piece.bytes.raw(UnsafeRawBufferPointer(rebasing: bytes[..<count]))
        submit(.snapshotBytes(piece))
        guard incoming.isComplete else { return count }
        do {
            try core.finishSnapshot()
        } catch {
            throw UnreadableLink(reason: "the leader's snapshot does not fit together: \(error)")
        }
        submit(.finishSnapshot(digest: incoming.scanner.isExact && core.keepsDigest ? core.digest : nil))
        return count
    }

    /// The peer gave up the link over which it came. One that is complete goes on: the disk will say what became of it.
    func abandonIncoming() {
        guard let incoming, !incoming.isComplete else { return }
        self.incoming = nil
        submit(.abandonSnapshot)
        reload(.snapshotFailed)
    }
}
