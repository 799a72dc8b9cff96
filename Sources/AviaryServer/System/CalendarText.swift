#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// Moments as text.
enum CalendarText {
    /// As Java prints a date, in the machine's time zone: `Mon Nov 23 19:47:07 UTC 2026`.
    static func java(wallMilliseconds: Int64) -> String {
        format(wallMilliseconds, "%a %b %d %H:%M:%S %Z %Y", inUTC: false)
    }

    /// ISO 8601 in UTC with milliseconds, for log lines: `2026-11-23T19:47:07.042Z`.
    static func iso(wallMilliseconds: Int64) -> String {
        let fraction = String(1000 + wallMilliseconds % 1000).dropFirst()
        return format(wallMilliseconds, "%Y-%m-%dT%H:%M:%S.", inUTC: true) + fraction + "Z"
    }

    private static func format(_ wallMilliseconds: Int64, _ pattern: String, inUTC: Bool) -> String {
        var seconds = time_t(wallMilliseconds / 1000)
        var parts = tm()
        if inUTC { gmtime_r(&seconds, &parts) } else { localtime_r(&seconds, &parts) }
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { buffer in
            guard let base = buffer.baseAddress, strftime(base, 64, pattern, &parts) > 0 else { return "?" }
            return String(cString: base)
        }
    }
}
