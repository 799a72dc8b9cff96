import AviaryCore
import ZooKeeperProtocol

/// One seed: the same steps for the core and for the model, compared after each.
final class ModelRun {
    struct Difference: Error, CustomStringConvertible {
        var description: String

        init(_ description: String) {
            self.description = description
        }
    }

    private let options: CoreOptions
    private let subject: ModelSubject
    private let model: ModelServer
    private var random: ModelRandom
    private var now = Now(wallMilliseconds: 1_700_000_000_000, monotonicMicroseconds: 5_000_000)

    /// The core's names of the connections, in the order in which they were opened.
    private var ids: [ModelSubject.ID] = []
    private var indexes: [ModelSubject.ID: Int] = [:]
    /// Sockets that are still there.
    private var open: [Int] = []
    private var frames: [[[UInt8]]] = []
    private var closed: Set<Int> = []
    private var xids: [Int32] = []
    private var log: [[UInt8]] = []
    private var lastSession: Int64?
    private var isDiskHeld = false
    private let isSpaceSure: Bool
    private var snapshot: Snapshot?
    private var fuzzy: FuzzySnapshot?
    private var pictures: [Snapshot] = []
    private var fuzzyPictures: [FuzzySnapshot] = []
    /// The latest steps, for whoever has to find out.
    private(set) var trace: [String] = []

    /// One taken by the core, with the model's tree of its moment.
    private struct Snapshot {
        let member: Int
        let head: SnapshotHead
        let tree: ModelTree
        let sessions: [Int64: Int32]
        var nodes: [UInt8] = []
    }

    /// - Parameter isEnsemble: of three, each connection to one of them; what is committed is so everywhere at once.
    init(seed: UInt64, isEnsemble: Bool = false) {
        random = ModelRandom(seed: seed)
        var settings = ModelServer.Settings()
        settings.rules.extendedTypes = !random.oneIn(4)
        settings.rules.enforceQuota = random.oneIn(2)
        settings.rules.skipACL = random.oneIn(12)
        settings.requiresDigest = random.oneIn(12)
        settings.tick = random.pick([1, 100, 1000, 3000])
        settings.containerMaxNeverUsed = random.pick([0, 0, 5000])
        var options = CoreOptions(passwordDigest: { Array($0.reversed()) })
        options.tickTimeMilliseconds = settings.tick
        options.minSessionTimeoutMilliseconds = settings.minTimeout
        options.maxSessionTimeoutMilliseconds = settings.maxTimeout
        options.extendedTypes = settings.rules.extendedTypes
        options.enforceQuota = settings.rules.enforceQuota
        options.skipACL = settings.rules.skipACL
        options.superDigest = "super:d3A6cmVwdXM="
        options.requiredAuthSchemes = settings.requiresDigest ? ["digest"] : nil
        options.containerCheckIntervalMilliseconds = settings.containerInterval
        options.containerMaxNeverUsedMilliseconds = settings.containerMaxNeverUsed
        options.closeSessionTxn = !random.oneIn(6)
        isSpaceSure = random.oneIn(2) || isEnsemble
        random.hasEphemeralLimits = options.closeSessionTxn && isSpaceSure
        options.snapCount = 1_000_000
        self.options = options
        subject = ModelSubject(options: options, seed: seed, isEnsemble: isEnsemble, now: now)
        model = ModelServer(settings, now: now)
    }

    // MARK: The run

    func run(steps: Int) throws {
        try connect()
        if random.oneIn(2) { try prepareQuota() }
        for _ in 0..<steps { try step() }
        try finish()
    }

