import AviarySimulation
import Testing
import ZooKeeperProtocol

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
