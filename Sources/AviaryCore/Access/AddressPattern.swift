/// An address with an optional prefix length, as ip ACLs have it: `10.0.0.0/8`, `::1`.
///
/// Parsed at every check rather than kept: it costs less than a look at another node, and allocates nothing.
struct AddressPattern {
    private let address: Address
    private let prefixBits: Int

    /// nil when it is neither IPv4 dotted quad nor IPv6, or the prefix is longer than the address.
    init?(_ text: String) {
        var text = text
        let parsed = text.withUTF8 { bytes -> (Address, Int)? in
            let slash = bytes.firstIndex(of: UInt8(ascii: "/")) ?? bytes.count
            guard let address = Address(bytes[..<slash]) else { return nil }
            guard slash < bytes.count else { return (address, address.bitCount) }
            guard let bits = Address.number(bytes[(slash + 1)...], maxDigits: 3, radix: 10), bits <= address.bitCount
            else { return nil }
            return (address, bits)
        }
        guard let parsed else { return nil }
        (address, prefixBits) = parsed
    }

    /// Equal under the mask, in the same family.
    func matches(_ other: Address) -> Bool {
        guard other.isIPv6 == address.isIPv6 else { return false }
        // An IPv4 address stands in the upper bits, so that prefixes count alike.
        let different = (high: address.high ^ other.high, low: address.low ^ other.low)
        if prefixBits == 0 { return true }
        if prefixBits <= 64 { return different.high >> UInt64(64 - prefixBits) == 0 }
        return different.high == 0 && different.low >> UInt64(128 - prefixBits) == 0
    }
}

/// An IPv4 or IPv6 address.
struct Address: Equatable, Sendable {
    /// The upper 64 bits; an IPv4 address is in the upper half of them.
    fileprivate let high: UInt64
    fileprivate let low: UInt64
    fileprivate let isIPv6: Bool

    fileprivate var bitCount: Int { isIPv6 ? 128 : 32 }

    init?(_ text: String) {
        var text = text
        guard let address = text.withUTF8({ Address($0[...]) }) else { return nil }
        self = address
    }

    /// nil when it is no address. A zone (`%eth0`) is left out; the IPv4-mapped form is refused.
    fileprivate init?(_ text: Slice<UnsafeBufferPointer<UInt8>>) {
        if let quad = Address.quad(text) {
            self.init(high: UInt64(quad) << 32, low: 0, isIPv6: false)
        } else if let (high, low) = Address.groups(text.prefix { $0 != UInt8(ascii: "%") }) {
            guard high != 0 || low >> 32 != 0xffff else { return nil }
            self.init(high: high, low: low, isIPv6: true)
        } else {
            return nil
        }
    }

    private init(high: UInt64, low: UInt64, isIPv6: Bool) {
        self.high = high
        self.low = low
        self.isIPv6 = isIPv6
    }

    /// A dotted quad.
    private static func quad(_ text: Slice<UnsafeBufferPointer<UInt8>>) -> UInt32? {
        var value: UInt32 = 0
        var rest = text
        for index in 0..<4 {
            let end = rest.firstIndex(of: UInt8(ascii: ".")) ?? rest.endIndex
            guard (end == rest.endIndex) == (index == 3),
                let part = number(rest[..<end], maxDigits: 3, radix: 10), part <= 255
            else { return nil }
            value = value << 8 | UInt32(part)
            rest = end == rest.endIndex ? rest[end...] : rest[(end + 1)...]
        }
        return value
    }

    /// Up to eight groups of hexadecimal digits, of which a run of zeros may be left out once, and of which the last two
    /// may be a dotted quad.
    private static func groups(_ text: Slice<UnsafeBufferPointer<UInt8>>) -> (high: UInt64, low: UInt64)? {
        var groups = InlineArray<8, UInt64>(repeating: 0)
        var count = 0
        var gap: Int?
        var rest = text
        if rest.starts(with: "::".utf8) {
            gap = 0
            rest = rest.dropFirst(2)
        }
        while !rest.isEmpty {
            let end = rest.firstIndex(of: UInt8(ascii: ":")) ?? rest.endIndex
            if end == rest.endIndex, count <= 6, let quad = quad(rest) {
                groups[count] = UInt64(quad >> 16)
                groups[count + 1] = UInt64(quad & 0xffff)
                count += 2
                break
            }
            guard count < 8, let group = number(rest[..<end], maxDigits: 4, radix: 16) else { return nil }
            groups[count] = UInt64(group)
            count += 1
            guard end < rest.endIndex else { break }
            rest = rest[(end + 1)...]
            if rest.first == UInt8(ascii: ":") {
                guard gap == nil else { return nil }
                gap = count
                rest = rest.dropFirst()
            } else if rest.isEmpty {
                return nil
            }
        }
        guard gap == nil ? count == 8 : count < 8 else { return nil }
        var value = (high: UInt64(0), low: UInt64(0))
        let missing = 8 - count
        for position in 0..<8 {
            let isBehindGap = position >= (gap ?? 8) + missing
            let isInGap = position >= gap ?? 8 && !isBehindGap
            let group = isInGap ? 0 : groups[isBehindGap ? position - missing : position]
            if position < 4 { value.high = value.high << 16 | group } else { value.low = value.low << 16 | group }
        }
        return value
    }

    /// Digits and nothing else.
    fileprivate static func number(_ text: Slice<UnsafeBufferPointer<UInt8>>, maxDigits: Int, radix: Int) -> Int? {
        guard !text.isEmpty, text.count <= maxDigits else { return nil }
        var value = 0
        for byte in text {
            let digit: Int
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = Int(byte) - 48
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = Int(byte) - 87
            case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = Int(byte) - 55
            default: return nil
            }
            guard digit < radix else { return nil }
            value = value * radix + digit
        }
        return value
    }
}
