import Foundation
import Testing

@testable import AviaryServer

@Suite("docs/configuration.md says what the table says")
struct ConfigurationDocumentationTests {
    /// The document, cut at its headings of the second level.
    private let sections: [String: String]

    init() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        let text = try String(contentsOf: root.appending(path: "docs/configuration.md"), encoding: .utf8)
        var sections: [String: String] = [:]
        for section in text.components(separatedBy: "\n## ").dropFirst() {
            let heading = String(section.prefix { $0 != "\n" })
            sections[heading] = section
        }
        self.sections = sections
    }

    @Test("Every key stands under the heading of what becomes of it", arguments: KeyTable.all.map(\.name))
    func everyKey(name: String) throws {
        let key = try #require(KeyTable.all.first { $0.name == name })
        let heading =
            switch key.status {
            case .honoured: "Keys with effect"
            case .withoutEffect: "Keys that are accepted without effect"
            case .refused: "Keys that are refused"
            }
        let section = try #require(sections[heading])
        for name in [key.name] + key.documentedNames {
            let shown = key.isFamily ? ["`\(name)N`", "`\(name)…`"] : ["`\(name)`"]
            #expect(shown.contains { section.contains($0) }, "\(name) is missing under \(heading)")
        }
    }
}
