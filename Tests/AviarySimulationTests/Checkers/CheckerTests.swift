import AviarySimulation
import Testing
import ZooKeeperProtocol

/// Small histories, written by hand: good ones, and ones in which one promise is broken.
private struct Story {
    var history = History()
    var committed = CommittedHistory()
    let session = SessionID(0x11)
    private var time: Int64 = 0

    init() throws {
        try commit(0x1_0000_0001, .createSession(timeoutMilliseconds: 4000), cxid: 0)
        history.attach(client: 1, session: session, at: 1)
    }

    mutating func commit(
        _ zxid: Int64,
        _ body: TxnBody,
        session: SessionID? = nil,
        cxid: Int32,
        fingerprint: UInt64 = 0
    ) throws {
        time += 1
        let header = TxnHeader(session: session ?? self.session, cxid: cxid, zxid: Zxid(zxid), time: 1000)
        try committed.append(Txn(header: header, body: body, digest: nil), fingerprint: fingerprint, at: time)
    }

    mutating func ask(_ request: Request, xid: Int32, client: Int = 1, session: SessionID? = nil, connection: Int = 1)
        -> Int
    {
        time += 1
        return history.invoke(
            request,
            client: client,
            session: session ?? self.session,
            connection: connection,
            xid: xid,
            at: time
        )
    }

    mutating func reply(_ index: Int, _ zxid: Int64, error: ErrorCode = .ok, _ answer: Answer = .nothing) {
        time += 1
        history.reply(to: index, zxid: Zxid(zxid), error: error, answer, at: time)
    }

    mutating func event(_ kind: WatcherEvent.Kind, _ path: String, _ zxid: Int64) {
        time += 1
        history.event(client: 1, session: session, History.Event(kind, path, Zxid(zxid)), at: time)
    }

    func stat(_ path: String, at zxid: Int64) -> Stat {
        let zxid = Zxid(zxid)
        guard let node = committed.node(path, at: zxid) else { return Story.noStat }
        let children = Int32(committed.children(of: path, at: zxid).count)
        return Stat(
            czxid: node.stat.czxid,
            mzxid: node.stat.mzxid,
            ctime: node.stat.ctime,
            mtime: node.stat.mtime,
            version: node.stat.version,
            cversion: 2 * node.stat.cversion - children,
            aversion: node.stat.aversion,
            ephemeralOwner: node.isEphemeral ? node.stat.ephemeralOwner : 0,
            dataLength: Int32(node.data?.count ?? 0),
            numChildren: children,
            pzxid: node.stat.pzxid
        )
    }

    static let noStat = Stat(
        czxid: .zero,
        mzxid: .zero,
        ctime: 0,
        mtime: 0,
        version: 0,
        cversion: 0,
        aversion: 0,
        ephemeralOwner: 0,
        dataLength: 0,
        numChildren: 0,
        pzxid: .zero
    )

    static func create(_ path: String, _ data: [UInt8] = [1], isEphemeral: Bool = false, parent: Int32 = 1) -> TxnBody {
        .create(
            TxnBody.CreateTxn(
                kind: .create2,
                path: Array(path.utf8),
                data: data,
                acl: ACL.open,
                isEphemeral: isEphemeral,
                parentCVersion: parent
            )
        )
    }

    static func set(_ path: String, _ data: [UInt8], version: Int32) -> TxnBody {
        .setData(path: Array(path.utf8), data: data, version: version, isReconfig: false)
    }

    /// Session 0x11 makes /a and is told so.
    static func withNode() throws -> Story {
        var story = try Story()
        let create = story.ask(.create("/a", data: [1], .plain), xid: 1)
        try story.commit(0x1_0000_0002, Story.create("/a"), cxid: 1)
        story.reply(create, 0x1_0000_0002, .created("/a", story.stat("/a", at: 0x1_0000_0002)))
        return story
    }