    private func step() throws {
        switch random.below(100) {
        case 0..<72:
            guard let index = pickConnection() else { return try connect() }
            for _ in 0..<(random.oneIn(3) ? 1 + random.below(5) : 1) { try send(on: index) }
        case 72..<76: try connect()
        case 76..<79: try attach()
        case 79, 80: try disconnect()
        case 81..<87: try advance(Int64(random.below(900)))
        case 87, 88: try advance(Int64(1000 + random.below(12_000)))
        case 89: now.wallMilliseconds += Int64(random.below(20_000)) - 10_000
        case 90..<94: isDiskHeld.toggle()
        case 94, 95: try releaseSome()
        case 96: try isSpaceSure ? () : setRoom(random.pick([.plenty, .plenty, .low, .exhausted]))
        case 97: try pictures.count + fuzzyPictures.count < 4 ? beginPicture() : ()
        default: try continuePicture()
        }
        try settle()
    }

    private func note(_ text: @autoclosure () -> String) {
        trace.append(text())
        if trace.count > 60 { trace.removeFirst(20) }
    }

    private func pickConnection() -> Int? {
        open.isEmpty ? nil : random.pick(open)
    }

    private func send(on index: Int) throws {
        var request = random.request(model.tree, zxid: model.lastApplied)
        // Which would wait for everybody's writes: the model knows of no others.
        if subject.isEnsemble, request.operation == .sync, !model.inFlight.isEmpty { request = .ping }
        try send(request, on: index)
    }

    private func send(_ request: ModelRequest, on index: Int) throws {
        xids[index] += 1
        let xid = xids[index]
        note("\(index)#\(xid) \(request)")
        model.now = now
        model.receive(request, xid: xid, on: index)
        subject.receive(request.frame(xid: xid), from: ids[index], at: now)
        try collect()
    }

    private func prepareQuota() throws {
        for (path, data) in [
            ("/q", ""), ("/zookeeper/quota/q", ""), ("/zookeeper/quota/q/zookeeper_limits", "countHardLimit=4"),
            ("/zookeeper/quota/q/zookeeper_stats", ""),
        ] {
            try send(
                .create(
                    ModelRequest.ModelCreate(
                        operation: .create,
                        path: path,
                        data: Array(data.utf8),
                        acl: .open,
                        flags: 0,
                        ttl: 0
                    )
                ),
                on: 0
            )
            try settle()
        }
    }

    // MARK: Connections

    /// - Parameter member: nil is any.
    private func accept(_ member: Int?) -> Int {
        let address = random.pick(["10.0.0.1", "10.0.0.2", "192.0.2.7"])
        let member = member ?? random.below(subject.memberCount)
        let id = subject.accept(PeerAddress(text: address, port: 1), member: member, at: now)
        model.connections.append(ModelServer.Connection(address: address))
        let index = ids.count
        ids.append(id)
        indexes[id] = index
        open.append(index)
        frames.append([])
        xids.append(0)
        return index
    }

    private func connect() throws {
        if open.count > 5 { try disconnect() }
        try handshake(session: 0, knowsPassword: true)
    }

    /// Takes a session over, or tries to.
    private func attach() throws {
        let known = model.sessions.keys.sorted() + [0x77]
        let session = random.pick(known)
        // While something of it is in flight, another server has to wait; and who moves to another server leaves a
        // connection behind that is noticed later.
        var member: Int?
        if subject.isEnsemble {
            try releaseAll()
            member = model.sessions[session]?.connection.map { ids[$0].member }
        }
        try handshake(session: session, knowsPassword: !random.oneIn(6), member: member)
    }

