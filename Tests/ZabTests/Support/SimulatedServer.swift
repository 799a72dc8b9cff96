import Testing
import ZooKeeperProtocol

@testable import Zab

/// A transaction as the tests see it.
struct Record: Equatable {
    var zxid: Zxid
    var payload: [UInt8]
}

/// The shell around one `Peer`: a disk that answers late and forgets what it has not answered in a crash, a tree that is
/// the list of what was applied, and a snapshot that is a prefix of it.
final class SimulatedServer {
    let id: ServerID
    let options: PeerOptions

    // MARK: The disk

    /// Everything that a restart finds.
    var log: [Record] = []
    /// What precedes is in the snapshot only.
    var logStart = Zxid.zero
    var snapshotZxid = Zxid.zero
    var acceptedEpoch = Epoch.zero
    var currentEpoch = Epoch.zero
    var remembersAll = true
    /// What it does not remember is the end of its log.
    var promised: HistoryEnd?
    /// The configuration in force and the newest that was seen, as its files have them; nil is that of the beginning.
    var configuration: QuorumConfiguration?
    var proposed: QuorumConfiguration?
    /// Operations that the disk has been given, in order; the first one is at work.
    var operations: [DiskOperation] = []
    /// Whether it works at all: a test may stop it.
    var isDiskStopped = false

    // MARK: The process

    var peer: Peer?
    /// Counts lives, so that what was on its way to an earlier one is dropped.
    var incarnation = 0
    var tree: [Record] = []
    var isServing = false
    var output = ZabOutput()
    var upcalls: [Upcall] = []
    /// Links of this server, by its own name for them.
    var links: [LinkID: SimulatedLink] = [:]
    var acceptedLinks: UInt64 = 0
    /// The next deadline that an event waits for.
    var timerAt: Int64 = .max
    var nextToken: UInt64 = 0
    var isPaused = false
    /// Links whose snapshot is in place, and those whose is not wanted any more.
    var installed: Set<LinkID> = []
    var abandoned: Set<LinkID> = []

    init(id: ServerID, options: PeerOptions) {
        self.id = id
        self.options = options
    }

    /// By who opened them, and when.
    var orderedLinks: [SimulatedLink] {
        links.values.sorted { ($0.ends[0].server, $0.ends[0].link) < ($1.ends[0].server, $1.ends[0].link) }
    }

    var isUp: Bool { peer != nil }
    var role: Role { peer?.role ?? .looking }
    var lastLogged: Zxid { log.last?.zxid ?? logStart }
}

enum DiskOperation {
    case append(Record)
    case storeAccepted(Epoch)
    case storeCurrent(Epoch)
    case truncate(Zxid)
    case install(LinkID, [Record], Zxid)
    case abandon(LinkID)
}

/// A quorum connection: two directions of bytes, each in order.
final class SimulatedLink {
    struct End {
        var server: ServerID
        var link: LinkID
        /// Bytes that have arrived and are not a whole packet yet.
        var received: [UInt8] = []
        /// Bytes on their way to this end.
        var inFlight = 0
        var deliverAfter: Int64 = 0
        /// The stream of a snapshot is being read.
        var isReceivingSnapshot = false
        var incarnation: Int
    }

    var ends: [End]
    var isOpen = true

    init(from: End, to: End) { ends = [from, to] }

    func index(of server: ServerID) -> Int { ends[0].server == server ? 0 : 1 }
}