    func expect(
        _ check: Violation.Check?,
        _ checker: (History, CommittedHistory) throws(Violation) -> Void,
        location: SourceLocation = #_sourceLocation
    ) {
        do throws(Violation) {
            try checker(history, committed)
            #expect(check == nil, "nothing was found", sourceLocation: location)
        } catch {
            #expect(error.check == check, "\(error)", sourceLocation: location)
        }
    }
}

private let z: Int64 = 0x1_0000_0000

@Suite("Checker of writes")
struct WriteCheckTests {
    @Test("An acknowledged write that is there is well; so is one that was never answered, done or not")
    func good() throws {
        var story = try Story.withNode()
        _ = story.ask(.setData("/a", [2], version: 0), xid: 2)
        try story.commit(z + 3, Story.set("/a", [2], version: 1), cxid: 2)
        _ = story.ask(.setData("/a", [3], version: 1), xid: 3)
        story.expect(nil, WriteCheck.check)
    }

    @Test("An acknowledged write that is not in the history is lost")
    func lost() throws {
        var story = try Story.withNode()
        let set = story.ask(.setData("/a", [2], version: -1), xid: 2)
        story.reply(set, z + 3, .stat(Story.noStat))
        story.expect(.acknowledgedLost, WriteCheck.check)
    }

    @Test("A request that is applied twice")
    func twice() throws {
        var story = try Story.withNode()
        let set = story.ask(.setData("/a", [2], version: -1), xid: 2)
        try story.commit(z + 3, Story.set("/a", [2], version: 1), cxid: 2)
        try story.commit(z + 4, Story.set("/a", [2], version: 2), cxid: 2)
        story.reply(set, z + 3, .stat(story.stat("/a", at: z + 3)))
        story.expect(.writtenTwice, WriteCheck.check)
    }

    @Test("A transaction that nobody asked for")
    func invented() throws {
        var story = try Story.withNode()
        try story.commit(z + 3, Story.set("/a", [2], version: 1), cxid: 9)
        story.expect(.inventedWrite, WriteCheck.check)
    }

    @Test("A conditional write of a version that was over")
    func staleVersion() throws {
        var story = try Story.withNode()
        _ = story.ask(.setData("/a", [2], version: 4), xid: 2)
        try story.commit(z + 3, Story.set("/a", [2], version: 1), cxid: 2)
        story.expect(.notLinearizable, WriteCheck.check)
    }

    @Test("An error for what was done, and an error that does not hold")
    func falseErrors() throws {
        var story = try Story.withNode()
        let set = story.ask(.setData("/a", [2], version: -1), xid: 2)
        try story.commit(z + 3, Story.set("/a", [2], version: 1), cxid: 2)
        story.reply(set, z + 3, error: .badVersion)
        story.expect(.falseError, WriteCheck.check)

        var second = try Story.withNode()
        _ = second.ask(.delete("/a", version: -1), xid: 2)
        try second.commit(z + 3, .error(.noNode), cxid: 2)
        second.expect(.falseError, WriteCheck.check)
    }

    @Test("A sequential name is made of the number of creates below the parent")
    func sequence() throws {
        for (name, check) in [("/a/n-0000000000", nil), ("/a/n-0000000003", Violation.Check.wrongTree)] {
            var story = try Story.withNode()
            _ = story.ask(.create("/a/n-", data: [1], .sequential), xid: 2)
            try story.commit(z + 3, Story.create(name), cxid: 2)
            story.expect(check, WriteCheck.check)
        }
    }

    @Test("A multi is judged part by part, each over what those in front of it did")
    func multi() throws {
        var story = try Story.withNode()
        let parts: [Request] = [.create("/a/b", data: [1], .plain), .setData("/a/b", [2], version: 0)]
        let multi = story.ask(.multi(parts), xid: 2)
        try story.commit(z + 3, .multi([Story.create("/a/b"), Story.set("/a/b", [2], version: 1)]), cxid: 2)
        story.reply(multi, z + 3, .multi([.created("/a/b"), .set(story.stat("/a/b", at: z + 3))]))
        story.expect(nil, WriteCheck.check)

        var failed = try Story.withNode()
        _ = failed.ask(.multi([.create("/a", data: [1], .plain)]), xid: 2)
        try failed.commit(z + 3, .multi([.error(.badVersion)]), cxid: 2)
        failed.expect(.falseError, WriteCheck.check)
    }
}

