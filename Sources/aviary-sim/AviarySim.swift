import ArgumentParser

/// Runs servers in simulation: disk, clock and clients out of one seed.
@main
struct AviarySim: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "aviary-sim",
        abstract:
            "Runs Aviary's own code on simulated time, networks and disks, and looks for broken promises.",
        discussion: """
            A seed is a whole run: the same seed does the same, on every machine, so that a violation is told by its \
            number.

              aviary-sim --seeds 100000 --jobs 2         ensembles under faults
              aviary-sim --first 4711 --seeds 1 --tell   one seed again, and its story
              aviary-sim --fault ackBeforeSync           does the simulation notice this mistake?
              aviary-sim crash --seeds 100000            crashes of one server
              aviary-sim crash --first 4711 --seeds 1    one seed again
              aviary-sim crash --fault replyBeforeSync   does the simulation notice this mistake?
              aviary-sim faults                          is each planted mistake found soon enough?
              aviary-sim observers --count 1000          what do so many observers cost?
            """,
        subcommands: [Ensemble.self, Crash.self, Faults.self, Observers.self],
        defaultSubcommand: Ensemble.self
    )
}
