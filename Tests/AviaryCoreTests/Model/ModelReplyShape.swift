import ZooKeeperProtocol

/// Where in a reply the order is free.
enum ModelReplyShape {
    case plain
    /// A list of names, then whatever follows.
    case names
    case multiRead

    /// The body with names sorted; nil when it cannot be read.
    func canonical(_ body: [UInt8]) -> [UInt8]? {
        body.withUnsafeBytes { bytes in
            var reader = JuteReader(bytes)
            var writer = JuteWriter()
            do {
                switch self {
                case .plain: return body
                case .names: try ModelReplyShape.sortNames(&reader, &writer)
                case .multiRead:
                    while reader.remaining > 0 {
                        let header = try MultiHeader(from: &reader)
                        MultiHeader.write(type: header.type, isDone: header.isDone, error: header.error, to: &writer)
                        if header.isDone { break }
                        switch header.type {
                        case 8: try ModelReplyShape.sortNames(&reader, &writer)
                        case 4:
                            writer.buffer(try reader.buffer())
                            try Stat(from: &reader).write(to: &writer)
                        default: writer.int32(try reader.int32())
                        }
                    }
                }
            } catch {
                return nil
            }
            writer.raw(reader.rest)
            return writer.copy()
        }
    }

    private static func sortNames(_ reader: inout JuteReader, _ writer: inout JuteWriter) throws(JuteError) {
        let count = try reader.vectorCount() ?? 0
        var names: [String] = []
        for _ in 0..<count { names.append(try reader.string() ?? "") }
        writer.int32(Int32(count))
        for name in names.sorted() { writer.string(name) }
    }
}
