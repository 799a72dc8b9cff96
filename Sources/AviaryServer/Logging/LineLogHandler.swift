package import Logging

/// Writes each message as one line to standard error:
/// `2026-11-23T19:47:07.042Z info  aviary: serving clients address=127.0.0.1:2181`.
///
/// A line goes out in one write, so lines of several threads do not mix, and nothing is buffered.
package struct LineLogHandler: LogHandler {
    package var logLevel: Logger.Level = .info
    package var metadata: Logger.Metadata = [:]
    private let label: String

    package init(label: String) {
        self.label = label
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        var line = CalendarText.iso(wallMilliseconds: SystemClock.wallMilliseconds())
        line += " "
        line += LineLogHandler.name(event.level)
        line += " "
        line += label
        line += ": "
        line += event.message.description
        var pairs = metadata
        if let more = event.metadata { pairs.merge(more) { _, new in new } }
        for (key, value) in pairs.sorted(by: { $0.key < $1.key }) {
            line += " \(key)=\(value)"
        }
        // A line break in a message would forge a second line.
        var bytes = line.utf8.map { $0 < 0x20 ? UInt8(ascii: " ") : $0 }
        bytes.append(UInt8(ascii: "\n"))
        StandardError.write(bytes)
    }

    private static func name(_ level: Logger.Level) -> String {
        switch level {
        case .trace: "trace"
        case .debug: "debug"
        case .info, .notice: "info "
        case .warning: "warn "
        case .error, .critical: "error"
        }
    }
}