@Suite("Checkers of reads and of time")
struct ReadAndTimeCheckTests {
    private func read(_ data: [UInt8], at zxid: Int64) throws -> Story {
        var story = try Story.withNode()
        _ = story.ask(.setData("/a", [2], version: -1), xid: 2)
        try story.commit(z + 3, Story.set("/a", [2], version: 1), cxid: 2)
        let get = story.ask(.getData("/a", watches: false), xid: 3)
        story.reply(get, zxid, .data(data, story.stat("/a", at: zxid)))
        return story
    }

    @Test("A read shows what stands at its zxid, and nothing else")
    func reads() throws {
        try read([1], at: z + 2).expect(nil, ReadCheck.check)
        try read([2], at: z + 3).expect(nil, ReadCheck.check)
        try read([1], at: z + 3).expect(.wrongReply, ReadCheck.check)
    }

    @Test("Children are those of the zxid, and a node that is there must not be missing")
    func children() throws {
        var story = try Story.withNode()
        let list = story.ask(.getChildren("/", watches: false), xid: 2)
        story.reply(list, z + 2, .children(["zookeeper", "a"], story.stat("/", at: z + 2)))
        story.expect(nil, ReadCheck.check)
        let exists = story.ask(.exists("/a", watches: false), xid: 3)
        story.reply(exists, z + 2, error: .noNode)
        story.expect(.wrongReply, ReadCheck.check)
    }

    @Test("A write gets a zxid above all that anybody was told of before it was asked for")
    func writesInTime() throws {
        var story = try Story.withNode()
        let first = story.ask(.setData("/a", [2], version: -1), xid: 2)
        try story.commit(z + 3, Story.set("/a", [3], version: 1), session: SessionID(0x22), cxid: 1)
        try story.commit(z + 4, Story.set("/a", [2], version: 2), cxid: 2)
        story.reply(first, z + 4, .stat(story.stat("/a", at: z + 4)))
        let late = story.ask(
            .setData("/a", [3], version: -1),
            xid: 1,
            client: 2,
            session: SessionID(0x22)
        )
        story.reply(late, z + 3, .stat(story.stat("/a", at: z + 3)))
        story.expect(.notLinearizable, RealTimeOrderCheck.check)
    }

    @Test("A read behind a sync shows all that was acknowledged before the sync; one without may be behind")
    func syncedReads() throws {
        for (isSynced, shown, check) in [
            (true, z + 3, nil), (false, z + 2, nil), (true, z + 2, Violation.Check.notLinearizable),
        ] {
            var story = try Story.withNode()
            let set = story.ask(.setData("/a", [2], version: -1), xid: 1, client: 2, session: SessionID(0x22))
            try story.commit(z + 3, Story.set("/a", [2], version: 1), session: SessionID(0x22), cxid: 1)
            story.reply(set, z + 3, .stat(story.stat("/a", at: z + 3)))
            if isSynced {
                let sync = story.ask(.sync("/a"), xid: 2)
                story.reply(sync, shown)
            }
            let get = story.ask(.getData("/a", watches: false), xid: 3)
            story.reply(get, shown, .data([2], story.stat("/a", at: shown)))
            story.expect(check, RealTimeOrderCheck.check)
        }
    }

    @Test("The zxid of a new epoch is no transaction: a follower without it is not behind")
    func epochStart() throws {
        var story = try Story.withNode()
        let first = story.ask(.exists("/a", watches: false), xid: 1, client: 2, session: SessionID(0x22))
        story.reply(first, 0x2_0000_0000, .stat(story.stat("/a", at: z + 2)))
        let sync = story.ask(.sync("/a"), xid: 2)
        story.reply(sync, z + 2)
        let get = story.ask(.getData("/a", watches: false), xid: 3)
        story.reply(get, z + 2, .data([1], story.stat("/a", at: z + 2)))
        story.expect(nil, RealTimeOrderCheck.check)
    }
}