    private func handshake(session: Int64, knowsPassword: Bool, member: Int? = nil) throws {
        let index = accept(member)
        let timeout = random.pick([0, 2000, 3000, 4500, 10_000, 60_000, -5] as [Int32])
        let lastZxid = random.oneIn(20) ? model.lastApplied + 1 : random.pick([0, model.lastApplied])
        var writer = JuteWriter()
        writer.int32(0)
        writer.int64(lastZxid)
        writer.int32(timeout)
        writer.int64(session)
        writer.int32(16)
        PasswordOracle.write(for: knowsPassword ? session : session &+ 1, to: &writer)
        writer.bool(false)
        note("\(index) connects: session \(session), timeout \(timeout), password \(knowsPassword), zxid \(lastZxid)")
        let before = log.count
        subject.receive(writer.copy(), from: ids[index], at: now)
        try take()
        var newSession: Int64?
        if session == 0, log.count > before {
            let id = try txn(before).header.session.rawValue
            if let lastSession, id != lastSession + 1, !subject.isEnsemble {
                throw Difference("session \(id) follows \(lastSession)")
            }
            lastSession = id
            newSession = id
        }
        model.now = now
        model.connect(
            index,
            session: session,
            knowsPassword: knowsPassword,
            timeout: timeout,
            lastZxid: lastZxid,
            newSession: newSession
        )
        try collect()
        if random.oneIn(2) || model.settings.requiresDigest {
            try send(
                .auth(scheme: "digest", credentials: random.pick(["u1:p", "u1:p", "u2:p", "super:pw"])),
                on: index
            )
        }
    }

    private func disconnect() throws {
        guard let index = pickConnection() else { return }
        open.removeAll { $0 == index }
        note("\(index) disconnects")
        subject.closed(ids[index], at: now)
        model.forget(index)
        try collect()
    }

    // MARK: Time and disk

    private func advance(_ milliseconds: Int64) throws {
        // A learner does not know of an end before it is certain, and goes on until then.
        if subject.isEnsemble { try releaseAll() }
        now.wallMilliseconds += milliseconds
        now.monotonicMicroseconds += milliseconds * 1000 + Int64(random.below(1000))
        note("time \(now.monotonicMilliseconds)")
        model.now = now
        let due = Set(model.expired)
        model.checkContainers()
        let before = log.count
        subject.advance(to: now)
        try take()
        // Which of several goes first is the core's choice; what goes is not.
        var ended: [Int64] = []
        for position in before..<log.count {
            let txn = try txn(position)
            switch txn.body {
            case .closeSession:
                ended.append(txn.header.session.rawValue)
                model.expire(txn.header.session.rawValue)
            case .delete(let path, true):
                let path = String(decoding: path, as: UTF8.self)
                guard model.reapable.contains(path) else { throw Difference("\(path) was not to be reaped") }
                model.reap(path)
            default:
                throw Difference("time made \(txn)")
            }
        }
        guard ended.count == due.count, Set(ended) == due else {
            throw Difference("expired \(ended), expected \(due.sorted())")
        }
        if subject.isEnsemble {
            try take()
            try releaseAll()
        }
        try collect()
    }

    private func settle() throws {
        while !isDiskHeld, model.lastApplied < model.lastMade { try release(upTo: model.lastMade) }
    }

    private func releaseAll() throws {
        while model.lastApplied < model.lastMade { try release(upTo: model.lastMade) }
    }

    private func releaseSome() throws {
        guard model.lastApplied < model.lastMade else { return }
        try release(upTo: model.lastApplied + 1 + Int64(random.below(Int(model.lastMade - model.lastApplied))))
    }

    private func release(upTo zxid: Int64) throws {
        note("durable up to \(zxid)")
        model.now = now
        model.durable(upTo: zxid)
        subject.durable(upTo: Zxid(zxid), at: now)
        try collect()
    }

    private func setRoom(_ room: LogRoom) throws {
        model.room = room
        note("the log has room: \(room)")
        subject.setLogRoom(room, at: now)
        try collect()
    }

    // MARK: Comparing

    /// Carries out what the core wants done.
    private func take() throws {
        let (sent, ended, records, notes) = subject.take()
        for (id, frame) in sent {
            if let index = indexes[id] { frames[index].append(frame) }
        }
        for id in ended {
            if let index = indexes[id] { closed.insert(index) }
        }
        log += records
        while lookedAtLog < log.count {
            let txn = try txn(lookedAtLog)
            if case .closeSession(let paths?) = txn.body {
                model.closeOrders[txn.header.zxid.rawValue] = paths.map { String(decoding: $0, as: UTF8.self) }
            }
            lookedAtLog += 1
        }
        let errors = notes.filter { $0.level == .error && !$0.message.contains("disk") }
        if let error = errors.first { throw Difference("\(error)") }
    }

