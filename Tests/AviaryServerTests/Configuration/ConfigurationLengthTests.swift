import Testing

@testable import AviaryServer

/// Files that nobody writes, up to the length that is read: told apart in the time that their length asks for, not in its
/// square. The limit is for a machine that runs every other test meanwhile, with a sanitizer.
@Suite("Very long configurations", .timeLimit(.minutes(5)))
struct ConfigurationLengthTests {
    @Test("Thousands of keys that do not exist are named one by one")
    func unknownKeys() throws {
        let lines = (0..<20_000).map { "unknown\($0)=1\n" }.joined()
        #expect(try notes(lines).count == 20_000)
    }

    @Test("Only the last of thousands of the same setting counts, and each line before it is named")
    func repeated() throws {
        let lines = (1...20_000).map { "tickTime=\($0)\n" }.joined()
        #expect(try read(lines).sessions.tickTime == .milliseconds(20_000))
        #expect(try notes(lines).count == 19_999)
    }

    @Test("Thousands of keys of one family are settings of their own")
    func family() {
        let lines = (0..<20_000).map { "server.\($0)=nobody\n" }.joined()
        #expect(problems(lines).count >= 20_000)
    }

    @Test("A key as long as the file")
    func longKey() throws {
        #expect(try notes(String(repeating: "k", count: 900_000) + "=1\n").count == 1)
    }

    @Test("A value continued over a hundred thousand lines")
    func continued() throws {
        let value = String(repeating: "abcdef\\\n", count: 100_000)
        #expect(try read("dataLogDir=/" + value + "\n").storage.logDirectory.utf8.count == 600_001)
    }
}
