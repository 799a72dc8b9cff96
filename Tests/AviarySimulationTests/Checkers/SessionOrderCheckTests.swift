import AviarySimulation
import Testing
import ZooKeeperProtocol

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
