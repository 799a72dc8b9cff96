package import ZooKeeperProtocol

/// Requests by chance: every kind of write, and the reads that show what they did, on few paths, so that they meet.
package struct WorkloadGenerator {
    private var random: SeededGenerator
    /// Nodes may hold whole sectors of zeros, which look like what never reached the disk.
    private let hasZeros: Bool
    private let size: Size

    package enum Size: Sendable {
        /// Most records fit into one sector.
        case small
        /// Records over many sectors are frequent.
        case bulky
        /// A few records make a group that is written past the page cache.
        case huge
    }

    /// Made first in every life, and never deleted: sequence numbers are counted per parent.
    package static let lastingPaths = ["/q", "/s"]
    private static let parents = ["/a", "/b", "/a/c", "/é"]
    private static let names = ["x", "y", "z", "w"]
    package static let users = ["u1:p", "u2:p"]

    package init(_ random: SeededGenerator, hasZeros: Bool, size: Size) {
        self.random = random
        self.size = size
        self.hasZeros = hasZeros
    }

    package struct Request {
        package var operation: Operation
        package var expected: SimulatedClient.Expectation
        package var body: [UInt8]
    }

    /// Whether the server has chosen the end of this name, below a lasting path.
    static func isSequenceName(_ path: String) -> Bool {
        lastingPaths.contains { path.hasPrefix($0 + "/n-") }
    }

    private mutating func path() -> String {
        switch random.below(8) {
        case 0, 1: random.pick(Self.parents)
        case 2: random.pick(Self.lastingPaths)
        default: random.pick(Self.parents) + "/" + random.pick(Self.names)
        }
    }

    private mutating func data() -> [UInt8]? {
        switch random.below(12) {
        case 0: return nil
        case 1: return []
        case 2, 3: return bytes(300 + random.below(2200))
        case 4..<8 where size == .bulky: return bytes(200 + random.below(1500))
        case 4..<8 where size == .huge: return bytes(10_000 + random.below(30_000))
        case 8 where hasZeros: return [UInt8](repeating: 0, count: 500 + random.below(1600))
        default: return bytes(random.below(60))
        }
    }

    /// None of them zero.
    private mutating func bytes(_ count: Int) -> [UInt8] {
        let start = UInt8(truncatingIfNeeded: random.below(255))
        return (0..<count).map { UInt8((Int(start) + $0) % 255) + 1 }
    }

    private mutating func acl() -> [ACL] {
        switch random.below(8) {
        case 0: [ACL(31, "ip", "10.0.0.0/8")]
        case 1: [ACL(31, "world", "anyone"), ACL(31, "digest", "u1:cDoxdQ==")]
        case 2: [ACL(Permissions.read | Permissions.write | Permissions.create, "world", "anyone")]
        default: ACL.open
        }
    }

    private mutating func version() -> Int32 { random.oneIn(4) ? Int32(random.below(3)) : -1 }

    package static func create(_ path: String, isSequential: Bool = false) -> Request {
        var writer = JuteWriter()
        writer.string(path)
        writer.buffer([])
        ACL.write(ACL.open, to: &writer)
        writer.int32(isSequential ? 2 : 0)
        return Request(operation: .create, expected: .create(tellsStat: false), body: writer.copy())
    }

    /// A write that nothing in the tree may refuse.
    package static let certain = create(lastingPaths[0] + "/n-", isSequential: true)

    package mutating func next() -> Request {
        var writer = JuteWriter()
        switch random.below(100) {
        case 0..<36:
            let operation = writeCreate(to: &writer)
            let tellsStat = operation != .create
            return Request(operation: operation, expected: .create(tellsStat: tellsStat), body: writer.copy())
        case 36..<46:
            writer.string(passing())
            writer.int32(version())
            return Request(operation: .delete, expected: .delete, body: writer.copy())
        case 46..<60:
            let path = path()
            writer.string(path)
            writer.buffer(data())
            writer.int32(version())
            return Request(operation: .setData, expected: .setData(path), body: writer.copy())
        case 60..<66:
            let path = path()
            writer.string(path)
            ACL.write(acl(), to: &writer)
            writer.int32(version())
            return Request(operation: .setACL, expected: .setACL(path), body: writer.copy())
        case 66..<78:
            writeMulti(to: &writer)
            return Request(operation: .multi, expected: .multi, body: writer.copy())
        case 78..<88:
            let path = path()
            writer.string(path)
            writer.bool(random.oneIn(2))
            return Request(operation: .getData, expected: .getData(path), body: writer.copy())
        case 88..<94:
            let path = path()
            writer.string(path)
            writer.bool(random.oneIn(2))
            return Request(operation: .exists, expected: .exists(path), body: writer.copy())
        case 94, 95:
            let path = path()
            writer.string(path)
            return Request(operation: .getACL, expected: .getACL(path), body: writer.copy())
        case 96, 97:
            let path = path()
            writer.string(path)
            writer.bool(random.oneIn(2))
            return Request(operation: .getChildren, expected: .getChildren(path), body: writer.copy())
        default:
            writer.string("/")
            return Request(operation: .sync, expected: .done, body: writer.copy())
        }
    }

    /// A path that may come and go. One of the lasting ones must not be made here either: when its creation was lost in a
    /// crash, it could come back with a TTL or an owner, go, and begin to count anew.
    private mutating func passing() -> String {
        let path = path()
        return Self.lastingPaths.contains(path) ? path + "/x" : path
    }

    /// - Returns: the operation whose body it is.
    private mutating func writeCreate(to writer: inout JuteWriter) -> Operation {
        let operation = random.pick(
            [.create, .create, .create2, .create2, .createContainer, .createTTL] as [Operation]
        )
        let isSequential = operation != .createContainer && random.oneIn(3)
        writer.string(isSequential ? random.pick(Self.lastingPaths) + "/n-" : passing())
        writer.buffer(data())
        ACL.write(acl(), to: &writer)
        switch operation {
        case .createTTL: writer.int32(isSequential ? 6 : 5)
        case .createContainer: writer.int32(4)
        default: writer.int32((isSequential ? 2 : 0) + (random.oneIn(3) ? 1 : 0))
        }
        if operation == .createTTL { writer.int64(random.pick([1, 900, 6000, 1 << 30])) }
        return operation
    }

    private mutating func writeMulti(to writer: inout JuteWriter) {
        for _ in 0..<(1 + random.below(5)) {
            switch random.below(8) {
            case 0..<4:
                var body = JuteWriter()
                let operation = writeCreate(to: &body)
                MultiHeader.write(type: operation.rawValue, to: &writer)
                body.withBytes { writer.raw($0) }
            case 4:
                MultiHeader.write(type: Operation.delete.rawValue, to: &writer)
                writer.string(passing())
                writer.int32(-1)
            case 5, 6:
                MultiHeader.write(type: Operation.setData.rawValue, to: &writer)
                writer.string(path())
                writer.buffer(data())
                writer.int32(-1)
            default:
                MultiHeader.write(type: Operation.check.rawValue, to: &writer)
                writer.string(path())
                writer.int32(-1)
            }
        }
        MultiHeader.writeEnd(to: &writer)
    }
}
