internal import AviaryStorage

// conf, dirs, envi: how this server is set up and where it runs.

extension ServerLoop {
    func addConfiguration(to text: inout StatusText) {
        let sizes = directorySizes()
        let clients = configuration.clients
        let sessions = configuration.sessions
        text.line("clientPort=\(clientPort)")
        text.line("secureClientPort=-1")
        text.line("dataDir=\(directories.data)")
        text.line("dataDirSize=\(sizes.data)")
        text.line("dataLogDir=\(directories.log)")
        text.line("dataLogSize=\(sizes.log)")
        text.line("tickTime=\(sessions.tickTime.milliseconds)")
        text.line("maxClientCnxns=\(clients.maximumConnectionsPerAddress ?? 0)")
        text.line("minSessionTimeout=\(sessions.minimumTimeout.milliseconds)")
        text.line("maxSessionTimeout=\(sessions.maximumTimeout.milliseconds)")
        text.line("clientPortListenBacklog=\(clients.listenBacklog ?? -1)")
        text.line("serverId=0")
    }

    func addDirectorySizes(to text: inout StatusText) {
        let sizes = directorySizes()
        text.line("datadir_size: \(sizes.data)")
        text.line("logdir_size: \(sizes.log)")
    }

    /// The heading and the version first, as in Apache; then what there is here in place of a Java machine.
    func addEnvironment(to text: inout StatusText) {
        let system = ProcessFacts.system()
        let user = ProcessFacts.user()
        let memory = ProcessFacts.memory()
        text.line("Environment:")
        text.line("zookeeper.version=\(BuildInfo.zooKeeperVersion)")
        text.line("host.name=\(ProcessFacts.hostName())")
        text.line("aviary.version=\(BuildInfo.version)")
        text.line("swift.version=\(ServerLoop.swiftVersion)")
        text.line("os.name=\(system.name)")
        text.line("os.arch=\(system.architecture)")
        text.line("os.version=\(system.release)")
        text.line("user.name=\(user.name)")
        text.line("user.home=\(user.home)")
        text.line("user.dir=\(ProcessFacts.workingDirectory())")
        text.line("os.memory.free=\(memory.available >> 20)MB")
        text.line("os.memory.max=\(memory.total >> 20)MB")
        text.line("os.memory.total=\(memory.used >> 20)MB")
    }

    /// The language level that this was compiled with; the runtime does not tell more.
    private static var swiftVersion: String {
        #if compiler(>=6.4)
            "6.4+"
        #elseif compiler(>=6.3)
            "6.3"
        #else
            "6.2"
        #endif
    }
}