    private func txn(_ position: Int) throws -> Txn {
        try log[position].withUnsafeBytes { try Txn(payload: $0) }
    }

    private var lookedAtLog = 0
    private var checkedLog = 0

    private func collect() throws {
        try take()
        for index in ids.indices { try compare(index) }
        guard log.count == model.log.count else {
            throw Difference("\(log.count) transactions, expected \(model.log.count)")
        }
        while checkedLog < log.count {
            let header = try txn(checkedLog).header
            let expected = model.log[checkedLog]
            let want = TxnHeader(
                session: SessionID(expected.session),
                cxid: expected.xid,
                zxid: Zxid(expected.zxid),
                time: expected.time
            )
            guard header == want else { throw Difference("header \(header), expected \(want)") }
            checkedLog += 1
        }
        guard model.wrongCloseOrders.isEmpty else { throw Difference("the lists of \(model.wrongCloseOrders)") }
        let waiting = model.connections.reduce(0) { $0 + $1.queue.count }
        guard subject.outstandingRequests == waiting else {
            throw Difference("\(subject.outstandingRequests) requests outstanding, expected \(waiting)")
        }
    }

    private func compare(_ index: Int) throws {
        let got = frames[index]
        let expected = model.connections[index].sent
        frames[index] = []
        model.connections[index].sent = []
        guard !got.isEmpty || !expected.isEmpty || closed.contains(index) != model.connections[index].isClosedByServer
        else { return }
        var position = 0
        var unordered: (got: [String], expected: [String]) = ([], [])
        for sent in expected {
            guard position < got.count else { throw Difference("connection \(index): \(sent) did not come") }
            let frame = got[position]
            position += 1
            switch sent {
            case .connected(let timeout, let session):
                guard frame == Self.connectResponse(timeout, session) else {
                    throw Difference("connection \(index): response \(Hex.encode(frame)), expected \(sent)")
                }
            case .reply(let bytes, let shape):
                let same =
                    frame.prefix(16) == bytes.prefix(16)
                    && shape.canonical([UInt8](frame.dropFirst(16))) == [UInt8](bytes.dropFirst(16))
                guard same else {
                    throw Difference(
                        "connection \(index): reply\n got      \(Hex.encode(frame))\n expected \(Hex.encode(bytes))"
                    )
                }
            case .event(let kind, let path, let zxid, let isUnordered):
                let want = Self.event(kind, path, zxid)
                if isUnordered {
                    unordered.got.append(Hex.encode(frame))
                    unordered.expected.append(Hex.encode(want))
                } else if frame != want {
                    throw Difference(
                        "connection \(index): event\n got      \(Hex.encode(frame))\n expected \(kind) \(path) \(zxid)"
                    )
                }
            }
        }
        // Every event has its zxid in it, so that those of different groups cannot be taken for each other.
        guard unordered.got.sorted() == unordered.expected.sorted() else {
            throw Difference("connection \(index): events \(unordered.got), expected \(unordered.expected)")
        }
        guard position == got.count else {
            throw Difference("connection \(index): \(Hex.encode(got[position])) came unexpectedly")
        }
        guard closed.contains(index) == model.connections[index].isClosedByServer else {
            throw Difference("connection \(index): closed \(closed.contains(index))")
        }
        if closed.contains(index), open.contains(index) {
            open.removeAll { $0 == index }
            subject.closed(ids[index], at: now)
        }
    }

