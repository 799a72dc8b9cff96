import Logging

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// What the operating system lets this process do.
enum ProcessLimits {
    /// Raises the limit on open descriptors to what the administrator allows: every client needs one, and the usual
    /// 1024 would turn away the rest.
    static func raiseDescriptorLimit(logger: Logger) {
        var limit = rlimit()
        guard getrlimit(descriptors, &limit) == 0 else { return }
        let before = limit.rlim_cur
        limit.rlim_cur = highest(of: limit)
        guard limit.rlim_cur != before else { return }
        if setrlimit(descriptors, &limit) == 0 {
            logger.debug("open files: the limit is \(limit.rlim_cur) instead of \(before)")
        } else {
            logger.warning(
                "open files: the limit stays at \(before), which bounds the number of clients: \(words(errno))"
            )
        }
    }

    /// A server on the network needs no rights over the machine, and files of root's are in the way of the next start.
    static func warnOfRoot(logger: Logger) {
        guard geteuid() == 0 else { return }
        logger.warning(
            "running as root: not needed, and files written now will belong to root; better run it as a user of its own that owns the data directory"
        )
    }

    private static func words(_ code: Int32) -> String {
        String(cString: strerror(code))
    }

    #if canImport(Darwin)
        private static var descriptors: Int32 { RLIMIT_NOFILE }

        /// The kernel names no limit and then refuses more than `OPEN_MAX`.
        private static func highest(of limit: rlimit) -> rlim_t {
            min(limit.rlim_max, rlim_t(OPEN_MAX))
        }
    #elseif canImport(Glibc)
        private static var descriptors: __rlimit_resource_t { __rlimit_resource_t(RLIMIT_NOFILE.rawValue) }

        private static func highest(of limit: rlimit) -> rlim_t { limit.rlim_max }
    #else
        private static var descriptors: Int32 { RLIMIT_NOFILE }

        private static func highest(of limit: rlimit) -> rlim_t { limit.rlim_max }
    #endif
}
