/// What a server says of itself when it is asked `srvr`.
enum Standing: Equatable {
    /// Nobody listens on its port.
    case away
    /// It takes the question and does not answer.
    case hung
    /// It answers, and serves nobody: it looks for a leader.
    case looking
    case serving(Role, epoch: UInt64)

    enum Role: String {
        case standalone, leader, follower, observer
    }

    /// - Parameter answer: the whole answer, or nothing from a server that closed at once.
    init(answer: String) {
        self = answer.isEmpty ? .away : .looking
        var role: Role?
        var zxid: UInt64 = 0
        for line in answer.split(separator: "\n") {
            if line.hasPrefix("Mode: ") { role = Role(rawValue: String(line.dropFirst(6))) }
            if line.hasPrefix("Zxid: 0x") { zxid = UInt64(line.dropFirst(8), radix: 16) ?? 0 }
        }
        // The upper half of a zxid is the epoch, and a leader's is of its own epoch from the start.
        if let role { self = .serving(role, epoch: zxid >> 32) }
    }

    var role: Role? {
        guard case .serving(let role, _) = self else { return nil }
        return role
    }

    var isServing: Bool { role != nil }
}
