/// An address with an optional prefix length, as ip ACLs have it: `10.0.0.0/8`, `::1`.
struct AddressPattern {
    private let bytes: [UInt8]
    private let prefixBits: Int

    /// nil when it is neither IPv4 dotted quad nor IPv6, or the prefix is longer than the address.
    init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count <= 2, let first = parts.first, let bytes = AddressPattern.parse(first) else { return nil }
        self.bytes = bytes
        if parts.count == 2 {
            guard let bits = Int(parts[1]), bits >= 0, bits <= bytes.count * 8 else { return nil }
            prefixBits = bits
        } else {
            prefixBits = bytes.count * 8
        }
    }

    /// Equal under the mask, in the same family.
    func matches(_ address: String) -> Bool {
        guard let other = AddressPattern.parse(address[...]), other.count == bytes.count else { return false }
        var bits = prefixBits
        for index in bytes.indices where bits > 0 {
            let mask: UInt8 = bits >= 8 ? 0xff : ~(0xff >> UInt8(bits))
            if (bytes[index] ^ other[index]) & mask != 0 { return false }
            bits -= 8
        }
        return true
    }

    /// 4 or 16 bytes; nil when it is no address. A zone (`%eth0`) is left out; the IPv4-mapped form is refused.
    static func parse(_ text: Substring) -> [UInt8]? {
        text.contains(":") ? parseIPv6(text) : parseIPv4(text)
    }

    private static func parseIPv4(_ text: Substring) -> [UInt8]? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var bytes: [UInt8] = []
        for part in parts {
            guard part.utf8.count <= 3, !part.hasPrefix("+"), let value = UInt8(part) else { return nil }
            bytes.append(value)
        }
        return bytes
    }

    private static func parseIPv6(_ text: Substring) -> [UInt8]? {
        let address = text.prefix { $0 != "%" }
        var halves: [Substring] = [address]
        if let gap = address.firstRange(of: "::") {
            halves = [address[..<gap.lowerBound], address[gap.upperBound...]]
            guard halves[1].firstRange(of: "::") == nil else { return nil }
        }
        guard let head = groups(halves[0]) else { return nil }
        if halves.count == 1 { return head.count == 16 ? head : nil }
        guard let tail = groups(halves[1]), head.count + tail.count < 16 else { return nil }
        let bytes = head + [UInt8](repeating: 0, count: 16 - head.count - tail.count) + tail
        let isMapped = bytes[..<10].allSatisfy { $0 == 0 } && bytes[10] == 0xff && bytes[11] == 0xff
        return isMapped ? nil : bytes
    }

    private static func groups(_ text: Substring) -> [UInt8]? {
        if text.isEmpty { return [] }
        var bytes: [UInt8] = []
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        for (index, part) in parts.enumerated() {
            if index == parts.count - 1, part.contains(".") {
                guard let quad = parseIPv4(part) else { return nil }
                bytes += quad
            } else {
                guard part.utf8.count <= 4, !part.hasPrefix("+"), let value = UInt16(part, radix: 16) else { return nil }
                bytes += [UInt8(value >> 8), UInt8(value & 0xff)]
            }
        }
        return bytes.count <= 16 ? bytes : nil
    }
}
