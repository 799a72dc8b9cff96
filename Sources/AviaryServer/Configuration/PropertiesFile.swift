/// A properties file as Java reads it: the form of `zoo.cfg` and of dynamic configuration files.
///
/// Keys end at the first `=`, `:` or white space; `#` and `!` begin a comment; a backslash at the end of a line joins
/// it with the next one; `\t`, `\n`, `\r`, `\f` and `\uXXXX` are characters, and a backslash before anything else
/// vanishes. One difference: the text is UTF-8, where Java assumes Latin-1.
///
/// - Source: `docs/protocol/quorum-protocol.md` section 2.1; the rules of `java.util.Properties.load`.
package struct PropertiesFile: Sendable, Equatable {
    package struct Property: Sendable, Equatable {
        package var key: String
        /// Without white space around it, as ZooKeeper takes it.
        package var value: String
        /// The line that the property begins on; the first is 1.
        package var line: Int
        /// The line that it ends on: a later one where lines are joined.
        package var lastLine: Int

        /// - Parameter lastLine: `line` unless it is given.
        package init(key: String, value: String, line: Int, lastLine: Int? = nil) {
            self.key = key
            self.value = value
            self.line = line
            self.lastLine = lastLine ?? line
        }
    }

    /// A line that Java would refuse.
    package struct Malformed: Sendable, Equatable {
        package var line: Int
        package var text: String
    }

    /// In the order of the file, a repeated key as often as it is there.
    package private(set) var properties: [Property] = []
    package private(set) var malformed: [Malformed] = []

    package init(_ text: String) {
        for line in LogicalLine.split(text) {
            var scanner = PropertyScanner(line.scalars)
            guard let (key, value) = scanner.scan() else {
                malformed.append(Malformed(line: line.number, text: String(line.scalars)))
                continue
            }
            properties.append(
                Property(key: key.trimmed, value: value.trimmed, line: line.number, lastLine: line.lastNumber)
            )
        }
    }
}

/// A line after comments and empty lines are gone and continued lines are joined; escapes are still in it.
private struct LogicalLine {
    var number: Int
    var lastNumber: Int
    var scalars = String.UnicodeScalarView()

    static func split(_ text: String) -> [LogicalLine] {
        var lines: [LogicalLine] = []
        var open: LogicalLine?
        for (index, natural) in naturalLines(of: text).enumerated() {
            let content = natural.drop(while: \.isPropertyWhiteSpace)
            // A continued line may begin with what would otherwise make it a comment, and may be empty.
            if open == nil, content.isEmpty || content.first == "#" || content.first == "!" { continue }
            var line = open ?? LogicalLine(number: index + 1, lastNumber: index + 1)
            line.lastNumber = index + 1
            // The only reference: adding to a line that goes on and on must not copy it each time.
            open = nil
            let backslashes = content.reversed().prefix { $0 == "\\" }.count
            if backslashes % 2 == 1 {
                line.scalars.append(contentsOf: content.dropLast())
                open = line
            } else {
                line.scalars.append(contentsOf: content)
                lines.append(line)
            }
        }
        if let open, !open.scalars.isEmpty { lines.append(open) }
        return lines
    }

    /// The text cut at `\n`, `\r` and `\r\n`, without a byte order mark.
    private static func naturalLines(of text: String) -> [String.UnicodeScalarView.SubSequence] {
        let scalars = text.unicodeScalars
        var lines: [String.UnicodeScalarView.SubSequence] = []
        var start = scalars.first == "\u{FEFF}" ? scalars.index(after: scalars.startIndex) : scalars.startIndex
        var position = start
        while position < scalars.endIndex {
            let scalar = scalars[position]
            let next = scalars.index(after: position)
            guard scalar == "\n" || scalar == "\r" else {
                position = next
                continue
            }
            lines.append(scalars[start..<position])
            let isPair = scalar == "\r" && next < scalars.endIndex && scalars[next] == "\n"
            position = isPair ? scalars.index(after: next) : next
            start = position
        }
        lines.append(scalars[start...])
        return lines
    }
}

/// Takes one logical line apart.
private struct PropertyScanner {
    private var rest: String.UnicodeScalarView.SubSequence

    init(_ line: String.UnicodeScalarView) {
        rest = line[...]
    }

    /// Key and value without escapes, or `nil` for a `\u` without four hex digits.
    mutating func scan() -> (key: String, value: String)? {
        guard let key = text(until: { $0 == "=" || $0 == ":" || $0.isPropertyWhiteSpace }) else { return nil }
        rest = rest.drop(while: \.isPropertyWhiteSpace)
        if rest.first == "=" || rest.first == ":" {
            rest = rest.dropFirst().drop(while: \.isPropertyWhiteSpace)
        }
        guard let value = text(until: { _ in false }) else { return nil }
        return (key, value)
    }

    private mutating func text(until isEnd: (Unicode.Scalar) -> Bool) -> String? {
        // In UTF-16, because `\uXXXX` names a code unit and two of them may make one character.
        var units: [UInt16] = []
        while let scalar = rest.first, !isEnd(scalar) {
            rest = rest.dropFirst()
            guard scalar == "\\" else {
                units.append(contentsOf: String(scalar).utf16)
                continue
            }
            guard let escaped = rest.first else { break }
            rest = rest.dropFirst()
            switch escaped {
            case "t": units.append(0x09)
            case "n": units.append(0x0A)
            case "f": units.append(0x0C)
            case "r": units.append(0x0D)
            case "u":
                let digits = String(String.UnicodeScalarView(rest.prefix(4)))
                guard digits.utf8.count == 4, digits.utf8.allSatisfy(\.isHexDigit), let unit = UInt16(digits, radix: 16)
                else { return nil }
                rest = rest.dropFirst(4)
                units.append(unit)
            default: units.append(contentsOf: String(escaped).utf16)
            }
        }
        return String(decoding: units, as: UTF16.self)
    }
}

extension Unicode.Scalar {
    fileprivate var isPropertyWhiteSpace: Bool { self == " " || self == "\t" || self == "\u{0C}" }
}

extension UInt8 {
    fileprivate var isHexDigit: Bool {
        switch self {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"),
            UInt8(ascii: "A")...UInt8(ascii: "F"):
            true
        default: false
        }
    }
}

extension StringProtocol {
    /// Without the control characters and spaces around it: what Java's `String.trim` removes.
    var trimmed: String {
        let isSpace = { (scalar: Unicode.Scalar) in scalar.value <= 0x20 }
        let scalars = unicodeScalars.drop(while: isSpace)
        guard let last = scalars.lastIndex(where: { !isSpace($0) }) else { return "" }
        return String(String.UnicodeScalarView(scalars[...last]))
    }
}
