import AviarySimulation
import Testing
import ZooKeeperProtocol

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

    @Test("A session takes no node of another one with it, nor one that is nobody's")
    func takesOthers() throws {
        for (path, check) in [("/e", nil), ("/a", Violation.Check.wrongSessions), ("/gone", nil)] {
            var story = try Story.withNode()
            try story.commit(z + 3, Story.create("/e", isEphemeral: true), cxid: 2)
            try story.commit(z + 4, .closeSession(paths: [Array(path.utf8)]), cxid: 0)
            story.expect(check, SessionLifeCheck.check)
        }
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
