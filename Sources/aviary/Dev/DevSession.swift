#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// `aviary dev` while it runs: one loop on one thread that waits for signals, for commands and for what servers answer.
final class DevSession {
    let plan: DevPlan
    let directory: DevDirectory
    var servers: [DevServer]
    var report = RoleReport()
    /// Set when the end has begun.
    var stop: Stop?
    /// A server ended by itself with an error: its files are worth a look.
    var hasCrashed = false
    /// Commands are taken from a terminal, if somebody sits there.
    let isInteractive: Bool

    struct Stop {
        /// Of `aviary dev`, unless something goes wrong on the way.
        var exitCode: CInt = 0
        let began = ContinuousClock.now
    }

    private let signals: SignalPipe
    /// Its writing end closes when this process ends, however it ends; see `ParentPipe`.
    private let parentPipe: Pipe
    private var input: [UInt8] = []
    private let tableDeadline: ContinuousClock.Instant
    private var isTableShown = false
    /// Until then servers are asked often, because something is going on.
    private var busyUntil: ContinuousClock.Instant

    /// An ensemble forms in a fraction of it.
    private static let formationPatience = Duration.seconds(10)
    private static let echo = Duration.milliseconds(300)
    private static let busyPeriod = Duration.seconds(3)
    private static let busyInterval = Duration.milliseconds(20)
    private static let calmInterval = Duration.milliseconds(200)

    /// - Parameter signals: there before anything is on disk, so that nothing of it stays behind.
    init(_ plan: DevPlan, in directory: DevDirectory, signals: SignalPipe) throws(DevError) {
        self.plan = plan
        self.directory = directory
        self.signals = signals
        parentPipe = try Pipe()
        isInteractive = isatty(0) == 1
        let now = ContinuousClock.now
        servers = plan.numbers.map { DevServer(number: $0, nextProbe: now) }
        tableDeadline = now + Self.formationPatience
        busyUntil = now + Self.busyPeriod
    }

    /// Runs the servers until somebody wants them to end, and waits for their end.
    ///
    /// - Returns: the exit code.
    func run() -> CInt {
        for index in servers.indices where stop == nil {
            do throws(DevError) {
                try start(index)
            } catch {
                StandardError.print("aviary: \(error)")
                beginStop(exitCode: EXIT_FAILURE)
            }
        }
        while true {
            let now = ContinuousClock.now
            reap(now)
            if let stop, servers.allSatisfy({ $0.child == nil }) { return stop.exitCode }
            if stop == nil {
                startProbes(now)
                tell(now)
            }
            wait(now)
        }
    }

    func say(_ line: String) {
        StandardStream.output.write(line + "\n")
    }

    /// Something happens: roles may change.
    func expectChanges(_ now: ContinuousClock.Instant = .now) {
        busyUntil = now + Self.busyPeriod
        for index in servers.indices { servers[index].nextProbe = now }
    }

    func start(_ index: Int) throws(DevError) {
        let number = servers[index].number
        servers[index].logStart = FileTree.size(of: plan.log(of: number))
        let child = try ChildProcess.start(
            Executable.path,
            [Executable.name, "serve", plan.configuration(of: number), "--parent-pipe", "3"],
            log: plan.log(of: number),
            inherited: [(parentPipe.reading, 3), (directory.lock, 4)]
        )
        servers[index].process = .running(child)
        servers[index].standing = .away
        servers[index].isKilledOnPurpose = false
        expectChanges()
    }

    // MARK: - What is told

    private func tell(_ now: ContinuousClock.Instant) {
        guard isTableShown else { return showWhenFormed(now) }
        let lines = report.lines(servers, majority: plan.majority, now: now)
        for line in lines { say(line) }
        if !lines.isEmpty { busyUntil = now + Self.busyPeriod }
    }

