/// Connections that have come in and not said who they are: how many there may be, and which one goes when there is one
/// too many.
///
/// That is the oldest of the address that has the most of them. Who connects and keeps silent is in his own way then and
/// in nobody else's: a server that is in earnest says its name within milliseconds.
struct UnfinishedConnections<Connection: AnyObject> {
    let capacity: Int
    /// In the order of their arrival.
    private var entries: [(connection: Connection, address: Peer.AddressKey?)] = []

    init(capacity: Int) {
        self.capacity = capacity
    }

    var count: Int { entries.count }

    /// Takes one in.
    ///
    /// - Returns: the one that has to go for it.
    mutating func enter(_ connection: Connection, from address: Peer.AddressKey?) -> Connection? {
        entries.append((connection, address))
        guard entries.count > capacity else { return nil }
        var counts: [Peer.AddressKey?: Int] = [:]
        for entry in entries { counts[entry.address, default: 0] += 1 }
        let most = counts.values.max() ?? 0
        guard let index = entries.firstIndex(where: { counts[$0.address] == most }) else { return nil }
        return entries.remove(at: index).connection
    }

    /// It has said who it is, or is gone.
    mutating func leave(_ connection: Connection) {
        entries.removeAll { $0.connection === connection }
    }
}
