internal import AviaryCore
internal import NIOCore

/// The other end of a client's connection.
struct Peer: CustomStringConvertible {
    /// The address as Apache prints it: IPv6 with all its groups, IPv4 also where it came in over an IPv6 socket.
    let text: String
    let port: Int
    /// For counting connections by address.
    let key: AddressKey

    /// Sixteen bytes; IPv4 in the form that IPv6 has for it.
    struct AddressKey: Hashable {
        let high: UInt64
        let low: UInt64
    }

    /// nil for what is no internet address.
    init?(_ address: SocketAddress) {
        guard let port = address.port else { return nil }
        // The fields of C's socket addresses, which lie at the same places on all systems.
        let raw = address.withSockAddr { address, size in
            [UInt8](UnsafeRawBufferPointer(start: address, count: size))
        }
        switch address.protocol {
        case .inet where raw.count >= 8:
            self.init(ipv4: raw[4..<8], port: port)
        case .inet6 where raw.count >= 28:
            let bytes = [UInt8](raw[8..<24])
            if bytes.starts(with: Peer.mappedPrefix) {
                self.init(ipv4: bytes[12...], port: port)
            } else {
                let scope = raw.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: 24, as: UInt32.self) }
                self.init(ipv6: bytes, scope: scope, port: port)
            }
        default:
            return nil
        }
    }

    /// How IPv6 writes an IPv4 address.
    private static let mappedPrefix: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]

    private init(ipv4 bytes: ArraySlice<UInt8>, port: Int) {
        text = bytes.map { "\($0)" }.joined(separator: ".")
        self.port = port
        key = AddressKey(high: 0, low: bytes.reduce(0xffff) { $0 << 8 | UInt64($1) })
    }

    private init(ipv6 bytes: [UInt8], scope: UInt32, port: Int) {
        let groups = stride(from: 0, to: 16, by: 2).map { Int(bytes[$0]) << 8 | Int(bytes[$0 + 1]) }
        let address = groups.map { String($0, radix: 16) }.joined(separator: ":")
        text = scope == 0 ? address : "\(address)%\(scope)"
        self.port = port
        key = AddressKey(
            high: bytes[..<8].reduce(0) { $0 << 8 | UInt64($1) },
            low: bytes[8...].reduce(0) { $0 << 8 | UInt64($1) }
        )
    }

    var address: PeerAddress { PeerAddress(text: text, port: port) }

    /// With the port; brackets keep the colons of IPv6 apart from it.
    var description: String { Peer.join(text, port) }

    static func join(_ address: String, _ port: Int) -> String {
        address.contains(":") ? "[\(address)]:\(port)" : "\(address):\(port)"
    }
}