@Suite("Checker of registers, from what clients saw alone")
struct RegisterCheckTests {
    private func stat(czxid: Int64 = 2, mzxid: Int64, version: Int32) -> Stat {
        var stat = Story.noStat
        stat.czxid = Zxid(z + czxid)
        stat.mzxid = Zxid(z + mzxid)
        stat.version = version
        return stat
    }

    private func story(_ change: (inout Story) -> Void) throws -> Story {
        var story = try Story.withNode()
        let set = story.ask(.setData("/a", [2], version: 0), xid: 2)
        story.reply(set, z + 3, .stat(stat(mzxid: 3, version: 1)))
        change(&story)
        return story
    }

    private func expect(_ check: Violation.Check?, _ story: Story, location: SourceLocation = #_sourceLocation) {
        story.expect(check, { (history, _) throws(Violation) in try RegisterCheck.check(history) }, location: location)
    }

    @Test("What fits is well, also when it comes from a write that nobody acknowledged")
    func good() throws {
        expect(
            nil,
            try story { story in
                _ = story.ask(.setData("/a", [7], version: 1), xid: 3)
                let get = story.ask(.getData("/a", watches: false), xid: 4)
                story.reply(get, z + 9, .data([7], stat(mzxid: 5, version: 2)))
            }
        )
    }

    @Test("A read that misses an acknowledged write")
    func staleRead() throws {
        expect(
            .notLinearizable,
            try story { story in
                let get = story.ask(.getData("/a", watches: false), xid: 4)
                story.reply(get, z + 9, .data([1], stat(mzxid: 2, version: 0)))
            }
        )
    }

    @Test("One version with two contents, and two writes that lead to one version")
    func twoContents() throws {
        expect(
            .notLinearizable,
            try story { story in
                let get = story.ask(.getData("/a", watches: false), xid: 4)
                story.reply(get, z + 9, .data([8], stat(mzxid: 3, version: 1)))
            }
        )
        expect(
            .notLinearizable,
            try story { story in
                let set = story.ask(.setData("/a", [5], version: 0), xid: 4)
                story.reply(set, z + 4, .stat(stat(mzxid: 4, version: 1)))
            }
        )
    }

    @Test("What nobody had written")
    func invented() throws {
        expect(
            .inventedWrite,
            try story { story in
                let get = story.ask(.getData("/a", watches: false), xid: 4)
                story.reply(get, z + 9, .data([9], stat(mzxid: 5, version: 2)))
            }
        )
    }
}

@Suite("Checker of sessions' order")
struct SessionOrderCheckTests {
    @Test("Zxids do not go back, from server to server")
    func zxids() throws {
        var story = try Story.withNode()
        story.history.detach(client: 1, session: story.session, at: 50)
        story.history.attach(client: 1, session: story.session, connection: 2, isNew: false, at: 51)
        let get = story.ask(.exists("/a", watches: false), xid: 2, connection: 2)
        story.reply(get, z + 1, error: .noNode)
        story.expect(.zxidWentBack, SessionOrderCheck.check)
    }

    @Test("Effects are in the order of requests, and none is left out in front of one")
    func effects() throws {
        var swapped = try Story.withNode()
        _ = swapped.ask(.setData("/a", [2], version: -1), xid: 2)
        _ = swapped.ask(.setData("/a", [3], version: -1), xid: 3)
        try swapped.commit(z + 3, Story.set("/a", [3], version: 1), cxid: 3)
        try swapped.commit(z + 4, Story.set("/a", [2], version: 2), cxid: 2)
        swapped.expect(.sessionOrder, SessionOrderCheck.check)

        var hole = try Story.withNode()
        _ = hole.ask(.setData("/a", [2], version: -1), xid: 2)
        _ = hole.ask(.setData("/a", [3], version: -1), xid: 3)
        try hole.commit(z + 3, Story.set("/a", [3], version: 1), cxid: 3)
        hole.expect(.sessionOrder, SessionOrderCheck.check)

        var moved = try Story.withNode()
        _ = moved.ask(.setData("/a", [2], version: -1), xid: 2)
        _ = moved.ask(.setData("/a", [3], version: -1), xid: 3, connection: 2)
        try moved.commit(z + 3, Story.set("/a", [3], version: 1), cxid: 3)
        moved.expect(nil, SessionOrderCheck.check)
        try moved.commit(z + 4, Story.set("/a", [2], version: 2), cxid: 2)
        moved.expect(.sessionOrder, SessionOrderCheck.check)
    }

