/// One server of `aviary dev`: its process, and what is known of it.
struct DevServer {
    enum Process {
        case ended
        case running(ChildProcess)
        case paused(ChildProcess)
        /// Asked to end; killed when it takes too long.
        case stopping(ChildProcess, deadline: ContinuousClock.Instant, thenStart: Bool)
    }

    let number: Int
    var process = Process.ended
    var standing = Standing.away
    var probe: Probe?
    /// Somebody typed `k`: its end is no surprise.
    var isKilledOnPurpose = false
    /// Where in its log this process began.
    var logStart = 0
    /// When it is asked next.
    var nextProbe: ContinuousClock.Instant

    var child: ChildProcess? {
        switch process {
        case .ended: nil
        case .running(let child), .paused(let child), .stopping(let child, _, _): child
        }
    }

    var isRunning: Bool {
        if case .running = process { return true }
        return false
    }

    var isPaused: Bool {
        if case .paused = process { return true }
        return false
    }

    /// What the table says of it.
    var role: String {
        switch (process, standing) {
        case (.paused, _): "paused"
        case (.stopping, _): "stopping"
        case (.ended, .serving(let role, _)): role.rawValue
        case (.ended, _): "ended"
        case (.running, .serving(let role, _)): role.rawValue
        case (.running, .looking): "looking"
        case (.running, .hung): "hung"
        case (.running, .away): "starting"
        }
    }
}