    /// The first table comes when there is something to tell, or when that takes too long.
    private func showWhenFormed(_ now: ContinuousClock.Instant) {
        // Who types commands already knows why a server is paused, or gone.
        let present = servers.filter { $0.child != nil || $0.isKilledOnPurpose }.count
        guard present >= plan.majority else {
            StandardError.print("aviary: not started: \(present) of \(plan.count) servers run")
            return beginStop(exitCode: EXIT_FAILURE)
        }
        let running = servers.filter(\.isRunning)
        let isFormed =
            running.allSatisfy(\.standing.isServing) && (!plan.isEnsemble || RoleReport.leader(of: servers) != nil)
        guard isFormed || now > tableDeadline else { return }
        isTableShown = true
        // The table says it all.
        _ = report.lines(servers, majority: plan.majority, now: now)
        showTable()
        say("  " + (isInteractive ? DevCommand.summary : "Ctrl-C or SIGTERM stops " + (plan.isEnsemble ? "all" : "it")))
        say("")
    }

    func showTable() {
        var lines = [""] + DevTable.lines(plan, servers)
        if plan.isEnsemble {
            let leader = RoleReport.leader(of: servers)
            lines.append("  leads       " + (leader.map { "server \($0.number), epoch \($0.epoch)" } ?? "nobody yet"))
        }
        say((lines + [""]).joined(separator: "\n"))
    }

    // MARK: - The loop

    private func startProbes(_ now: ContinuousClock.Instant) {
        let interval = now < busyUntil ? Self.busyInterval : Self.calmInterval
        for index in servers.indices where servers[index].probe == nil && servers[index].nextProbe <= now {
            servers[index].nextProbe = now + interval
            if servers[index].isPaused { continue }
            servers[index].probe = Probe(port: plan.ports(of: servers[index].number).client, now: now)
            if servers[index].probe == nil { servers[index].standing = .away }
        }
    }

    /// Waits until something happens; children that end are looked for all the time.
    private func wait(_ now: ContinuousClock.Instant) {
        let listens = isInteractive && stop == nil && isForeground
        var waits = [pollfd(fd: signals.descriptor, events: Int16(POLLIN), revents: 0)]
        waits.append(pollfd(fd: listens ? 0 : -1, events: Int16(POLLIN), revents: 0))
        for server in servers {
            waits.append(pollfd(fd: server.probe?.descriptor ?? -1, events: server.probe?.events ?? 0, revents: 0))
        }
        let interval = now < busyUntil || stop != nil ? Self.busyInterval : Self.calmInterval / 4
        guard poll(&waits, nfds_t(waits.count), CInt(interval / .milliseconds(1))) >= 0 else { return }

        if waits[0].revents != 0 { signalled() }
        if waits[1].revents != 0 { readCommands() }
        let after = ContinuousClock.now
        for index in servers.indices {
            guard let standing = servers[index].probe?.advance(now: after) else { continue }
            servers[index].probe = nil
            servers[index].standing = standing
        }
    }

    private func signalled() {
        _ = signals.next()
        guard let stop else { return beginStop(exitCode: EXIT_SUCCESS) }
        // The same wish can come twice, to this process and to its group; later, it is of somebody who will not wait.
        guard ContinuousClock.now - stop.began > Self.echo else { return }
        StandardError.print("aviary: a second signal: the servers are killed")
        self.stop?.exitCode = EXIT_FAILURE
        for server in servers { server.child?.killNow() }
    }

    /// Of the processes at this terminal, this one has it. In the background what is typed is not for us, and to read it
    /// would be an error.
    private var isForeground: Bool { tcgetpgrp(0) == getpgrp() }

    private func readCommands() {
        var bytes = [UInt8](repeating: 0, count: 1024)
        let count = read(0, &bytes, bytes.count)
        if count < 0, errno == EINTR || errno == EAGAIN { return }
        // Ctrl-D, or the terminal is gone.
        guard count > 0 else { return beginStop(exitCode: EXIT_SUCCESS) }
        input += bytes.prefix(count)
        while let end = input.firstIndex(of: UInt8(ascii: "\n")), stop == nil {
            let line = String(decoding: input[..<end], as: UTF8.self)
            input.removeSubrange(...end)
            carryOut(DevCommand(line, count: plan.count))
        }
    }
}