    @Test("Replies come in the order of requests")
    func replies() throws {
        var story = try Story.withNode()
        let first = story.ask(.exists("/a", watches: false), xid: 2)
        let second = story.ask(.exists("/a", watches: false), xid: 3)
        story.reply(second, z + 2, .stat(story.stat("/a", at: z + 2)))
        story.reply(first, z + 2, .stat(story.stat("/a", at: z + 2)))
        story.expect(.sessionOrder, SessionOrderCheck.check)
    }
}

@Suite("Checker of watches")
struct WatchCheckTests {
    /// A data watch on /a, then a change of it by somebody else.
    private func watched() throws -> Story {
        var story = try Story.withNode()
        let get = story.ask(.getData("/a", watches: true), xid: 2)
        story.reply(get, z + 2, .data([1], story.stat("/a", at: z + 2)))
        try story.commit(z + 3, Story.set("/a", [2], version: 1), session: SessionID(0x22), cxid: 1)
        return story
    }

    private func look(_ story: inout Story, at zxid: Int64, connection: Int = 1) {
        let get = story.ask(.exists("/a", watches: false), xid: 3, connection: connection)
        story.reply(get, zxid, .stat(story.stat("/a", at: zxid)))
    }

    @Test("The event comes before what shows the change")
    func inTime() throws {
        var story = try watched()
        story.event(.nodeDataChanged, "/a", z + 3)
        look(&story, at: z + 3)
        story.expect(nil, WatchCheck.check)
    }

    @Test("A reply that shows the change comes first")
    func late() throws {
        var story = try watched()
        look(&story, at: z + 3)
        story.event(.nodeDataChanged, "/a", z + 3)
        story.expect(.missedEvent, WatchCheck.check)
    }

    @Test("No event before the change is due: a reply of before may still come")
    func early() throws {
        var story = try watched()
        look(&story, at: z + 2)
        story.expect(nil, WatchCheck.check)
    }

    @Test("A watch fires once, with the kind and the zxid of what happened")
    func once() throws {
        var twice = try watched()
        twice.event(.nodeDataChanged, "/a", z + 3)
        twice.event(.nodeDataChanged, "/a", z + 3)
        twice.expect(.wrongEvent, WatchCheck.check)
        var other = try watched()
        other.event(.nodeDeleted, "/a", z + 3)
        other.expect(.wrongEvent, WatchCheck.check)
        var unasked = try Story.withNode()
        unasked.event(.nodeCreated, "/a", z + 2)
        unasked.expect(.wrongEvent, WatchCheck.check)
    }

    @Test("A recursive watch hears of everything below, a persistent one of every change")
    func lasting() throws {
        var story = try Story.withNode()
        let first = story.ask(.addWatch("/", isRecursive: true), xid: 2)
        story.reply(first, z + 2)
        let second = story.ask(.addWatch("/a", isRecursive: false), xid: 3)
        story.reply(second, z + 2)
        try story.commit(z + 3, Story.create("/a/b"), session: SessionID(0x22), cxid: 1)
        try story.commit(z + 4, Story.set("/a", [2], version: 1), session: SessionID(0x22), cxid: 2)
        story.event(.nodeCreated, "/a/b", z + 3)
        story.event(.nodeChildrenChanged, "/a", z + 3)
        story.event(.nodeDataChanged, "/a", z + 4)
        look(&story, at: z + 4)
        story.expect(nil, WatchCheck.check)
    }

