import AviarySimulation
import Testing
import ZooKeeperProtocol

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

    @Test("Ephemerals go in the order of the list that their session ends with; without a list in any order, but all")
    func endOfSession() throws {
        for (paths, order, check) in [
            (["/e", "/f"], ["/e", "/f"], nil), (["/e", "/f"], ["/f", "/e"], Violation.Check.wrongEvent),
            (nil, ["/e", "/f"], nil), (nil, ["/f", "/e"], nil), (nil, ["/f"], .missedEvent), (nil, ["/g"], .wrongEvent),
        ] {
            var story = try Story.withNode()
            let other = SessionID(0x22)
            try story.commit(z + 3, Story.create("/e", isEphemeral: true, parent: 2), session: other, cxid: 1)
            try story.commit(z + 4, Story.create("/f", isEphemeral: true, parent: 3), session: other, cxid: 2)
            for (xid, path) in [(2, "/e"), (3, "/f")] as [(Int32, String)] {
                let get = story.ask(.exists(path, watches: true), xid: xid)
                story.reply(get, z + 4, .stat(story.stat(path, at: z + 4)))
            }
            let listed = paths.map { $0.map { Array($0.utf8) } }
            try story.commit(z + 5, .closeSession(paths: listed), session: other, cxid: 0)
            for path in order { story.event(.nodeDeleted, path, z + 5) }
            look(&story, at: z + 5)
            story.expect(check, WatchCheck.check)
        }
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
