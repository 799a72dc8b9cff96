import AviaryStorage
import Logging

@testable import AviaryServer

/// A server on 127.0.0.1, on a port that the system chose, with a folder of its own.
struct TestServer: Sendable {
    let running: RunningServer
    let directory: TestDirectory
    let log: RecordingLog
    /// What ended the log thread, if anything did: in a real process that is the end of everything.
    let fatal: FatalErrors

    var port: Int { running.port }

    final class FatalErrors: Sendable {
        private let errors = Guarded<[StorageError]>([])
        var all: [StorageError] { errors.withLock { $0 } }
        func add(_ error: StorageError) { errors.withLock { $0.append(error) } }
    }

    /// Bounds that a test wants to reach with less effort than they take by default.
    struct LimitChange: Sendable {
        let apply: @Sendable (inout Limits) -> Void
    }

    static func configuration(_ directory: TestDirectory) -> ServerConfiguration {
        var configuration = ServerConfiguration()
        configuration.clients.addresses = .only(["127.0.0.1"])
        configuration.clients.port = 0
        configuration.clients.maximumConnectionsPerAddress = nil
        configuration.storage.dataDirectory = directory.path
        configuration.storage.logDirectory = directory.path
        configuration.storage.preallocationSize = 256 << 10
        configuration.sessions.tickTime = .milliseconds(200)
        configuration.sessions.minimumTimeout = .milliseconds(400)
        // A test may have to wait for all others between two lines: connections and sessions must outlast that.
        configuration.clients.sessionlessTimeout = .seconds(600)
        configuration.sessions.maximumTimeout = .seconds(600)
        configuration.fourLetterWords.allowed = ServerConfiguration.FourLetterWords.all
        return configuration
    }

    static func start(
        in directory: TestDirectory? = nil,
        disk: FaultDisk = FaultDisk(),
        limits: LimitChange = LimitChange { _ in },
        _ adjust: (inout ServerConfiguration) -> Void = { _ in }
    ) async throws -> TestServer {
        let directory = try directory ?? TestDirectory()
        var configuration = configuration(directory)
        adjust(&configuration)
        let log = RecordingLog()
        let fatal = FatalErrors()
        let running = try await Server.start(
            configuration: configuration,
            logger: log.logger,
            disk: disk,
            gzip: ZlibCodec(),
            adjustLimits: limits.apply,
            fatal: { fatal.add($0) }
        )
        return TestServer(running: running, directory: directory, log: log, fatal: fatal)
    }

    /// Runs `body` against a server that is stopped afterwards.
    static func with<R>(
        in directory: TestDirectory? = nil,
        disk: FaultDisk = FaultDisk(),
        limits: LimitChange = LimitChange { _ in },
        _ adjust: (inout ServerConfiguration) -> Void = { _ in },
        _ body: (TestServer) async throws -> R
    ) async throws -> R {
        let server = try await start(in: directory, disk: disk, limits: limits, adjust)
        do {
            let result = try await body(server)
            await server.running.stop()
            return result
        } catch {
            await server.running.stop()
            throw error
        }
    }

    func connect() throws -> TestClient { try TestClient(port: port) }

    /// A client with a session.
    func open(timeoutMilliseconds: Int32 = 600_000) throws -> TestClient {
        let client = try connect()
        try client.openSession(timeoutMilliseconds: timeoutMilliseconds)
        return client
    }

    /// What a four letter word is answered.
    func ask(_ word: String) throws -> String {
        let client = try connect()
        try client.send(Array(word.utf8))
        return String(decoding: try client.readToEnd(), as: UTF8.self)
    }

    /// A figure of `mntr`.
    func metric(_ name: String) throws -> String? {
        for line in try ask("mntr").split(separator: "\n") {
            let parts = line.split(separator: "\t")
            if parts.count == 2, parts[0] == "zk_" + name { return String(parts[1]) }
        }
        return nil
    }

    /// Asks again and again, for ten seconds at most.
    static func eventually(_ condition: () throws -> Bool) async throws -> Bool {
        for _ in 0..<500 {
            if try condition() { return true }
            try await Task.sleep(for: .milliseconds(20))
        }
        return false
    }
}