    private static func connectResponse(_ timeout: Int32, _ session: Int64) -> [UInt8] {
        var writer = JuteWriter()
        writer.int32(0)
        writer.int32(timeout)
        writer.int64(session)
        writer.int32(16)
        if session == 0 {
            writer.int64(0)
            writer.int64(0)
        } else {
            PasswordOracle.write(for: session, to: &writer)
        }
        writer.bool(false)
        return writer.copy()
    }

    private static func event(_ kind: WatcherEvent.Kind, _ path: String, _ zxid: Int64) -> [UInt8] {
        var writer = JuteWriter()
        writer.int32(-1)
        writer.int64(zxid)
        writer.int32(0)
        writer.int32(kind.rawValue)
        writer.int32(3)
        writer.string(path)
        return writer.copy()
    }

    // MARK: Snapshots

    private func beginPicture() throws {
        let sessions = model.sessions.filter(\.value.isCreated).mapValues(\.recordedTimeout)
        // Without the list of what a session's end deletes, as while space is low, nobody can tell over a fuzzy snapshot.
        if fuzzy == nil, options.closeSessionTxn, isSpaceSure, random.oneIn(2) {
            note("a fuzzy snapshot begins")
            fuzzy = FuzzySnapshot(zxid: model.lastApplied, tree: model.tree, sessions: sessions)
        } else if snapshot == nil {
            note("a snapshot begins")
            let member = subject.isEnsemble ? random.below(subject.memberCount) : 0
            snapshot = Snapshot(
                member: member,
                head: subject.withCore(member) { $0.beginSnapshot() },
                tree: model.tree,
                sessions: sessions
            )
        }
    }

    private func continuePicture() throws {
        if fuzzy != nil {
            let isDone = fuzzy?.proceed(model.tree, nodes: 1 + random.below(4)) ?? true
            if isDone, let done = fuzzy {
                fuzzyPictures.append(done)
                fuzzy = nil
            }
        }
        if snapshot != nil { try continueSnapshot(maxBytes: 1 + random.below(400)) }
    }

    private func continueSnapshot(maxBytes: Int) throws {
        var writer = JuteWriter()
        let goesOn = subject.withCore(snapshot?.member ?? 0) {
            $0.continueSnapshot(maxBytes: maxBytes, into: &writer)
        }
        snapshot?.nodes += writer.copy()
        guard !goesOn, let done = snapshot else { return }
        snapshot = nil
        pictures.append(done)
        let stored = try StoredTree(done.head, done.nodes)
        try stored.compare(with: done.tree, done.sessions, "snapshot")
        if done.head.digest != done.tree.digest { throw Difference("digest in the head of a snapshot") }
    }

    /// What the core holds now, node by node.
    private static func picture(of core: inout ServerCore) throws -> StoredTree {
        var writer = JuteWriter()
        let head = core.beginSnapshot()
        while core.continueSnapshot(maxBytes: 1 << 16, into: &writer) {}
        return try StoredTree(head, writer.copy())
    }

    // MARK: The end

    private func finish() throws {
        isDiskHeld = false
        try settle()
        try setRoom(.plenty)
        while fuzzy != nil || snapshot != nil { try continuePicture() }
        let due = model.dueForReaping.filter { _ in true }.sorted()
        for _ in 0..<70 {
            try advance(100)
            try settle()
        }
        for path in due where model.dueForReaping.contains(path) { throw Difference("\(path) is never reaped") }
        guard model.inFlight.isEmpty, model.connections.allSatisfy(\.queue.isEmpty) else {
            throw Difference("something waits for ever")
        }
        try compareCounts()
        let sessions = model.sessions.mapValues(\.recordedTimeout)
        try subject.forEachCore { core in
            try Self.picture(of: &core).compare(with: model.tree, sessions, "tree")
        }

        var recounted = model.tree
        recounted.recountAll()
        try compareRestarts(recounted, sessions)
    }

