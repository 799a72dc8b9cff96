import ArgumentParser
import AviaryServer
import Logging

/// `aviary serve`: a server on its own, or a member of an ensemble, until a signal ends it.
struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serve ZooKeeper clients.",
        discussion: """
            Without a configuration file the server is for this machine only: it listens on port 2181 of the loopback \
            addresses and keeps its data in ./aviary-data. With a zoo.cfg everything means what it means to Apache \
            ZooKeeper: the port is open to all addresses unless clientPortAddress says otherwise. Flags win over the \
            file, and go through the same checks.

            EXAMPLES

              Try it out:
                aviary serve

              Open it to other machines:
                aviary serve --address all

              The same, for clients that say who they are (zkCli.sh: addauth digest u:p):
                aviary serve --address all \\
                    --set enforce.auth.enabled=true --set enforce.auth.schemes=digest

              Take over from Apache's server, with its data. Stop that one first, and
              be the same user:
                aviary serve /etc/zookeeper/conf/zoo.cfg

              The same for a member of an ensemble: zoo.cfg names all servers in
              server.N lines, and dataDir has this one's number in a file myid:
                aviary serve /etc/zookeeper/conf/zoo.cfg

              A second server beside it, for a test:
                aviary serve --port 2182 --data-dir /tmp/aviary-test --tick-time 200

              See what a configuration comes to, and start nothing:
                aviary serve zoo.cfg --check

            Every key of zoo.cfg is known, and --set takes any of them; docs/configuration.md lists them all. Keys \
            without effect are named at start. Keys that promise a protection which does not exist yet, such as TLS \
            and SASL, are refused.

            SIGTERM and Ctrl-C end the server in an orderly way, with exit code 0; kill -9 loses no acknowledged \
            write either. Exit code 1 means that it could not start, 64 that a flag is wrong, 10 that the disk failed \
            while it was running.
            """
    )

    @Argument(
        help: ArgumentHelp("A configuration file of ZooKeeper.", valueName: "zoo.cfg"),
        completion: .file()
    )
    var file: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Where snapshots and, unless --data-log-dir is given, logs are kept (dataDir).",
            valueName: "directory"
        ),
        completion: .directory
    )
    var dataDir: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Where transaction logs are kept; best on a disk of its own (dataLogDir).",
            valueName: "directory"
        ),
        completion: .directory
    )
    var dataLogDir: String?

    @Option(
        name: .long,
        help: ArgumentHelp("The port for clients; 0 lets the system choose (clientPort).", valueName: "port")
    )
    var port: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "An address or host name to listen on, or 'all'. Can be given several times (clientPortAddress).",
            valueName: "address"
        )
    )
    var address: [String] = []

    @Option(
        name: .long,
        help: ArgumentHelp(
            "The unit of session time: timeouts are 2 to 20 ticks unless min/maxSessionTimeout say otherwise (tickTime).",
            valueName: "milliseconds"
        )
    )
    var tickTime: String?

    @Option(
        name: .long,
        help: ArgumentHelp("Connections from one address; 0 is no limit (maxClientCnxns).", valueName: "count")
    )
    var maxClientConnections: String?

    @Option(
        name: .long,
        help: ArgumentHelp("Connections in all; 0 is no limit (maxCnxns).", valueName: "count")
    )
    var maxConnections: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "The four letter words that are answered, with commas between, or '*' (4lw.commands.whitelist).",
            valueName: "words"
        )
    )
    var fourLetterWords: String?

    @Option(
        name: .customLong("set"),
        help: ArgumentHelp("Any key of zoo.cfg. Can be given several times.", valueName: "key=value")
    )
    var settings: [String] = []

    @Option(name: .long, help: "How much is logged.")
    var logLevel: LogLevel = .info

    @Flag(name: .long, help: "Check the configuration, print what it comes to, and start nothing.")
    var check = false

    @Option(
        name: .long,
        help: ArgumentHelp("A pipe whose end of file stops the server: its parent is gone.", visibility: .hidden)
    )
    var parentPipe: CInt?

    func validate() throws {
        for setting in settings where !setting.contains("=") || setting.hasPrefix("=") {
            throw ValidationError("--set wants key=value, such as --set snapCount=50000, and got '\(setting)'")
        }
    }

    func run() async throws {
        let (configuration, notes) = try readConfiguration()
        if check {
            CheckReport.print(configuration, notes: notes, file: file)
            return
        }
        LoggingSystem.bootstrap { LineLogHandler(label: $0) }
        var logger = Logger(label: "aviary")
        logger.logLevel = logLevel.level
        ProcessLimits.raiseDescriptorLimit(logger: logger)
        ProcessLimits.warnOfRoot(logger: logger)
        try await serve(configuration, notes: notes, logger: logger)
    }

    private func readConfiguration() throws -> (ServerConfiguration, [ConfigurationNote]) {
        do throws(ConfigurationError) {
            return try ConfigurationFile.read(path: file, overrides: overrides)
        } catch {
            for problem in error.problems {
                StandardError.print("aviary: \(problem)")
            }
            let count = error.problems.count == 1 ? "a problem" : "\(error.problems.count) problems"
            StandardError.print("aviary: not started: \(count) in the configuration")
            let isUsage = error.problems.allSatisfy { $0.place.hasPrefix("--") }
            throw isUsage ? ExitCode.validationFailure : ExitCode.failure
        }
    }

    /// The flags as settings of the file's table, which validates them.
    var overrides: [ConfigurationOverride] {
        var overrides: [ConfigurationOverride] = []
        func take(_ key: String, _ value: String?, _ origin: String) {
            guard let value else { return }
            overrides.append(ConfigurationOverride(key: key, value: value, origin: origin))
        }
        take("dataDir", dataDir, "--data-dir")
        take("dataLogDir", dataLogDir, "--data-log-dir")
        take("clientPort", port, "--port")
        if !address.isEmpty {
            take("clientPortAddress", address.map { $0 == "all" ? "0.0.0.0" : $0 }.joined(separator: ","), "--address")
        }
        take("tickTime", tickTime, "--tick-time")
        take("maxClientCnxns", maxClientConnections, "--max-client-connections")
        take("maxCnxns", maxConnections, "--max-connections")
        take("4lw.commands.whitelist", fourLetterWords, "--four-letter-words")
        for setting in settings {
            let parts = setting.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            take(
                trimmed(parts[0]),
                parts.count > 1 ? trimmed(parts[1]) : "",
                "--set"
            )
        }
        return overrides
    }

    private func trimmed(_ text: Substring) -> String {
        let start = text.drop { $0.isWhitespace }
        return String(start.prefix(start.count - start.reversed().prefix { $0.isWhitespace }.count))
    }

    /// Starts the server, says where it is, and waits for a signal.
    private func serve(_ configuration: ServerConfiguration, notes: [ConfigurationNote], logger: Logger) async throws {
        let signals = StopSignals()
        let parent = try parentPipe.map { try watchParent($0, signals) }
        defer { withExtendedLifetime(parent) {} }
        let server: RunningServer
        do throws(StartError) {
            server = try await Server.start(configuration: configuration, notes: notes, logger: logger)
        } catch {
            StandardError.print("aviary: \(error.description)")
            throw ExitCode(error.exitCode)
        }
        Banner(server: server, configuration: configuration, file: file).print()
        let rest = Task {
            // The first clients of a restart come at once: they are served first.
            try await Task.sleep(for: .seconds(1))
            ProgramPages.letGoOfStart()
        }
        let signal = await signals.next()
        rest.cancel()
        logger.info("\(signal): stopping")
        await server.stop()
        logger.info("stopped")
    }
}

extension Serve {
    private func watchParent(_ descriptor: CInt, _ signals: StopSignals) throws -> ParentPipe {
        guard let pipe = ParentPipe(descriptor, onEnd: { signals.request("the parent process ended") }) else {
            StandardError.print("aviary: --parent-pipe: no descriptor \(descriptor) is open: only `aviary dev` uses it")
            throw ExitCode.validationFailure
        }
        return pipe
    }
}

/// The levels of swift-log, for the command line.
enum LogLevel: String, ExpressibleByArgument, CaseIterable {
    case trace, debug, info, notice, warning, error

    var level: Logger.Level { Logger.Level(rawValue: rawValue) ?? .info }
}

/// The stream for what went wrong.
enum StandardError {
    static func print(_ line: String) {
        StandardStream.error.write(line + "\n")
    }
}
