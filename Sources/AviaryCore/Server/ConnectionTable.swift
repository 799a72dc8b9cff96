import ZooKeeperProtocol

/// The connections by slot.
struct ConnectionTable: ~Copyable {
    private var slots: [ClientConnection?] = []
    private var generations: [UInt32] = []
    private var free: [Int32] = []
    /// Connections without a session, by the time at which that must have changed. They all get the same time, so the
    /// order of arrival is the order of deadlines.
    private var handshakes = FIFO<(deadline: Int64, id: ConnectionID)>()
    private(set) var count = 0
    /// Of the address that came last; many connections come from one.
    private var lastIdentities: (address: String, identities: Identities)?
    /// Requests that wait in all of them.
    var waitingCount = 0

    @inline(__always)
    subscript(id: ConnectionID) -> ClientConnection? {
        let slot = Int(id.slot)
        guard slot < slots.count, let connection = slots[slot], connection.id.generation == id.generation else {
            return nil
        }
        return connection
    }

    @inline(__always)
    subscript(slot slot: Int32) -> ClientConnection? {
        Int(slot) < slots.count ? slots[Int(slot)] : nil
    }

    var all: [ClientConnection] { slots.compactMap { $0 } }

    mutating func add(_ peer: PeerAddress, now: Now, isAuthenticated: Bool, deadline: Int64) -> ConnectionID {
        let slot: Int32
        if let reused = free.popLast() {
            slot = reused
        } else {
            slot = Int32(slots.count)
            slots.append(nil)
            generations.append(0)
        }
        generations[Int(slot)] &+= 1
        let id = ConnectionID(slot: slot, generation: generations[Int(slot)])
        slots[Int(slot)] = ClientConnection(
            id: id,
            peer: peer,
            identities: identities(of: peer.text),
            now: now,
            isAuthenticated: isAuthenticated,
            handshakeDeadline: deadline
        )
        handshakes.append((deadline, id))
        count += 1
        return id
    }

    private mutating func identities(of address: String) -> Identities {
        if let lastIdentities, lastIdentities.address == address { return lastIdentities.identities }
        let identities = Identities(address: address)
        lastIdentities = (address, identities)
        return identities
    }

    /// - Parameter keepsSlot: it is not given to another connection before `release(slot:)`.
    mutating func remove(_ id: ConnectionID, keepsSlot: Bool) {
        guard self[id] != nil else { return }
        slots[Int(id.slot)] = nil
        if !keepsSlot { free.append(id.slot) }
        count -= 1
    }

    mutating func release(slot: Int32) {
        free.append(slot)
    }

    var nextHandshakeDeadline: Int64 { handshakes.first?.deadline ?? Int64.max }

    /// The next connection whose time for a ConnectRequest is over.
    mutating func nextSilent(at milliseconds: Int64) -> ConnectionID? {
        while let first = handshakes.first, first.deadline <= milliseconds {
            _ = handshakes.popFirst()
            if let connection = self[first.id], connection.phase == .handshake { return first.id }
        }
        return nil
    }
}
