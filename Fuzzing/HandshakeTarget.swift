import AviaryCore
import ZooKeeperProtocol

/// What comes first on a connection, four-letter words among it, in any pieces, while another client holds a session
/// that it may try to take.
///
/// Input: a byte of options, then connections: a byte that says how the bytes come, two bytes of length, the bytes.
enum HandshakeTarget {
    static func run(_ bytes: UnsafeRawBufferPointer) {
        var input = FuzzInput(bytes)
        let flags = input.byte()
        let server = FuzzServer {
            $0.requiredAuthSchemes = flags & 1 != 0 ? ["digest"] : nil
            $0.digestAuthEnabled = flags & 2 == 0
            $0.handshakeTimeoutMilliseconds = 1000
        }
        defer { server.close() }
        let owner = server.connect(timeout: 40_000)
        var guests: [FuzzServer.Connection] = []
        while !input.isEmpty {
            let form = input.byte()
            var stream = [UInt8](input.bytes(input.length()))
            if form & 1 != 0 { frame(&stream) }
            if form & 2 != 0 { put(owner.session.rawValue, into: &stream, at: 20) }
            if form & 4 != 0, stream.count >= 48 { stream.replaceSubrange(32..<48, with: owner.password) }
            if form & 8 != 0 { server.isDiskHeld.toggle() }
            let guest = server.accept(form & 16 != 0 ? "::1" : "10.0.0.9")
            guests.append(guest)
            let piece = form & 32 != 0 ? 3 : 4096
            var offset = 0
            while offset < stream.count {
                let part = stream[offset..<min(offset + piece, stream.count)]
                part.withUnsafeBytes { server.receive($0, on: guest) }
                offset += piece
            }
            if form & 64 != 0 { server.advance(milliseconds: 600) }
            if form & 128 != 0 { server.disconnect(guest) }
        }
        server.settle()
        if owner.isClosed {
            let isTaken = guests.contains { $0.session == owner.session }
            expect(isTaken, "a client lost its connection, and nobody has its session")
        } else if flags & 1 == 0 {
            server.request(.ping, xid: -2, on: owner)
            expect(owner.lastReplyXid == -2, "the owner of a session is not answered")
        }
        server.replay()
        server.advance(milliseconds: 1500)
        for guest in guests where guest.session == .none {
            expect(guest.isClosed, "a connection without a session stays")
        }
        server.advance(milliseconds: 50_000)
        expect(server.core.sessionCount == 0, "\(server.core.sessionCount) sessions of nobody stay")
    }

    /// Gives the first frame the length that it has.
    private static func frame(_ stream: inout [UInt8]) {
        let length = UInt32(stream.count)
        stream.insert(contentsOf: withUnsafeBytes(of: length.bigEndian) { [UInt8]($0) }, at: 0)
    }

    private static func put(_ value: Int64, into stream: inout [UInt8], at offset: Int) {
        guard stream.count >= offset + 8 else { return }
        stream.replaceSubrange(offset..<offset + 8, with: withUnsafeBytes(of: value.bigEndian) { [UInt8]($0) })
    }
}