    private func compareCounts() throws {
        var watchCount = 0
        for watch in model.watches { watchCount += watch.kind == .persistent || watch.kind == .recursive ? 2 : 1 }
        let ephemerals = model.tree.nodes.values.filter {
            if case .session = $0.owner { true } else { false }
        }
        guard subject.unreadable == 0 else { throw Difference("transactions that cannot be read") }
        guard subject.watchCount == watchCount else {
            throw Difference("\(subject.watchCount) watches, expected \(watchCount)")
        }
        // Quota statistics change in place, so that the size is only known to be that of the nodes.
        let size = model.tree.nodes.reduce(0) {
            $0 + ($1.key == "/" ? 0 : $1.key.utf8.count) + ($1.value.data?.count ?? 0)
        }
        try subject.forEachCore { core in
            let facts: [(String, Int, Int)] = [
                ("sessions", core.sessionCount, model.sessions.count),
                ("nodes", core.nodeCount, model.tree.nodes.count + 1),
                ("ephemerals", core.ephemeralCount, ephemerals.count),
                ("digest mismatches", core.digestMismatchCount, 0),
                ("last zxid", Int(core.lastProcessedZxid.rawValue), Int(model.lastApplied)),
            ]
            for (name, got, expected) in facts where got != expected {
                throw Difference("\(got) \(name), expected \(expected)")
            }
            guard core.treeDigest == model.tree.digest else { throw Difference("the tree's digest") }
            guard core.approximateDataSize == size else {
                throw Difference("size \(core.approximateDataSize), expected \(size)")
            }
        }
    }

    /// From the whole log, from each snapshot and the log behind it, from each fuzzy snapshot and the log behind it.
    private func compareRestarts(_ tree: ModelTree, _ sessions: [Int64: Int32]) throws {
        let records = try log.indices.map { try txn($0) }
        var fresh = ServerCore(options: options, seed: 7, now: now)
        fresh.reset()
        fresh.restoreFreshTree()
        try Self.restart(&fresh, records, after: 0, tree, sessions, "log")
        for picture in pictures {
            var core = ServerCore(options: options, seed: 8, now: now)
            try StoredTree(picture.head, picture.nodes).load(into: &core)
            try Self.restart(&core, records, after: picture.head.zxid.rawValue, tree, sessions, "snapshot and log")
        }
        for picture in fuzzyPictures {
            var core = ServerCore(options: options, seed: 9, now: now)
            try picture.stored.load(into: &core)
            try Self.restart(
                &core,
                records,
                after: picture.zxid,
                tree,
                sessions,
                "fuzzy snapshot and log",
                isFuzzy: true
            )
        }
    }

    private static func restart(
        _ core: inout ServerCore,
        _ records: [Txn],
        after zxid: Int64,
        _ tree: ModelTree,
        _ sessions: [Int64: Int32],
        _ from: String,
        isFuzzy: Bool = false
    ) throws {
        for record in records where record.header.zxid.rawValue > zxid { try core.replay(record) }
        try core.finishReplay()
        var stored = try picture(of: &core)
        // What a quota without limits once counted is not logged.
        if isFuzzy { stored.takeUnlimitedStatistics(from: tree) }
        try stored.compare(with: tree, sessions, "tree out of \(from)")
        guard core.treeDigest == tree.digest else { throw Difference("digest out of \(from)") }
    }
}

/// `java.util.Random` as Apache's servers use it for passwords (docs/protocol/client-protocol.md section 3), once more.
enum PasswordOracle {
    static func write(for session: Int64, to writer: inout JuteWriter) {
        var state = UInt64(bitPattern: (session ^ 0xB341_5C00) ^ 0x5_DEEC_E66D) % (1 << 48)
        for _ in 0..<4 {
            state = (state &* 0x5_DEEC_E66D &+ 0xB) % (1 << 48)
            let value = UInt32(truncatingIfNeeded: state >> 16)
            for shift in [0, 8, 16, 24] { writer.byte(UInt8(truncatingIfNeeded: value >> UInt32(shift))) }
        }
    }
}
