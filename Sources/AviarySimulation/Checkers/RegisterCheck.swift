internal import ZooKeeperProtocol

/// Each znode is a register with compare-and-set, from what clients saw alone: nothing of this knows what servers did.
///
/// Replies carry zxids, so the order of writes is given, and it is enough that everybody's answers fit into it: a version
/// has one content, whoever sees it; versions and zxids rise together; a conditional write leads from the version that it
/// named to the next; and a read shows at least the last acknowledged write up to its zxid. What was never answered may
/// have happened: it explains contents that nobody acknowledged, and nothing else does.
package enum RegisterCheck {
    /// One life of a znode.
    private struct Register: Hashable {
        var path: String
        var czxid: Zxid
    }

    private struct Content: Hashable {
        var mzxid: Zxid
        /// nil where it was not told.
        var data: [UInt8]??
    }

    package static func check(_ history: History) throws(Violation) {
        var contents: [Register: [Int32: Content]] = [:]
        var acknowledged: [String: [Zxid]] = [:]
        for operation in history.operations {
            guard let reply = operation.reply, reply.error == .ok else { continue }
            switch (operation.request, reply.answer) {
            case (.create(_, let data, _), .created(let path, let stat)):
                try note(path, stat, .some(data), &contents)
                acknowledged[path, default: []].append(reply.zxid)
            case (.setData(let path, let data, let version), .stat(let stat)):
                try note(path, stat, .some(data), &contents)
                acknowledged[path, default: []].append(reply.zxid)
                guard version == -1 || stat.version == version &+ 1 else {
                    throw Violation(.notLinearizable, "\(path): from version \(version) to \(stat.version)")
                }
            case (.getData(let path, _), .data(let data, let stat)):
                try note(path, stat, .some(data), &contents)
            case (.exists(let path, _), .stat(let stat)), (.getChildren(let path, _), .children(_, let stat)):
                try note(path, stat, nil, &contents)
            default:
                break
            }
        }
        try checkOrder(contents)
        try checkReads(history, acknowledged.mapValues { $0.sorted() })
        try checkSources(history)
    }

    private static func note(
        _ path: String,
        _ stat: Stat,
        _ data: [UInt8]??,
        _ contents: inout [Register: [Int32: Content]]
    ) throws(Violation) {
        let register = Register(path: path, czxid: stat.czxid)
        guard var known = contents[register]?[stat.version] else {
            contents[register, default: [:]][stat.version] = Content(mzxid: stat.mzxid, data: data)
            return
        }
        guard known.mzxid == stat.mzxid else {
            throw Violation(
                .notLinearizable,
                "\(path): version \(stat.version) is of \(known.mzxid) and of \(stat.mzxid)"
            )
        }
        if let data {
            if let before = known.data, before != data {
                throw Violation(.notLinearizable, "\(path): version \(stat.version) was seen with two contents")
            }
            known.data = data
            contents[register]?[stat.version] = known
        }
    }

    private static func checkOrder(_ contents: [Register: [Int32: Content]]) throws(Violation) {
        for (register, versions) in contents.sorted(by: { ($0.key.path, $0.key.czxid) < ($1.key.path, $1.key.czxid) }) {
            var last: (version: Int32, mzxid: Zxid)?
            for (version, content) in versions.sorted(by: { $0.key < $1.key }) {
                if let last, last.mzxid >= content.mzxid {
                    throw Violation(
                        .notLinearizable,
                        "\(register.path): version \(last.version) is of \(last.mzxid), version \(version) of \(content.mzxid)"
                    )
                }
                last = (version, content.mzxid)
            }
        }
    }

    private static func checkReads(_ history: History, _ acknowledged: [String: [Zxid]]) throws(Violation) {
        for operation in history.operations {
            guard case .getData(let path, _) = operation.request, let reply = operation.reply, reply.error == .ok,
                case .data(_, let stat) = reply.answer
            else { continue }
            guard stat.mzxid <= reply.zxid else {
                throw Violation(.notLinearizable, "\(path) was read at \(reply.zxid), but is of \(stat.mzxid)")
            }
            guard let last = acknowledged[path]?.last(where: { $0 <= reply.zxid }), last > stat.mzxid else { continue }
            throw Violation(
                .notLinearizable,
                "\(path) was read at \(reply.zxid) as of \(stat.mzxid), without the acknowledged write \(last)"
            )
        }
    }

    /// What is read was written by somebody who had begun to.
    private static func checkSources(_ history: History) throws(Violation) {
        var written: [String: [[UInt8]?: Int]] = [:]
        func note(_ request: Request, _ position: Int) {
            switch request {
            case .create(let path, let data, let kind) where !kind.isSequential:
                if written[path]?[data] == nil { written[path, default: [:]][data] = position }
            case .setData(let path, let data, _):
                if written[path]?[data] == nil { written[path, default: [:]][data] = position }
            case .multi(let parts):
                for part in parts { note(part, position) }
            default:
                break
            }
        }
        for operation in history.operations { note(operation.request, operation.invoked) }
        for operation in history.operations {
            guard case .getData(let path, _) = operation.request, let reply = operation.reply, reply.error == .ok,
                case .data(let data, _) = reply.answer, path != "/", let sources = written[path]
            else { continue }
            guard let position = sources[data], position < reply.position else {
                throw Violation(.inventedWrite, "\(path) was read at \(reply.zxid) with what nobody had written")
            }
        }
    }
}
