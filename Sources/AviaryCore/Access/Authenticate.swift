import ZooKeeperProtocol

/// addauth and sasl: handled as soon as they are read, before anything that waits
/// (docs/protocol/client-protocol.md sections 11.3 and 12).
extension ServerCore {
    mutating func authenticate(
        _ reader: inout JuteReader,
        _ xid: Int32,
        _ connection: ClientConnection,
        at now: Now,
        into output: inout Output
    ) {
        let scheme: String?
        let credentials: UnsafeRawBufferPointer?
        do {
            _ = try reader.int32()
            scheme = try reader.string()
            credentials = try reader.buffer()
        } catch {
            return close(connection.id, into: &output)
        }
        let outcome: AuthOutcome =
            switch scheme {
            case "digest": authenticateDigest(credentials, connection)
            case "ip": .accepted
            case "ensemble": authenticateEnsemble(credentials)
            default: .refused
            }
        switch outcome {
        case .accepted:
            let start = output.beginReply(xid: xid, zxid: .zero)
            statistics.replied(bytes: output.endFrame(start, to: connection.id))
            connection.statistics.sent += 1
        case .refused:
            statistics.authFailures += 1
            output.note(
                .warning,
                "authentication refused",
                [
                    ("peer", connection.peer.text), ("scheme", String((scheme ?? "null").prefix(32))),
                    ("session", connection.sessionID.description),
                ],
                isLimited: true
            )
            refuseAndClose(.authFailed, zxid: .zero, xid, connection, into: &output)
        case .closed:
            statistics.authFailures += 1
            close(connection.id, into: &output)
        }
    }

    private enum AuthOutcome {
        case accepted, refused, closed
    }

    private func authenticateDigest(
        _ credentials: UnsafeRawBufferPointer?,
        _ connection: ClientConnection
    ) -> AuthOutcome {
        guard options.digestAuthEnabled, let credentials else { return .refused }
        let userEnd = credentials.firstIndex(of: UInt8(ascii: ":")) ?? credentials.count
        let user = String(decoding: UnsafeRawBufferPointer(rebasing: credentials[..<userEnd]), as: UTF8.self)
        let id = user + ":" + Base64.encode(options.passwordDigest(credentials))
        let superuser = Identity(scheme: "super", id: "")
        let known = id == options.superDigest ? connection.identities.adding(superuser) : connection.identities
        guard let identities = known?.adding(Identity(scheme: "digest", id: id)) else { return .refused }
        connection.identities = identities
        if let required = options.requiredAuthSchemes, required.contains("digest") { connection.isAuthenticated = true }
        return .accepted
    }

    private mutating func authenticateEnsemble(_ credentials: UnsafeRawBufferPointer?) -> AuthOutcome {
        guard let ensemble = options.ensembleAuth else { return .refused }
        let name = credentials.map { String(decoding: $0, as: UTF8.self) } ?? ""
        if name.isEmpty || ensemble.names.isEmpty {
            statistics.ensembleAuthSkip += 1
            return .accepted
        }
        if ensemble.names.contains(name) {
            statistics.ensembleAuthSuccess += 1
            return .accepted
        }
        statistics.ensembleAuthFail += 1
        return .closed
    }

    /// No SASL is configured: an answer without a token, which clients take for "not offered".
    mutating func answerSASL(
        _ reader: inout JuteReader,
        _ xid: Int32,
        _ connection: ClientConnection,
        at now: Now,
        into output: inout Output
    ) {
        guard let token = try? reader.buffer(), token.count >= 0 else { return close(connection.id, into: &output) }
        let start = output.beginReply(xid: xid, zxid: .zero)
        output.clientBytes.int32(-1)
        statistics.replied(bytes: output.endFrame(start, to: connection.id))
        connection.statistics.sent += 1
    }
}

/// Base64 with padding, as digest ids have it.
enum Base64 {
    private static let alphabet = [UInt8]("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    static func encode(_ bytes: [UInt8]) -> String {
        var text: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = bytes[start..<min(start + 3, bytes.count)]
            var value = 0
            for index in 0..<3 { value = value << 8 | (index < group.count ? Int(group[start + index]) : 0) }
            for index in 0..<4 {
                text.append(
                    index <= group.count ? alphabet[(value >> (18 - 6 * index)) & 63] : UInt8(ascii: "=")
                )
            }
        }
        return String(decoding: text, as: UTF8.self)
    }
}
