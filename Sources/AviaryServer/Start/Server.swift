internal import AviaryStorage
internal import Logging
internal import NIOCore
internal import NIOPosix

/// A ZooKeeper server: one that stands alone, or a member of an ensemble.
package enum Server {
    /// Claims the port, loads the data directory, and serves until the result is told to stop.
    ///
    /// - Parameters:
    ///   - notes: what reading the configuration had to say; logged.
    ///   - adjustLimits: has the last word on bounds that no configuration sets.
    ///   - fatal: called on the log thread when a transaction cannot be stored; nothing is acknowledged any more.
    /// - Throws: why it cannot serve. Nothing is left behind then: no thread, no lock, no port.
    static func start<D: Disk, Gzip: StreamCodec>(
        configuration: ServerConfiguration,
        notes: [ConfigurationNote] = [],
        logger: Logger,
        disk: D,
        gzip: Gzip,
        adjustLimits: @escaping @Sendable (inout Limits) -> Void = { _ in },
        fatal: @escaping @Sendable (StorageError) -> Void
    ) async throws(StartError) -> RunningServer {
        for note in notes {
            switch note.severity {
            case .info: logger.info("\(note.text)")
            case .warning: logger.warning("\(note.text)")
            }
        }
        let clients = configuration.clients
        let sockets = try BoundSocket.bind(clients.addresses, port: clients.port)
        let group = LoopGroup.start()
        let eventLoop = group.next()
        let threads = LoopThreads(eventLoop: eventLoop)
        do {
            let start = ServerStart(
                configuration: configuration,
                logger: logger,
                eventLoop: eventLoop,
                threads: threads,
                disk: disk,
                gzip: gzip,
                adjustLimits: adjustLimits,
                fatal: fatal
            )
            let opened = try await start.eventLoop.submit { try start.open(port: sockets.first?.port ?? 0) }.get()
            let ports = ClientPorts(loop: opened.loop, group: group)
            var addresses: [String] = []
            for socket in sockets {
                addresses.append(Peer.join(socket.address.ipAddress ?? "?", socket.port))
                do {
                    try await opened.loop.eventLoop.flatSubmit { ports.open(socket) }.get()
                } catch {
                    await opened.abandon(ports)
                    let code = (error as? IOError)?.errnoCode ?? 0
                    throw BoundSocket.failure(code, socket.address.ipAddress ?? "?", socket.port, of: .clients)
                }
            }
            try await opened.loop.eventLoop.submit { opened.loop.takePorts(ports) }.get()
            logger.info("serving clients", metadata: ["addresses": "\(addresses.joined(separator: " "))"])
            return RunningServer(opened, group: group, ports: ports, addresses: addresses)
        } catch {
            threads.close()
            try? await group.shutdownGracefully()
            throw (error as? StartError) ?? StartError("\(error)")
        }
    }
}
