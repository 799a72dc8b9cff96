import Testing

@testable import AviaryServer

@Suite("Properties files are read as Java reads them")
struct PropertiesFileTests {
    @Test(
        "A key ends at =, : or white space",
        arguments: [
            "dataDir=/data", "dataDir = /data", "dataDir:/data", "dataDir : /data", "dataDir /data", "dataDir\t/data",
            "  dataDir=/data", "dataDir=/data  ", "dataDir\u{0C}=\u{0C}/data", "data\\Dir=/da\\ta",
            "\u{FEFF}dataDir=/data",
            "\\u0064ataDir=\\u002fdata", "data\\\n    Dir=/\\\n    data",
        ]
    )
    func separators(text: String) {
        let expected = text.contains("\\ta") ? "/da\ta" : "/data"
        let lastLine = text.split(separator: "\n").count
        #expect(
            PropertiesFile(text).properties == [.init(key: "dataDir", value: expected, line: 1, lastLine: lastLine)]
        )
    }

    @Test("Only the first separator separates")
    func laterSeparators() {
        let file = PropertiesFile("server.1=zoo1:2888:3888;2181\nsuper:user:aGFzaA==\nempty=\nalone\n= value")
        #expect(
            file.properties == [
                .init(key: "server.1", value: "zoo1:2888:3888;2181", line: 1),
                .init(key: "super", value: "user:aGFzaA==", line: 2),
                .init(key: "empty", value: "", line: 3),
                .init(key: "alone", value: "", line: 4),
                .init(key: "", value: "value", line: 5),
            ]
        )
    }

    @Test("Comments and empty lines are skipped, and counted")
    func comments() {
        let file = PropertiesFile("# a=1\n\n   \t\n  ! b=2\n#c=3\\\nd=4 # not a comment\n")
        #expect(file.properties == [.init(key: "d", value: "4 # not a comment", line: 6)])
    }

    @Test("Lines end with LF, CR or both", arguments: ["a=1\nb=2\n", "a=1\rb=2\r", "a=1\r\nb=2\r\n", "a=1\nb=2"])
    func lineEnds(text: String) {
        #expect(
            PropertiesFile(text).properties == [
                .init(key: "a", value: "1", line: 1), .init(key: "b", value: "2", line: 2),
            ]
        )
    }

    @Test("A backslash at the end joins lines, two of them do not")
    func continuation() {
        let file = PropertiesFile("a=x,\\\r\n   y,\\\n\t# z\nb=1\\\\\nc=2\\\n\nd=3\ne=4\\")
        #expect(
            file.properties == [
                .init(key: "a", value: "x,y,# z", line: 1, lastLine: 3),
                .init(key: "b", value: "1\\", line: 4),
                .init(key: "c", value: "2", line: 5, lastLine: 6),
                .init(key: "d", value: "3", line: 7),
                .init(key: "e", value: "4", line: 8),
            ]
        )
    }

    @Test("Escapes are characters")
    func escapes() {
        let file = PropertiesFile("a\\=b\\:c\\ d=\\\\\\#\\!\\u00e4\\ud83d\\udc26ö")
        #expect(file.properties == [.init(key: "a=b:c d", value: "\\#!ä🐦ö", line: 1)])
    }

    @Test("A \\u without four hexadecimal digits is reported", arguments: ["\\u12", "\\u12g4", "\\u+123", "\\u"])
    func malformed(escape: String) {
        let file = PropertiesFile("a=1\nb=\(escape)\nc=3")
        #expect(file.properties.map(\.key) == ["a", "c"])
        #expect(file.malformed == [.init(line: 2, text: "b=\(escape)")])
    }
}
