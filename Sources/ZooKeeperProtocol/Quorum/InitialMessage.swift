/// The first bytes on an election connection, from the side that opened it (docs/protocol/quorum-protocol.md section 4).
///
/// To be sent in one write: Apache reads the addresses with a single call and gives up if they are not all there.
package struct InitialMessage: Hashable, Sendable {
    @frozen
    package enum Form: Hashable, Sendable {
        /// Servers before 3.5: the id alone.
        case serverIDAlone
        /// −65536: the id and an address.
        case v1
        /// −65535: the id and one or more addresses.
        case v2

        static let v1Number: Int64 = -65536
        static let v2Number: Int64 = -65535
    }

    /// Where the sender is listening for election connections.
    package struct Address: Hashable, Sendable {
        /// Without brackets.
        package var host: String
        package var port: Int

        package init(host: String, port: Int) {
            self.host = host
            self.port = port
        }
    }

    package var form: Form
    /// `Int64.max` is an observer of old without an id of its own: its receiver gives it a negative one.
    package var server: ServerID
    /// As sent, wildcards among them.
    package var addresses: [Address]

    package static let maxAddressBytes = 2048

    /// The most bytes that `parse` needs to see.
    package static let maximumSize = 20 + maxAddressBytes

    package init(form: Form, server: ServerID, addresses: [Address] = []) {
        self.form = form
        self.server = server
        self.addresses = addresses
    }

    /// Where the sender can be reached: a wildcard says nothing.
    package var reachableAddresses: [Address] {
        addresses.filter { !HostText.isWildcard($0.host) }
    }

    /// Takes the message from the front of what a new connection received.
    ///
    /// - Returns: the message and how many bytes it took; nil when it is not complete.
    /// - Throws: `JuteError` for what ends the connection: an unknown version, a length outside 1...2048, a malformed
    ///   address.
    package static func parse(
        _ bytes: UnsafeRawBufferPointer
    ) throws(JuteError) -> (message: InitialMessage, size: Int)? {
        var reader = JuteReader(bytes, maxBufferBytes: maxAddressBytes)
        guard reader.remaining >= 8 else { return nil }
        let number = try reader.int64()
        if number >= 0 { return (InitialMessage(form: .serverIDAlone, server: ServerID(number)), 8) }
        guard number == Form.v1Number || number == Form.v2Number else { throw .badValue(number) }
        guard reader.remaining >= 12 else { return nil }
        let server = ServerID(try reader.int64())
        let length = try reader.int32()
        guard length >= 1, length <= maxAddressBytes else { throw .badLength(length) }
        guard reader.remaining >= Int(length) else { return nil }
        let text = UnsafeRawBufferPointer(rebasing: reader.rest.prefix(Int(length)))
        let message = InitialMessage(
            form: number == Form.v1Number ? .v1 : .v2,
            server: server,
            addresses: try addresses(text)
        )
        return (message, 20 + Int(length))
    }

    private static func addresses(_ bytes: UnsafeRawBufferPointer) throws(JuteError) -> [Address] {
        let text = String(decoding: bytes, as: UTF8.self)
        var addresses: [Address] = []
        for part in text.split(separator: "|", omittingEmptySubsequences: false) {
            guard let (host, rest) = HostText.split(part), rest.count == 1, let port = HostText.port(rest[0]) else {
                throw .badText(HostText.shown(text))
            }
            addresses.append(Address(host: host, port: port))
        }
        return addresses
    }

    /// - Precondition: `addresses` are one or more and shorter than `maxAddressBytes`, except with `.serverIDAlone`.
    package func write(to writer: inout JuteWriter) {
        switch form {
        case .serverIDAlone: return writer.int64(server.rawValue)
        case .v1: writer.int64(Form.v1Number)
        case .v2: writer.int64(Form.v2Number)
        }
        writer.int64(server.rawValue)
        writer.string(addresses.map { HostText.bracketed($0.host) + ":\($0.port)" }.joined(separator: "|"))
    }
}
