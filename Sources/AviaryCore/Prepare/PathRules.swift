import ZooKeeperProtocol

/// Which paths a write takes (docs/protocol/client-protocol.md section 6).
enum PathRules {
    /// More components than anybody needs; every walk over ancestors is bounded by it.
    static let maxDepth = 2048

    /// The full check of a path that is to exist.
    static func isValid(_ path: UnsafeRawBufferPointer) -> Bool {
        guard path.count > 0, path[0] == UInt8(ascii: "/") else { return false }
        if path.count == 1 { return true }
        var depth = 0
        var start = 1
        var isASCII = true
        for index in 1...path.count {
            if index == path.count || path[index] == UInt8(ascii: "/") {
                let length = index - start
                if length == 0 { return false }
                if length == 1, path[start] == UInt8(ascii: ".") { return false }
                if length == 2, path[start] == UInt8(ascii: "."), path[start + 1] == UInt8(ascii: ".") { return false }
                depth += 1
                start = index + 1
            } else {
                let byte = path[index]
                if byte < 0x20 || byte == 0x7f { return false }
                if byte >= 0x80 { isASCII = false }
            }
        }
        return depth <= maxDepth && (isASCII || hasOnlyValidScalars(path))
    }

    /// Whether it is well-formed UTF-8 without the characters that paths must not have.
    private static func hasOnlyValidScalars(_ path: UnsafeRawBufferPointer) -> Bool {
        var decoder = Unicode.UTF8.ForwardParser()
        var iterator = path.makeIterator()
        while true {
            switch decoder.parseScalar(from: &iterator) {
            case .emptyInput: return true
            case .error: return false
            case .valid(let encoded):
                switch Unicode.UTF8.decode(encoded).value {
                case 0...0x1f, 0x7f...0x9f, 0xd800...0xf8ff, 0xfff0...0xffff, 0x10000...: return false
                default: break
                }
            }
        }
    }

    /// The cheap check before anything is looked up: has a '/', has no zero byte.
    static func isPlausible(_ path: UnsafeRawBufferPointer) -> Bool {
        path.contains(UInt8(ascii: "/")) && !path.contains(0)
    }

    /// Nodes that cannot be deleted.
    static func isSystemNode(_ path: [UInt8]) -> Bool {
        systemNodes.contains(path)
    }

    private static let systemNodes: [[UInt8]] = ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"].map {
        [UInt8]($0.utf8)
    }

    /// The part before the last '/': "" is the root.
    static func parent(of path: [UInt8]) -> [UInt8] {
        guard let slash = path.lastIndex(of: UInt8(ascii: "/")) else { return [] }
        return [UInt8](path[..<slash])
    }
}
