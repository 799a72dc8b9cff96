import AviarySimulation
import Testing
import ZooKeeperProtocol

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

    @Test("By themselves leaders end sessions and delete containers that were used and are empty, and nothing else")
    func leadersOwn() throws {
        let container = TxnBody.create(
            TxnBody.CreateTxn(
                kind: .container,
                path: Array("/c".utf8),
                data: [],
                acl: ACL.open,
                isEphemeral: false,
                parentCVersion: 2
            )
        )
        let sweep = TxnBody.delete(path: Array("/c".utf8), byContainerCheck: true)
        let child = Array("/c/x".utf8)
        for (bodies, check) in [
            ([Story.create("/c/x"), .delete(path: child, byContainerCheck: false), sweep], nil),
            ([Story.create("/c/x"), sweep], Violation.Check.inventedWrite), ([sweep], .inventedWrite),
        ] {
            var story = try Story.withNode()
            _ = story.ask(.create("/c", data: [], .container), xid: 2)
            try story.commit(z + 3, container, cxid: 2)
            _ = story.ask(.create("/c/x", data: [1], .plain), xid: 3)
            _ = story.ask(.delete("/c/x", version: -1), xid: 4)
            for (index, body) in bodies.enumerated() {
                let isSweep = index == bodies.count - 1
                try story.commit(z + 4 + Int64(index), body, cxid: isSweep ? 0 : Int32(3 + index))
            }
            story.expect(check, WriteCheck.check)
        }
        var plain = try Story.withNode()
        try plain.commit(z + 3, .delete(path: Array("/a".utf8), byContainerCheck: true), cxid: 0)
        plain.expect(.inventedWrite, WriteCheck.check)
        var ends = try Story.withNode()
        try ends.commit(z + 3, .closeSession(paths: []), cxid: 0)
        ends.expect(nil, WriteCheck.check)
        try ends.commit(z + 4, .closeSession(paths: []), cxid: 0)
        ends.expect(.inventedWrite, WriteCheck.check)
        var writes = try Story.withNode()
        try writes.commit(z + 3, Story.set("/a", [2], version: 1), cxid: 0)
        writes.expect(.inventedWrite, WriteCheck.check)
    }

    @Test("A refusal because of a full disk, or of a session that is over, is one only where that is so")
    func refusals() throws {
        for isFull in [true, false] {
            var story = try Story.withNode()
            if isFull { story.history.refusesWrites(true, 1, at: 1) }
            let set = story.ask(.setData("/a", [2], version: -1), xid: 2)
            story.reply(set, z + 2, error: .systemError)
            story.expect(isFull ? nil : .falseError, WriteCheck.check)
        }
        for isOver in [true, false] {
            var story = try Story.withNode()
            let set = story.ask(.setData("/a", [2], version: -1), xid: 2)
            let get = story.ask(.getData("/a", watches: false), xid: 3)
            if isOver { try story.commit(z + 3, .closeSession(paths: []), cxid: 0) }
            story.reply(set, z + 3, error: .sessionExpired)
            story.reply(get, z + 3, error: .sessionExpired)
            story.expect(isOver ? nil : .falseError, WriteCheck.check)
            story.expect(isOver ? nil : .falseError, ReadCheck.check)
        }
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
