#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// Servers that end: asked to, killed, or by themselves.
extension DevSession {
    /// Looks for children that have ended, and ends those that do not.
    func reap(_ now: ContinuousClock.Instant) {
        for index in servers.indices {
            guard let child = servers[index].child else { continue }
            if let ending = child.ending() {
                ended(index, child, ending)
            } else if case .stopping(_, let deadline, let thenStart) = servers[index].process, now > deadline {
                say("server \(servers[index].number) did not stop within \(Self.stopPatience): killed")
                if stop != nil { stop?.exitCode = EXIT_FAILURE }
                child.killNow()
                servers[index].process = .stopping(child, deadline: now + Self.stopPatience, thenStart: thenStart)
            }
        }
    }

    private func ended(_ index: Int, _ child: ChildProcess, _ ending: ChildProcess.Ending) {
        let process = servers[index].process
        servers[index].process = .ended
        servers[index].standing = .away
        if let descriptor = servers[index].probe?.descriptor { close(descriptor) }
        servers[index].probe = nil
        expectChanges()
        let number = servers[index].number
        if case .stopping(_, _, let thenStart) = process {
            if isFailure(ending) {
                say("server \(number) (pid \(child.id)) \(words(ending, index)) while it stopped")
                stop?.exitCode = EXIT_FAILURE
            }
            if thenStart, stop == nil { startAgain(index) }
            return
        }
        if servers[index].isKilledOnPurpose, ending == .killed(signal: SIGKILL) {
            return say("server \(number) is killed; \(restartHint(index))")
        }
        say("server \(number) (pid \(child.id)) \(words(ending, index)); \(restartHint(index))")
    }

    /// Neither what a server does when it is asked to end, nor somebody else's doing.
    private func isFailure(_ ending: ChildProcess.Ending) -> Bool {
        switch ending {
        case .exited(let code): code != 0
        case .killed(let signal): ![SIGKILL, SIGTERM, SIGINT, SIGHUP].contains(signal)
        }
    }

    private func words(_ ending: ChildProcess.Ending, _ index: Int) -> String {
        if isFailure(ending) { hasCrashed = true }
        switch ending {
        case .exited(code: 0):
            return "was stopped"
        case .exited(let code):
            let reason = lastWords(index).map { ": \($0)" } ?? ""
            return "ended with exit code \(code)\(reason)"
        case .killed(let signal):
            return "was killed by signal \(signal)"
        }
    }

    /// What a server said last, or of several lines the one that is meant for people.
    private func lastWords(_ index: Int) -> String? {
        let server = servers[index]
        let lines = FileTree.text(of: plan.log(of: server.number), from: server.logStart)?.split(separator: "\n") ?? []
        guard let line = lines.last(where: { $0.hasPrefix("aviary: ") }) ?? lines.last else { return nil }
        return String(line.hasPrefix("aviary: ") ? line.dropFirst("aviary: ".count) : line)
    }
}
