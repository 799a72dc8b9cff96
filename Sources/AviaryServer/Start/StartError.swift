internal import AviaryStorage

/// Why a server could not start. The description is for its owner: what happened, to what, and what to do about it.
package struct StartError: Error, Sendable, CustomStringConvertible {
    package var description: String
    /// What the process should end with.
    package var exitCode: Int32

    package init(_ description: String) {
        self.description = description
        exitCode = ServerExitCode.start.rawValue
    }

    init(_ error: StorageError) {
        self.init(error.description)
    }

    static let noThread = StartError(
        "the system has no thread to give: raise the limit on processes of this user (ulimit -u), or of its container"
    )
}

/// What the process ends with when it does not end well.
enum ServerExitCode: Int32 {
    /// It could not start.
    case start = 1
    /// The transaction log failed while the server was running; the number is that of Apache's servers for a disk that
    /// failed them.
    case disk = 10
}
