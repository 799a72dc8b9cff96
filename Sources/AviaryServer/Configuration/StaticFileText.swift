/// What becomes of a `zoo.cfg` when the members move to a dynamic file: lines go, one points to that file, and everything
/// else stays as it was, comments and order included.
///
/// - Source: `docs/protocol/quorum-protocol.md` section 2.6.
struct StaticFileText {
    /// The file that `dynamicConfigFile` is to name.
    var dynamicFile: String
    /// The client port of this server is in its `server.N` line, and would contradict this file some day.
    var erasesClientAddress: Bool
    /// The client port of this server, for a file that would be left without one.
    var clientPort: Int?

    /// - Parameter bytes: in any encoding that `ConfigurationFile` reads; it stays the same.
    /// - Returns: the new text, and whether the old one had no dynamic file.
    func rewritten(_ bytes: [UInt8]) throws(UnreadableFile) -> (bytes: [UInt8], isFirst: Bool) {
        let file = PropertiesFile(try ConfigurationFile.text(of: bytes[...]))
        var gone: Set<Int> = []
        var pointer: Int?
        var hasClientPort = false
        for property in file.properties {
            let key = Self.bare(property.key)
            if key == "clientPort", !erasesClientAddress { hasClientPort = true }
            guard isReplaced(key) else { continue }
            gone.formUnion(property.line...property.lastLine)
            if key == "dynamicConfigFile" { pointer = property.line }
        }
        let lines = Self.lines(of: bytes)
        let ending: [UInt8] = lines.first?.suffix(2).elementsEqual([13, 10]) == true ? [13, 10] : [10]
        let pointerLine = Array("dynamicConfigFile=\(Self.escaped(dynamicFile))".utf8) + ending
        var result: [UInt8] = []
        for (index, line) in lines.enumerated() {
            if index + 1 == pointer { result += pointerLine }
            if !gone.contains(index + 1) { result += line }
        }
        if let clientPort, !hasClientPort {
            Self.endLine(&result, ending)
            result += Array("clientPort=\(clientPort)".utf8) + ending
        }
        if pointer == nil {
            Self.endLine(&result, ending)
            result += pointerLine
        }
        return (result, pointer == nil)
    }

    private func isReplaced(_ key: String) -> Bool {
        switch key {
        case "dynamicConfigFile", "peerType": true
        case "clientPort", "clientPortAddress": erasesClientAddress
        default: ["server.", "group.", "weight."].contains { key.hasPrefix($0) }
        }
    }

    private static func bare(_ key: String) -> String {
        key.hasPrefix(KeyTable.prefix) ? String(key.dropFirst(KeyTable.prefix.count)) : key
    }

    /// The lines with what ends them, counted as `PropertiesFile` does.
    private static func lines(of bytes: [UInt8]) -> [ArraySlice<UInt8>] {
        var lines: [ArraySlice<UInt8>] = []
        var start = 0
        var position = 0
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
            guard byte == 10 || byte == 13 else { continue }
            if byte == 13, position < bytes.count, bytes[position] == 10 { position += 1 }
            lines.append(bytes[start..<position])
            start = position
        }
        if start < bytes.count { lines.append(bytes[start...]) }
        return lines
    }

    /// What follows shall be a line of its own, also behind one that asks to be continued.
    private static func endLine(_ bytes: inout [UInt8], _ ending: [UInt8]) {
        guard let last = bytes.last else { return }
        if last != 10, last != 13 {
            bytes += ending
        }
        let content = bytes.reversed().drop { $0 == 10 || $0 == 13 }
        if content.prefix(while: { $0 == UInt8(ascii: "\\") }).count % 2 == 1 { bytes += ending }
    }

    /// As a value that Java reads back, whatever encoding the file has.
    private static func escaped(_ path: String) -> String {
        path.utf16.reduce(into: "") { text, unit in
            switch unit {
            case 0x5C: text += "\\\\"
            case 0x20...0x7E: text.unicodeScalars.append(Unicode.Scalar(UInt8(unit)))
            default:
                let digits = String(unit, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            }
        }
    }
}
