import AviarySimulation
import Testing
import ZooKeeperProtocol

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
