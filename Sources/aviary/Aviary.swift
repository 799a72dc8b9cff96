import ArgumentParser
import AviaryServer

/// The command line of Aviary.
@main
struct Aviary: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "aviary",
        abstract: "A coordination server that speaks ZooKeeper's protocol and keeps its files in ZooKeeper's formats.",
        discussion: """
            Clients of Apache ZooKeeper connect as they are; an existing zoo.cfg and an existing data directory are \
            taken as they are.

              aviary serve          a server for this machine: port 2181, ./aviary-data
              aviary serve zoo.cfg  a server as an existing configuration says
              aviary dev            three servers on this machine, to try things out
              aviary serve --help   all flags, with examples
            """,
        version: BuildInfo.summary,
        subcommands: [Serve.self, Dev.self, Version.self]
    )
}

/// `aviary version`.
struct Version: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print the version, and the release of ZooKeeper that this server behaves like."
    )

    func run() {
        print(BuildInfo.summary)
    }
}
