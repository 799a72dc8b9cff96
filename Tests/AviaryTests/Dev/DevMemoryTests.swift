import Testing

@testable import aviary

@Suite("Files of an earlier `aviary dev`")
struct DevMemoryTests {
    private let plan = DevPlan(
        directory: "/d",
        ports: [
            .init(client: 101, quorum: 111, election: 121), .init(client: 102, quorum: 112, election: 122),
            .init(client: 103, quorum: 113, election: 123),
        ],
        settings: [("reconfigEnabled", "true")]
    )

    private var files: [String: String] {
        var files: [String: String] = [:]
        for number in plan.numbers { files["\(number).cfg"] = DevConfiguration.text(of: number, in: plan) }
        return files
    }

    /// As servers leave it behind when the members move to a file of their own.
    private func moved(_ files: [String: String], version: String, _ members: String) -> [String: String] {
        var files = files
        for number in plan.numbers {
            let text = files["\(number).cfg"] ?? ""
            files["\(number).cfg.bak"] = text
            let rest = text.split(separator: "\n").filter { !$0.hasPrefix("server.") }
            let name = "\(number).cfg.dynamic.\(version)"
            files["\(number).cfg"] = rest.joined(separator: "\n") + "\ndynamicConfigFile=/d/\(name)\n"
            files[name] = members
        }
        return files
    }

    private func memory(_ files: [String: String], count: Int = 3, isReconfigEnabled: Bool = true) -> DevMemory {
        DevMemory(count: count, isReconfigEnabled: isReconfigEnabled, names: Array(files.keys)) { files[$0] }
    }

    private let members = """
        server.1=127.0.0.1:111:121:participant
        server.2=127.0.0.1:112:122:participant
        server.3=127.0.0.1:113:123:participant
        """

    @Test("Ports are read from the files that `aviary dev` wrote")
    func untouched() {
        let memory = memory(files)
        #expect(memory.ports == plan.ports)
        #expect(!memory.hasFixedMembers)
    }

    @Test("Ports are known when the members have moved to another file, and have to stay", arguments: [true, false])
    func membersMoved(isReconfigEnabled: Bool) {
        let memory = memory(moved(files, version: "100000000", members), isReconfigEnabled: isReconfigEnabled)
        #expect(memory.ports == plan.ports)
        #expect(memory.hasFixedMembers == isReconfigEnabled)
        #expect(memory.fixedClients == [])
    }

    @Test("The newest file of any server counts, and who was removed is found where it was before")
    func reconfigured() {
        var files = moved(files, version: "f00000000", members)
        files["1.cfg.dynamic.1000000001"] = """
            server.1=127.0.0.1:111:121:participant
            server.2=127.0.0.1:212:222:participant;127.0.0.1:202
            """
        files["2.cfg"] = files["2.cfg"]?.replacing("clientPort=102\n", with: "")
        let memory = memory(files)
        #expect(memory.ports?[0] == plan.ports[0])
        #expect(memory.ports?[1] == .init(client: 202, quorum: 212, election: 222))
        #expect(memory.ports?[2] == plan.ports[2])
        #expect(memory.fixedClients == [2])
    }

    @Test("A port that is nowhere is not made up")
    func unknown() {
        var files = files
        files["2.cfg"] = "clientPort=2181\n"
        #expect(memory(files).ports == nil)
        #expect(memory([:], count: 0).ports == nil)
        #expect(memory(["1.cfg": "clientPort=2181\n"], count: 1).ports == [.init(client: 2181)])
    }

    @Test("A file is of `aviary dev` by its first line, also when a reconfiguration rewrote the rest")
    func ownership() {
        let text = files["2.cfg"] ?? ""
        #expect(DevConfiguration.isOwn(text, of: 2))
        #expect(DevConfiguration.isOwn(moved(files, version: "1", members)["2.cfg"] ?? "", of: 2))
        #expect(!DevConfiguration.isOwn(text, of: 1))
        #expect(!DevConfiguration.isOwn("tickTime=2000\n" + text, of: 2))
        #expect(!DevConfiguration.isOwn("# Server 2 of 3\n", of: 2))
        #expect(!DevConfiguration.isOwn("", of: 2))
    }
}
