import Foundation
import Testing

/// The Swift sources of the repository, read once.
enum Sources {
    struct File: CustomTestStringConvertible {
        /// From the repository's root.
        let path: String
        let lines: [String]

        var testDescription: String { path }
    }

    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    static func files(below folder: String) -> [File] {
        let base = root.appendingPathComponent(folder)
        let names = (FileManager.default.enumerator(atPath: base.path)?.allObjects as? [String]) ?? []
        return names.filter { $0.hasSuffix(".swift") }.sorted().compactMap { name in
            guard let text = try? String(contentsOf: base.appendingPathComponent(name), encoding: .utf8) else {
                return nil
            }
            return File(path: folder + "/" + name, lines: text.components(separatedBy: "\n"))
        }
    }

    /// The lines of code: comments and what stands in string literals left out.
    static func code(_ file: File) -> [(number: Int, text: String)] {
        file.lines.enumerated().map { index, line in
            var text = line
            if let comment = text.range(of: "//") { text = String(text[..<comment.lowerBound]) }
            text = text.replacingOccurrences(of: #""([^"\\]|\\.)*""#, with: "\"\"", options: .regularExpression)
            return (index + 1, text)
        }
    }
}
