import ZooKeeperProtocol

/// What a learner has to know of a write before it hands it on: whether it can be read at all, since a leader answers
/// with a transaction or not at all, and whether it may make an ephemeral, for which a local session is not enough.
///
/// Nothing is copied and no value is judged: that is the leader's (docs/protocol/client-protocol.md section 8.2).
enum WriteForm {
    /// To be refused without a transaction.
    case undecodable
    case plain
    case makesEphemeral

    init(_ operation: Operation, _ reader: JuteReader) {
        var reader = reader
        do throws(JuteError) {
            switch operation {
            case .create, .create2, .createContainer, .createTTL:
                let create = try Create(operation, from: &reader)
                self = create.isEphemeral && operation != .createTTL ? .makesEphemeral : .plain
            case .delete:
                _ = try reader.buffer()
                _ = try reader.int32()
                self = .plain
            case .setData:
                _ = try reader.buffer()
                _ = try reader.buffer()
                _ = try reader.int32()
                self = .plain
            case .setACL:
                _ = try reader.buffer()
                _ = try WriteForm.skipACLs(&reader)
                _ = try reader.int32()
                self = .plain
            case .reconfig:
                for _ in 0..<3 { _ = try reader.buffer() }
                _ = try reader.int64()
                self = .plain
            case .multi:
                self = WriteForm.multi(&reader)
            case .exists, .getData, .getACL, .getChildren, .sync, .ping, .getChildren2, .check, .checkWatches,
                .removeWatches, .deleteContainer, .multiRead, .auth, .setWatches, .sasl, .getEphemerals,
                .getAllChildrenNumber, .setWatches2, .addWatch, .whoAmI, .createSession, .closeSession, .error:
                self = .plain
            }
        } catch {
            self = .undecodable
        }
    }

    private struct Create {
        var hasPath: Bool
        var hasACLs: Bool
        var flags: Int32
        var isContainer: Bool

        init(_ operation: Operation, from reader: inout JuteReader) throws(JuteError) {
            hasPath = try reader.buffer() != nil
            _ = try reader.buffer()
            hasACLs = try WriteForm.skipACLs(&reader)
            flags = try reader.int32()
            if operation == .createTTL { _ = try reader.int64() }
            isContainer = operation == .createContainer
        }

        var isEphemeral: Bool { (flags == 1 || flags == 3) && !isContainer }
    }

    /// - Returns: false when the vector is null.
    private static func skipACLs(_ reader: inout JuteReader) throws(JuteError) -> Bool {
        guard let count = try reader.vectorCount() else { return false }
        for _ in 0..<count {
            _ = try reader.int32()
            _ = try reader.buffer()
            _ = try reader.buffer()
        }
        return true
    }

    /// A list that cannot be read is refused by a transaction, except one with a null ACL vector
    /// (docs/protocol/client-protocol.md section 9).
    private static func multi(_ reader: inout JuteReader) -> WriteForm {
        var form = WriteForm.plain
        do throws(JuteError) {
            while true {
                let header = try MultiHeader(from: &reader)
                if header.isDone { return form }
                guard let operation = Operation(rawValue: header.type) else { return .plain }
                switch operation {
                case .create, .create2, .createContainer, .createTTL:
                    let create = try Create(operation, from: &reader)
                    if !create.hasACLs, operation != .createTTL { return .undecodable }
                    guard create.hasPath, operation == .createTTL || (0...4).contains(create.flags) else {
                        return .plain
                    }
                    if create.isEphemeral { form = .makesEphemeral }
                case .delete, .check:
                    guard try reader.buffer() != nil else { return .plain }
                    _ = try reader.int32()
                case .setData:
                    guard try reader.buffer() != nil else { return .plain }
                    _ = try reader.buffer()
                    _ = try reader.int32()
                case .exists, .getData, .getACL, .setACL, .getChildren, .sync, .ping, .getChildren2, .multi, .reconfig,
                    .checkWatches, .removeWatches, .deleteContainer, .multiRead, .auth, .setWatches, .sasl,
                    .getEphemerals, .getAllChildrenNumber, .setWatches2, .addWatch, .whoAmI, .createSession,
                    .closeSession, .error:
                    return .plain
                }
            }
        } catch {
            return .plain
        }
    }
}
