import AviarySimulation
import Testing
import ZooKeeperProtocol

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