    @Test("What was missed between two connections is told before the answer to setWatches")
    func reconnect() throws {
        for (isTold, check) in [(true, nil), (false, Violation.Check.missedEvent)] {
            var story = try watched()
            story.history.detach(client: 1, session: story.session, at: 50)
            story.history.attach(client: 1, session: story.session, connection: 2, isNew: false, at: 51)
            let watches = Request.Watches(relative: Zxid(z + 2), data: ["/a"])
            let again = story.ask(.setWatches(watches), xid: -8, connection: 2)
            if isTold { story.event(.nodeDataChanged, "/a", -1) }
            story.reply(again, z + 3)
            look(&story, at: z + 3, connection: 2)
            story.expect(check, WatchCheck.check)
        }
    }
}

@Suite("Checkers of sessions and sequences")
struct SessionAndSequenceCheckTests {
    @Test("An ephemeral of a session that is over")
    func orphan() throws {
        var story = try Story.withNode()
        try story.commit(z + 3, Story.create("/e", isEphemeral: true), cxid: 2)
        story.expect(nil, SessionLifeCheck.check)
        try story.commit(z + 4, .closeSession(paths: []), cxid: 0)
        try story.commit(z + 5, Story.create("/f", isEphemeral: true), cxid: 3)
        story.expect(.wrongSessions, SessionLifeCheck.check)
    }

    @Test("A session that is refused although it goes on, and one that nobody opened")
    func refused() throws {
        var story = try Story.withNode()
        story.history.expire(client: 1, session: story.session, at: 9)
        story.expect(.wrongSessions, SessionLifeCheck.check)
        var other = try Story.withNode()
        other.history.attach(client: 2, session: SessionID(0x99), at: 9)
        other.expect(.wrongSessions, SessionLifeCheck.check)
    }

    @Test("A number that comes twice, or goes back")
    func sequences() throws {
        for (names, check) in [
            (["n-0000000000", "n-0000000002"], nil),
            (["n-0000000002", "n-0000000002"], Violation.Check.sequenceReused),
            (["n-0000000002", "n-0000000001"], Violation.Check.sequenceReused),
        ] {
            var story = try Story.withNode()
            for (index, name) in names.enumerated() {
                try story.commit(z + 3 + 2 * Int64(index), Story.create("/a/" + name), cxid: 1)
                try story.commit(
                    z + 4 + 2 * Int64(index),
                    .delete(path: Array(("/a/" + name).utf8), byContainerCheck: false),
                    cxid: 2
                )
            }
            story.expect(
                check,
                { (_, committed) throws(Violation) in
                    try SequenceCheck.check(committed, parents: ["/a"], prefix: "n-")
                }
            )
        }
    }
}

@Suite("Committed history")
struct CommittedHistoryTests {
    @Test("The digest that is kept up is that of the tree, and the past stays as it was")
    func digest() throws {
        var story = try Story.withNode()
        try story.commit(z + 3, Story.set("/a", [2], version: 1), cxid: 2)
        try story.commit(z + 4, .delete(path: Array("/a".utf8), byContainerCheck: false), cxid: 3)
        for zxid in [z + 2, z + 3, z + 4] {
            #expect(story.committed.digest(at: Zxid(zxid)) == (try story.committed.tree(at: Zxid(zxid)).digest))
        }
        #expect(story.committed.node("/a", at: Zxid(z + 2))?.data == [1])
        #expect(story.committed.node("/a", at: Zxid(z + 3))?.data == [2])
        #expect(story.committed.node("/a", at: Zxid(z + 4)) == nil)
        #expect(story.committed.children(of: "/", at: Zxid(z + 3)) == ["a", "zookeeper"])
    }

    @Test("A gap is no history")
    func gap() throws {
        var story = try Story.withNode()
        #expect(throws: Violation.self) { try story.commit(z + 4, .error(.noNode), cxid: 2) }
        #expect(throws: Violation.self) { try story.commit(0x2_0000_0002, .error(.noNode), cxid: 2) }
        try story.commit(0x2_0000_0001, .error(.noNode), cxid: 2)
    }
}
