import Testing

@testable import AviaryServer

@Suite("The text of a zoo.cfg whose members move to another file")
struct StaticFileTextTests {
    private func rewritten(
        _ text: String,
        erasesClientAddress: Bool = false,
        clientPort: Int? = nil,
        dynamicFile: String = "/c/zoo.cfg.dynamic.1a"
    ) throws -> String {
        let text = try StaticFileText(
            dynamicFile: dynamicFile,
            erasesClientAddress: erasesClientAddress,
            clientPort: clientPort
        ).rewritten(Array(text.utf8))
        return String(decoding: text.bytes, as: UTF8.self)
    }

    @Test("Comments, order, blank lines and everything that is no member stay")
    func rest() throws {
        let text = """
            # The ensemble of the archive
            tickTime=2000

            server.1=a:1:2
              server.2 : b:1:2
            ! an old comment
            zookeeper.server.3=c:1:2
            group.1=1:2:\\
                3
            weight.1=1
            peerType=participant
            dataDir=/data  # this is no comment
            clientPort=2181
            """
        #expect(
            try rewritten(text) == """
                # The ensemble of the archive
                tickTime=2000

                ! an old comment
                dataDir=/data  # this is no comment
                clientPort=2181
                dynamicConfigFile=/c/zoo.cfg.dynamic.1a

                """
        )
    }

    @Test("The line that points to the dynamic file stays where it is, once")
    func pointer() throws {
        let text = "dynamicConfigFile=/c/zoo.cfg.dynamic.1\ndataDir=/data\n"
        #expect(try rewritten(text) == "dynamicConfigFile=/c/zoo.cfg.dynamic.1a\ndataDir=/data\n")
        let twice = "dynamicConfigFile=x\na=b\ndynamicConfigFile=\\\n  y\nc=d"
        #expect(try rewritten(twice) == "a=b\ndynamicConfigFile=/c/zoo.cfg.dynamic.1a\nc=d")
    }

    @Test("The client port goes with the line that has it, and stays or comes where no line has")
    func clientPort() throws {
        let text = "clientPort=1\nclientPortAddress=a\nclientPortListenBacklog=5\nserver.1=a:1:2;1\n"
        let pointer = "dynamicConfigFile=/c/zoo.cfg.dynamic.1a\n"
        #expect(try rewritten(text, erasesClientAddress: true) == "clientPortListenBacklog=5\n" + pointer)
        #expect(try rewritten("clientPort=1\n", clientPort: 7) == "clientPort=1\n" + pointer)
        #expect(try rewritten("dataDir=/d", clientPort: 7) == "dataDir=/d\nclientPort=7\n" + pointer)
    }

    @Test("Lines end as they did, and a last one that asks to be continued is not continued")
    func ends() throws {
        #expect(try rewritten("a=b\r\nserver.1=a:1:2\r\n") == "a=b\r\ndynamicConfigFile=/c/zoo.cfg.dynamic.1a\r\n")
        let text = try rewritten("server.1=a:1:2\na=b\\")
        #expect(PropertiesFile(text).properties.map(\.key) == ["a", "dynamicConfigFile"])
    }

    @Test("The name of the file is read back as it is, in any encoding")
    func escapes() throws {
        let path = "/c/ä \\ 文件/𝄞.dynamic.1"
        let text = try rewritten("", dynamicFile: path)
        #expect(text.utf8.allSatisfy { $0 < 0x80 })
        #expect(PropertiesFile(text).properties.first?.value == path)
        let latin1: [UInt8] = Array("# k".utf8) + [0xE4] + Array("se\n".utf8)
        let file = StaticFileText(dynamicFile: path, erasesClientAddress: false, clientPort: nil)
        #expect(try file.rewritten(latin1).bytes.starts(with: latin1))
    }
}
