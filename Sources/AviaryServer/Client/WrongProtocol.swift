/// What a peer seems to speak whose first bytes are no ZooKeeper frame.
enum WrongProtocol: Hashable {
    case http, tls, http2, ssh, text, unknown

    init(_ bytes: Slice<UnsafeRawBufferPointer>) {
        let start = [UInt8](bytes.prefix(4))
        if start.starts(with: [0x16, 0x03]) {
            self = .tls
            return
        }
        let word = String(decoding: start, as: UTF8.self)
        switch word {
        case "GET ", "HEAD", "POST", "PUT ", "DELE", "OPTI", "PATC", "CONN", "TRAC": self = .http
        case "PRI ": self = .http2
        case "SSH-": self = .ssh
        default: self = start.allSatisfy { (0x20..<0x7f).contains($0) || $0 == 0x0a || $0 == 0x0d } ? .text : .unknown
        }
    }

    /// What happened and what to do about it, behind "closing a connection: ".
    var explanation: String {
        switch self {
        case .http, .http2:
            "it speaks HTTP, but this port is for ZooKeeper clients; correct the address in that browser, proxy or "
                + "health check (a health check can send the four letters ruok)"
        case .tls:
            "it speaks TLS, but this port is plain; let the client connect without TLS"
        case .ssh:
            "it speaks SSH, but this port is for ZooKeeper clients"
        case .text:
            "it sent text that is no four letter word, but this port is for ZooKeeper clients"
        case .unknown:
            "what it sent is not the ZooKeeper protocol"
        }
    }
}
