import ArgumentParser
import AviaryServer

/// `aviary dev`: an ensemble on this machine, one process a server, until somebody ends it.
struct Dev: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run an ensemble on this machine, to develop and to try things out.",
        discussion: """
            Starts the servers as processes of their own, prints where each has its ports, its directory and its log, \
            and says who leads and when that changes. All of them listen on 127.0.0.1 only. Ctrl-C or SIGTERM stops \
            them all; they also stop when this process is killed.

            In a terminal there are commands for single servers:

              k N   kill -9 server N
              p N   pause it, as a machine that hangs
              c N   let it continue
              r N   restart it, or start it again
              s     who is what, once more
              q     quit

            EXAMPLES

              Three servers, in a temporary directory that is removed at the end:
                aviary dev

              Five, whose data stays; the same command goes on with it:
                aviary dev --servers 5 --dir five

              Clients at ports 2181, 2182 and 2183:
                aviary dev --port 2181

              One server on its own, as `aviary serve` is:
                aviary dev --servers 1

            Exit code 0 means that it was asked to stop and did, 1 that it could not start or that a server failed or \
            had to be killed in the end, 64 that a flag is wrong.
            """
    )

    static let mostServers = 9

    @Option(
        name: .long,
        help: ArgumentHelp(
            "How many servers, 1 to 9: 3, or as many as the directory holds. One stands alone.",
            valueName: "count"
        )
    )
    var servers: Int?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Where they keep their files; stays. Without it a temporary directory, which does not.",
            valueName: "directory"
        ),
        completion: .directory
    )
    var dir: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "The port for clients of server 1; the others follow. Without it free ports, 21801 and so on if they are.",
            valueName: "port"
        )
    )
    var port: Int?

    @Option(
        name: .customLong("set"),
        help: ArgumentHelp("Any key of zoo.cfg, for all servers. Can be given several times.", valueName: "key=value")
    )
    var settings: [String] = []

    func validate() throws {
        if let servers, !(1...Self.mostServers).contains(servers) {
            throw ValidationError("--servers wants a number from 1 to \(Self.mostServers), and got \(servers)")
        }
        if let port, !(1...65_535).contains(port) {
            throw ValidationError("--port wants a port from 1 to 65535, and got \(port)")
        }
        for setting in settings {
            guard let key = Self.parts(setting)?.key else {
                throw ValidationError("--set wants key=value, such as --set tickTime=2000, and got '\(setting)'")
            }
            if DevConfiguration.isOwn(key) {
                throw ValidationError("--set \(key): `aviary dev` decides that itself; see --dir, --port and --servers")
            }
        }
    }

    func run() throws {
        let code: CInt
        do throws(DevError) {
            code = try runSession()
        } catch {
            StandardError.print("aviary: \(error)")
            throw error.isUsage ? ExitCode.validationFailure : ExitCode.failure
        }
        if code != 0 { throw ExitCode(code) }
    }

    private func runSession() throws(DevError) -> CInt {
        let signals = try SignalPipe()
        let directory =
            if let dir { try DevDirectory.open(dir, servers: servers) } else { try DevDirectory.temporary() }
        let session: DevSession
        do throws(DevError) {
            session = try DevSession(try write(directory), in: directory, signals: signals)
        } catch {
            if directory.isTemporary { directory.remove() }
            throw error
        }
        session.say("\(BuildInfo.summary)")
        let code = session.run()
        close(directory, session, code)
        return code
    }

    /// Decides on the ports and writes the servers' files.
    private func write(_ directory: DevDirectory) throws(DevError) -> DevPlan {
        let count = directory.count > 0 ? directory.count : servers ?? 3
        let settings = settings.compactMap(Self.parts)
        let isReconfigEnabled = settings.last { $0.key == "reconfigEnabled" }?.value.lowercased() == "true"
        let memory = try directory.memory(isReconfigEnabled: isReconfigEnabled)
        let ports = try DevPorts.choose(count, firstClient: port, before: memory)
        let plan = DevPlan(directory: directory.path, ports: ports, settings: settings)
        for number in plan.numbers {
            try FileTree.makeDirectory(plan.data(of: number))
            if plan.isEnsemble { try FileTree.write("\(number)\n", to: plan.data(of: number) + "/myid") }
            try FileTree.write(DevConfiguration.text(of: number, in: plan), to: plan.configuration(of: number))
        }
        try check(plan)
        return plan
    }

    /// Says here what every server would refuse on its own.
    private func check(_ plan: DevPlan) throws(DevError) {
        do throws(ConfigurationError) {
            _ = try ConfigurationFile.read(path: plan.configuration(of: 1), overrides: [])
        } catch {
            throw DevError(error.problems.map { "\($0)" }.joined(separator: "\naviary: "), isUsage: !settings.isEmpty)
        }
    }

    private func close(_ directory: DevDirectory, _ session: DevSession, _ code: CInt) {
        if !directory.isTemporary {
            session.say("stopped; the data stays, and `\(Executable.name) dev --dir \(dir ?? "")` goes on with it")
        } else if session.hasCrashed {
            session.say("stopped; for the logs of what went wrong \(directory.path) stays")
        } else {
            directory.remove()
            session.say("stopped; \(directory.path) is removed")
        }
    }

    private static func parts(_ setting: String) -> (key: String, value: String)? {
        let parts = setting.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty else { return nil }
        return (String(parts[0]), String(parts[1]))
    }
}
