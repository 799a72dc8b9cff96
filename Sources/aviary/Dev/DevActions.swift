/// What somebody in front of `aviary dev` can do to a server, and the end of them all.
extension DevSession {
    func carryOut(_ command: DevCommand) {
        switch command {
        case .nothing: break
        case .mistake(let text): say(text)
        case .help: say(DevCommand.summary)
        case .status: showTable()
        case .quit: beginStop(exitCode: 0)
        case .kill(let number): kill(number - 1)
        case .pause(let number): pause(number - 1)
        case .resume(let number): resume(number - 1)
        case .restart(let number): restart(number - 1)
        }
        expectChanges()
    }

    private func kill(_ index: Int) {
        guard let child = servers[index].child else { return sayEnded(index) }
        servers[index].isKilledOnPurpose = true
        child.killNow()
    }

    private func pause(_ index: Int) {
        let number = servers[index].number
        switch servers[index].process {
        case .ended: sayEnded(index)
        case .paused: say("server \(number) is paused already; c \(number) continues it")
        case .stopping: say("server \(number) is stopping")
        case .running(let child):
            child.pause()
            servers[index].process = .paused(child)
            let others = plan.isEnsemble ? "the others give it up after \(DevConfiguration.patience(plan)); " : ""
            say("server \(number) is paused; \(others)c \(number) continues it")
        }
    }

    private func resume(_ index: Int) {
        let number = servers[index].number
        switch servers[index].process {
        case .ended: sayEnded(index)
        case .running, .stopping: say("server \(number) is not paused")
        case .paused(let child):
            child.resume()
            servers[index].process = .running(child)
            // What it said before is past.
            servers[index].standing = .away
            say("server \(number) goes on")
        }
    }

    private func restart(_ index: Int) {
        switch servers[index].process {
        case .ended: startAgain(index)
        case .running(let child), .paused(let child), .stopping(let child, _, _):
            child.terminate()
            servers[index].process = .stopping(child, deadline: .now + Self.stopPatience, thenStart: true)
        }
    }

    func startAgain(_ index: Int) {
        do throws(DevError) {
            try start(index)
            say("server \(servers[index].number) is started, pid \(servers[index].child?.id ?? 0)")
        } catch {
            say("\(error)")
        }
    }

    private func sayEnded(_ index: Int) {
        say("server \(servers[index].number) does not run; \(restartHint(index))")
    }

    /// How a server that ended is started again.
    func restartHint(_ index: Int) -> String {
        let number = servers[index].number
        return isInteractive
            ? "r \(number) starts it again"
            : "to start it again: \(Executable.name) serve \(plan.configuration(of: number))"
    }

    /// Longer than a server takes to write what it has.
    static let stopPatience = Duration.seconds(10)

    /// Asks all servers to end; `run` returns when they have.
    func beginStop(exitCode: CInt) {
        guard stop == nil else { return }
        stop = Stop(exitCode: exitCode)
        for index in servers.indices {
            guard let child = servers[index].child else { continue }
            child.terminate()
            servers[index].process = .stopping(child, deadline: .now + Self.stopPatience, thenStart: false)
        }
    }
}
