package import ZooKeeperProtocol

/// Every read returns what stands at the zxid of its reply: data, stat, children (P3, P5, P10).
package enum ReadCheck {
    package static func check(_ history: History, _ committed: CommittedHistory) throws(Violation) {
        for operation in history.operations where operation.request.isRead {
            guard let reply = operation.reply else { continue }
            try check(operation, reply, history, committed)
        }
    }

    private static func check(
        _ operation: History.Operation,
        _ reply: History.Reply,
        _ history: History,
        _ committed: CommittedHistory
    ) throws(Violation) {
        let request = operation.request
        let path: String
        switch request {
        case .getData(let read, _), .exists(let read, _), .getChildren(let read, _): path = read
        default: return
        }
        let node = committed.node(path, at: reply.zxid)
        switch reply.error {
        case .ok:
            guard let node else { throw Violation(.wrongReply, "\(path) was read at \(reply.zxid), but is not there") }
            switch reply.answer {
            case .stat(let stat):
                try check(stat, of: path, at: reply.zxid, committed)
            case .data(let data, let stat):
                guard data == node.data else { throw Violation(.wrongReply, "the data of \(path) at \(reply.zxid)") }
                try check(stat, of: path, at: reply.zxid, committed)
            case .children(let names, let stat):
                let expected = committed.children(of: path, at: reply.zxid)
                guard names.sorted() == expected else {
                    throw Violation(
                        .wrongReply,
                        "the children of \(path) at \(reply.zxid): \(names.sorted()), expected \(expected)"
                    )
                }
                try check(stat, of: path, at: reply.zxid, committed)
            case .nothing, .created, .multi:
                throw Violation(.wrongReply, "\(reply.answer) to \(request)")
            }
        case .noNode:
            guard node == nil else { throw Violation(.wrongReply, "\(path) is missing at \(reply.zxid)") }
        case .sessionMoved:
            break
        case .sessionExpired where committed.isOver(operation.session, by: history.times[reply.position]):
            break
        default:
            throw Violation(.falseError, "\(reply.error.rawValue) to \(request)")
        }
    }

    /// A stat is that of a node at a zxid.
    static func check(
        _ stat: Stat,
        of path: String,
        at zxid: Zxid,
        _ committed: CommittedHistory
    ) throws(Violation) {
        guard let node = committed.node(path, at: zxid) else {
            throw Violation(.wrongReply, "\(path) at \(zxid): \(stat), but it is not there")
        }
        guard node.shows(stat, childCount: committed.children(of: path, at: zxid).count) else {
            throw Violation(.wrongReply, "\(path) at \(zxid): \(stat), expected \(node.stat)")
        }
    }
}
