import ZooKeeperProtocol

/// Fetching what is about to be needed, before it is: of frames that came together, of the parts of a multi, of
/// transactions that are durable together.
extension ServerCore {
    /// Looks ahead at frames that came together and have not been received yet.
    ///
    /// - Parameter bytes: frames with their lengths; the last may be cut short.
    /// - Returns: how many frames that covers, at least 1: after so many it pays to call again.
    package func fetchAhead(frames bytes: UnsafeRawBufferPointer) -> Int {
        var ahead = LookAhead()
        var frames = 0
        var offset = 0
        while frames < LookAhead.capacity, bytes.count - offset >= 4 {
            let length = Int(Int32(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Int32.self)))
            guard length >= 0, length <= bytes.count - offset - 4 else { break }
            let frame = UnsafeRawBufferPointer(rebasing: bytes[(offset + 4)..<(offset + 4 + length)])
            if let path = ServerCore.path(of: frame) { ahead.add(path, hasher: tree.hasher) }
            offset += 4 + length
            frames += 1
        }
        ahead.fetch(from: tree)
        return max(frames, 1)
    }

    /// The path that a frame asks about, if it begins with one.
    private static func path(of frame: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        guard frame.count >= 12 else { return nil }
        switch Operation(rawValue: Int32(bigEndian: frame.loadUnaligned(fromByteOffset: 4, as: Int32.self))) {
        case .getData, .exists, .getChildren, .getChildren2, .getACL, .getAllChildrenNumber, .create, .create2,
            .createContainer, .createTTL, .delete, .setData, .setACL:
            var reader = JuteReader(UnsafeRawBufferPointer(rebasing: frame[8...]))
            return try? reader.requiredBuffer()
        case .sync, .ping, .check, .multi, .reconfig, .checkWatches, .removeWatches, .deleteContainer, .multiRead,
            .auth, .setWatches, .sasl, .getEphemerals, .setWatches2, .addWatch, .whoAmI, .createSession,
            .closeSession, .error, nil:
            return nil
        }
    }

    /// How many of what comes together is looked ahead at together.
    package static var fetchAheadCount: Int { LookAhead.capacity }

    /// Looks ahead at transactions of another server that are about to be applied.
    ///
    /// - Parameter payload: lends one of them.
    package func fetchAhead(
        transactions positions: Range<Int>,
        _ payload: (_ position: Int, _ look: (UnsafeRawBufferPointer) -> Void) -> Void
    ) {
        var ahead = LookAhead()
        for position in positions {
            payload(position) { payload in
                guard let path = ServerCore.path(ofTransaction: payload) else { return }
                ahead.add(path, hasher: tree.hasher)
            }
        }
        ahead.fetch(from: tree)
    }

    /// The path that a transaction changes, if it is of one.
    private static func path(ofTransaction payload: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        // Session, cxid, zxid and time are in front of the type (docs/protocol/quorum-protocol.md section 17.1).
        guard payload.count >= 32 else { return nil }
        switch Operation(rawValue: Int32(bigEndian: payload.loadUnaligned(fromByteOffset: 28, as: Int32.self))) {
        case .create, .create2, .createContainer, .createTTL, .delete, .setData, .setACL:
            var reader = JuteReader(UnsafeRawBufferPointer(rebasing: payload[32...]))
            return try? reader.requiredBuffer()
        default:
            return nil
        }
    }

    /// Looks ahead at the next parts of a multi, as far as they are plain to pass over.
    func fetchAhead(parts reader: JuteReader) {
        var reader = reader
        var ahead = LookAhead()
        while !ahead.isFull, let path = (try? ServerCore.passPart(&reader)) ?? nil {
            ahead.add(path, hasher: tree.hasher)
        }
        ahead.fetch(from: tree)
    }

    /// - Returns: the path of the part that was passed over; nil at the end, and for what nobody puts into a list.
    private static func passPart(_ reader: inout JuteReader) throws(JuteError) -> UnsafeRawBufferPointer? {
        let header = try MultiHeader(from: &reader)
        guard !header.isDone, let operation = Operation(rawValue: header.type) else { return nil }
        let path = try reader.requiredBuffer()
        switch operation {
        case .setData:
            _ = try reader.buffer()
            _ = try reader.int32()
        case .delete, .check:
            _ = try reader.int32()
        case .create, .create2:
            _ = try reader.buffer()
            guard case .open = try RequestedACLs(from: &reader) else { return nil }
            _ = try reader.int32()
        case .exists, .getData, .getACL, .setACL, .getChildren, .sync, .ping, .getChildren2, .multi, .reconfig,
            .checkWatches, .removeWatches, .createContainer, .deleteContainer, .createTTL, .multiRead, .auth,
            .setWatches, .sasl, .getEphemerals, .getAllChildrenNumber, .setWatches2, .addWatch, .whoAmI,
            .createSession, .closeSession, .error:
            return nil
        }
        return path
    }

    /// Before a transaction is applied: what the next one will write to, and where the one after that stands.
    @inline(__always)
    func fetchAheadInFlight() {
        let next = inFlight.look(at: 1) { $0.target.node } ?? none
        if next != none, case let handle = pending.handle(next), handle != none { tree.nodes.prefetchBlob(of: handle) }
        let second = inFlight.look(at: 2) { $0.target.node } ?? none
        if second != none, case let handle = pending.handle(second), handle != none {
            tree.nodes.prefetchElement(handle)
        }
    }

    /// What the next parts of a multi will write to.
    func fetchAhead(targets: ArraySlice<Target>) {
        for target in targets where target.node != none {
            let handle = pending.handle(target.node)
            if handle != none { tree.nodes.prefetchElement(handle) }
        }
        for target in targets where target.node != none {
            let handle = pending.handle(target.node)
            if handle != none { tree.nodes.prefetchBlob(of: handle) }
        }
    }
}
