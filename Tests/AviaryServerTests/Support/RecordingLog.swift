import Logging

/// Keeps what is logged, for tests of what an operator is told.
final class RecordingLog: Sendable {
    private let entries = Guarded<[String]>([])

    var lines: [String] { entries.withLock { $0 } }

    var logger: Logger {
        var logger = Logger(label: "test") { _ in Handler(log: self) }
        logger.logLevel = .debug
        return logger
    }

    func count(containing text: String) -> Int {
        lines.filter { $0.contains(text) }.count
    }

    private struct Handler: LogHandler {
        let log: RecordingLog
        var logLevel = Logger.Level.debug
        var metadata: Logger.Metadata = [:]

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let pairs = (event.metadata ?? [:]).map { "\($0.key)=\($0.value)" }.sorted()
            let line = "\(event.level): \(event.message) \(pairs.joined(separator: " "))"
            log.entries.withLock { $0.append(line) }
        }
    }
}
