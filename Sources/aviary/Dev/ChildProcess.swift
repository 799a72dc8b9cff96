#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// A child process, until it has been waited for: so long its id belongs to nobody else.
struct ChildProcess {
    /// How one ended.
    enum Ending: Equatable {
        case exited(code: CInt)
        case killed(signal: CInt)
    }

    let id: pid_t

    /// Starts a program in a process group of its own: Ctrl-C is for its parent, which then ends it in order.
    ///
    /// - Parameters:
    ///   - arguments: with the program's name first.
    ///   - log: a file that its output and its errors are appended to.
    ///   - inherited: descriptors of this process and what they are called there; no others are passed on, provided that all
    ///     others are marked to be closed.
    static func start(
        _ program: String,
        _ arguments: [String],
        log: String,
        inherited: [(own: CInt, child: CInt)]
    ) throws(DevError) -> ChildProcess {
        #if canImport(Darwin)
            var actions: posix_spawn_file_actions_t?
            var attributes: posix_spawnattr_t?
        #else
            var actions = posix_spawn_file_actions_t()
            var attributes = posix_spawnattr_t()
        #endif
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0o644)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        for (own, child) in inherited {
            posix_spawn_file_actions_adddup2(&actions, own, child)
        }

        // What is ignored or held back here is not there.
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGTTIN, SIGTTOU] { sigaddset(&signals, signal) }
        posix_spawnattr_setsigdefault(&attributes, &signals)
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(
            &attributes,
            Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK)
        )

        var words = arguments.map { strdup($0) } + [nil]
        defer { for word in words { free(word) } }
        var id: pid_t = 0
        let code = posix_spawn(&id, program, &actions, &attributes, &words, environment)
        guard code == 0 else {
            throw DevError("cannot start \(program), with its output in \(log): \(String(cString: strerror(code)))")
        }
        return ChildProcess(id: id)
    }

    private static var environment: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? {
        #if canImport(Darwin)
            _NSGetEnviron().pointee
        #else
            environ
        #endif
    }

    /// How it ended, if it did; to be asked until then, and not after.
    func ending() -> Ending? {
        var status: CInt = 0
        let found = waitpid(id, &status, WNOHANG)
        // Somebody else has waited for it: nothing is known but that it is gone.
        if found < 0, errno == ECHILD { return .exited(code: 0) }
        guard found == id else { return nil }
        let signal = status & 0x7f
        return signal == 0 ? .exited(code: (status >> 8) & 0xff) : .killed(signal: signal)
    }

    func send(_ signal: CInt) {
        kill(id, signal)
    }

    func terminate() {
        send(SIGTERM)
        // A paused one would not hear of it.
        send(SIGCONT)
    }

    func killNow() { send(SIGKILL) }
    func pause() { send(SIGSTOP) }
    func resume() { send(SIGCONT) }
}
