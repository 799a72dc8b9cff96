package import AviaryStorage
package import Zab
package import ZooKeeperProtocol

/// What a member wants done with its quorum connections, in this order.
package enum LinkOrder: Equatable, Sendable {
    /// Connect to the quorum port of a server: answered by `linkConnected` or `linkFailed`.
    case connect(LinkID, to: ServerID)
    /// Send these bytes of `MemberOrders.linkBytes`.
    case send(LinkID, Range<Int>)
    /// Close once everything before is sent. Nothing about this link is wanted any more.
    case close(LinkID)
    /// Look into the log for a learner, or send it a snapshot: answered by `historyRead`.
    case readHistory(LinkID, HistoryRequest)
}

/// What a member wants done. Order inside a list is the contract; between the lists there is none: nothing that must wait
/// for the disk is in here before the disk has answered.
package struct MemberOrders: ~Copyable {
    package var storage: [StorageOrder] = []
    package var links: [LinkOrder] = []
    /// Packets, back to back.
    package var linkBytes = JuteWriter(capacity: 4096)
    package var notifications: [(to: ServerID, notification: Notification)] = []
    /// Try all election connections again.
    package var connectAll = false
    /// A snapshot of this server's own that is under way is worth nothing any more.
    package var abandonsSnapshot = false
    /// The tree must be loaded again from disk, at once: answered by `reloaded`.
    package var wantsReload = false
    /// Another configuration is proposed, or in force.
    package var configurations: [(configuration: QuorumConfiguration, isCommitted: Bool)] = []
    package var notes: [ZabNote] = []

    package init() {}

    package var isEmpty: Bool {
        storage.isEmpty && links.isEmpty && notifications.isEmpty && notes.isEmpty && !connectAll
            && !abandonsSnapshot && !wantsReload && configurations.isEmpty
    }

    /// Forgets everything but the memory.
    package mutating func reset() {
        storage.removeAll(keepingCapacity: true)
        links.removeAll(keepingCapacity: true)
        linkBytes.removeAll()
        notifications.removeAll(keepingCapacity: true)
        connectAll = false
        abandonsSnapshot = false
        wantsReload = false
        configurations.removeAll(keepingCapacity: false)
        notes.removeAll(keepingCapacity: false)
    }
}
