package import ZooKeeperProtocol

/// What clients of an ensemble ask for, by chance: few paths, so that they meet, and contents that nobody else writes, so
/// that each can be told from every other.
package struct EnsembleWorkload {
    /// Every session makes them if they are not there, and nobody deletes them: sequence numbers are counted per parent.
    package static let lastingPaths = ["/q", "/s", "/counter"]
    package static let sequencePrefix = "n-"
    private static let parents = ["/a", "/b", "/a/c", "/é"]
    private static let names = ["x", "y", "z"]

    /// Every path that may be there, but for those with numbers.
    package static let allPaths = ["/"] + lastingPaths + parents + parents.flatMap { p in names.map { p + "/" + $0 } }

    private var random: SeededGenerator
    private let client: Int
    private var written = 0
    /// Longest contents.
    private let maximumBytes: Int
    /// What was read last, of nodes that may be written conditionally.
    private var versions: [String: Int32] = [:]
    /// Of the lasting paths, those that are known to be there.
    private var lasting: Set<String> = []
    /// Of the others, those that were there when anything was heard of them last.
    private var present: Set<String> = []
    private let watchesOneIn: Int
    private let readShare: Int

    package init(_ random: SeededGenerator, client: Int, maximumBytes: Int) {
        var random = random
        self.client = client
        self.maximumBytes = maximumBytes
        watchesOneIn = random.pick([2, 3, 6])
        readShare = random.pick([20, 40, 60])
        self.random = random
    }

    /// What a session begins with: places for everything else, where they are not there already.
    package mutating func foundations() -> [Request] {
        (Self.lastingPaths + Self.parents).filter { !lasting.contains($0) && !present.contains($0) }
            .map { .create($0, data: data(), .plain) }
    }

    /// What was known of nodes belongs to a session that is over.
    package mutating func forget() { versions = [:] }

    package mutating func hear(_ request: Request, _ code: ErrorCode, _ answer: Answer) {
        switch (request, answer) {
        case (.getData(let path, _), .data(_, let stat)), (.exists(let path, _), .stat(let stat)),
            (.setData(let path, _, _), .stat(let stat)):
            versions[path] = stat.version
        default:
            break
        }
        switch (request, answer) {
        case (.multi(let parts), .multi(let answers)):
            for (part, answer) in zip(parts, answers) {
                if case .failed(let code) = answer { learn(part, code) } else { learn(part, .ok) }
            }
        default:
            learn(request, code)
        }
    }

    /// What is there, as far as an answer tells.
    private mutating func learn(_ request: Request, _ code: ErrorCode) {
        switch (request, code) {
        case (.create(let path, _, let kind), .ok), (.create(let path, _, let kind), .nodeExists):
            guard !kind.isSequential else { return }
            if Self.lastingPaths.contains(path) { lasting.insert(path) } else { present.insert(path) }
        case (.create(let path, _, _), .noNode):
            present.remove(NaiveTree.parent(of: path))
        case (.delete(let path, _), .ok), (.delete(let path, _), .noNode), (.setData(let path, _, _), .noNode),
            (.check(let path, _), .noNode), (.getData(let path, _), .noNode), (.exists(let path, _), .noNode),
            (.getChildren(let path, _), .noNode):
            present.remove(path)
        case (.setData(let path, _, _), .ok), (.getData(let path, _), .ok), (.exists(let path, _), .ok),
            (.getChildren(let path, _), .ok):
            present.insert(path)
        default:
            break
        }
    }

    private mutating func path() -> String {
        switch random.below(8) {
        case 0: random.pick(Self.parents)
        case 1: random.pick(Self.lastingPaths)
        default: random.pick(Self.parents) + "/" + random.pick(Self.names)
        }
    }

    /// One that may come and go: mostly one that is there, or is not, as far as anybody has said.
    private mutating func passing(isPresent: Bool) -> String {
        var path = passing()
        for _ in 0..<3 where present.contains(path) != isPresent && !random.oneIn(5) { path = passing() }
        return path
    }

    private mutating func passing() -> String {
        random.oneIn(5) ? random.pick(Self.parents) : random.pick(Self.parents) + "/" + random.pick(Self.names)
    }

    /// One to write to.
    private mutating func target() -> String {
        random.oneIn(8) ? random.pick(Self.lastingPaths) : passing(isPresent: true)
    }

    /// Like no other, and none of its bytes zero.
    private mutating func data() -> [UInt8]? {
        written += 1
        let name = Array("\(client).\(written)".utf8)
        guard random.oneIn(5) else { return name }
        return name + [UInt8](repeating: UInt8(ascii: "."), count: random.below(maximumBytes))
    }

    private mutating func version(of path: String) -> Int32 {
        guard random.oneIn(3) else { return -1 }
        return versions[path] ?? Int32(random.below(3))
    }

    private mutating func watches() -> Bool { random.oneIn(watchesOneIn) }

    package mutating func next(requests: Int) -> [Request] {
        if random.oneIn(8) { return syncedRead() }
        return (0..<requests).map { _ in next() }
    }

    private mutating func syncedRead() -> [Request] {
        let path = path()
        return random.oneIn(4)
            ? [.sync(path), .getChildren(path, watches: false)] : [.sync(path), .getData(path, watches: watches())]
    }

    private mutating func next() -> Request {
        if random.below(100) < readShare { return read() }
        switch random.below(100) {
        case 0..<8:
            // A counter that everybody counts on: a conditional write of what was read, and what was read is good for one.
            guard let version = versions.removeValue(forKey: "/counter") else {
                return .getData("/counter", watches: watches())
            }
            return .setData("/counter", data(), version: version)
        case 8..<40: return create()
        case 40..<52:
            let path = passing(isPresent: true)
            return .delete(path, version: version(of: path))
        case 52..<80:
            let path = target()
            return .setData(path, data(), version: version(of: path))
        default: return multi()
        }
    }

    private mutating func read() -> Request {
        let path = path()
        switch random.below(20) {
        case 0: return .addWatch(path, isRecursive: random.oneIn(2))
        case 1: return .getData("/counter", watches: watches())
        case 2..<7: return .exists(path, watches: watches())
        case 7..<11: return .getChildren(path, watches: watches())
        default: return .getData(path, watches: watches())
        }
    }

    private mutating func create() -> Request {
        switch random.below(10) {
        case 0..<2: return .create(sequencePath(), data: data(), .sequential)
        case 2: return .create(sequencePath(), data: data(), .ephemeralSequential)
        case 3..<6: return create(.ephemeral)
        case 6: return create(.container)
        case 7: return create(.ttl(milliseconds: random.pick([900, 6000, 1 << 30])))
        default: return create(.plain)
        }
    }

    private mutating func create(_ kind: Request.Kind) -> Request {
        let path = passing(isPresent: false)
        // Below an ephemeral nothing grows.
        let isBarren = kind.isEphemeral && Self.parents.contains(path) && !random.oneIn(8)
        return .create(path, data: data(), isBarren ? random.pick([.plain, .container]) : kind)
    }

    private mutating func sequencePath() -> String {
        random.pick(["/q", "/s"]) + "/" + Self.sequencePrefix
    }

    private mutating func multi() -> Request {
        var parts: [Request] = []
        for _ in 0..<(1 + random.below(3)) {
            switch random.below(8) {
            case 0..<3: parts.append(create())
            case 3: parts.append(.delete(passing(isPresent: true), version: -1))
            case 4: parts.append(.check(target(), version: -1))
            default: parts.append(.setData(target(), data(), version: -1))
            }
        }
        return .multi(parts)
    }
}
