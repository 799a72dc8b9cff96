package import AviaryStorage
package import ZooKeeperProtocol

/// One machine of an ensemble: a disk, clocks, and a process while one runs.
package final class Machine {
    package let id: ServerID
    package let host: Host
    package let disk: SimulatedDisk
    /// What its disk holds.
    package var mirror = LogMirror()
    /// What its disk held when it was lost.
    package var lost: LogMirror?
    package var process: MemberProcess?
    /// Counts processes, so that what was meant for one does not reach the next.
    package var incarnation = 0
    package var isOn = true
    /// It was started once, and so is no fresh server any more.
    package var hasStarted = false
    package var isStopped = false
    /// Of the wall clock against simulated time, milliseconds.
    package var clockSkew: Int64 = 0
    /// Something of what was stable here was damaged or taken away.
    package var isDamaged = false
    /// One bit of a log was turned: two of them nobody can tell from a torn tail.
    package var hasFlippedLog = false
    /// How much longer the disk takes than usual.
    package var slowness: Int64 = 1
    /// It is to be started again.
    package var isStartPlanned = false
    /// It is not started again: a quorum has to do without it.
    package var staysDown = false
    package var isFull = false
    /// Its disk has been full, in the life of its process or since the one before.
    package var wasFull = false
    /// The last snapshot that a leader began to send: the next start may find it installed.
    package var incomingSnapshot: Zxid?
    /// Where a cut of the log is to end that is not known to be done.
    package var cutting: Zxid?
    /// Its configuration files.
    package var files: ConfigurationFiles
    /// On its way to them.
    var unwritten: [(QuorumConfiguration, isCommitted: Bool)] = []
    /// What was to happen while the process was stopped.
    package var delayed: [SimulationEvent] = []

    package init(id: ServerID, host: Host, configuration: QuorumConfiguration, seed: UInt64) {
        self.id = id
        files = ConfigurationFiles(configuration)
        self.host = host
        disk = SimulatedDisk(seed: seed)
    }
}
