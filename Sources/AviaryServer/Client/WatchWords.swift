internal import AviaryCore
internal import ZooKeeperProtocol

// wchs, wchc, wchp: the table of data watches; those of children are not in it, as in Apache.

extension ServerLoop {
    func addWatchSummary(to text: inout StatusText) {
        let summary = core.watchSummary()
        text.line("\(summary.connections) connections watching \(summary.paths) paths")
        text.line("Total watches:\(summary.watches)")
    }

    func addWatchesBySession(to text: inout StatusText) {
        core.forEachWatchingSession { session, paths in
            text.line("\(session)")
            for path in paths { text.line("\t", path: path) }
        }
        text.line()
    }

    func addWatchesByPath(to text: inout StatusText) {
        core.forEachWatchedPath { path, sessions in
            text.line("", path: path)
            for session in sessions { text.line("\t\(session)") }
        }
        text.line()
    }
}
