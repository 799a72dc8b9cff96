internal import AviaryStorage
package import Logging

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

extension Server {
    /// Claims the port, loads the data directory, and serves until the result is told to stop.
    ///
    /// - Parameter notes: what reading the configuration had to say; logged.
    /// - Throws: why it cannot serve. Nothing is left behind then: no thread, no lock, no port.
    package static func start(
        configuration: ServerConfiguration,
        notes: [ConfigurationNote] = [],
        logger: Logger
    ) async throws(StartError) -> RunningServer {
        try await start(
            configuration: configuration,
            notes: notes,
            logger: logger,
            disk: PosixDisk(),
            gzip: ZlibCodec(),
            fatal: { endProcess($0, logger) }
        )
    }

    /// What cannot be stored must not be acknowledged: the process ends at once, and a supervisor may start it again.
    private static func endProcess(_ error: StorageError, _ logger: Logger) {
        logger.critical("the transaction log failed, the server ends: \(error)")
        _exit(ServerExitCode.disk.rawValue)
    }
}
